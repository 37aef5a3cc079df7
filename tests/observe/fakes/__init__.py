"""A bundle for documents under test: pools without workers of their own, and what goes away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

from piped import Meta, Provider, Unavailable, provider
from piped.workers.parts import Counters, WorkerState


@dataclass
class FakeFront:
    """The front of a pool, as far as it is looked at."""

    counters: Counters = field(default_factory=Counters)
    depth: int = 0
    in_flight: int = 0
    bytes_pending: int = 0
    is_served: bool = True
    known: list[WorkerState] = field(default_factory=list)
    jobs: Any = None

    def workers(self) -> list[WorkerState]:
        return self.known


@provider("fake_pools")
class FakePools(Provider):
    """Brings a front for each name."""

    names: Annotated[list[str], Meta(description="The names of the pools.")]

    def offers(self) -> Iterable[str]:
        return [f"workers.{name}" for name in self.names]

    def feeds(self) -> bool:
        return True

    @asynccontextmanager
    async def running(self) -> AsyncIterator[dict[str, Any]]:
        yield {name: FakeFront() for name in self.offers()}


@provider("fickle")
class Fickle(Provider):
    """Goes away when it is told to, and stays away until it is told to come back."""

    away: ClassVar[str] = ""

    def offers(self) -> Iterable[str]:
        return ("fickle.cable",)

    def feeds(self) -> bool:
        return True

    @asynccontextmanager
    async def running(self) -> AsyncIterator[dict[str, Any]]:
        if Fickle.away:
            raise Unavailable(Fickle.away)
        cut = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(_fail_when(cut))
            yield {"fickle.cable": cut}
            cut.set()


async def _fail_when(cut: asyncio.Event) -> None:
    await cut.wait()
    if Fickle.away:
        raise Unavailable(Fickle.away)


def worker(name: str = "one", **facts: Any) -> WorkerState:
    """Return a worker that has done nothing yet, but for what is said of it."""
    known: dict[str, Any] = {"name": name, "pid": 7, "host": "here", "capacity": 2}
    known |= {"in_flight": 0, "is_suspect": False, "answered": 0, "failed": 0, "last_heard_s": 0.0}
    return WorkerState(**{**known, **facts})
