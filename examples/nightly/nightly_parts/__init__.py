"""What the nightly job has of its own: which days are due."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime, time, timedelta
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from piped import Baton, BatonPath, Meta, Processor, processor
from piped.batons import getter, setter
from piped.errors import Problem
from piped.spec import Step


@processor("find-due-days")
class FindDueDays(Processor):
    """Put the days that are over, and have no report yet, into the baton, the earliest first.

    Takes the moment at ``now_path`` in seconds since 1970, and at ``memory_path`` a dict whose
    ``made`` has the days with a report as keys. Its ``since`` is the first day that concerns us;
    where there is none, it is set to the last day that is over. Gives dates as text. Changes the
    baton in place.

    Example:
        find-due-days: {time_zone: Europe/Oslo, ready_at: "03:00", output_path: days}
        in:  {now: 1704852000, memory: {since: "2024-01-07", made: {"2024-01-08": 1704765600}}}
        out: {now: 1704852000, memory: {since: "2024-01-07", made: {"2024-01-08": 1704765600}},
              days: ["2024-01-07", "2024-01-09"]}
    """

    time_zone: Annotated[str, Meta(description="Whose days they are, such as Europe/Oslo.")]
    ready_at: Annotated[
        str,
        Meta(
            pattern="^([01][0-9]|2[0-3]):[0-5][0-9]$",
            description="The time of the next day from which on a day is due.",
        ),
    ] = "00:00"
    most: Annotated[int, Meta(ge=1, le=31, description="How many days back one looks.")] = 7
    now_path: Annotated[BatonPath, Meta(description="Where the moment is.")] = BatonPath("now")
    memory_path: Annotated[BatonPath, Meta(description="Where the dict is.")] = BatonPath("memory")
    output_path: Annotated[BatonPath, Meta(description="Where the days go.")] = BatonPath("days")

    def check(self) -> Iterable[Problem]:
        try:
            ZoneInfo(self.time_zone)
        except (KeyError, ValueError, OSError):
            what = f"there is no time zone '{self.time_zone}'"
            yield Problem("unknown-time-zone", what, at="time_zone")

    def step(self) -> Step:
        now, memory, put = getter(self.now_path), getter(self.memory_path), setter(self.output_path)
        zone, ready_at = ZoneInfo(self.time_zone), time.fromisoformat(self.ready_at)

        def is_over(day: date, moment: float) -> bool:
            ready = datetime.combine(day + timedelta(days=1), ready_at, zone)
            return ready.timestamp() <= moment

        def step(baton: Baton) -> Baton:
            moment, remembered = now(baton), memory(baton)
            today = datetime.fromtimestamp(moment, zone).date()
            past = [today - timedelta(days=back) for back in range(self.most + 1, 0, -1)]
            over = [str(day) for day in past if is_over(day, moment)][-self.most :]
            since: Any = remembered.setdefault("since", over[-1])
            days = [day for day in over if day >= since and day not in remembered["made"]]
            return put(baton, days)

        return step
