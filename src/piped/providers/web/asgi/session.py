"""The session of a WebSocket that an application has accepted."""

from __future__ import annotations

import asyncio
from typing import Any

from piped.providers.web.asgi.application import LEAVING_S, Running
from piped.providers.web.outlet import NEVER
from piped.providers.web.request import Request
from piped.providers.web.websocket.limits import SocketLimits
from piped.providers.web.websocket.opening import accepting_head
from piped.providers.web.websocket.session import WebSocket
from piped.providers.web.websocket.sockets import Sockets


class Session(WebSocket):
    """A session whose application, when the client ends it, has some seconds to do so too."""

    def __init__(self, request: Request, limits: SocketLimits, application: Running) -> None:
        super().__init__(request, limits)
        self.patience: asyncio.Timeout | None = None  # with the application, while it runs
        self._application = application
        self.is_own_end = False

    @property
    def sockets(self) -> Sockets:
        """The sessions of its application: no pipeline of the site sends to them."""
        return self._application.sessions

    @property
    def current(self) -> object:
        """Nothing that a reload waits for: the application goes on, or ends its sessions."""
        return None

    def open(self, subprotocol: str | None, lines: bytes, task: asyncio.Task[Any]) -> bool:
        """Answer the request that proposed the session; tell whether the client was there.

        Args:
            subprotocol: One of those that the client has proposed.
            lines: More header fields.
            task: What treats the session.
        """
        self.subprotocol = subprotocol
        head = accepting_head(self.request, subprotocol) + lines
        if not self.request.hand_over(self, head):
            return False
        self.host.keep(task)
        return True

    def end(self, code: int, reason: str) -> None:
        """End the session, as the application wishes, which may go on."""
        self.is_own_end = True
        self.close(code, reason)

    def _end(self, code: int, reason: str) -> None:
        super()._end(code, reason)
        if not self.is_own_end:
            self.hurry(0.0)

    def hurry(self, by: float) -> None:
        soon, patience = max(by, self.loop.time() + LEAVING_S), self.patience
        if patience is not None and soon < (patience.when() or NEVER):
            patience.reschedule(soon)
