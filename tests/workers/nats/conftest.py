"""What the tests of pools over NATS share: a server to be harmed, and fleets beside it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Final, TypeAlias

import pytest
from nats.js.errors import NotFoundError

from piped.providers.nats import Connection
from piped.testing._fleet import Fleet, opened
from piped.testing._stage import until
from tests.providers.nats.conftest import Server, own
from tests.stories.processes import Process, Processes

__all__ = ["own"]

Open: TypeAlias = Callable[..., AbstractAsyncContextManager[Fleet]]


@pytest.fixture
def fleet(tmp_path: Path, own: Server) -> Open:
    """Return what opens a fleet beside the server, with more overrides."""

    def open_(
        *overrides: str, workers: Iterable[str] = ("one", "two"), server: Server = own
    ) -> AbstractAsyncContextManager[Fleet]:
        where = ("workers.math.transport:nats", f"nats.connections.main.servers:{server.url}")
        return opened(tmp_path, [*where, *overrides], workers)

    return open_


def connection_of(pool: Fleet) -> Connection:
    """Return the connection of the front."""
    assert pool._front is not None
    connection: Connection = pool._front.service.resources["nats.main"].value
    return connection


async def until_stored(pool: Fleet, count: int, within_s: float = 10.0) -> None:
    """Wait until so many parts are in the stream."""
    async with asyncio.timeout(within_s):
        while await _stored(pool) != count:  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.01)


async def _stored(pool: Fleet) -> int:
    try:
        info = await connection_of(pool).jetstream.stream_info("PIPED_math")
    except NotFoundError:
        return 0
    return info.state.messages


PLAY: Final = (
    "pipelines.play:[{exec-code: {namespace: {os: os, time: time, asyncio: asyncio}, code: "
    r""""if input['do'] == 'die': os.kill(os.getpid(), 9)\n"""
    r"""if input['do'] == 'block': time.sleep(input['s'])\n"""
    r"""if input['do'] == 'wait': await asyncio.sleep(input['s'])\n"""
    """return os.getpid()"}}]"""
)
"""What ``play`` is where workers are processes of their own: its result says which one ran it."""


class Crew:
    """A front of this process, and workers that are processes of their own."""

    def __init__(self, pool: Fleet, start: Callable[[], Process]) -> None:
        self.pool, self._start = pool, start
        self.workers: dict[int, Process] = {}

    async def add(self) -> Process:
        """Start one more worker, and wait until the front knows it."""
        process = self._start()
        self.workers[process.pid] = process
        await until(lambda: any(w.pid == process.pid for w in self.pool.front.workers()))
        return process

    def asked(self, do: str, s: float = 0.0) -> asyncio.Task[int]:
        """Have a worker do something; its number comes back."""
        return self.pool.asked("play", {"do": do, "s": s})

    async def holder(self) -> Process:
        """Wait until one worker alone has parts, and return it."""
        await self.pool.holder()
        [pid] = [each.pid for each in self.pool.front.workers() if each.in_flight]
        return self.workers[pid]


Hire: TypeAlias = Callable[..., AbstractAsyncContextManager[Crew]]


@pytest.fixture
def hire(tmp_path: Path, fleet: Open, own: Server) -> Iterator[Hire]:
    """Return what opens a front, and starts workers as processes."""
    started = Processes()
    where = ("workers.math.transport:nats", f"nats.connections.main.servers:{own.url}", PLAY)

    @asynccontextmanager
    async def hire(*overrides: str, workers: int = 2) -> AsyncIterator[Crew]:
        options = [text for each in (*where, *overrides) for text in ("-O", each)]
        async with fleet(PLAY, *overrides, workers=()) as pool:
            file = tmp_path / "service.yaml"
            crew = Crew(pool, lambda: started("work", "math", file, *options, cwd=tmp_path))
            for _ in range(workers):
                await crew.add()
            yield crew

    yield hire
    started.kill()
