"""The jobs of a pool in JetStream: any of its fronts may take them, and all know the same keys.

What is written before what, so that a front may die at any place: that a job is begun before it
begins; what has become of it before it leaves the queue. So what is found of a job that is given
out again is the truth, and a front that was given up for dead changes nothing any more.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any, Final

import msgspec
import structlog
from nats.aio.msg import Msg
from nats.errors import Error
from nats.js.api import RawStreamMsg

from piped.errors import BatonError, QueueFull
from piped.providers.nats import Connection
from piped.workers.failures import Failure
from piped.workers.nats.job_messages import Dead, Kept, attempts_in, encoded, fitting, kept_in
from piped.workers.nats.job_streams import ANSWER_S, LEASE_S, Overtaken, place_of, told
from piped.workers.nats.letters import Letters
from piped.workers.store import Job, NotStored

MOST_AT_ONCE: Final = 100
"""How many jobs are taken at once, whose payloads are all in memory."""

RESERVE: Final = 64 << 10
"""Bytes that a job leaves in its message, for what is said of it when it is dead."""

AGAIN_S: Final = 1.0

log = structlog.get_logger("piped.jobs")


@dataclass(slots=True)
class Held:
    """A job that this front has begun, how often that was, and the place where it is written."""

    message: Msg
    attempts: int
    place: int
    submitted_at: float


class StreamStore(Letters):
    """See ``JobStore``."""

    def __init__(self, *of: Any) -> None:
        super().__init__(*of)
        self._held: dict[str, Held] = {}
        self._is_doubtful = False  # the server was away, and may have lost something

    async def open(self) -> None:
        """Bring the streams up to date, if there are any; a front that begins does that."""
        if await self._streams.exist():
            await self._streams.make()

    async def renew(self) -> None:
        """Say until it is cancelled that the jobs that were taken are still being done."""
        while True:
            await asyncio.sleep(LEASE_S / 4)
            for each in list(self._held.values()):
                with suppress(Error):
                    await each.message.in_progress()

    def doubt(self) -> None:
        """Look soon whether the server still has what it had: it says nothing of what it lost."""
        self._is_doubtful = True

    async def _look(self) -> None:
        self._is_doubtful = False
        state = await self._streams.state("jobs")
        place = state.last_seq if state else 0
        if place < self._last:
            reason = f"its queue ends at {place}, and had come to {self._last}"
            log.error("JetStream has lost jobs", pool=self._pool, reason=reason)
            self._last = place

    async def close(self) -> None:
        """Give back what is not done."""
        for each in self._held.values():
            with suppress(Error):
                await each.message.nak()
        self._held.clear()

    # What happens to jobs.

    async def submit(self, job: Job) -> bool:
        kept = Kept(job, time.time())
        size, most = len(encoded(kept)), self._largest - RESERVE
        if size > most:
            raise BatonError(f"expected a job of at most {most} bytes over NATS, got {size}")
        dead = await self._streams.state("dead")
        if dead is None:
            await self._streams.make()
        elif await self._has_ended(job.key):
            return False
        elif dead.messages >= self._limits.dead:
            what = f"{dead.messages} dead letters are kept already: requeue or drop some"
            raise QueueFull(what)
        elif dead.bytes >= self._limits.size_bytes:
            raise QueueFull(f"the dead letters have {dead.bytes} bytes already")
        return await self._add(kept)

    async def _has_ended(self, key: str) -> bool:
        return bool(await self._streams.find("done", key) or await self._streams.find("dead", key))

    async def take(self, count: int) -> list[Job]:
        if self._is_doubtful:
            await self._look()
        messages = await self._streams.pull(min(count, MOST_AT_ONCE))
        if messages is None:
            await self.open()  # another front has made them, or somebody has removed the consumer
            return []
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._begun(each), name="begin job") for each in messages]
        found = [each.result() for each in tasks]
        jobs = [each for each in found if isinstance(each, Job)]
        for each in found:
            if isinstance(each, NotStored) and not jobs:
                raise each
        return jobs

    async def _begun(self, message: Msg) -> Job | NotStored | None:
        """Return the job of a message if it is to be run now, and say in the stream that it is."""
        try:
            kept = kept_in(message.data)
        except msgspec.MsgspecError as error:
            log.error("bad job dropped", pool=self._pool, reason=str(error))
            with suppress(Error):
                await message.term()
            return None
        if held := self._held.get(kept.job.key):  # we were too silent
            held.message = message
            return None
        try:
            return await self._begin(message, kept)
        except Overtaken:
            with suppress(Error):
                await message.nak(LEASE_S)
            return None
        except NotStored as error:
            with suppress(Error):
                await message.nak(AGAIN_S)
            return error

    async def _begin(self, message: Msg, kept: Kept) -> Job | None:
        key = kept.job.key
        tried = await self._streams.find("tried", key)
        dead = await self._streams.find("dead", key)
        is_dead = dead is not None and place_of(dead) != kept.letter
        if is_dead or await self._streams.find("done", key):
            await self._leave(message, tried)
            return None
        if dead is not None:
            await self._streams.delete("dead", place_of(dead))
        attempts = 1 + attempts_in(tried)
        place = await self._note(key, attempts, after=place_of(tried) if tried else 0)
        self._held[key] = Held(message, attempts, place, kept.submitted_at)
        return replace(kept.job, attempts=attempts)

    async def _leave(self, message: Msg, tried: RawStreamMsg | None) -> None:
        """Take a job out of the queue whose end another front has written down, and no more."""
        if tried is not None:
            await self._streams.delete("tried", place_of(tried))
        with told():
            await message.ack()

    async def _note(self, key: str, attempts: int, *, after: int) -> int:
        subject = self._streams.subject("tried", key)
        return await self._write(subject, encoded(attempts), after=after)

    async def done(self, key: str) -> None:
        await self._write(self._streams.subject("done", key), b"")
        await self._end(key)

    async def failed(self, key: str, failure: Failure, again_in_s: float) -> None:
        await self._give_back(key, again_in_s)

    async def later(self, key: str, again_in_s: float) -> None:
        held = self._held[key]
        with suppress(Overtaken):
            await self._note(key, held.attempts - 1, after=held.place)
        await self._give_back(key, again_in_s)

    async def bury(self, job: Job, failure: Failure) -> None:
        held = self._held[job.key]
        try:
            held.place = await self._note(job.key, job.attempts, after=held.place)
        except Overtaken:
            del self._held[job.key]  # its end is for the other front to tell
            return
        dead = Dead(job, "job", failure, held.submitted_at, time.time())
        await self._write(
            self._streams.subject("dead", job.key, "job"), fitting(dead, self._largest)
        )
        await self._end(job.key)

    async def _end(self, key: str) -> None:
        """Take a job out of the queue whose end is written down."""
        held = self._held[key]
        await self._streams.delete("tried", held.place)
        with told():
            await held.message.ack_sync(ANSWER_S)
        del self._held[key]

    async def _give_back(self, key: str, again_in_s: float) -> None:
        with told():
            await self._held[key].message.nak(again_in_s)
        del self._held[key]

    async def set_aside(self, job: Job, failure: Failure) -> int:
        if not await self._streams.exist():
            await self._streams.make()
        elif await self._streams.find("jobs", job.key) or await self._has_ended(job.key):
            return 0
        now = time.time()
        part = fitting(Dead(job, "part", failure, now, now), self._largest)
        try:
            await self._write(self._streams.subject("dead", job.key, "part"), part)
        except BatonError as error:
            raise NotStored(str(error)) from error
        return await self._streams.drop_parts()

    async def _write(self, subject: str, data: bytes, *, after: int | None = None) -> int:
        try:
            return await self._streams.store(subject, data, after=after)
        except QueueFull as error:
            raise NotStored(str(error)) from error


@asynccontextmanager
async def open_store(pool: Any, connection: Connection) -> AsyncIterator[StreamStore]:
    """Open what keeps the jobs of a pool, for a front that runs them."""
    store = StreamStore(connection, pool.name, pool.replicas)
    await store.open()
    async with asyncio.TaskGroup() as group:
        renewing = group.create_task(store.renew(), name=f"keep the jobs of {pool.label}")
        undo = connection.on_reconnect(store.doubt)
        try:
            yield store
        finally:
            undo()
        renewing.cancel()
