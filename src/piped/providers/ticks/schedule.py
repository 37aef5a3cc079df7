"""When a schedule comes: its moments as seconds since the epoch, by a wall clock that is set.

cronsim finds the moments, also where summer time begins and ends. The clock may jump both ways,
and the process may stand still for hours: what became of the moments meanwhile is told here.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from datetime import UTC, datetime, tzinfo
from itertools import islice, takewhile
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo, available_timezones

from cronsim import CronSim, CronSimError

NAMED: Final = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}

SET_BACK_S: Final = 3 * 3600.0
"""How far a clock may be set back without moments coming again; farther, and it was wrong."""

COUNTED: Final = 1000
"""How many missed moments are counted; of more it is only told that there are more."""

LOCALTIME: Final = Path("/etc/localtime")


class BadSchedule(ValueError):
    """Raised when a text is no schedule."""


class NeverComes(BadSchedule):
    """Raised when a schedule has no moments, such as 30 February."""


class NoTimeZone(ValueError):
    """Raised when there is no time zone of a name; ``near`` are names that are like it."""

    def __init__(self, name: str) -> None:
        known, wanted = available_timezones(), name.lower()
        area = wanted.partition("/")[0]
        same = {each for each in known if each.lower().startswith(f"{area}/")}
        self.near = same or {each for each in known if each.lower().endswith(f"/{wanted}")}
        super().__init__(f"there is no time zone '{name}'")


class Schedule:
    """A cron expression in a time zone.

    Raises:
        BadSchedule: The text is no cron expression.
        NeverComes: No moment fits it.
    """

    __slots__ = ("_text", "_zone")

    def __init__(self, text: str, zone: tzinfo) -> None:
        self._text = NAMED.get(text.strip().lower(), text)
        self._zone = zone
        try:
            comes = next(CronSim(self._text, datetime.now(zone)), None)
        except CronSimError as error:
            raise _fault(self._text, error) from error
        if comes is None:
            raise NeverComes("not in fifty years")

    def moments(self, after: float) -> Iterator[float]:
        """Yield the moments that come after another one, in order."""
        last = after
        for each in CronSim(self._text, datetime.fromtimestamp(math.floor(after), self._zone)):
            moment = each.timestamp()
            if moment > last:  # in the hour that comes twice, cronsim begins with the first one
                yield moment
                last = moment

    def after(self, moment: float) -> float:
        """Return the moment that comes next; infinity where none comes in fifty years."""
        return next(self.moments(moment), math.inf)

    def latest(self, since: float, until: float) -> float | None:
        """Return the last moment after one and not after another; None where there is none."""
        if self.after(since) > until:
            return None
        low, high = math.floor(since), math.floor(until)
        while high - low > 1:
            middle = (low + high) // 2
            if self.after(middle) <= until:
                low = middle
            else:
                high = middle
        return self.after(low)

    def count(self, since: float, until: float) -> int:
        """Return how many moments come after one, and not after another; at most COUNTED + 1."""
        come = takewhile(lambda moment: moment <= until, self.moments(since))
        return sum(1 for _ in islice(come, COUNTED + 1))

    def iso(self, moment: float) -> str:
        """Return a moment as text, with its distance from UTC."""
        return datetime.fromtimestamp(moment, self._zone).isoformat()


def _fault(text: str, error: CronSimError) -> BadSchedule:
    """Return what is wrong with a text: one of its fields, or all of them together."""
    fields = text.split()
    if len(fields) not in (5, 6):
        return BadSchedule(f"expected 5 fields, or 6 with seconds, got {len(fields)}")
    for i, each in enumerate(fields):
        alone = ["*"] * len(fields)
        alone[i] = each
        try:
            CronSim(" ".join(alone), datetime.now(UTC))
        except CronSimError as own:
            return BadSchedule(f"{own} {each!r}".replace("Bad", "bad"))
    return NeverComes(f"{error}")


class Moments:
    """What becomes of the moments of a schedule while the clock goes on, stands still or jumps."""

    __slots__ = ("_schedule", "due", "passed")

    def __init__(self, schedule: Schedule, now: float) -> None:
        self._schedule = schedule
        self.passed = self.due = now
        self._pass(now)

    def _pass(self, now: float) -> None:
        self.passed, self.due = now, self._schedule.after(now)

    def is_set_back(self, now: float) -> bool:
        """Tell whether the clock was wrong and has been set; then what comes is counted from it."""
        if now >= self.passed - SET_BACK_S:
            return False
        self._pass(now)
        return True

    def come(self, now: float, grace_s: float) -> tuple[float | None, int]:
        """Return the one moment to act upon, if any, and how many others have gone by."""
        if self.due > now:
            return None, 0
        since = max(self.passed, math.ceil(now - grace_s) - 1)
        latest = self._schedule.latest(since, now)
        come = self._schedule.count(self.passed, now)
        self._pass(now)
        return latest, come if latest is None or come > COUNTED else come - 1


def zone_of(name: str) -> tzinfo:
    """Return a time zone by its name; ``local`` is that of the machine.

    Raises:
        NoTimeZone: There is none of that name.
    """
    if name.upper() == "UTC":
        return UTC
    try:
        return _local_zone() if name == "local" else ZoneInfo(name)
    except (LookupError, ValueError, OSError) as error:
        raise NoTimeZone(name) from error


def _local_zone() -> tzinfo:
    """Return the zone of the machine, as the C library finds it: TZ, or what its file says."""
    name = os.environ.get("TZ", "").removeprefix(":")
    path = Path(name) if name.startswith("/") else LOCALTIME
    if name and not name.startswith("/"):
        return ZoneInfo(name)
    if path.is_symlink():
        _, found, key = os.readlink(path).partition("zoneinfo/")
        if found:
            return ZoneInfo(key)
    if not path.exists():
        return UTC
    with path.open("rb") as file:
        return ZoneInfo.from_file(file)
