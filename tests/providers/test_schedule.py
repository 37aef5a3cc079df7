from __future__ import annotations

import math
from datetime import datetime
from pathlib import Path

import pytest

from piped.providers.ticks import schedule as schedules
from piped.providers.ticks.schedule import Moments, Schedule, zone_of


def at(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def moments_of(text: str, zone: str, since: str, number: int) -> list[str]:
    schedule = Schedule(text, zone_of(zone))
    found = schedule.moments(at(since))
    return [schedule.iso(next(found)) for _ in range(number)]


def test_a_moment_that_summer_time_leaves_out_comes_when_the_clock_has_gone_on() -> None:
    found = moments_of("30 2 * * *", "Europe/Oslo", "2024-03-30T12:00:00+01:00", 2)

    assert found == ["2024-03-31T03:00:00+02:00", "2024-04-01T02:30:00+02:00"]


def test_a_moment_that_comes_twice_is_taken_once() -> None:
    found = moments_of("30 2 * * *", "Europe/Oslo", "2024-10-26T12:00:00+02:00", 2)

    assert found == ["2024-10-27T02:30:00+02:00", "2024-10-28T02:30:00+01:00"]


def test_a_schedule_that_is_asked_between_the_two_gives_none_of_the_past() -> None:
    found = moments_of("30 2 * * *", "Europe/Oslo", "2024-10-27T02:10:00+01:00", 1)

    assert found == ["2024-10-28T02:30:00+01:00"]


def test_every_hour_is_every_hour_also_when_one_comes_twice() -> None:
    found = moments_of("0 * * * *", "Europe/Oslo", "2024-10-27T01:30:00+02:00", 3)

    assert found == [
        "2024-10-27T02:00:00+02:00",
        "2024-10-27T02:00:00+01:00",
        "2024-10-27T03:00:00+01:00",
    ]


@pytest.mark.parametrize("text", ["* * * * *", "*/7 * * * *", "0 3 * * *", "0 0 29 2 *", "@hourly"])
@pytest.mark.parametrize("zone", ["UTC", "Europe/Oslo", "America/New_York"])
def test_the_latest_moment_is_the_last_that_one_meets_on_the_way(text: str, zone: str) -> None:
    schedule = Schedule(text, zone_of(zone))
    since, until = at("2024-03-09T20:00:00+00:00"), at("2024-03-10T20:00:00.5+00:00")

    met = [since]
    while (moment := schedule.after(met[-1])) <= until:
        met.append(moment)

    assert schedule.latest(since, until) == (met[-1] if len(met) > 1 else None)
    assert schedule.count(since, until) == min(len(met) - 1, schedules.COUNTED + 1)


def test_the_grace_includes_its_last_second() -> None:
    minutes = Schedule("0 * * * *", zone_of("UTC"))
    begun, due = at("2024-01-10T11:30:00+00:00"), at("2024-01-10T12:00:00+00:00")

    within = Moments(minutes, begun).come(due + 60, 60)
    beyond = Moments(minutes, begun).come(due + 60.1, 60)

    assert within == (due, 0)
    assert beyond == (None, 1)


def test_a_schedule_may_never_come_again(monkeypatch: pytest.MonkeyPatch) -> None:
    schedule = Schedule("* * * * *", zone_of("UTC"))
    monkeypatch.setattr(schedules, "CronSim", lambda *_: iter(()))

    assert schedule.after(0) == math.inf
    with pytest.raises(schedules.NeverComes, match=r"^not in fifty years$"):
        Schedule("* * * * *", zone_of("UTC"))


@pytest.mark.parametrize(
    ("name", "target", "expected"),
    [
        ("Europe/Oslo", "missing", "Europe/Oslo"),
        (":Europe/Oslo", "missing", "Europe/Oslo"),
        ("", "/usr/share/zoneinfo/Europe/Oslo", "Europe/Oslo"),
        ("", "missing", "UTC"),
    ],
)
def test_the_local_zone_is_that_of_the_machine(
    name: str, target: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    localtime = tmp_path / "localtime"
    if target != "missing":
        localtime.symlink_to(target)
    monkeypatch.setattr(schedules, "LOCALTIME", localtime)
    monkeypatch.setenv("TZ", name)

    assert str(zone_of("local")) == expected
