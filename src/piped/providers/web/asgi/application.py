"""An application that runs: what its requests share, and the sessions that it has open."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from piped.errors import PipedError
from piped.providers.web.asgi.names import Application, Message, Receive, Send
from piped.providers.web.websocket.limits import GOING_AWAY
from piped.providers.web.websocket.sockets import Sockets

LEAVING_S: Final = 5.0
"""How long an application may go on for a client that has left, before it is cancelled."""


class ApplicationError(PipedError):
    """Raised when an application does not keep to ASGI."""


class GaveUp(ApplicationError):
    """Raised when an application ends by what would end our own task, or the whole process."""

    def __init__(self, how: BaseException) -> None:
        super().__init__(f"the application gave up: {type(how).__name__}")


class Running:
    """An application whose lifespan has begun.

    ``state`` is what the lifespan has put there for the requests, ``sessions`` the WebSockets,
    which no pipeline reaches, and ``tasks`` those in which it treats them.
    """

    __slots__ = ("call", "name", "sessions", "state", "tasks")

    def __init__(self, call: Application, name: str) -> None:
        self.call, self.name = call, name
        self.state: dict[str, Any] = {}
        self.sessions = Sockets()
        self.tasks: set[asyncio.Task[Any]] = set()

    async def treat(self, scope: Message, receive: Receive, send: Send) -> None:
        """Have the application treat a request, a WebSocket or its lifespan.

        Raises:
            GaveUp: It calls ``sys.exit``, or waits for something that was cancelled.
        """
        try:
            await self.call(scope, receive, send)
        except (asyncio.CancelledError, SystemExit) as error:
            task = asyncio.current_task()
            if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
                raise  # it is we who have cancelled it
            raise GaveUp(error) from error

    async def dismiss(self) -> None:
        """End the sessions: their clients are told, and may come again to another application."""
        for session in self.sessions:
            session.drain(0.0)
        if self.tasks:
            await asyncio.wait(self.tasks, timeout=LEAVING_S)
        for session in self.sessions:
            session.close(GOING_AWAY)


def cancel_later(task: asyncio.Task[Any]) -> None:
    """Let what is done for a client that has left go on for some seconds."""
    timer = asyncio.get_running_loop().call_later(LEAVING_S, task.cancel)
    task.add_done_callback(lambda _task: timer.cancel())
