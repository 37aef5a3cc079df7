"""Ticks at regular intervals."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from typing import Annotated, Any, ClassVar

from piped.errors import Problem
from piped.providers.ticks.timer import Ticking, Timer
from piped.spec import Dependency, Duration, Meta, part


@part
class Interval(Timer):
    """Bring a baton at regular intervals, the first one at once.

    Batons are ``{interval, previous_tick, delta, tick}``: ``tick`` and ``previous_tick`` are
    seconds since the epoch, ``interval`` and ``delta`` are seconds, ``delta`` by a clock that is
    never set. The first tick is its own ``previous_tick``, its ``delta`` is 0.

    Ticks never overlap: the next one comes ``interval`` after the last began, or as soon as that
    has been treated; what was missed is not made up for. A tick that fails is logged, and ticking
    goes on. Others can start and stop it through the resource ``ticks.interval.<name>``.
    """

    kind: ClassVar[str] = "interval"

    interval: Annotated[Duration, Meta(description="The time from tick to tick.")]
    processor: Annotated[Dependency[Any], Meta(description="What treats the batons.")]
    auto_start: Annotated[
        bool, Meta(description="Tick from the start, not only when somebody starts it.")
    ] = True
    enabled: Annotated[bool, Meta(description="Whether it ticks at all.")] = True

    def feeds(self) -> bool:
        return self.enabled

    def check(self) -> Iterator[Problem]:
        if not self.interval > 0:
            yield Problem("wrong-value", f"expected an interval above 0, got {self.interval!r}")

    def running(self) -> AbstractAsyncContextManager[dict[str, Any]]:
        return self._ticking(enabled=self.enabled, auto_start=self.auto_start)

    async def _tick_for_ever(self, ticking: Ticking) -> None:
        now = asyncio.get_running_loop().time
        while True:
            await ticking.started()
            last: tuple[float, float] | None = None
            while ticking.is_ticking:
                is_there = await self._is_there(self.processor)
                if not ticking.is_ticking:
                    break
                begun, tick = now(), time.time()
                previous, previous_tick = last or (begun, tick)
                last = begun, tick
                times = {"previous_tick": previous_tick, "delta": begun - previous, "tick": tick}
                if is_there:
                    await self._treat(self.processor, {"interval": self.interval, **times})
                took = now() - begun
                self.counters.missed += max(0, int(took / self.interval) - 1)
                if ticking.is_ticking:
                    await ticking.pause(max(0.0, self.interval - took))
