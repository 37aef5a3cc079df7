"""What intervals and schedules have in common: one switch, one tick at a time, one drain."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

import structlog

from piped.engine.journey import journey, new_journey
from piped.errors import Misconfigured
from piped.spec import Dependency, Provider

QUIET_S: Final = 60.0
"""How long nothing is said again of a processor that has failed for good."""

log = structlog.get_logger("piped.ticks")


class Ticking:
    """A timer as others see it: the resource ``ticks.interval.<name>`` or ``ticks.cron.<name>``."""

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
        """Tick from now on: an interval at once; nothing changes where it ticks already."""
        if not self._may_tick:
            log.warning("ticking is not enabled", tick=self._name)
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


@dataclass(slots=True)
class TickCounters:
    """The ticks of a timer: how many came, failed, or did not come, and when the last one did."""

    fired: int = 0
    failed: int = 0
    missed: int = 0
    last: float = 0.0  # seconds since the epoch


@dataclass(slots=True, kw_only=True, eq=False)
class Timer(Provider):
    """Brings batons one at a time, between ``start_ticking`` and ``stop_ticking``."""

    kind: ClassVar[str] = ""  # the key of ``ticks`` below which it stands

    counters: TickCounters = field(default_factory=TickCounters, init=False)
    _name: str = field(default="", init=False)
    _treating: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)
    _quiet_until: float = field(default=0.0, init=False)

    def named(self, name: str) -> None:
        """Tell the timer its name in the document."""
        self._name = self.label = f"ticks.{self.kind}.{name}"

    def offers(self) -> Iterable[str]:
        return (self._name,)

    @property
    def is_treating(self) -> bool:
        """Whether a tick is being treated."""
        return self._treating.locked()

    async def _tick_for_ever(self, ticking: Ticking) -> None:
        raise NotImplementedError(f"{type(self).__name__} has no _tick_for_ever()")

    @asynccontextmanager
    async def _ticking(self, *, enabled: bool, auto_start: bool) -> AsyncIterator[dict[str, Any]]:
        """Tick until it is left; then wait for the tick that is being treated."""
        may_tick = enabled and self.is_feeding
        ticking = Ticking(self._name, may_tick)
        async with asyncio.TaskGroup() as group:
            loop = group.create_task(self._tick_for_ever(ticking), name=self._name)
            if auto_start and may_tick:
                ticking.start_ticking()
            yield {self._name: ticking}
            ticking.stop_ticking()
            await self._drain()
            loop.cancel()

    async def _drain(self) -> None:
        try:
            async with asyncio.timeout(self.drain_s), self._treating:
                pass
        except TimeoutError:
            log.warning("tick given up", tick=self._name, after_s=self.drain_s)

    async def _is_there(self, processor: Dependency[Any]) -> bool:
        """Wait for what treats the batons; say now and then that it has failed for good."""
        try:
            await processor.wait()
        except Misconfigured as error:
            self.counters.missed += 1
            now = asyncio.get_running_loop().time()
            if now >= self._quiet_until:
                self._quiet_until = now + QUIET_S
                log.error("tick failed", tick=self._name, reason=str(error))
            return False
        return True

    async def _treat(self, processor: Dependency[Any], baton: dict[str, Any]) -> None:
        async with self._treating:
            journey.set(new_journey())
            self.counters.fired += 1
            self.counters.last = baton["tick"]
            try:
                await processor.deliver(baton)
            except Exception:
                self.counters.failed += 1
                log.exception("tick failed", tick=self._name)
