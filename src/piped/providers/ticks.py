"""Ticks: batons at regular intervals."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import field
from typing import Annotated, Any, Final

import structlog

from piped.engine.journey import journey, new_journey
from piped.errors import Problem
from piped.spec import Dependency, Duration, Meta, Provider, part, provider

DRAIN_S: Final = 10.0

log = structlog.get_logger("piped.ticks")


class Ticking:
    """One tick interval as others see it: the resource ``ticks.interval.<name>``."""

    __slots__ = ("_called", "_may_tick", "_name", "_started")

    def __init__(self, name: str, may_tick: bool) -> None:
        self._name = name
        self._may_tick = may_tick
        self._started = asyncio.Event()
        self._called = asyncio.Event()

    @property
    def is_ticking(self) -> bool:
        return self._started.is_set()

    def start_ticking(self) -> None:
        """Tick at once, and then at each interval; nothing changes where it ticks already."""
        if not self._may_tick:
            log.warning("tick interval is not enabled", tick=self._name)
        elif not self.is_ticking:
            self._started.set()
            self._called.set()

    def stop_ticking(self) -> None:
        """Tick no more; a tick that is being treated comes to its end."""
        if self.is_ticking:
            self._started.clear()
            self._called.set()

    async def started(self) -> None:
        """Wait until it ticks."""
        await self._started.wait()

    async def pause(self, seconds: float) -> None:
        """Wait so long, or until it is stopped."""
        self._called.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._called.wait()
        except TimeoutError:
            pass


@part
class Interval(Provider):
    """Bring a baton at regular intervals, the first one at once.

    Batons are ``{interval, previous_tick, delta, tick}``: ``tick`` and ``previous_tick`` are
    seconds since the epoch, ``interval`` and ``delta`` are seconds, ``delta`` by a clock that is
    never set. The first tick is its own ``previous_tick``, its ``delta`` is 0.

    Ticks never overlap: the next one comes ``interval`` after the last began, or as soon as that
    has been treated; what was missed is not made up for. A tick that fails is logged, and ticking
    goes on. Others can start and stop it through the resource ``ticks.interval.<name>``.
    """

    interval: Annotated[Duration, Meta(description="The time from tick to tick.")]
    processor: Annotated[Dependency[Any], Meta(description="What treats the batons.")]
    auto_start: Annotated[
        bool, Meta(description="Tick from the start, not only when somebody starts it.")
    ] = True
    enabled: Annotated[bool, Meta(description="Whether it ticks at all.")] = True
    _name: str = field(default="", init=False)
    _treating: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)

    def named(self, name: str) -> None:
        """Tell the interval its name in the document."""
        self._name = self.label = f"ticks.interval.{name}"

    def offers(self) -> Iterable[str]:
        return (self._name,)

    def feeds(self) -> bool:
        return self.enabled

    def check(self) -> Iterator[Problem]:
        if not self.interval > 0:
            yield Problem("wrong-value", f"expected an interval above 0, got {self.interval!r}")

    @asynccontextmanager
    async def running(self) -> AsyncIterator[dict[str, Any]]:
        """Tick until it is left; then wait for the tick that is being treated."""
        ticking = Ticking(self._name, may_tick=self.enabled and self.is_feeding)
        async with asyncio.TaskGroup() as group:
            loop = group.create_task(self._tick_for_ever(ticking), name=self._name)
            if self.auto_start and self.enabled and self.is_feeding:
                ticking.start_ticking()
            yield {self._name: ticking}
            ticking.stop_ticking()
            await self._drain()
            loop.cancel()

    async def _drain(self) -> None:
        try:
            async with asyncio.timeout(DRAIN_S), self._treating:
                pass
        except TimeoutError:
            log.warning("tick given up", tick=self._name, after_s=DRAIN_S)

    async def _tick_for_ever(self, ticking: Ticking) -> None:
        now = asyncio.get_running_loop().time
        while True:
            await ticking.started()
            last: tuple[float, float] | None = None
            while ticking.is_ticking:
                await self.processor.wait()
                if not ticking.is_ticking:
                    break
                begun, tick = now(), time.time()
                previous, previous_tick = last or (begun, tick)
                last = begun, tick
                times = {"previous_tick": previous_tick, "delta": begun - previous, "tick": tick}
                await self._treat({"interval": self.interval, **times})
                if ticking.is_ticking:
                    await ticking.pause(max(0.0, self.interval - (now() - begun)))

    async def _treat(self, baton: dict[str, float]) -> None:
        async with self._treating:
            journey.set(new_journey())
            try:
                await self.processor.deliver(baton)
            except Exception:
                log.exception("tick failed", tick=self._name)


@provider("ticks")
class Ticks(Provider):
    """Bring batons at regular intervals: each entry of ``interval`` ticks on its own."""

    enabled: Annotated[bool, Meta(description="Whether any interval ticks at all.")] = True
    interval: Annotated[
        dict[str, Interval], Meta(description="The intervals, by the names that users give them.")
    ] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, each in self.interval.items():
            each.named(name)
            each.enabled = each.enabled and self.enabled

    def units(self) -> Iterator[Provider]:
        yield from self.interval.values()
