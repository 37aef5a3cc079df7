"""Runs the parts that a front sends: the worker's side of a pool, whatever carries the frames."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar, copy_context
from time import perf_counter
from typing import Any, Final, Protocol

import structlog

from piped.engine.journey import journey
from piped.errors import DeadlineExceeded
from piped.spec import PipelineName
from piped.workers.crossing import Crossing
from piped.workers.errors import ChildDied, NotServed
from piped.workers.failures import failure_bytes
from piped.workers.frames import (
    SPOKEN,
    Answer,
    Back,
    Beat,
    Cancel,
    Died,
    Go,
    Hello,
    Started,
    ToFront,
    Work,
)
from piped.workers.line import Held, Line
from piped.workers.slate import Slate

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
        self.answered = self.failed = 0  # parts, so far
        self.lease_s = 0.5
        self._pipelines, self._crossing = pipelines, crossing
        self._concurrency, self._send, self._group = concurrency, send, group
        self._elsewhere = elsewhere
        self._loop = asyncio.get_running_loop()
        self._held: dict[tuple[bytes, int], Held] = {}
        self._line = Line(self._run_in_loop, send, flush)
        self._are_ready = True  # its pipelines, at the last look
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
        return self._line.stock(self._concurrency)

    @property
    def room(self) -> int:
        """How many more parts it can have now."""
        return max(0, self.capacity - len(self._held))

    @property
    def held(self) -> int:
        """How many parts it has."""
        return len(self._held)

    def hello(self, name: str, slate: int = -1) -> Hello:
        """Return what tells a front who this is, and where it may see what is run."""
        host = socket.gethostname()
        return Hello(SPOKEN, self.pool, name, os.getpid(), host, self.capacity, slate)

    def show(self, slate: Slate | None) -> None:
        """Write on a slate what is run, in place of saying it; None is none that the front sees."""
        self._line.slate = slate

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
                self._give_back((frame.id, frame.attempt))
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
        pipeline = self._pipelines.get(work.pipeline)
        if pipeline is not None and not pipeline.is_ready:  # another worker may be better off
            self._are_ready = False
            self._give_back(key)
            return
        held = self._held[key] = Held(work, pipeline, self._loop.time())
        self._idle.clear()
        if len(self._held) == 1:
            self._schedule_beat()
        held.is_lined = not (pipeline is None or self._elsewhere or pipeline.value.is_async)
        if held.may_run:
            self._begin(held)
        elif held.is_lined:
            self._line.ask(held)
        else:
            self._send(Started((key,)))

    def _begin(self, held: Held) -> None:
        if held.is_lined:
            self._line.append(held)
        else:
            held.task = self._group.create_task(self._run(held))

    def _cancel(self, held: Held) -> None:
        held.is_cancelled = True
        if held.task is not None:
            held.task.cancel()
        if not held.is_running:  # a task that has not begun never will
            self._drop(held)
            self._give_back(held.key)

    def _drop(self, held: Held) -> None:
        self._held.pop(held.key, None)
        self.has_room.set()
        if not self._held:
            self._idle.set()
        self._line.dropped(held)

    def _give_back(self, key: tuple[bytes, int]) -> None:
        self._send(Back(*key, self.capacity))

    def _answer(self, held: Held, took_s: float, is_good: bool, payload: bytes) -> Answer:
        self.answered += is_good
        self.failed += not is_good
        return Answer(*held.key, is_good, payload, self.capacity, took_s)

    def _run_in_loop(self, held: Held) -> None:
        held.is_running = True
        self._drop(held)
        if held.deadline > self._loop.time():
            self._send(self._answer_of(held))
        else:
            self._give_back(held.key)

    def _answer_of(self, held: Held) -> Answer:
        began = perf_counter()
        is_good, payload = copy_context().run(self._now_in_context, held)
        took_s = perf_counter() - began
        self._line.note(took_s)
        return self._answer(held, took_s, is_good, payload)

    def _now_in_context(self, held: Held) -> tuple[bool, bytes]:
        _enter(held.work)
        try:
            assert held.pipeline is not None
            value = self._crossing.decode(held.work.payload)
            return True, self._crossing.encode(list(held.pipeline.value.now(value)))
        except Exception as error:
            return False, failure_bytes(error)

    # Parts that run in tasks.

    async def _run(self, held: Held) -> None:
        work, began = held.work, perf_counter()
        frame: ToFront
        held.is_running = True
        limit = asyncio.timeout_at(held.deadline)

        def answer(is_good: bool, payload: bytes) -> Answer:
            return self._answer(held, perf_counter() - began, is_good, payload)

        try:
            if not work.must_ask:
                self._send(Started((held.key,)))
                await asyncio.sleep(0)  # so that it is on its way if the part kills this process
            async with limit:
                payload = await self._results(held)
            frame = answer(True, payload)
        except TimeoutError as error:
            late = DeadlineExceeded(f"'{work.pipeline}' did not end in time")
            frame = answer(False, failure_bytes(late if limit.expired() else error))
        except ChildDied:
            frame = Died(*held.key, self.capacity)
        except asyncio.CancelledError:
            frame = Back(*held.key, self.capacity)
            if not held.is_cancelled:
                raise
        except Exception as error:
            frame = answer(False, failure_bytes(error))
        finally:
            self._drop(held)
        self._send(frame)

    async def _results(self, held: Held) -> bytes:
        work = held.work
        if held.pipeline is None:
            raise NotServed(f"pool '{self.pool}' does not serve '{work.pipeline}'")
        _enter(work)
        if self._elsewhere is not None:
            return await self._elsewhere.run(work, held.pipeline.value)
        results: Awaitable[Any] = held.pipeline.value(self._crossing.decode(work.payload))
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
