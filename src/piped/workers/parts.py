"""Parts of work, the workers that hold them, and what is counted of both."""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from piped.errors import add_note
from piped.workers.slate import SlateReader

POISON_DEATHS: Final = 2
"""How many workers a part may kill before it is set aside."""

_RANDOM_BYTES: Final = 4096


class Ids:
    """Gives ids of 128 random bits, taken from the system many at a time."""

    __slots__ = ("_at", "_pool")

    def __init__(self) -> None:
        self._pool, self._at = b"", _RANDOM_BYTES

    def __call__(self) -> bytes:
        if self._at == _RANDOM_BYTES:
            self._pool, self._at = os.urandom(_RANDOM_BYTES), 0
        begin, self._at = self._at, self._at + 16
        return self._pool[begin : self._at]


class Caller(Protocol):
    """Whoever waits for a part; told once of each, and never after its cancellation."""

    def take(self, part: Part, results: list[Any]) -> None:
        """Be given the results of a part."""

    def fail(self, part: Part, error: Exception) -> None:
        """Be told why there are none."""


class PartFuture(asyncio.Future[list[Any]]):
    """The results of a part, as its caller awaits them; to cancel it is to end the part."""

    __slots__ = ("cancel_part", "part")

    cancel_part: Callable[[Part], object]
    part: Part

    def cancel(self, msg: Any = None) -> bool:
        is_cancelled = super().cancel(msg)
        if is_cancelled:
            self.cancel_part(self.part)
        return is_cancelled

    def take(self, _part: Part, results: list[Any]) -> None:
        if not self.done():
            self.set_result(results)

    def fail(self, _part: Part, error: Exception) -> None:
        if not self.done():
            self.set_exception(error)


class Gathered:
    """Parts that one caller waits for together: one future has the results of all, in their order.

    The first failure is that of the future, with notes about those that come before it is heard.
    The caller cancels what is left. Plain futures cost less than those that end a part themselves.
    """

    __slots__ = ("_cancel_part", "_left", "_results", "future", "parts")

    def __init__(
        self, future: asyncio.Future[list[list[Any]]], cancel_part: Callable[[Part], object]
    ) -> None:
        self.future = future
        self.parts: list[Part] = []
        self._cancel_part = cancel_part
        self._results: list[list[Any]] = []
        self._left = 0

    def add(self, part: Part) -> None:
        """Wait for one more part."""
        part.place = len(self.parts)
        self.parts.append(part)
        self._results.append([])
        self._left += 1

    def cancel(self) -> None:
        """End the parts that are left."""
        for part in self.parts:
            self._cancel_part(part)

    def take(self, part: Part, results: list[Any]) -> None:
        self._results[part.place] = results
        self._left -= 1
        if not self._left and not self.future.done():
            self.future.set_result(self._results)

    def fail(self, _part: Part, error: Exception) -> None:
        if not self.future.done():
            self.future.set_exception(error)
        elif not self.future.cancelled() and (first := self.future.exception()) is not None:
            add_note(first, f"another part failed too: {type(error).__name__}: {error}")


class Part:
    """One piece of work: a baton for a pipeline, and whoever waits for its results."""

    __slots__ = (
        *("attempt", "caller", "deadline", "deaths", "holder", "holders", "id", "is_closed"),
        *("is_started", "journey", "key", "lease_until", "mourned", "payload", "pipeline"),
        *("place", "sent_at", "since", "size", "starts"),
    )

    def __init__(
        self,
        id_: bytes,
        pipeline: str,
        payload: bytes,
        deadline: float,
        caller: Caller,
        since: float,
    ) -> None:
        self.id = id_
        self.pipeline = pipeline
        self.payload = payload
        self.size = len(payload)
        self.deadline = deadline
        self.caller: Caller | None = caller  # none once it is closed: no circle is left behind
        self.place = 0  # among those that its caller waits for
        self.key = ""
        self.journey = 0
        self.since = since  # when it was taken
        self.sent_at = 0.0
        self.lease_until = 0.0
        self.attempt = 0  # how often it was sent
        self.starts = 0  # how often a worker said that it runs
        self.deaths = 0  # of workers that ran it
        self.mourned = b""  # the address of the last of these, which may turn out to live
        self.is_started = False  # by its holder
        self.is_closed = False  # nobody waits for it any more
        self.holder: Peer | None = None
        self.holders: dict[int, bytes] = {}  # their addresses by attempt, past ones too

    def begin(self) -> None:
        """Note that the holder has begun with it."""
        if not self.is_started:
            self.is_started = True
            self.starts += 1

    def __repr__(self) -> str:
        return f"<Part {self.id.hex()[:8]} of '{self.pipeline}', attempt {self.attempt}>"


