"""One request and its answer, as an application sees them."""

from __future__ import annotations

import asyncio
from typing import Any

from piped.providers.web.asgi.application import ApplicationError, Running, cancel_later
from piped.providers.web.asgi.names import Message
from piped.providers.web.asgi.reply import Reply
from piped.providers.web.asgi.scope import http_scope
from piped.providers.web.dispatch import log
from piped.providers.web.request import Request
from piped.providers.web.streams import ClientLeft


class Exchange:
    """Gives a request to an application, and takes the answer from it."""

    __slots__ = ("_is_body_taken", "_over", "reply", "request")

    def __init__(self, request: Request) -> None:
        self.request = request
        self.reply = Reply(request)
        self._is_body_taken = False
        self._over = asyncio.Event()  # nobody waits for anything more

    async def run(self, application: Running) -> None:
        """Have an application answer.

        Raises:
            ApplicationError: It has not, or not in the order that ASGI wants.
        """
        request = self.request
        try:
            scope = http_scope(request, application.state)
            await application.treat(scope, self.receive, self.send)
        except Exception as error:
            if not request.is_disconnected:
                raise
            explain_leaving(request, error)
        else:
            if not request.is_disconnected:
                self.reply.fail_if_incomplete()
        finally:
            request.when_left(None)
            self.reply.close()

    def leave(self, task: asyncio.Task[Any]) -> None:
        """Be told that the client is gone: the application may tidy up, for some seconds."""
        self._over.set()
        cancel_later(task)

    async def receive(self) -> Message:
        """Return the next piece of the body; after it, the news that all is over."""
        request = self.request
        if self._is_body_taken or self._over.is_set():
            await self._over.wait()
            return {"type": "http.disconnect"}
        if (inflow := request.inflow) is None:
            self._is_body_taken = True
            return {"type": "http.request", "body": request.body(), "more_body": False}
        try:
            piece = await inflow.take()
        except ClientLeft:
            return {"type": "http.disconnect"}
        self._is_body_taken = inflow.is_complete
        return {"type": "http.request", "body": piece, "more_body": not inflow.is_complete}

    async def send(self, message: Message) -> None:
        """Take a part of the answer.

        Raises:
            ApplicationError: It is not its turn, or not as it should be.
            BatonError: It cannot be sent.
            ClientLeft: Nobody is there to get it.
        """
        reply, kind = self.reply, message["type"]
        if self.request.is_disconnected:
            raise ClientLeft("the client has left")
        wanted = "http.response.body" if reply.is_told else "http.response.start"
        if kind != wanted or reply.is_complete:
            wanted = "nothing more" if reply.is_complete else f"'{wanted}'"
            raise ApplicationError(f"expected {wanted} from the application, got {kind!r}")
        if not reply.is_told:
            reply.start(message)
            return
        await reply.go_on(message)
        if reply.is_complete:
            self._over.set()


def explain_leaving(request: Request, error: Exception) -> None:
    """Tell of an error that comes of a client's leaving, most probably."""
    told = f"{type(error).__name__}: {error}"
    log.info("application failed after its client left", path=request.path, error=told)
