"""A WebSocket session: a client that talks in messages, as a pipeline finds it in its batons."""

from __future__ import annotations

from typing import Any

from piped.errors import BatonError, PipedError
from piped.providers.web.limits import ANSWER_BYTES
from piped.providers.web.request import Request
from piped.providers.web.websocket.limits import GOING_AWAY, TRY_LATER, SocketLimits
from piped.providers.web.websocket.link import Link
from piped.providers.web.websocket.opening import accepting_head
from piped.providers.web.websocket.sockets import Sockets
from piped.providers.web.websocket.wire import message_frame


class WebSocketClosed(PipedError):
    """Raised when a session is over: nothing more comes, and nothing more can be sent."""

    def __init__(self, session: WebSocket) -> None:
        self.code, self.reason = session.code, session.reason
        super().__init__(f"the session {session.id} is over (code {session.code})")


class WebSocket(Link):
    """One client that talks in messages, each text or bytes.

    ``id`` is the number of the request that opened it. When it is over, ``code`` and ``reason`` say
    why: 1000 is a usual end, 1001 the end of the site or of the page, 1006 a lost connection.
    """

    def __init__(self, request: Request, limits: SocketLimits) -> None:
        super().__init__(request, limits)
        self.subprotocol: str | None = None

    def __repr__(self) -> str:
        return f"<WebSocket {self.id} {self.request.path}>"

    @property
    def __baton_id__(self) -> int:
        return self.id

    @property
    def sockets(self) -> Sockets:
        """All sessions of the site."""
        return self.host.sockets

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self.sockets.add(self)

    def _end(self, code: int, reason: str) -> None:
        super()._end(code, reason)
        self.sockets.remove(self)

    def accept(self, subprotocol: str | None) -> bool:
        """Answer the request that proposed the session; tell whether the client was there.

        Args:
            subprotocol: One of those that the client has proposed.
        """
        self.subprotocol = subprotocol
        return self.request.hand_over(self, accepting_head(self.request, subprotocol))

    async def receive(self) -> str | bytes:
        """Return the next message, as soon as there is one.

        Raises:
            WebSocketClosed: There will be none.
        """
        while not self.messages:
            if self.is_draining:
                self.close(GOING_AWAY)
            if not self.is_open:
                raise WebSocketClosed(self)
            self.waiter = self.loop.create_future()
            try:
                await self.waiter
            finally:
                self.waiter = None
        message = self.messages.popleft()
        self.waiting_bytes -= len(message)
        self.go_on()
        return message

    async def send(self, message: str | bytes) -> None:
        """Send a message; wait while the client does not read what was sent before.

        Raises:
            WebSocketClosed: The session is over.
            QueueFull: Too many wait already.
            BatonError: It is text that is no Unicode, or too long.
        """
        frame = self.frame_of(message)
        if not self.is_open:
            raise WebSocketClosed(self)
        try:
            await self.outbox.send(frame)
        except ConnectionError:
            raise WebSocketClosed(self) from None
        self.host.counters.messages_out += 1

    def offer(self, frame: bytes) -> bool:
        """Send a frame without waiting; a client that has too many waiting is closed."""
        if not self.is_open:
            return False
        if self.outbox.offer(frame):
            self.host.counters.messages_out += 1
            return True
        self.host.counters.refuse("websocket-slow-reader")
        self.close(TRY_LATER, "too slow")
        self.hurry(self.loop.time())
        return False

    def frame_of(self, message: str | bytes) -> bytes:
        """Return a message as it is sent, which is the same for every session.

        Raises:
            BatonError: It is text that is no Unicode, or too long.
        """
        if len(message) > ANSWER_BYTES:
            raise BatonError(f"a message must not be longer than {ANSWER_BYTES} bytes")
        try:
            return message_frame(message)
        except UnicodeEncodeError as error:
            raise BatonError("expected text that is Unicode") from error

    def join(self, group: str) -> None:
        """Be sent what is sent to a group."""
        self.sockets.join(self, group)

    def leave(self, group: str) -> None:
        """Be sent no more what is sent to a group."""
        self.sockets.leave(self, group)
