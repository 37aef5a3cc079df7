"""One WebSocket, as an application sees it: proposed, accepted or refused, talked on, ended."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from piped.engine.journey import journey_text
from piped.providers.web.asgi.application import ApplicationError, Running, cancel_later
from piped.providers.web.asgi.exchange import explain_leaving
from piped.providers.web.asgi.names import Message
from piped.providers.web.asgi.reply import GONE, OF_THE_SERVER, Reply, texts
from piped.providers.web.asgi.scope import subprotocols_of, websocket_scope
from piped.providers.web.asgi.session import Session
from piped.providers.web.dispatch import Dispatcher, log
from piped.providers.web.headers import header_line
from piped.providers.web.request import Request
from piped.providers.web.streams import ClientLeft
from piped.providers.web.websocket.limits import ABNORMAL, FAILED, NORMAL, SocketLimits
from piped.providers.web.websocket.session import WebSocketClosed

START: Final = "websocket.http.response.start"
BODY: Final = "websocket.http.response.body"


class Conversation:
    """Gives a WebSocket to an application, and does what it says."""

    __slots__ = (
        *("_decided", "_has_told", "_is_accepted", "_task", "_turn"),
        *("application", "dispatcher", "reply", "request", "session"),
    )

    def __init__(
        self, request: Request, application: Running, limits: SocketLimits, dispatcher: Dispatcher
    ) -> None:
        self.request, self.application, self.dispatcher = request, application, dispatcher
        self.reply = Reply(request)
        self.session = Session(request, limits, application)
        self._task: asyncio.Task[Any] | None = None
        self._has_told = self._is_accepted = False
        self._decided = asyncio.Event()  # accepted, refused, or given up by the client
        self._turn = asyncio.Lock()

    async def run(self) -> None:
        """Have the application treat the WebSocket, until it returns.

        Raises:
            ApplicationError: It has neither accepted nor refused it.
        """
        application, request, session = self.application, self.request, self.session
        self._task = task = asyncio.current_task()
        assert task is not None
        application.tasks.add(task)
        try:
            async with asyncio.timeout(None) as session.patience:
                scope = websocket_scope(request, application.state)
                await application.treat(scope, self.receive, self.send)
        except Exception as error:
            if self._is_accepted:
                self._fail(error)
            elif request.is_disconnected:
                explain_leaving(request, error)
            else:
                raise
        else:
            self._end()
        finally:
            session.patience = None
            request.when_left(None)
            self.reply.close()
            application.tasks.discard(task)

    def _end(self) -> None:
        if self._is_accepted:
            self.session.end(NORMAL, "")
        elif not (self.request.is_disconnected or self._decided.is_set()):
            self.reply.fail_if_incomplete()

    def _fail(self, error: Exception) -> None:
        session, request = self.session, self.request
        facts = {"path": request.path, "session": journey_text(session.id)}
        if session.patience is not None and session.patience.expired():
            log.warning("application cancelled, as its client has left", **facts)
        elif not (session.is_open or session.is_own_end):
            explain_leaving(request, error)
        else:
            facts["error"] = f"{type(error).__name__}: {error}"
            site, level = self.dispatcher.site, self.dispatcher.level
            getattr(log, level)("application failed", site=site, **facts, exc_info=error)
            session.end(FAILED, f"error {journey_text(request.id)}")

    def leave(self, task: asyncio.Task[Any]) -> None:
        """Be told that the client is gone before the WebSocket was accepted."""
        self._decided.set()
        cancel_later(task)

    async def receive(self) -> Message:
        """Return what has happened: the proposal, messages, the end."""
        if not self._has_told:
            self._has_told = True
            return {"type": "websocket.connect"}
        if not self._is_accepted:
            await self._decided.wait()
            if not self._is_accepted:
                return {"type": "websocket.disconnect", "code": ABNORMAL, "reason": ""}
        session = self.session
        try:
            async with self._turn:
                message = await session.receive()
        except WebSocketClosed:
            code, reason = session.code, session.reason
            return {"type": "websocket.disconnect", "code": code, "reason": reason}
        key = "text" if isinstance(message, str) else "bytes"
        return {"type": "websocket.receive", key: message}

    async def send(self, message: Message) -> None:
        """Do what the application says.

        Raises:
            ApplicationError: It is not its turn, or not as it should be.
            BatonError: It cannot be sent.
            ClientLeft: Nobody is there to get it.
        """
        kind = message["type"]
        if self._is_accepted:
            await self._talk(kind, message)
        elif self.request.is_disconnected:
            raise ClientLeft("the client has left")
        elif kind == "websocket.accept" and not self._is_refused:
            self._accept(message)
        elif kind == "websocket.close" and not self._is_refused:
            self.dispatcher.answer(self.request, 403)
            self._decided.set()
        elif kind == START and not self._is_refused:
            self.reply.start(message)
        elif kind == BODY and self.reply.is_told and not self.reply.is_complete:
            await self._refuse_on(message)
        else:
            wanted = "nothing more" if self._is_refused else "'websocket.accept'"
            raise ApplicationError(f"expected {wanted} from the application, got {kind!r}")

    @property
    def _is_refused(self) -> bool:
        return self._decided.is_set() or self.reply.is_told

    async def _refuse_on(self, message: Message) -> None:
        await self.reply.go_on(message)
        if self.reply.is_complete:
            self._decided.set()

    def _accept(self, message: Message) -> None:
        subprotocol = message.get("subprotocol")
        if subprotocol is not None and subprotocol not in subprotocols_of(self.request):
            # RFC 6455, 4.1: the client would have to give up the session that it sees opened.
            what = f"expected a subprotocol that the client has proposed, got {subprotocol!r}"
            raise ApplicationError(what)
        lines = [
            header_line(name, value)
            for name, value in texts(message.get("headers", ()))
            if name not in OF_THE_SERVER and not name.startswith("sec-websocket-")
        ]
        assert self._task is not None
        if not self.session.open(subprotocol, b"".join(lines), self._task):
            raise ClientLeft(GONE)
        self._is_accepted = True
        self._decided.set()

    async def _talk(self, kind: str, message: Message) -> None:
        session = self.session
        if kind == "websocket.send":
            text = message.get("text")
            await self._say(message.get("bytes") if text is None else text)
        elif kind == "websocket.close" and session.is_open:
            session.end(message.get("code", NORMAL), message.get("reason") or "")
        elif kind == "websocket.close" and not session.is_own_end:
            raise ClientLeft(f"the session {session.id} is over (code {session.code})")
        else:
            wanted = "'websocket.send'" if session.is_open else "nothing more"
            raise ApplicationError(f"expected {wanted} from the application, got {kind!r}")

    async def _say(self, content: Any) -> None:
        session = self.session
        if session.is_own_end:
            what = "expected nothing more from the application, got 'websocket.send'"
            raise ApplicationError(what)
        if not isinstance(content, str | bytes):
            what = f"expected text or bytes to send, got {type(content).__name__}"
            raise ApplicationError(what)
        try:
            await session.send(content)
        except WebSocketClosed as error:
            raise ClientLeft(str(error)) from None
