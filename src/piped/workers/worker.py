"""Runs the parts that a front sends: the worker's side of a pool, whatever carries the frames."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar, copy_context
from time import perf_counter as _now
from typing import Any, Final, Protocol

import structlog

from piped.engine.journey import journey
from piped.errors import DeadlineExceeded
from piped.spec import PipelineName
from piped.workers.crossing import Crossing
from piped.workers.errors import ChildDied, NotServed
from piped.workers.failures import failure_bytes
from piped.workers.frames import (
    Answer,
    Back,
    Beat,
    Cancel,
    Died,
    Go,
    Started,
    ToFront,
    Work,
)

TURN_S: Final = 0.001
"""How long parts may keep the event loop in one turn; one that takes longer has it for itself."""

AHEAD_S: Final = 0.005
"""How much work a worker that does one part after the other may have in stock."""

MAX_GROUP: Final = 64

HEARTBEAT_S: Final = 1.0

log = structlog.get_logger("piped.workers")

idempotency_key: Final[ContextVar[str]] = ContextVar("idempotency_key", default="")
"""The key of the part that is being run, the same in each attempt; '' outside of parts."""


class Elsewhere(Protocol):
    """What runs parts outside of the event loop."""

    @property
    def stuck(self) -> int:
        """How many places are taken by parts that were given up, and run on."""

    async def run(self, work: Work, pipeline: Any) -> bytes:
        """Run a part and return its results, encoded.

        Raises:
            ChildDied: What ran it is dead.
        """


class Held:
    """A part that this worker has."""

    __slots__ = (
        *("deadline", "is_cancelled", "is_lined", "is_running", "key", "may_run", "task", "work"),
    )

    def __init__(self, work: Work, now: float) -> None:
        self.work = work
        self.key = (work.id, work.attempt)
        self.is_lined = False  # it runs in the loop, one after the other
        self.deadline = now + work.left_s
        self.may_run = not work.must_ask
        self.is_running = False
        self.is_cancelled = False
        self.task: asyncio.Task[None] | None = None


class Worker:
    """Has parts, runs no more of them than it can, and tells the front what becomes of them.

    A pipeline that never waits is run in the loop, one part after the other; one that does, in a
    task of its own; and all of them ``elsewhere`` where the pool says so.
    """

    def __init__(
        self,
        pool: str,
        pipelines: Mapping[str, PipelineName],
        crossing: Crossing,
        concurrency: int,
        send: Callable[[ToFront], object],
        flush: Callable[[], object],
        group: asyncio.TaskGroup,
        elsewhere: Elsewhere | None = None,
    ) -> None:
        self.pool = pool
        self.lease_s = 0.5
        self._pipelines, self._crossing = pipelines, crossing
        self._concurrency, self._send, self._group = concurrency, send, group
        self._elsewhere = elsewhere
        self._loop = asyncio.get_running_loop()
        self._held: dict[tuple[bytes, int], Held] = {}
        self._flush = flush
        self._line: deque[Held] = deque()  # of those that run in the loop
        self._told: deque[Held] = deque()  # of these, what the front knows to run
        self._to_ask: deque[Held] = deque()
        self._asked: Held | None = None
        self._is_scheduled = False
        self._are_ready = True  # its pipelines, at the last look
        self._mean_s = 0.0  # what a part takes that runs in the loop
        self._beat: asyncio.TimerHandle | None = None
        self._idle = asyncio.Event()
        self._idle.set()
        self.has_room = asyncio.Event()  # set whenever there may be more room than before

    @property
    def capacity(self) -> int:
        """How many parts it can have now."""
        if not self._are_ready:
            return 0
        if self._elsewhere is not None:
            return max(0, self._concurrency - self._elsewhere.stuck)
        if self._mean_s * self._concurrency <= AHEAD_S:
            return self._concurrency
        return max(1, int(AHEAD_S / self._mean_s))

    @property
    def room(self) -> int:
        """How many more parts it can have now."""
        return max(0, self.capacity - len(self._held))

    @property
    def held(self) -> int:
        """How many parts it has."""
        return len(self._held)

    def start(self) -> None:
        """Begin to beat."""
        self._schedule_beat()

    def receive(self, frame: Work | Go | Cancel) -> None:
        """Act on what the front says of a part."""
        if isinstance(frame, Work):
            self._take(frame)
            return
        held = self._held.get((frame.id, frame.attempt))
        if isinstance(frame, Cancel):
            if held is None:  # it was lost, or its answer was: the front may count on its place
                self._send(Back(frame.id, frame.attempt, self.capacity))
            else:
                self._cancel(held)
        elif held is not None and not held.may_run:
            held.may_run = True
            self._begin(held)

    async def finished(self) -> None:
        """Wait until it has no part any more."""
        await self._idle.wait()

    def abandon(self) -> None:
        """Give up all parts: nobody waits for them."""
        for held in list(self._held.values()):
            self._cancel(held)

    def close(self) -> None:
        """Beat no more, and give up what is left."""
        if self._beat is not None:
            self._beat.cancel()
            self._beat = None
        self.abandon()

    def _take(self, work: Work) -> None:
        key = (work.id, work.attempt)
        if key in self._held:
            return
        name = self._pipelines.get(work.pipeline)
        if name is not None and not name.is_ready:  # another worker may be better off
            self._are_ready = False
            self._send(Back(work.id, work.attempt, self.capacity))
            return
        held = self._held[key] = Held(work, self._loop.time())
        self._idle.clear()
        if len(self._held) == 1:
            self._schedule_beat()
        held.is_lined = not (name is None or self._elsewhere or name.value.is_async)
        if held.may_run:
            self._begin(held)
        elif held.is_lined:  # one of these at a time: none shall be blamed for another one
            self._to_ask.append(held)
            self._ask_next()
        else:
            self._send(Started((key,)))

    def _ask_next(self) -> None:
        while self._asked is None and self._to_ask:
            held = self._to_ask.popleft()
            if not held.is_cancelled:
                self._asked = held
                self._send(Started((held.key,)))

    def _begin(self, held: Held) -> None:
        if not held.is_lined:
            name = self._pipelines.get(held.work.pipeline)
            held.task = self._group.create_task(self._run(held, name))
        elif held.work.must_ask:
            self._loop.call_soon(self._run_alone, held)
        else:
            self._line.append(held)
            self._schedule()

    def _cancel(self, held: Held) -> None:
        held.is_cancelled = True
        if held.task is not None:
            held.task.cancel()
        if not held.is_running:  # a task that has not begun never will
            self._drop(held)
            self._send(Back(held.work.id, held.work.attempt, self.capacity))

    def _drop(self, held: Held) -> None:
        self._held.pop(held.key, None)
        self.has_room.set()
        if not self._held:
            self._idle.set()
        if held is self._asked:
            self._asked = None
            self._ask_next()

    # Parts that run in the loop, one after the other.

    def _schedule(self) -> None:
        if not self._is_scheduled:
            self._is_scheduled = True
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        """Run what was said to run, and say what runs in the next turn."""
        self._is_scheduled = False
        group, self._told = self._told or self._tell_next(), deque()
        if not group:
            return
        self._flush()
        until = _now() + TURN_S
        while group and _now() < until:
            held = group.popleft()
            if not held.is_cancelled:
                self._run_in_loop(held)
        self._told = group or self._tell_next()
        self._flush()
        if self._told or self._line:
            self._schedule()

    def _tell_next(self) -> deque[Held]:
        """Take as many parts as may be done in a turn, and say that they run."""
        group: deque[Held] = deque()
        most = max(1, min(int(TURN_S / self._mean_s), MAX_GROUP)) if self._mean_s else 1
        while self._line and len(group) < most:
            held = self._line.popleft()
            if not held.is_cancelled:
                group.append(held)
        if group:
            self._send(Started(tuple(held.key for held in group)))
        return group

    def _run_alone(self, held: Held) -> None:
        if not held.is_cancelled:
            self._run_in_loop(held)

    def _run_in_loop(self, held: Held) -> None:
        held.is_running = True
        self._drop(held)
        if held.deadline > self._loop.time():
            self._send(self._answer_of(held))
        else:
            self._send(Back(held.work.id, held.work.attempt, self.capacity))

    def _answer_of(self, held: Held) -> Answer:
        began = _now()
        is_good, payload = copy_context().run(self._now_in_context, held.work)
        took_s = _now() - began
        self._mean_s += (took_s - self._mean_s) / 8 if self._mean_s else took_s
        return Answer(held.work.id, held.work.attempt, is_good, payload, self.capacity, took_s)

    def _now_in_context(self, work: Work) -> tuple[bool, bytes]:
        _enter(work)
        try:
            pipeline = self._pipelines[work.pipeline].value
            value = self._crossing.decode(work.payload)
            return True, self._crossing.encode(list(pipeline.now(value)))
        except Exception as error:
            return False, failure_bytes(error)

    # Parts that run in tasks.

    async def _run(self, held: Held, name: PipelineName | None) -> None:
        work, began = held.work, _now()
        frame: ToFront
        held.is_running = True
        limit = asyncio.timeout_at(held.deadline)
        try:
            if not work.must_ask:
                self._send(Started((held.key,)))
                await asyncio.sleep(0)  # so that it is on its way if the part kills this process
            async with limit:
                payload = await self._results(held, name)
            frame = self._answer(work, began, True, payload)
        except TimeoutError as error:
            late = DeadlineExceeded(f"'{work.pipeline}' did not end in time")
            told = failure_bytes(late if limit.expired() else error)
            frame = self._answer(work, began, False, told)
        except ChildDied:
            frame = Died(work.id, work.attempt, self.capacity)
        except asyncio.CancelledError:
            frame = Back(work.id, work.attempt, self.capacity)
            if not held.is_cancelled:
                raise
        except Exception as error:
            frame = self._answer(work, began, False, failure_bytes(error))
        finally:
            self._drop(held)
        self._send(frame)

    def _answer(self, work: Work, began: float, is_good: bool, payload: bytes) -> Answer:
        return Answer(work.id, work.attempt, is_good, payload, self.capacity, _now() - began)

    async def _results(self, held: Held, name: PipelineName | None) -> bytes:
        work = held.work
        if name is None:
            raise NotServed(f"pool '{self.pool}' does not serve '{work.pipeline}'")
        _enter(work)
        if self._elsewhere is not None:
            return await self._elsewhere.run(work, name.value)
        results: Awaitable[Any] = name.value(self._crossing.decode(work.payload))
        return self._crossing.encode(list(await results))

    # Signs of life.

    def _forget_unanswered(self) -> None:
        """Give back the parts that were asked for until their time was over."""
        now = self._loop.time()
        for held in [each for each in self._held.values() if not each.may_run]:
            if held.deadline <= now:
                self._cancel(held)

    def _schedule_beat(self) -> None:
        if self._beat is not None:
            self._beat.cancel()
        delay_s = min(self.lease_s / 4, HEARTBEAT_S) if self._held else HEARTBEAT_S
        self._beat = self._loop.call_later(delay_s, self._on_beat)

    def _on_beat(self) -> None:
        self._are_ready = all(name.is_ready for name in self._pipelines.values())
        self._forget_unanswered()
        self._send(Beat(tuple(self._held), self.capacity))
        self._schedule_beat()


def _enter(work: Work) -> None:
    """Begin the journey of a part, in a context of its own."""
    journey.set(work.journey)
    idempotency_key.set(work.key)
