"""What is sent to the client of a session: in order, at the pace at which it reads."""

from __future__ import annotations

import asyncio
from collections import deque

from piped.errors import QueueFull
from piped.providers.web.outlet import Outlet
from piped.providers.web.websocket.limits import QUEUED_BYTES, SocketLimits


class Outbox:
    """Writes frames to a transport; while the client does not read, a few wait here."""

    __slots__ = ("_bytes", "_limits", "_outlet", "_transport", "_waiting", "is_stalled")

    def __init__(
        self,
        transport: asyncio.Transport,
        loop: asyncio.AbstractEventLoop,
        limits: SocketLimits,
        stall_s: float,
    ) -> None:
        self._transport, self._limits = transport, limits
        self._outlet = Outlet(transport, loop, stall_s)
        self._waiting: deque[tuple[bytes, asyncio.Future[None] | None]] = deque()
        self._bytes = 0
        self.is_stalled = False

    @property
    def is_full(self) -> bool:
        """Whether no more frames may wait."""
        return len(self._waiting) >= self._limits.queued or self._bytes > QUEUED_BYTES

    def write(self, frame: bytes) -> None:
        """Send a frame before all that wait: a control frame."""
        self._transport.write(frame)

    async def send(self, frame: bytes) -> None:
        """Send a frame, and wait until the client has read enough of what was sent before.

        Raises:
            QueueFull: Too many wait already.
            ConnectionError: The session ended meanwhile.
        """
        if not self.is_stalled:
            self._transport.write(frame)
            return
        if self.is_full:
            raise QueueFull(f"{len(self._waiting)} messages wait for the client to read")
        turn = asyncio.get_running_loop().create_future()
        self._put(frame, turn)
        await turn

    def offer(self, frame: bytes) -> bool:
        """Send a frame without waiting; tell whether there was room for it."""
        if not self.is_stalled:
            self._transport.write(frame)
        elif self.is_full:
            return False
        else:
            self._put(frame, None)
        return True

    def _put(self, frame: bytes, turn: asyncio.Future[None] | None) -> None:
        self._waiting.append((frame, turn))
        self._bytes += len(frame)

    def pause(self) -> None:
        """Be told that the client does not read."""
        self.is_stalled = True
        self._outlet.watch()

    def resume(self) -> None:
        """Be told that the client reads again: send what waits, until it stops."""
        self.is_stalled = False
        self._outlet.forget()
        while self._waiting and not self.is_stalled:
            self._write_next()

    def flush(self) -> None:
        """Send all that waits, for nothing more will: the system keeps it until it is read."""
        while self._waiting:
            self._write_next()

    def _write_next(self) -> None:
        frame, turn = self._waiting.popleft()
        self._bytes -= len(frame)
        if turn is None:
            self._transport.write(frame)
        elif not turn.done():  # else who sent it was cancelled
            self._transport.write(frame)
            turn.set_result(None)

    def close(self) -> None:
        """Give up what waits: nobody is there any more."""
        self._outlet.forget()
        while self._waiting:
            _, turn = self._waiting.popleft()
            if turn is not None and not turn.done():
                turn.set_exception(ConnectionResetError("the client is gone"))

    def watch(self) -> None:
        """Give the client time for what is unsent now."""
        self._outlet.watch()

    def is_stuck(self, now: float) -> bool:
        """Tell whether the client has read nothing for too long."""
        return self._outlet.is_stuck(now)
