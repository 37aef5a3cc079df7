"""Ticks at the moments of a schedule."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import field
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final

import structlog

from piped.errors import Problem, suggest
from piped.providers.ticks.timer import Ticking, Timer
from piped.spec import Dependency, Duration, Meta, part

if TYPE_CHECKING:  # cronsim and the time zones: only those who have a schedule pay for them
    from piped.providers.ticks.schedule import Moments, Schedule

SLICE_S: Final = 5.0
"""How long it sleeps without a look at the clock, which may be set meanwhile."""

log = structlog.get_logger("piped.ticks")


@part
class Cron(Timer):
    """Bring a baton at each moment of a schedule: every night at three, on Mondays at noon.

    Batons are ``{schedule, time_zone, tick, scheduled, previous}``: ``tick`` is the moment of the
    schedule in seconds since the epoch, ``scheduled`` the same as text with its distance from UTC,
    ``previous`` the last ``tick`` that was brought since ticking began, null for the first.

    A schedule has the five fields of cron, minute, hour, day of month, month, day of week, or six,
    with seconds first; or it is ``@hourly``, ``@daily``, ``@weekly``, ``@monthly``, ``@yearly``. A
    moment that summer time leaves out comes when the clock has gone on; one that comes twice is
    taken once.

    Ticks never overlap. Where moments were missed, because the process stood still, the clock was
    set or the last tick took long, the latest one still comes if it is not older than ``grace``;
    the log tells how many did not. A tick that fails is logged, and ticking goes on. Others can
    stop and start it through the resource ``ticks.cron.<name>``.
    """

    kind: ClassVar[str] = "cron"

    schedule: Annotated[str, Meta(description="When it ticks, as in '0 3 * * *'.")]
    processor: Annotated[Dependency[Any], Meta(description="What treats the batons.")]
    time_zone: Annotated[
        str, Meta(description="Whose clock counts: UTC, a name as Europe/Oslo, or local.")
    ] = "UTC"
    grace: Annotated[Duration, Meta(ge=1, description="How late a missed tick may still come.")] = (
        Duration(60.0)
    )
    jitter: Annotated[
        Duration, Meta(description="The longest time, by chance, that a tick comes later.")
    ] = Duration(0.0)
    auto_start: Annotated[
        bool, Meta(description="Tick from the start, not only when somebody starts it.")
    ] = True
    enabled: Annotated[bool, Meta(description="Whether it ticks at all.")] = True
    _now: Callable[[], float] = field(default=time.time, init=False)
    _random: random.Random = field(default_factory=random.Random, init=False)

    def feeds(self) -> bool:
        return self.enabled

    def check(self) -> Iterator[Problem]:
        from piped.providers.ticks import schedule as schedules

        try:
            zone = schedules.zone_of(self.time_zone)
        except schedules.NoTimeZone as error:
            yield _no_time_zone(self.time_zone, error.near)
            zone = schedules.zone_of("UTC")
        try:
            schedules.Schedule(self.schedule, zone)
        except schedules.NeverComes:
            what = f"the schedule {self.schedule!r} never comes"
            yield Problem("never-ticks", what, at="schedule")
        except schedules.BadSchedule as error:
            what = f"expected a schedule such as '0 3 * * *', got {self.schedule!r}: {error}"
            yield Problem("bad-schedule", what, at="schedule")

    def running(self) -> AbstractAsyncContextManager[dict[str, Any]]:
        return self._ticking(enabled=self.enabled, auto_start=self.auto_start)

    async def _tick_for_ever(self, ticking: Ticking) -> None:
        from piped.providers.ticks.schedule import Moments, Schedule, zone_of

        schedule = Schedule(self.schedule, zone_of(self.time_zone))
        while True:
            await ticking.started()
            previous: float | None = None
            moments = Moments(schedule, self._now())
            while ticking.is_ticking:
                delay = self._random.uniform(0.0, self.jitter)
                await self._until_due(ticking, moments, delay)
                is_there = await self._is_there(self.processor)
                if not ticking.is_ticking:
                    break
                tick, missed = moments.come(self._now() - delay, self.grace)
                if missed:
                    self._tell_missed(missed)
                if tick is not None and is_there:
                    await self._treat(self.processor, self._baton(schedule, tick, previous))
                    previous = tick

    async def _until_due(self, ticking: Ticking, moments: Moments, delay: float) -> None:
        """Wait for the next moment and a little longer, whatever becomes of the clock."""
        while ticking.is_ticking:
            now = self._now()
            if moments.is_set_back(now):
                log.warning("clock was set back", tick=self._name)
            left = moments.due + delay - now
            if left <= 0:
                return
            await ticking.pause(min(left, SLICE_S))

    def _baton(self, schedule: Schedule, tick: float, previous: float | None) -> dict[str, Any]:
        return {
            "schedule": self.schedule,
            "time_zone": self.time_zone,
            "tick": tick,
            "scheduled": schedule.iso(tick),
            "previous": previous,
        }

    def _tell_missed(self, missed: int) -> None:
        from piped.providers.ticks.schedule import COUNTED

        self.counters.missed += missed
        number = f"more than {COUNTED}" if missed > COUNTED else missed
        log.warning("ticks missed", tick=self._name, missed=number)


def _no_time_zone(name: str, near: set[str]) -> Problem:
    what = f"there is no time zone '{name}'"
    hint = suggest(name, near) if near else "known: UTC, local, and names such as Europe/Oslo"
    if name == "local":
        what, hint = "the time zone of this machine is not known", "name one: Europe/Oslo"
    return Problem("unknown-time-zone", what, at="time_zone", hint=hint)
