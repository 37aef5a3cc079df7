"""The dead letters of a pool in JetStream, and the way back into the queue."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Final

from nats.js.api import RawStreamMsg

from piped.errors import QueueFull, suggest
from piped.providers.nats import Connection
from piped.workers.nats.job_messages import Kept, dead_in, encoded, kept_in
from piped.workers.nats.job_streams import JobStreams, Kind, place_of
from piped.workers.store import Letter, Limits, UnknownLetter

ENDS: Final[tuple[Kind, ...]] = ("done", "tried")
LIMITS: Final = Limits(size_bytes=256 << 20)  # the server puts aside as much


class Letters:
    """What people do with dead letters; see ``JobStore``."""

    def __init__(
        self, connection: Connection, pool: str, replicas: int = 1, limits: Limits = LIMITS
    ) -> None:
        self._pool, self._limits = pool, limits
        self._largest = connection.client.max_payload
        self._streams = JobStreams(connection, pool, replicas, limits)
        self._last = 0  # the last place in the queue that JetStream has told us

    async def dead(self) -> list[Letter]:
        found = self._streams.each("dead")
        return [dead_in(each).letter(is_whole=False) async for each in found]

    async def show(self, key: str) -> Letter:
        return dead_in(await self._letter(key)).letter()

    async def requeue(self, keys: Sequence[str] | None) -> int:
        return await self._with_each(keys, self._requeue)

    async def drop(self, keys: Sequence[str] | None) -> int:
        return await self._with_each(keys, self._drop)

    async def _drop(self, found: RawStreamMsg) -> None:
        await self._streams.delete("dead", place_of(found))

    async def _with_each(
        self, keys: Sequence[str] | None, act: Callable[[RawStreamMsg], Awaitable[None]]
    ) -> int:
        if keys is None:
            found = [each async for each in self._streams.each("dead")]
        else:
            found = [await self._letter(key) for key in dict.fromkeys(keys)]
        for each in found:
            await act(each)
        return len(found)

    async def _letter(self, key: str) -> RawStreamMsg:
        if found := await self._streams.find("dead", key):
            return found
        hint = suggest(key, [each.job.key for each in await self.dead()])
        raise UnknownLetter(f"there is no dead letter '{key}' ({hint})")

    async def _requeue(self, found: RawStreamMsg) -> None:
        """Queue what a letter has: it is gone when it is begun, or before that."""
        dead = dead_in(found)
        key = dead.job.key
        for kind in ENDS:
            if old := await self._streams.find(kind, key):
                await self._streams.delete(kind, place_of(old))
        job = replace(dead.job, attempts=0)
        kept = Kept(job, dead.submitted_at, letter=place_of(found))
        while not await self._add(kept):
            # It was about to leave the queue when its front died.
            if old := await self._streams.find("jobs", key):
                if kept_in(old.data) == kept:
                    break
                await self._streams.delete("jobs", place_of(old))
        await self._drop(found)

    async def _add(self, kept: Kept) -> bool:
        """Queue a job; tell whether it was not there."""
        subject = self._streams.subject("jobs", kept.job.key)
        try:
            self._last = max(self._last, await self._streams.store(subject, encoded(kept)))
        except QueueFull as error:
            if await self._streams.find("jobs", kept.job.key):
                return False
            state = await self._streams.state("jobs")
            if state and state.messages >= self._limits.jobs:
                raise QueueFull(f"{state.messages} jobs are queued already") from error
            raise
        return True
