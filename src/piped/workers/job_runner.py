"""Runs one job of a pool, and writes down what has become of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

import structlog

from piped.engine.journey import journey, new_journey
from piped.errors import QueueFull
from piped.workers.crossing import Crossing
from piped.workers.errors import AttemptsUsed, NeverRan, NoWorkers, PartSetAside, RemoteError
from piped.workers.failures import failure_of
from piped.workers.store import Job, JobStore, NotStored

FIRST_S: Final = 1.0
LONGEST_S: Final = 300.0

UNTRIED: Final = (NeverRan, NoWorkers, QueueFull)
FINAL: Final = (AttemptsUsed, PartSetAside)

log = structlog.get_logger("piped.jobs")


class Calls(Protocol):
    """What does the work: the front of a pool."""

    @property
    def name(self) -> str: ...
    @property
    def is_served(self) -> bool: ...

    def call(self, pipeline: str, value: Any, *, key: str) -> asyncio.Future[list[Any]]:
        """Send a part to the workers; see ``Front``."""


@dataclass(slots=True)
class JobCounters:
    """What has become of the jobs of a pool, since it was opened."""

    submitted: int = 0
    known: int = 0  # submitted again with the same key
    refused: int = 0
    done: int = 0
    failed: int = 0  # and tried again
    delayed: int = 0  # not begun by any worker, and tried again
    buried: int = 0
    kept: int = 0  # parts set aside
    dropped: int = 0  # parts set aside that there was no place for


@dataclass(slots=True, kw_only=True)
class JobRunner:
    """See ``Jobs``, whose arguments these are."""

    front: Calls
    store: JobStore
    call_pipeline: Callable[[str, Any], Awaitable[object]]
    attempts: int
    jitter: Callable[[float, float], float]
    counters: JobCounters

    async def run(self, job: Job) -> None:
        """Bring a job that was begun to its end, or to its next attempt."""
        journey.set(job.journey or new_journey())
        if job.attempts > self.attempts:
            times = "once" if self.attempts == 1 else f"{self.attempts} times"
            error = AttemptsUsed(f"begun {times}, and never came to its end")
            await self._bury(replace(job, attempts=self.attempts), error)
            return
        try:
            value = Crossing(job.format).decode(job.payload)
            results = await self.front.call(job.pipeline, value, key=job.key)
        except Exception as error:
            await self._treat(job, error)
            return
        try:
            if job.then:
                result = results[-1] if results else None
                answer = {"key": job.key, "pipeline": job.pipeline, "result": result}
                await self.call_pipeline(job.then, answer)
        except Exception as error:
            await self._again(job, error)
            return
        await self._insist(job, lambda: self.store.done(job.key))
        self.counters.done += 1

    async def _treat(self, job: Job, error: Exception) -> None:
        """Treat a failure of the pool, or of the pipeline in it."""
        is_ours = not isinstance(error.__cause__, RemoteError)
        if is_ours and isinstance(error, UNTRIED):
            self.counters.delayed += 1
            wait_s = self._back_off(job.attempts)
            await self._insist(job, lambda: self.store.later(job.key, wait_s))
        elif is_ours and isinstance(error, FINAL):
            await self._bury(job, error)
        else:
            await self._again(job, error)

    async def _again(self, job: Job, error: Exception) -> None:
        if job.attempts >= self.attempts:
            await self._bury(job, error)
            return
        self.counters.failed += 1
        wait_s = self._back_off(job.attempts)
        log.warning("job failed", **self._facts(job, error), again_in_s=round(wait_s, 3))
        await self._insist(job, lambda: self.store.failed(job.key, failure_of(error), wait_s))

    async def _bury(self, job: Job, error: Exception) -> None:
        self.counters.buried += 1
        log.error("job is dead", **self._facts(job, error))
        await self._insist(job, lambda: self.store.bury(job, failure_of(error)))

    async def _insist(self, job: Job, write: Callable[[], Awaitable[None]]) -> None:
        """Write what has become of a job as soon as the disk takes it; until then it has a slot."""
        tries = 0
        while True:
            try:
                return await write()
            except NotStored as error:
                tries += 1
                if tries == 1:
                    log.error("job not written", **self._facts(job, error))
                await asyncio.sleep(self._back_off(tries))

    def _back_off(self, tries: int) -> float:
        """Return how long to wait after so many tries: 1 s, doubling to 5 min, up to half less."""
        longest_s = min(FIRST_S * 2 ** min(tries - 1, 30), LONGEST_S)
        return self.jitter(longest_s / 2, longest_s)

    def _facts(self, job: Job, error: Exception) -> dict[str, Any]:
        return {
            "pool": self.front.name,
            "key": job.key,
            "pipeline": job.pipeline,
            "attempts": job.attempts,
            "reason": f"{type(error).__name__}: {error}",
        }
