"""A front and workers of a pool, each a whole service, in one event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

from piped.app import Service, blueprint_of
from piped.blueprint import Blueprint
from piped.testing._stage import DOCUMENT, Stage, until
from piped.workers.pool import pool_of


class Member:
    """One service of a fleet, in a task of its own."""

    def __init__(self, name: str, service: Service) -> None:
        self.name = name
        self.service = service
        self._started = asyncio.Event()
        self._leaving = asyncio.Event()
        self._ended = asyncio.Event()

    async def run(self) -> None:
        try:
            async with self.service:
                self._started.set()
                await self._leaving.wait()
        finally:
            self._ended.set()

    async def started(self) -> Self:
        await self._started.wait()
        return self

    async def left(self) -> None:
        """Have it end, as SIGTERM does, and wait until it has."""
        self._leaving.set()
        await self._ended.wait()

    async def broken(self) -> None:
        """End it without any of what it does at its end, as far as it can be kept from that."""
        for life in self.service.lives:
            if life.task is not None:
                life.task.cancel()
        await self.left()


class Fleet:
    """A front of the pool ``math``, and its workers by name."""

    def __init__(self, file: Path, overrides: Iterable[str], group: asyncio.TaskGroup) -> None:
        self.stage = Stage()
        self.workers: dict[str, Member] = {}
        self._file, self._overrides, self._group = file, list(overrides), group
        self._front: Member | None = None

    @property
    def front(self) -> Any:
        """The resource of the pool."""
        assert self._front is not None
        return self._front.service.resources["workers.math"].value

    @property
    def pending(self) -> int:
        """How many parts have not come to an end."""
        pending: int = self.front.depth + self.front.in_flight
        return pending

    async def call(self, pipeline: str, baton: Any) -> Any:
        """Return the last result of a pipeline of the front."""
        assert self._front is not None
        return (await self._front.service.call(pipeline, baton))[-1]

    async def ask(self, pipeline: str, value: Any) -> Any:
        """Return what workers answer to a value."""
        return (await self.call("ask", {"pipeline": pipeline, "value": value}))["value"]

    def asked(self, pipeline: str, value: Any) -> asyncio.Task[Any]:
        """Begin to ask."""
        return asyncio.ensure_future(self.ask(pipeline, value))

    async def open(self) -> None:
        """Start a front; after ``close``, another one at the same address."""
        self._front = await self._member("front", Service(self._blueprint()))

    async def close(self) -> None:
        """End the front."""
        assert self._front is not None
        await self._front.left()

    async def add(self, name: str) -> Member:
        """Start one more worker, and wait until the front knows it."""
        blueprint = self._blueprint()
        pool_of(blueprint.units, "math").worker_name = name
        member = await self._member(name, Service(blueprint, work="math"))
        self.workers[name] = member
        await self.known(name)
        return member

    async def known(self, *names: str) -> None:
        """Wait until the front knows some workers."""
        await until(lambda: {each.name for each in self.front.workers()}.issuperset(names))

    async def holder(self) -> str:
        """Wait until one worker alone has parts, and return its name."""
        await until(lambda: len(self._holders()) == 1)
        return self._holders()[0]

    def _holders(self) -> list[str]:
        return [each.name for each in self.front.workers() if each.in_flight]

    def _blueprint(self) -> Blueprint:
        blueprint = blueprint_of(self._file, self._overrides)
        assert not blueprint.errors, "\n".join(map(str, blueprint.errors))
        return blueprint

    async def _member(self, name: str, service: Service) -> Member:
        member = Member(name, service)
        self._group.create_task(member.run(), name=name)
        return await member.started()

    def fail_if_unbalanced(self) -> None:
        """Fail unless each part that was taken has come to exactly one end."""
        counted = self.front.counters
        ends = ("answered", "failed", "expired", "cancelled", "set_aside")
        ended = {each: getattr(counted, each) for each in ends}
        assert (self.pending, self.front.bytes_pending) == (0, 0)
        assert counted.submitted == sum(ended.values()), (counted.submitted, ended)
        assert counted.forged == 0


@asynccontextmanager
async def opened(
    folder: Path, overrides: Iterable[str], workers: Iterable[str]
) -> AsyncIterator[Fleet]:
    """Run a front with workers; at the end, all that was sent must have come to one end."""
    file = folder / "service.yaml"
    file.write_text(DOCUMENT, encoding="utf-8")
    failure: Exception | None = None
    async with asyncio.TaskGroup() as group:
        fleet = Fleet(file, overrides, group)
        try:
            await fleet.open()
            for name in workers:
                await fleet.add(name)
            yield fleet
            fleet.fail_if_unbalanced()
        except Exception as error:  # raised below: a group would wrap it
            failure = error
        finally:
            fleet.stage.gate.set()
            await asyncio.gather(*(each.left() for each in fleet.workers.values()))
            await fleet.close()
    if failure is not None:
        raise failure
