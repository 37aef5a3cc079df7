"""What the tests of what keeps jobs share."""

from __future__ import annotations

import asyncio

from piped.workers.store import Job, JobStore


async def until_taken(store: JobStore, count: int) -> list[Job]:
    """Take jobs until there are so many: those that are given back come a little later."""
    found: list[Job] = []
    async with asyncio.timeout(10):
        while len(found) < count:
            found += await store.take(9)
            await asyncio.sleep(0.01)
    return found
