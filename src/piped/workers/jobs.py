"""Jobs: work that is kept until it is done, and whose answer is another pipeline, later.

A job is begun at most ``attempts`` times. The count is on the disk before it begins, so that a job
that takes its process along does not do so for ever, and one of a pool with ``attempts: 1`` never
runs twice. What comes to no end is a dead letter.
"""

from __future__ import annotations

import asyncio
import random
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

import structlog

from piped.engine.journey import journey
from piped.errors import QueueFull
from piped.workers.crossing import Crossing, Format
from piped.workers.errors import PartSetAside
from piped.workers.failures import failure_of
from piped.workers.job_runner import Calls, JobCounters, JobRunner
from piped.workers.parts import Part
from piped.workers.store import Job, JobStore, NotStored, fail_if_unfit

POLL_S: Final = 1.0
"""How soon a job is noticed that another process has queued."""

MAX_KEEPING: Final = 100
"""How many parts that were set aside may be under way to the disk."""

log = structlog.get_logger("piped.jobs")


class Jobs:
    """The jobs of a pool: the oldest are run first, some at the same time.

    Args:
        front: Who does the work.
        store: What keeps the jobs; it is closed when they are run no more.
        call_pipeline: Runs a pipeline of this process, ``then``, with ``{key, pipeline, result}``.
        attempts: How often a job may be begun.
        concurrency: How many jobs run at the same time.
        format: How batons are kept.
        drain_s: How long what runs has to end when no more are to be run.
    """

    def __init__(
        self,
        front: Calls,
        store: JobStore,
        call_pipeline: Callable[[str, Any], Awaitable[object]],
        *,
        attempts: int = 3,
        concurrency: int = 64,
        format: Format = "json",  # noqa: A002 - as the document names it
        drain_s: float = 25.0,
        jitter: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self.counters = JobCounters()
        self._front, self._store = front, store
        self._concurrency, self._drain_s = concurrency, drain_s
        self._crossing = Crossing(format)
        self._runner = JobRunner(
            front=front,
            store=store,
            call_pipeline=call_pipeline,
            attempts=attempts,
            jitter=jitter,
            counters=self.counters,
        )
        self._running: dict[str, asyncio.Task[None]] = {}
        self._keeping: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        self._is_stopping = False
        self._is_readable = True
        self._group: asyncio.TaskGroup | None = None

    @property
    def running(self) -> int:
        """How many jobs run now."""
        return len(self._running)

    @asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        """Run the jobs while this is entered."""
        try:
            async with asyncio.TaskGroup() as self._group:
                taking = self._group.create_task(self._run_all(), name="take jobs")
                yield
                self._is_stopping = True
                self._wake.set()
                await taking
                await self._drain()
        finally:
            self._group = None
            await self._store.close()

    async def submit(self, pipeline: str, value: Any, *, key: str = "", then: str = "") -> str:
        """Queue a job, and return its key once it is on the disk; the same key twice is one job.

        Args:
            pipeline: What the pool runs.
            value: Its baton.
            key: The idempotency key; a random one if not given.
            then: The pipeline that gets the result.

        Raises:
            BatonError: The baton cannot cross or is too large, or the key is odd.
            QueueFull: There are as many jobs as there may be.
            NotStored: The disk refuses.
        """
        payload, kept_as = self._crossing.encode(value), self._crossing.format
        key = key or secrets.token_hex(16)
        job = Job(key, pipeline, kept_as, then, journey.get(), payload=payload)
        fail_if_unfit(job)
        try:
            is_new = await self._store.submit(job)
        except (QueueFull, NotStored):
            self.counters.refused += 1
            raise
        if is_new:
            self.counters.submitted += 1
            self._wake.set()
        else:
            self.counters.known += 1
        return key

    def set_aside(self, part: Part, cause: PartSetAside) -> None:
        """Keep a part that killed its workers, for people to look at; a job is buried anyway."""
        if part.key in self._running:
            return
        if self._group is None or self._is_stopping or len(self._keeping) >= MAX_KEEPING:
            self.counters.dropped += 1
            return
        job = Job(
            *(part.key, part.pipeline, self._crossing.format),
            journey=part.journey,
            attempts=1,
            payload=part.payload,
        )
        task = self._group.create_task(self._keep(job, cause), name=f"keep {job.key}")
        self._keeping.add(task)
        task.add_done_callback(self._keeping.discard)

    async def _keep(self, job: Job, cause: Exception) -> None:
        try:
            self.counters.dropped += await self._store.set_aside(job, failure_of(cause))
            self.counters.kept += 1
        except NotStored as error:
            self.counters.dropped += 1
            log.error("part not kept", pool=self._front.name, key=job.key, reason=str(error))

    async def _drain(self) -> None:
        """Wait for what runs; what does not end in time is begun again in the next life."""
        tasks = {*self._running.values(), *self._keeping}
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=self._drain_s)
            for task in late:
                task.cancel()

    async def _run_all(self) -> None:
        assert self._group is not None
        while not self._is_stopping:
            self._wake.clear()
            for job in await self._taken():
                task = self._group.create_task(self._run(job), name=f"job {job.key}")
                self._running[job.key] = task
            with suppress(TimeoutError):
                async with asyncio.timeout(POLL_S):
                    await self._wake.wait()

    async def _taken(self) -> list[Job]:
        """Return the jobs to begin now; without any worker they wait in their file."""
        room = self._concurrency - len(self._running)
        if room <= 0 or not self._front.is_served:
            return []
        try:
            found = await self._store.take(room)
        except NotStored as error:
            if self._is_readable:
                log.error("jobs not read", pool=self._front.name, reason=str(error))
            self._is_readable = False
            return []
        self._is_readable = True
        return found

    async def _run(self, job: Job) -> None:
        try:
            await self._runner.run(job)
        finally:
            del self._running[job.key]
            self._wake.set()
