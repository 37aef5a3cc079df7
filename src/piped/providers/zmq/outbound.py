"""The sending side of a queue: it never blocks, and what has no peer yet waits in a backlog."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import zmq

from piped.errors import PipelineError, QueueFull, Unavailable
from piped.providers.zmq.backlog import Backlog
from piped.providers.zmq.drops import Drops
from piped.providers.zmq.messages import Message, events_of, transmit

HOLD_S: Final = 1.0
"""How long a message of a connecting publisher waits for the first subscription."""

_STATES: Final = {
    "REQ": "it is a REQ queue, and must receive the answer to its last message before it sends"
    " another (without a 'processor' nobody receives it)",
    "REP": "it is a REP queue, and can answer each request once, after it has received it",
}


class Outbound:
    """Sends at once where it can; keeps the rest, in order, until a peer is there.

    ``is_held`` is set while a connecting publisher knows of no subscription: what it sent now
    would be lost, so it waits a little for one. A REQ whose answers are read sends one message at a
    time; the next one waits for the answer, but not for ever: the peer may have died.
    """

    __slots__ = (
        "_answer_by",
        "_asks",
        "_emptied",
        "_keeps",
        "_kind",
        "_loop",
        "_name",
        "_socket",
        "_timer",
        "_wake",
        "backlog",
        "drops",
        "is_held",
        "sent",
    )

    def __init__(
        self,
        name: str,
        kind: str,
        socket: zmq.Socket[bytes],
        backlog: Backlog,
        wake: Callable[[], None],
    ) -> None:
        self._name, self._kind, self._socket = name, kind, socket
        self.backlog = backlog
        self.drops = Drops(name)
        self.is_held = False
        self._asks = False
        self._answer_by: float | None = None  # while an answer is awaited
        self.sent = 0
        # One slow peer of a ROUTER would hold up the messages to all others.
        self._keeps = kind not in ("ROUTER", "XREP")
        self._loop = asyncio.get_running_loop()
        self._wake = wake
        self._timer: asyncio.TimerHandle | None = None
        self._emptied = asyncio.Event()
        self._emptied.set()

    def ask(self) -> None:
        """From now on, hold what is sent until what was sent before is ``answered``."""
        self._asks = True
        # ZeroMQ would refuse to send for ever after a lost answer; and one that comes late after
        # all must not be taken for the answer to the next message.
        self._socket.setsockopt(zmq.REQ_RELAXED, 1)
        self._socket.setsockopt(zmq.REQ_CORRELATE, 1)

    def answered(self) -> None:
        """Go on with the next message."""
        self._answer_by = None

    def send(self, message: Message) -> None:
        """Send a message, or keep it until a peer takes it.

        Raises:
            QueueFull: Nobody takes it, and the backlog is full.
            Unavailable: The peer that it is for has gone.
            PipelineError: The socket's type does not let it send now.
        """
        if not self.backlog and not self.is_held and self._try(message):
            return
        if not self._keeps:
            self.backlog.refused += 1
            raise QueueFull(f"queue '{self._name}': the peer takes no more messages")
        self.drops.add(self.backlog.drop_stale(self._loop.time()))
        while self.is_held and self.backlog and not self.backlog.has_room_for(message):
            self._try(self.backlog.pop())  # to nobody, as publishers do
        self.backlog.append(message, self._loop.time())
        self._emptied.clear()
        self._set_timer()

    def flush(self) -> None:
        """Send what was kept, as far as a peer takes it, and drop what is too old."""
        now = self._loop.time()
        self.drops.add(self.backlog.drop_stale(now))
        while self.backlog and not (self.is_held and now - self.backlog.since < HOLD_S):
            try:
                if not self._try(self.backlog.first):
                    break
            except PipelineError:  # a REQ whose answers nobody reads
                break
            self.backlog.pop()
        if self.backlog:
            self._set_timer()
        else:
            self._emptied.set()

    async def flushed(self) -> None:
        """Wait until nothing is kept any more."""
        await self._emptied.wait()

    def close(self) -> None:
        """Give up what is kept; it is counted in ``backlog`` still."""
        self.drops.tell()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _try(self, message: Message) -> bool:
        if self._answer_by is not None and self._loop.time() < self._answer_by:
            return False
        try:
            self._transmit(message)
        except zmq.Again:
            # A send looks for new peers only now and then, a look at the events always does.
            if not events_of(self._socket) & zmq.POLLOUT:
                return False
            try:
                self._transmit(message)
            except zmq.Again:
                return False
        self.sent += 1
        if self._asks:
            self._answer_by = self._loop.time() + self.backlog.max_age_s
        return True

    def _transmit(self, message: Message) -> None:
        try:
            transmit(self._socket, message)
        except zmq.Again:
            raise
        except zmq.ZMQError as error:
            raise self._explained(error, message) from error

    def _explained(self, error: zmq.ZMQError, message: Message) -> Exception:
        name = f"queue '{self._name}'"
        match error.errno:
            case zmq.EFSM:
                return PipelineError(f"{name} cannot send now: {_STATES[self._kind]}")
            case zmq.EHOSTUNREACH:
                return Unavailable(f"{name} has no peer {message[0]!r}")
            case zmq.ENOTSUP:
                return PipelineError(f"{name} cannot send: it is a {self._kind} queue")
        return error

    def _set_timer(self) -> None:
        if self._timer is None:
            wait_s = min(HOLD_S, self.backlog.max_age_s) if self.is_held else self.backlog.max_age_s
            at = self.backlog.since + wait_s
            at = at if self._answer_by is None else min(at, self._answer_by)
            self._timer = self._loop.call_at(at, self._on_time)

    def _on_time(self) -> None:
        self._timer = None
        self._wake()
