"""A plain ZeroMQ socket in the event loop, read in bounded turns."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from time import perf_counter
from typing import Any, Final

import zmq

from piped.errors import Misconfigured
from piped.spec.turns import BUDGET_S
from piped.workers.frames import MAX_FRAME, encoded

BATCH: Final = 64
"""How many messages are read in one turn of the loop, if its time is not over before."""

LINGER_MS: Final = 1000

LAST_WORDS_S: Final = 0.05
"""How long one that is gone may have messages here that are not read yet."""

_NOBLOCK: Final = int(zmq.NOBLOCK)
_MORE: Final = int(zmq.NOBLOCK | zmq.SNDMORE)
_EVENTS: Final = int(zmq.EVENTS)
_POLLIN: Final = int(zmq.POLLIN)

_OPTIONS: Final[dict[int, int]] = {
    zmq.LINGER: LINGER_MS,
    zmq.IMMEDIATE: 1,
    zmq.MAXMSGSIZE: MAX_FRAME,
    zmq.HANDSHAKE_IVL: 5000,
    zmq.RECONNECT_IVL: 100,
    zmq.RECONNECT_IVL_MAX: 1000,
    zmq.BACKLOG: 128,
    zmq.HEARTBEAT_IVL: 1000,
    zmq.HEARTBEAT_TIMEOUT: 10_000,
}


class LoopSocket:
    """A socket whose messages go to a function, as soon as the loop comes to it.

    ZeroMQ says once that *something* has happened, by a file descriptor, and any use of the socket
    may take that sign away; so whoever uses it asks for a turn.

    ``on_unsent`` is told of what could not be sent: the address, and whether nobody is there any
    more; then only after all that came from there.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        kind: int,
        on_message: Callable[[list[bytes]], object],
        on_unsent: Callable[[bytes, bool], object],
    ) -> None:
        self.socket = context.socket(kind)
        for option, value in _OPTIONS.items():
            self.socket.setsockopt(option, value)
        self._is_router = kind == zmq.ROUTER
        self._on_message, self._on_unsent = on_message, on_unsent
        self._outbox: dict[bytes, list[Any]] = {}
        self._gone: dict[bytes, float] = {}  # since when; told once all they have said is read
        self._loop = asyncio.get_running_loop()
        self._is_scheduled = False
        self._is_open = False
        self._fd = -1

    def bind(self, address: str) -> str:
        """Listen, and return the address with its port.

        Raises:
            Misconfigured: The address is in use, or is none of this machine.
        """
        try:
            self.socket.bind(address)
        except zmq.ZMQError as error:
            raise Misconfigured(f"cannot listen on {address}: {error.strerror.lower()}") from error
        return self.socket.getsockopt_string(zmq.LAST_ENDPOINT)

    def start(self) -> None:
        """Begin to read."""
        self._fd = int(self.socket.getsockopt(zmq.FD))
        self._is_open = True
        self._loop.add_reader(self._fd, self._turn)
        self.wake()

    def send(self, said: Any, address: bytes = b"") -> None:
        """Say something soon: what is said in one turn of the loop goes together.

        Args:
            said: What is said, to be encoded.
            address: For a ROUTER, the identity of the peer.
        """
        self._outbox.setdefault(address, []).append(said)
        self.wake()

    def flush(self) -> None:
        """Send now what was to be sent soon."""
        while self._outbox:
            address, said = self._outbox.popitem()
            for some in _pieces(said):
                self._transmit(address, encoded(some))

    def _transmit(self, address: bytes, frame: bytes) -> None:
        try:
            if address:
                self.socket.send(address, _MORE)
            self.socket.send(frame, _NOBLOCK)
        except zmq.ZMQError as error:
            if error.errno not in (zmq.EAGAIN, zmq.EHOSTUNREACH):
                raise
            if error.errno == zmq.EAGAIN:
                self._on_unsent(address, False)
            else:
                self._gone.setdefault(address, self._loop.time())
                self.wake()

    def wake(self) -> None:
        """Ask for a turn."""
        if not self._is_scheduled:
            self._is_scheduled = True
            self._loop.call_soon(self._turn_after)

    def close(self, linger_ms: int = LINGER_MS) -> None:
        """Close it; what was sent goes on its way for at most ``linger_ms``."""
        if self._is_open:
            self.flush()
            self._loop.remove_reader(self._fd)
        self._is_open = False
        self.socket.close(linger_ms)

    def _turn_after(self) -> None:
        self._is_scheduled = False
        if self._is_open:
            self.flush()
        self._turn()

    def _turn(self) -> None:
        if not self._is_open:
            return
        until = perf_counter() + BUDGET_S
        for _ in range(BATCH):
            if not self._has_message:  # to ask costs half of what finding nothing does
                self._tell_gone(self._loop.time())
                return
            try:
                self._on_message(self._receive())
            except BaseException:  # the loop tells of it; no sign comes for those that are there
                self.wake()
                raise
            if not self._is_open:
                return
            if perf_counter() > until:
                break
        self._tell_gone(self._loop.time() - LAST_WORDS_S)
        self.wake()

    @property
    def _has_message(self) -> bool:
        return bool(int(self.socket.getsockopt(_EVENTS)) & _POLLIN)

    def _receive(self) -> list[bytes]:
        """Return the frames of a message that is there; that of a ROUTER begins with an address."""
        frames = [self.socket.recv(_NOBLOCK)] if self._is_router else []
        is_more = True
        while is_more:
            frame = self.socket.recv(_NOBLOCK, copy=False)
            frames.append(frame.bytes)
            is_more = frame.more  # to ask the socket costs more
        return frames

    def _tell_gone(self, before: float) -> None:
        if not self._gone:
            return
        for address in [each for each, since in self._gone.items() if since <= before]:
            del self._gone[address]
            self._on_unsent(address, True)


def _pieces(said: list[Any]) -> Iterator[list[Any]]:
    """Yield what is said in pieces that make no frame too long."""
    size = sum(len(getattr(each, "payload", b"")) for each in said)
    if size < MAX_FRAME // 2 or len(said) == 1:
        yield said
        return
    middle = len(said) // 2
    yield from _pieces(said[:middle])
    yield from _pieces(said[middle:])


def monitored(socket: zmq.Socket[Any], on_lost: Callable[[], object]) -> Callable[[], None]:
    """Have a function called when a connection of a socket has ended; return what stops that."""
    loop = asyncio.get_running_loop()
    monitor = socket.get_monitor_socket(zmq.EVENT_DISCONNECTED)
    fd = int(monitor.getsockopt(zmq.FD))

    def look() -> None:
        came = False
        while True:
            try:
                monitor.recv_multipart(zmq.NOBLOCK)
            except zmq.ZMQError:
                break
            came = True
        if came:
            on_lost()

    def stop() -> None:
        loop.remove_reader(fd)
        socket.disable_monitor()
        monitor.close(0)  # which disabling only forgets

    loop.add_reader(fd, look)
    look()  # there is no sign before somebody has found nothing
    return stop
