"""Where the jobs and the dead letters of a pool are kept.

Where NATS carries its parts, that is JetStream; else an SQLite file beside the document, where its
front is: ``.piped/jobs/<pool>.sqlite``. That holds payloads as they are, which may be personal:
only its owner can read it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar
from urllib.parse import quote

from piped.errors import BatonError, unwrapped
from piped.spec import Provider
from piped.workers.failures import Failure
from piped.workers.job_database import NotStored
from piped.workers.job_file import (
    REMEMBERED,
    REMEMBERED_S,
    Job,
    JobFile,
    Letter,
    Limits,
    UnknownLetter,
)

__all__ = [
    "REMEMBERED",
    "REMEMBERED_S",
    "FileStore",
    "Job",
    "JobStore",
    "Letter",
    "Limits",
    "NotStored",
    "UnknownLetter",
    "fail_if_unfit",
    "open_dead_letters",
    "path_of",
]

MAX_PAYLOAD: Final = 4 << 20
MAX_KEY: Final = 256

T = TypeVar("T")


class Kept(Protocol):
    """What must be known of a pool to find what it keeps."""

    @property
    def name(self) -> str: ...
    @property
    def folder(self) -> str: ...


class JobStore(Protocol):
    """Keeps jobs until they are done, and those that are dead.

    Everything may raise NotStored, where the disk or the server refuses: nothing was changed then.
    """

    async def submit(self, job: Job) -> bool:
        """Keep a job; tell whether its key is new. It is on the disk then.

        Raises:
            QueueFull: There are as many jobs as there may be.
        """

    async def take(self, count: int) -> list[Job]:
        """Return the oldest jobs that are due, begun: each has one attempt more.

        None of them is with another process that takes jobs, too.
        """

    async def done(self, key: str) -> None:
        """Forget a job, and remember its key for a day."""

    async def failed(self, key: str, failure: Failure, again_in_s: float) -> None:
        """Queue a job again that has failed."""

    async def later(self, key: str, again_in_s: float) -> None:
        """Queue a job again that no worker has begun: the attempt does not count."""

    async def bury(self, job: Job, failure: Failure) -> None:
        """Make a job a dead letter, of so many attempts as it says."""

    async def set_aside(self, job: Job, failure: Failure) -> int:
        """Keep a part that killed its workers; return how many older ones were dropped for it."""

    async def dead(self) -> list[Letter]:
        """Return the dead letters, the oldest first, without their payloads."""

    async def show(self, key: str) -> Letter:
        """Return a dead letter, or raise UnknownLetter."""

    async def requeue(self, keys: Sequence[str] | None) -> int:
        """Make jobs of dead letters, as if they were new; return of how many.

        Args:
            keys: Of all or none of these; of every one if None.

        Raises:
            UnknownLetter: One of them is unknown.
        """

    async def drop(self, keys: Sequence[str] | None) -> int:
        """Forget dead letters (see ``requeue``): their keys are unknown again."""

    async def close(self) -> None:
        """Let go of it: what was taken and is not done, others may begin again."""


class FileStore:
    """A ``JobStore`` in a ``JobFile``, used in one thread: the event loop never waits for the disk.

    Of the processes that share the file, one takes the jobs.
    """

    def __init__(self, path: Path, limits: Limits | None = None) -> None:
        self._file = JobFile(path, limits)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="jobs")

    async def submit(self, job: Job) -> bool:
        return await self._in_thread(self._file.submit, job)

    async def take(self, count: int) -> list[Job]:
        return await self._in_thread(self._file.take, count, _now())

    async def done(self, key: str) -> None:
        await self._in_thread(self._file.done, key)

    async def failed(self, key: str, failure: Failure, again_in_s: float) -> None:
        await self._in_thread(self._file.failed, key, failure, _now() + again_in_s)

    async def later(self, key: str, again_in_s: float) -> None:
        await self._in_thread(self._file.later, key, _now() + again_in_s)

    async def bury(self, job: Job, failure: Failure) -> None:
        await self._in_thread(self._file.bury, job, failure)

    async def set_aside(self, job: Job, failure: Failure) -> int:
        return await self._in_thread(self._file.set_aside, job, failure)

    async def dead(self) -> list[Letter]:
        return await self._in_thread(self._file.dead)

    async def show(self, key: str) -> Letter:
        return await self._in_thread(self._file.show, key)

    async def requeue(self, keys: Sequence[str] | None) -> int:
        return await self._in_thread(self._file.requeue, keys)

    async def drop(self, keys: Sequence[str] | None) -> int:
        return await self._in_thread(self._file.drop, keys)

    async def close(self) -> None:
        await self._in_thread(self._file.close)
        self._thread.shutdown(wait=False)

    async def _in_thread(self, act: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, act, *arguments)


def _now() -> float:
    return asyncio.get_running_loop().time()


def path_of(pool: Kept) -> Path:
    """Return where the jobs of a pool are kept."""
    return Path(pool.folder, ".piped", "jobs", f"{quote(pool.name, safe='')}.sqlite")


@asynccontextmanager
async def open_dead_letters(pool: Kept, connection: Provider | None) -> AsyncIterator[JobStore]:
    """Open what keeps the dead letters of a pool, for people to look at and to mend.

    Args:
        connection: That to NATS, where it carries the pool.
    """
    if connection is None:
        store = FileStore(path_of(pool))
        try:
            yield store
        finally:
            await store.close()
        return
    from piped.workers.nats.jobs import StreamStore

    try:
        async with connection.running() as resources:
            [opened] = resources.values()
            yield StreamStore(opened, pool.name)
    except ExceptionGroup as group:
        raise unwrapped(group) from None


def fail_if_unfit(job: Job) -> None:
    """Fail for a job that cannot be kept.

    Raises:
        BatonError: Its payload is too large, or its key too long or not printable.
    """
    if len(job.payload) > MAX_PAYLOAD:
        size = len(job.payload)
        raise BatonError(f"expected a payload of at most {MAX_PAYLOAD} bytes, got {size}")
    if len(job.key) > MAX_KEY:
        raise BatonError(f"expected a key of at most {MAX_KEY} signs, got {len(job.key)}")
    if not job.key.isprintable():
        raise BatonError(f"expected a key of printable signs, got {job.key!r}")