@dataclass(slots=True, eq=False)
class Peer:
    """A worker as the front sees it, from its Hello to its end."""

    address: bytes
    name: str
    pid: int = 0
    host: str = ""
    capacity: int = 1
    heard: float = 0.0
    is_suspect: bool = False  # not heard of when it should have been
    is_draining: bool = False
    holding: dict[bytes, Part] = field(default_factory=dict)
    leaked: dict[bytes, int] = field(default_factory=dict)  # taken back, by id; not heard of since
    line: tuple[tuple[bytes, int], ...] = ()  # what it runs one after the other
    slate: SlateReader | None = None  # on which it writes what it runs, where it can be read
    answered: int = 0
    failed: int = 0

    @property
    def running(self) -> Part | None:
        """The one that it runs now, of those that it runs one after the other."""
        for id_, attempt in self.line if self.slate is None else _written_on(self.slate):
            part = self.holding.get(id_)
            if part is not None and part.holders.get(attempt) == self.address:
                return part
        return None

    @property
    def has_room(self) -> bool:
        """Whether it can do more now."""
        if self.is_suspect or self.is_draining:
            return False
        return len(self.holding) + len(self.leaked) < self.capacity


def _written_on(slate: SlateReader) -> tuple[tuple[bytes, int], ...]:
    try:
        return (slate.running(),)
    except OSError:  # the worker has spoilt it
        return ()


@dataclass(frozen=True, slots=True)
class WorkerState:
    """A worker as people see it."""

    name: str
    pid: int
    host: str
    capacity: int
    in_flight: int
    is_suspect: bool
    answered: int
    failed: int
    last_heard_s: float


@dataclass(slots=True)
class Counters:
    """What has become of the parts of a pool, since it was opened."""

    submitted: int = 0
    answered: int = 0
    failed: int = 0
    expired: int = 0
    cancelled: int = 0
    refused: int = 0
    redelivered: int = 0
    delayed: int = 0
    late: int = 0
    double: int = 0
    forged: int = 0
    set_aside: int = 0
    garbled: int = 0
    wait_s: float = 0.0
    waits: int = 0
    run_s: float = 0.0
    runs: int = 0


class Budget:
    """How many parts may be tried again without a death: a share of those of the last minute."""

    __slots__ = ("_count", "_parts", "_retries", "_second")

    SHARE: Final = 0.1
    WINDOW_S: Final = 60.0

    def __init__(self) -> None:
        self._parts: deque[tuple[int, int]] = deque()  # past seconds, and how many came in each
        self._retries: deque[float] = deque()
        self._second, self._count = 0, 0  # this one

    def note_part(self, now: float) -> None:
        """Note that a part has come."""
        if now >= self._second + 1:
            self._parts.append((self._second, self._count))
            self._second, self._count = int(now), 0
            self._forget(now)
        self._count += 1

    def take(self, now: float, credits_: int) -> bool:
        """Take one retry out of the budget; tell whether there was one left."""
        self._forget(now)
        parts = self._count + sum(count for _, count in self._parts)
        allowed = max(self.SHARE * parts, 2 * credits_)
        if len(self._retries) >= allowed:
            return False
        self._retries.append(now)
        return True

    def _forget(self, now: float) -> None:
        begin = now - self.WINDOW_S
        while self._parts and self._parts[0][0] < begin:
            self._parts.popleft()
        while self._retries and self._retries[0] < begin:
            self._retries.popleft()
        if self._second < begin:
            self._count = 0
