"""The books of a pool's front: each part that is taken in comes to exactly one end.

The rules that hold whatever carries the parts; nothing here opens or waits:

* The first answer of any worker that holds or held a part ends it; others are counted and dropped.
* What is past its deadline, or cancelled, is ended, and its worker is told.
* There are no more parts than the document allows.

Which worker gets a part, and what becomes of it when that worker is silent, is for the kinds of
ledgers to say: see ``dispatcher.py``, and ``nats/ledger.py``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

import structlog

from piped.engine.journey import journey
from piped.errors import DeadlineExceeded, QueueFull
from piped.workers.closed import Closed
from piped.workers.errors import AttemptsUsed, NeverRan, NoWorkers, PartSetAside
from piped.workers.frames import (
    Answer,
    Back,
    Beat,
    Cancel,
    Died,
    Drain,
    Drained,
    Hello,
    Refusal,
    Started,
    ToFront,
    ToWorker,
    Welcome,
    Who,
    common_version,
)
from piped.workers.parts import Counters, Gathered, Ids, Part, PartFuture, Peer

MISSED_S: Final = 3.0
"""How long an idle worker may be silent; it says something every second."""

SHORTEST_TICK_S: Final = 0.005
LONGEST_TICK_S: Final = 0.025

log = structlog.get_logger("piped.workers")


class Rules(Protocol):
    """What the document says of a pool."""

    @property
    def lease(self) -> float: ...
    @property
    def attempts(self) -> int: ...
    @property
    def max_pending(self) -> int: ...
    @property
    def max_pending_bytes(self) -> int: ...
    @property
    def when_empty(self) -> str: ...
    @property
    def format(self) -> str: ...


class Link(Protocol):
    """What carries frames to workers."""

    def send(self, address: bytes, frame: ToWorker) -> None:
        """Send a frame soon; the dispatcher is told if nobody is at that address any more."""


class Ledger:
    """What a front knows of its parts and workers.

    ``take_results`` gets an answer's bytes and the worker's name, and returns what the caller gets;
    ``on_set_aside`` is told of each part that has killed too many workers.
    """

    def __init__(
        self,
        name: str,
        rules: Rules,
        link: Link,
        take_results: Callable[[Answer, str], list[Any]],
        on_set_aside: Callable[[Part, PartSetAside], object],
    ) -> None:
        self.name = name
        self.counters = Counters()
        self.peers: dict[bytes, Peer] = {}
        self.pending = 0  # parts that somebody waits for
        self.pending_bytes = 0
        self._rules, self._link = rules, link
        self._take_results, self._on_set_aside = take_results, on_set_aside
        self._loop = asyncio.get_running_loop()
        self._new_id = Ids()
        self._life = self._new_id()
        self._open: dict[bytes, Part] = {}
        self._closed = Closed()
        self._tick_s = min(max(rules.lease / 8, SHORTEST_TICK_S), LONGEST_TICK_S)
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0

    @property
    def depth(self) -> int:
        """How many parts wait for a worker."""
        return self.pending - self.in_flight

    @property
    def in_flight(self) -> int:
        """How many parts are with workers."""
        return sum(part.holder is not None for part in self._open.values())

    @property
    def is_served(self) -> bool:
        """Whether there is a worker that is alive, as far as is known."""
        return any(not (peer.is_suspect or peer.is_draining) for peer in self.peers.values())

    # What callers do.

    def submit(self, pipeline: str, payload: bytes, deadline_s: float, key: str = "") -> PartFuture:
        """Take a part; the future gives its results.

        Raises:
            NoWorkers: There is no worker, and the document says that this is an end.
            QueueFull: There are as many parts as the document allows.
        """
        now = self._admit(1, len(payload))
        future = PartFuture(loop=self._loop)
        future.cancel_part = self._cancel
        future.part = part = Part(self._new_id(), pipeline, payload, now + deadline_s, future, now)
        part.journey, part.key = journey.get(), key or part.id.hex()
        self._take(part, now)
        return future

    def submit_all(self, calls: Sequence[tuple[str, bytes]], deadline_s: float) -> Gathered:
        """Take parts, or none of them: pipelines and payloads; one future gives all their results.

        Raises:
            NoWorkers, QueueFull: As with ``submit``.
        """
        now = self._admit(len(calls), sum(len(payload) for _, payload in calls))
        gathered = Gathered(self._loop.create_future(), self._cancel)
        for_journey, deadline = journey.get(), now + deadline_s
        for pipeline, payload in calls:
            part = Part(self._new_id(), pipeline, payload, deadline, gathered, now)
            part.journey, part.key = for_journey, part.id.hex()
            gathered.add(part)
        for part in gathered.parts:
            self._take(part, now)
        return gathered

    def _admit(self, count: int, size: int) -> float:
        """Return what time it is, if there is a place for some parts."""
        rules, counters = self._rules, self.counters
        pending_bytes = self.pending_bytes + size
        if self.pending + count > rules.max_pending or pending_bytes > rules.max_pending_bytes:
            counters.refused += count
            waiting = f"{self.pending} parts ({self.pending_bytes} bytes) wait in it"
            raise QueueFull(f"pool '{self.name}' is full: {waiting}")
        if rules.when_empty == "fail" and not self.is_served:
            counters.refused += count
            raise NoWorkers(f"pool '{self.name}' has no worker")
        now = self._loop.time()
        if self._timer is None or self._due > now + self._tick_s:  # it was idle until now
            self._arm(self._tick_s)
        return now

    def _take(self, part: Part, now: float) -> None:
        self.counters.submitted += 1
        self.pending += 1
        self.pending_bytes += part.size
        self._open[part.id] = part
        self._place(part, now)

    def _cancel(self, part: Part) -> None:
        if not part.is_closed:
            self.counters.cancelled += 1
            self._close(part)

    # What workers say.

    def receive(self, address: bytes, *frames: ToFront) -> None:
        """Act on what a worker says, and give parts to it once all of that is known."""
        peer = self.peers.get(address)
        if peer is not None:
            self._heard(peer)
        for frame in frames:
            if peer is None or isinstance(frame, Hello):
                self._hear_stranger(address, frame)
                peer = self.peers.get(address)
            elif isinstance(frame, Answer):
                self._answered(peer, frame)
            else:
                self._hear(peer, frame)
        if peer is not None:
            self._update(peer)
        self._pump()

    def _heard(self, peer: Peer) -> None:
        peer.heard = self._loop.time()
        if peer.is_suspect:
            peer.is_suspect = False
            log.info("worker is back", pool=self.name, worker=peer.name)

    def _hear_stranger(self, address: bytes, frame: ToFront) -> None:
        if isinstance(frame, Hello):
            self._welcome(address, frame)
            return
        self._link.send(address, Who())  # perhaps it is one that we had given up
        if isinstance(frame, Answer) and self._is_wanted(address, frame):
            self._end(self._open[frame.id], None, frame)

    def _hear(self, peer: Peer, frame: ToFront) -> None:
        if isinstance(frame, Started):
            self._started(peer, frame)
        elif isinstance(frame, Beat):
            self._beat(peer, frame)
        elif isinstance(frame, Back | Died):
            self._given_back(peer, frame)
        elif isinstance(frame, Drain):
            peer.is_draining = True
            self._link.send(peer.address, Drained())

    def garbled(self, address: bytes, error: Exception) -> None:
        """Be told of a frame that could not be read."""
        self.counters.garbled += 1
        peer = self.peers.get(address)
        worker = peer.name if peer else "unknown"
        log.warning("bad frame dropped", pool=self.name, worker=worker, reason=str(error))

    def _welcome(self, address: bytes, hello: Hello) -> None:
        version = common_version(hello.versions)
        if version is None or hello.pool != self.name:
            what = f"the pool is '{self.name}', not '{hello.pool}'"
            if version is None:
                what = f"it speaks versions {list(hello.versions)}, and none of them is ours"
            log.error("worker refused", pool=self.name, worker=hello.name, reason=what)
            self._link.send(address, Refusal(what))
            return
        known = self.peers.get(address)
        peer = known or self._new_peer(address, hello)
        rules, sees_slate = self._rules, peer.slate is not None
        welcome = Welcome(version, self._life, rules.lease, rules.format, sees_slate)
        self._link.send(address, welcome)
        if known is not None:  # it has not heard yet that it is welcome, or only says that it lives
            known.capacity = hello.capacity
            return
        peer.heard = self._loop.time()
        self.peers[address] = peer
        for part in self._open.values():
            if part.mourned == address:  # it was cut off, and nobody has died
                part.mourned, part.deaths = b"", part.deaths - 1
        if peer.pid:  # else it is in this process
            log.info("worker came", pool=self.name, worker=peer.name, pid=peer.pid)
        if self._timer is None:
            self._arm(self._tick_s)

    def _answered(self, peer: Peer, answer: Answer) -> None:
        peer.capacity = answer.capacity
        if peer.leaked and peer.leaked.get(answer.id) == answer.attempt:
            del peer.leaked[answer.id]
        held = peer.holding.get(answer.id)
        if held is not None and held.attempt == answer.attempt:
            del peer.holding[answer.id]
            if not held.is_closed:
                self._end(held, peer, answer)
                return
        if self._is_wanted(peer.address, answer):
            self._end(self._open[answer.id], peer, answer)

    def _is_wanted(self, address: bytes, answer: Answer) -> bool:
        """Tell whether an answer is the first of one that holds or held its part; else count it."""
        part = self._open.get(answer.id)
        if part is not None and part.holders.get(answer.attempt) == address:
            return True
        kind = "forged" if part else self._closed.kind_of(answer.id, answer.attempt, address)
        setattr(self.counters, kind, getattr(self.counters, kind) + 1)
        return False

    def _end(self, part: Part, peer: Peer | None, answer: Answer) -> None:
        counters = self.counters
        counters.run_s += answer.run_s
        counters.runs += 1
        caller = part.caller
        self._close(part, is_answered=True)
        try:
            results = self._take_results(answer, peer.name if peer else "one that was lost")
        except Exception as error:
            counters.failed += 1
            if peer is not None:
                peer.failed += 1
            if caller is not None:
                caller.fail(part, error)
            return
        counters.answered += 1
        if peer is not None:
            peer.answered += 1
        if caller is not None:
            caller.take(part, results)

    # What the kinds of ledgers do.

    def _new_peer(self, address: bytes, hello: Hello) -> Peer:
        """Return a worker that has introduced itself."""
        return Peer(address, hello.name, hello.pid, hello.host, hello.capacity)

    def _place(self, part: Part, now: float) -> None:
        """Have a new part done."""
        raise NotImplementedError

    def _started(self, peer: Peer, frame: Started) -> None:
        """Act on what a worker says of parts that it runs, or asks for."""
        raise NotImplementedError

    def _beat(self, peer: Peer, beat: Beat) -> None:
        """Act on what a worker says of the parts that it has."""

    def _given_back(self, peer: Peer, frame: Back | Died) -> None:
        """Act on a part that a worker has not come to the end of."""
        raise NotImplementedError

    def lost(self, address: bytes, reason: str) -> None:
        """Be told that a worker is no more."""
        raise NotImplementedError

    def _look_at(self, peer: Peer, now: float, late_s: float) -> None:
        """See whether a worker has been silent for too long."""
        raise NotImplementedError

    def _update(self, peer: Peer) -> None:
        """Note what has changed of a worker."""

    def _pump(self) -> None:
        """Give waiting parts to workers with room."""

    # What becomes of parts.

    def _must_ask(self, part: Part) -> bool:
        """Tell whether a worker may run a part only after it has asked.

        It may have killed one; or it must not run twice, whatever is lost on the way.
        """
        return self._rules.attempts == 1 or part.attempt > 1

    def _give(self, part: Part, peer: Peer, attempt: int, now: float) -> None:
        """Note that a worker has a part from now on."""
        part.holder, part.attempt, part.is_started = peer, attempt, False
        part.holders[attempt] = peer.address
        peer.holding[part.id] = part
        if attempt == 1:
            self.counters.waits += 1
            self.counters.wait_s += now - part.since
        else:
            self.counters.redelivered += 1

    def _release(self, part: Part) -> None:
        """Take a part from its holder, who may still answer it."""
        part.holder = None

    def _attempts_used(self, part: Part) -> AttemptsUsed:
        times = "once" if part.starts == 1 else f"{part.starts} times"
        return AttemptsUsed(
            f"pool '{self.name}' has tried '{part.pipeline}' {times}, and no worker came to its end"
        )

    def _set_aside(self, part: Part) -> None:
        self.counters.set_aside += 1
        error = PartSetAside(
            f"a part for '{part.pipeline}' was set aside by pool '{self.name}':"
            f" {part.deaths} workers died of it"
        )
        log.error("part set aside", pool=self.name, pipeline=part.pipeline, key=part.key)
        try:
            self._on_set_aside(part, error)
        finally:
            self._fail(part, error)

    def _fail(self, part: Part, error: Exception) -> None:
        caller = part.caller
        self._close(part)
        if caller is not None:
            caller.fail(part, error)

    def _close(self, part: Part, *, is_answered: bool = False) -> None:
        part.is_closed = True
        self._open.pop(part.id, None)
        self.pending -= 1
        self.pending_bytes -= part.size
        holder = part.holder
        if holder is not None and part.id in holder.holding:  # it works for nothing
            self._link.send(holder.address, Cancel(part.id, part.attempt))
        part.payload = b""
        part.caller = None
        self._closed.add(part, is_answered=is_answered)

    def _expire(self, part: Part) -> None:
        if part.starts >= self._rules.attempts and part.holder is None:
            error: Exception = self._attempts_used(part)
        elif part.starts or part.attempt:
            error = DeadlineExceeded(f"pool '{self.name}': no answer of '{part.pipeline}' in time")
        else:
            why = "all its workers are busy" if self.is_served else "it has no worker"
            error = NeverRan(f"pool '{self.name}': '{part.pipeline}' never ran: {why}")
        self.counters.expired += 1
        self._fail(part, error)

    # What time does.

    def _arm(self, delay_s: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._due = self._loop.time() + delay_s
        self._timer = self._loop.call_at(self._due, self._tick)

    def _tick(self) -> None:
        now = self._loop.time()
        self._timer = None
        late_s = now - self._due
        try:
            self.sweep(now, late_s if late_s > self._tick_s else 0.0)
        finally:
            self._arm_again()

    def _arm_again(self) -> None:
        if self._open or any(peer.holding for peer in self.peers.values()):
            self._arm(self._tick_s)
        elif self.peers:
            self._arm(1.0)

    def sweep(self, now: float, late_s: float = 0.0) -> None:
        """End what is past its deadline, and take back what is past its lease.

        Args:
            now: The time of the loop.
            late_s: How long we were away ourselves: what the workers said meanwhile is not read.
        """
        for part in [each for each in self._open.values() if each.deadline <= now]:
            self._expire(part)
        for peer in list(self.peers.values()):
            peer.heard += late_s
            self._look_at(peer, now, late_s)
        self._closed.forget(now)

    def close(self, error: Exception) -> None:
        """End all parts that are left."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for part in list(self._open.values()):
            self.counters.failed += 1
            self._fail(part, error)
