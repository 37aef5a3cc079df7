"""The receiving side of a queue: bounded draining, of messages or of news about subscribers."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter

import zmq

from piped.providers.zmq.messages import receive
from piped.providers.zmq.poller import Poller
from piped.providers.zmq.slots import Slots
from piped.spec.turns import BUDGET_S


class Inbound:
    """Takes messages out of a socket and has them treated.

    It takes no more than can be treated now; the rest stays in the socket and, above its
    high-water mark, with the peer. ``on_message`` is called before each message is treated.
    """

    __slots__ = ("_batch", "_on_message", "_poller", "_slots", "_socket")

    def __init__(
        self,
        socket: zmq.Socket[bytes],
        slots: Slots,
        poller: Poller,
        batch: int,
        on_message: Callable[[], None],
    ) -> None:
        self._socket, self._slots, self._poller, self._batch = socket, slots, poller, batch
        self._on_message = on_message

    def drain(self) -> bool:
        """Treat what is there, within the budget; tell whether to go on in the next turn."""
        until = perf_counter() + BUDGET_S  # the clock of uvloop stands still during a turn
        for _ in range(self._batch):
            if not self._poller.is_running or not self._slots.has_room():
                return False
            try:
                message = receive(self._socket)
            except zmq.Again:
                return False
            self._on_message()
            self._slots.treat(message)
            if perf_counter() >= until:
                break
        return True


class Subscriptions:
    """Whether the peers of a publisher have subscribed to anything."""

    __slots__ = ("_on_change", "_socket", "_topics")

    def __init__(self, socket: zmq.Socket[bytes], on_change: Callable[[bool], None]) -> None:
        self._socket, self._on_change = socket, on_change
        self._topics = 0  # how many; XPUB tells of the first to want one, and of the last

    def drain(self) -> bool:
        """Take the news of the peers; tell whether there is more."""
        for _ in range(64):
            try:
                news = receive(self._socket)
            except zmq.Again:
                return False
            if isinstance(news, bytes) and news[:1] == b"\x01":
                self._topics += 1
            elif isinstance(news, bytes) and news[:1] == b"\x00":
                self._topics -= 1
            self._on_change(self._topics > 0)
        return True
