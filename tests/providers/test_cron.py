from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable
from datetime import datetime
from typing import Any

import pytest
from structlog.testing import capture_logs

from piped.document.nodes import Entry, Mapping, Scalar
from piped.errors import Place
from piped.providers.ticks import Cron, Ticking, Ticks
from piped.providers.ticks import cron as cron_module
from piped.resources import Resource
from piped.spec import Decoder, Dependency, Duration, dependencies_of, spec_of
from tests.conftest import Clock, turn
from tests.providers.conftest import Pipeline

HERE = Place("service.yaml", 3, 5)

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend(movable_loop: tuple[str, dict[str, Any]]) -> tuple[str, dict[str, Any]]:
    return movable_loop


class WallClock:
    """The time of day, and the loop's clock, which go on together but may be set apart."""

    def __init__(self, text: str) -> None:
        self.now = at(text)
        self._loop = Clock()

    def __call__(self) -> float:
        return self.now

    async def advance(self, seconds: float) -> None:
        """Let time go by as it does, second by second where that matters."""
        left = seconds
        while left > 0:
            slice_s = min(left, cron_module.SLICE_S)
            self.now += slice_s
            await self._loop.advance(slice_s, turns=8)
            left -= slice_s

    async def freeze(self, seconds: float) -> None:
        """Let the day go on while the process stands still, and wake up."""
        self.now += seconds
        await self._loop.advance(cron_module.SLICE_S)


def at(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def cron_of(resource: Resource, clock: WallClock, **settings: Any) -> Cron:
    settings = {"schedule": "* * * * *", **settings}
    made = Cron(processor=Dependency(resource.name, resource=resource), **settings)
    made.named("nightly")
    made.is_feeding = True
    made._now = clock
    return made


def ticking_in(resources: dict[str, Any]) -> Ticking:
    ticking = resources["ticks.cron.nightly"]
    assert isinstance(ticking, Ticking)
    return ticking


async def test_a_tick_says_which_moment_of_which_schedule_it_is(
    pipeline: Pipeline, resource: Resource
) -> None:
    wall = WallClock("2024-01-10T01:59:50+00:00")
    cron = cron_of(resource, wall, schedule="0 3 * * *", time_zone="Europe/Oslo")

    async with cron.running():
        await turn()
        before = len(pipeline.batons)
        await wall.advance(10)
        await wall.freeze(86400 - 5)
        await wall.advance(5)

    assert before == 0
    assert pipeline.batons == [
        {
            "schedule": "0 3 * * *",
            "time_zone": "Europe/Oslo",
            "tick": at("2024-01-10T02:00:00+00:00"),
            "scheduled": "2024-01-10T03:00:00+01:00",
            "previous": None,
        },
        {
            "schedule": "0 3 * * *",
            "time_zone": "Europe/Oslo",
            "tick": at("2024-01-11T02:00:00+00:00"),
            "scheduled": "2024-01-11T03:00:00+01:00",
            "previous": at("2024-01-10T02:00:00+00:00"),
        },
    ]
    assert len(set(pipeline.journeys)) == 2


async def test_the_moment_at_which_ticking_begins_is_past(
    pipeline: Pipeline, resource: Resource
) -> None:
    wall = WallClock("2024-01-10T12:00:00+00:00")

    async with cron_of(resource, wall).running():
        await wall.advance(60)

    assert pipeline.all("scheduled") == ["2024-01-10T12:01:00+00:00"]


async def test_after_a_pause_the_latest_missed_moment_comes_alone(
    pipeline: Pipeline, resource: Resource
) -> None:
    wall = WallClock("2024-01-10T12:00:30+00:00")

    with capture_logs() as lines:
        async with cron_of(resource, wall).running():
            await turn()
            await wall.freeze(3600)
            await wall.advance(30)

    assert pipeline.all("scheduled") == ["2024-01-10T13:00:00+00:00", "2024-01-10T13:01:00+00:00"]
    assert lines == [
        {
            "event": "ticks missed",
            "tick": "ticks.cron.nightly",
            "missed": 59,
            "log_level": "warning",
        }
    ]


async def test_after_a_pause_nothing_comes_that_is_older_than_the_grace(
    pipeline: Pipeline, resource: Resource
) -> None:
    wall = WallClock("2024-01-10T02:59:00+00:00")
    cron = cron_of(resource, wall, schedule="0 3 * * *")

    with capture_logs() as lines:
        async with cron.running():
            await turn()
            await wall.freeze(60 + 61)

    assert pipeline.batons == []
    assert [(each["event"], each["missed"]) for each in lines] == [("ticks missed", 1)]


async def test_a_longer_grace_lets_an_older_moment_come(
    pipeline: Pipeline, resource: Resource
) -> None:
    wall = WallClock("2024-01-10T02:59:00+00:00")
    cron = cron_of(resource, wall, schedule="0 3 * * *", grace=Duration(7200.0))

    with capture_logs() as lines:
        async with cron.running():
            await turn()
            await wall.freeze(60 + 7200)

    assert pipeline.all("scheduled") == ["2024-01-10T03:00:00+00:00"]
    assert lines == []


async def test_ticks_that_are_missed_by_thousands_are_not_counted_to_the_end(
    pipeline: Pipeline, resource: Resource
) -> None:
    wall = WallClock("2024-01-10T12:00:00.5+00:00")

    cron = cron_of(resource, wall, schedule="* * * * * *")

    with capture_logs() as lines:
        async with cron.running():
            await turn()
            await wall.freeze(86400)

    assert pipeline.all("scheduled") == ["2024-01-11T12:00:00+00:00"]
    assert [each["missed"] for each in lines] == ["more than 1000"]
    assert (cron.counters.fired, cron.counters.missed) == (1, 1001)


async def test_ticks_never_overlap_and_the_latest_missed_one_comes_after(
    pipeline: Pipeline, resource: Resource
) -> None:
    wall = WallClock("2024-01-10T12:00:30+00:00")

    with capture_logs() as lines:
        async with cron_of(resource, wall).running():
            await turn()
            pipeline.gate.clear()
            await wall.advance(30)
            await wall.advance(190)
            during = len(pipeline.batons)
            pipeline.gate.set()
            await turn()

    assert during == 1
    assert pipeline.all("scheduled") == ["2024-01-10T12:01:00+00:00", "2024-01-10T12:04:00+00:00"]
    assert [each["missed"] for each in lines] == [2]


async def test_a_clock_that_is_set_back_a_little_repeats_no_tick(
    pipeline: Pipeline, resource: Resource
) -> None:
    wall = WallClock("2024-01-10T12:00:30+00:00")

    with capture_logs() as lines:
        async with cron_of(resource, wall).running():
            await turn()
            await wall.advance(30)
            wall.now -= 90
            await wall.advance(90)
            repeated = len(pipeline.batons) - 1
            await wall.advance(60)

    assert repeated == 0
    assert pipeline.all("scheduled") == ["2024-01-10T12:01:00+00:00", "2024-01-10T12:02:00+00:00"]
    assert lines == []


async def test_a_clock_that_was_wrong_by_years_does_not_keep_it_silent_for_years(
    pipeline: Pipeline, resource: Resource
) -> None:
    wall = WallClock("2038-01-10T12:00:30+00:00")

    with capture_logs() as lines:
        async with cron_of(resource, wall).running():
            await turn()
            wall.now = at("2024-01-10T12:00:30+00:00")
            await wall.advance(30)

    assert pipeline.all("scheduled") == ["2024-01-10T12:01:00+00:00"]
    assert [each["event"] for each in lines] == ["clock was set back"]


async def test_a_clock_that_is_set_on_finds_the_moment_that_it_has_leapt_over(
    pipeline: Pipeline, resource: Resource
) -> None:
    wall = WallClock("2024-01-10T02:00:00+00:00")

    async with cron_of(resource, wall, schedule="0 3 * * *").running():
        await turn()
        await wall.freeze(3630)

    assert pipeline.all("scheduled") == ["2024-01-10T03:00:00+00:00"]


async def test_a_tick_that_fails_is_logged_once_and_ticking_goes_on(
    pipeline: Pipeline, resource: Resource
) -> None:
    wall = WallClock("2024-01-10T12:00:30+00:00")
    pipeline.error = ValueError("no")

    with capture_logs() as lines:
        async with cron_of(resource, wall).running():
            await turn()
            await wall.advance(30)
            pipeline.error = None
            await wall.advance(60)

    assert len(pipeline.batons) == 2
    assert [(each["event"], each["tick"]) for each in lines] == [
        ("tick failed", "ticks.cron.nightly")
    ]


async def test_ticks_wait_until_the_processor_is_ready(
    pipeline: Pipeline, resource: Resource
) -> None:
    wall = WallClock("2024-01-10T12:00:30+00:00")
    resource.lost("the peer is away")

    async with cron_of(resource, wall).running():
        await turn()
        await wall.advance(75)
        before = len(pipeline.batons)
        resource.ready(pipeline)
        await turn()

    assert before == 0
    assert pipeline.all("scheduled") == ["2024-01-10T12:01:00+00:00"]


async def test_a_processor_that_has_failed_for_good_is_told_at_each_moment(
    pipeline: Pipeline, resource: Resource
) -> None:
    wall = WallClock("2024-01-10T12:00:30+00:00")
    resource.failed("the file is no JSON")

    with capture_logs() as lines:
        async with cron_of(resource, wall).running():
            await turn()
            await wall.advance(100)

    assert pipeline.batons == []
    assert [(each["event"], each["reason"]) for each in lines] == 2 * [
        ("tick failed", "'pipeline.x' has failed for good: the file is no JSON")
    ]


async def test_ticks_can_be_stopped_and_started_by_others(
    pipeline: Pipeline, resource: Resource
) -> None:
    wall = WallClock("2024-01-10T12:00:30+00:00")

    async with cron_of(resource, wall, auto_start=False).running() as resources:
        ticking = ticking_in(dict(resources))
        await wall.advance(60)
        before = len(pipeline.batons)
        ticking.start_ticking()
        await turn()
        await wall.advance(60)
        ticking.stop_ticking()
        await wall.advance(120)
        ticking.start_ticking()
        await turn()
        await wall.advance(60)

    assert before == 0
    assert pipeline.all("scheduled") == ["2024-01-10T12:02:00+00:00", "2024-01-10T12:05:00+00:00"]
    assert [each["previous"] for each in pipeline.batons] == [None, None]


async def test_ticks_are_not_started_where_nothing_is_fed(
    pipeline: Pipeline, resource: Resource
) -> None:
    wall = WallClock("2024-01-10T12:00:30+00:00")
    cron = cron_of(resource, wall)
    cron.is_feeding = False

    with capture_logs() as lines:
        async with cron.running() as resources:
            ticking_in(dict(resources)).start_ticking()
            await wall.advance(60)

    assert pipeline.batons == []
    assert [each["event"] for each in lines] == ["ticking is not enabled"]


async def test_leaving_waits_for_the_tick_that_is_being_treated(
    pipeline: Pipeline, resource: Resource
) -> None:
    wall = WallClock("2024-01-10T12:00:30+00:00")
    ended: list[str] = []

    async def treat(baton: Any) -> None:
        await pipeline.gate.wait()
        ended.append(baton["scheduled"])

    resource.ready(treat)
    pipeline.gate.clear()

    async with cron_of(resource, wall).running():
        await turn()
        await wall.advance(30)
        asyncio.get_running_loop().call_soon(pipeline.gate.set)

    assert ended == ["2024-01-10T12:01:00+00:00"]


class Latest(random.Random):
    def uniform(self, a: float, b: float) -> float:
        return b


async def test_jitter_lets_a_tick_come_later_and_tell_its_own_moment(
    pipeline: Pipeline, resource: Resource
) -> None:
    wall = WallClock("2024-01-10T11:59:30+00:00")
    cron = cron_of(resource, wall, schedule="0 * * * *", jitter=Duration(600.0))
    cron._random = Latest()

    async with cron.running():
        await turn()
        await wall.advance(30 + 595)
        before = len(pipeline.batons)
        await wall.advance(5)

    assert before == 0
    assert pipeline.all("scheduled") == ["2024-01-10T12:00:00+00:00"]


def problems_of(**settings: Any) -> Iterable[str]:
    spec = spec_of(Ticks)
    assert spec is not None
    decoder = Decoder()
    settings = {"schedule": "0 3 * * *", "processor": "pipeline.tidy", **settings}
    nightly = Mapping(
        HERE, {key: Entry(HERE, Scalar(HERE, value)) for key, value in settings.items()}
    )
    cron = Mapping(HERE, {"nightly": Entry(HERE, nightly)})
    decoder.section(spec, Mapping(HERE, {"cron": Entry(HERE, cron)}), "ticks")
    return [str(each).removeprefix("service.yaml:3:5: ") for each in decoder.problems]


@pytest.mark.parametrize(
    "text",
    ["0 3 * * *", "*/5 8-17 * * MON-FRI", "0 0 L * *", "30 0 3 * * *", "0 0 29 2 *", "@Daily"],
)
async def test_what_cron_takes_is_a_schedule(text: str) -> None:
    assert problems_of(schedule=text) == []


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("61 * * * *", "bad minute '61'"),
        ("0 3 * * FUN", "bad day-of-week 'FUN'"),
        ("0 3 * *", "expected 5 fields, or 6 with seconds, got 4"),
        ("", "expected 5 fields, or 6 with seconds, got 0"),
        ("@often", "expected 5 fields, or 6 with seconds, got 1"),
        ("*/0 * * * *", "bad minute '*/0'"),
    ],
)
async def test_what_is_no_schedule_is_a_problem(text: str, reason: str) -> None:
    assert problems_of(schedule=text) == [
        f"error[bad-schedule]: expected a schedule such as '0 3 * * *', got {text!r}: {reason}\n"
        "    at: ticks.cron.nightly.schedule"
    ]


@pytest.mark.parametrize("text", ["0 0 30 2 *", "0 0 31 4,6,9,11 *"])
async def test_a_schedule_that_never_comes_is_a_problem(text: str) -> None:
    assert problems_of(schedule=text) == [
        f"error[never-ticks]: the schedule '{text}' never comes\n"
        "    at: ticks.cron.nightly.schedule"
    ]


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("Europe/Olso", "did you mean 'Europe/Oslo'? known: "),
        ("oslo", "known: Arctic/Oslo, Europe/Oslo"),
        ("Mars", "known: UTC, local, and names such as Europe/Oslo"),
        ("../Oslo", "known: UTC, local, and names such as Europe/Oslo"),
        ("", "known: UTC, local, and names such as Europe/Oslo"),
        ("Europe", "did you mean"),
    ],
)
async def test_an_unknown_time_zone_is_a_problem_and_the_schedule_is_looked_at_too(
    name: str, hint: str
) -> None:
    zone, schedule = problems_of(time_zone=name, schedule="61 * * * *")

    assert zone.startswith(
        f"error[unknown-time-zone]: there is no time zone '{name}'\n"
        "    at: ticks.cron.nightly.time_zone\n"
    )
    assert schedule.startswith("error[bad-schedule]: ")


async def test_a_machine_that_does_not_know_its_zone_is_a_problem(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")

    assert problems_of(time_zone="local") == [
        "error[unknown-time-zone]: the time zone of this machine is not known\n"
        "    at: ticks.cron.nightly.time_zone\n"
        "    hint: name one: Europe/Oslo"
    ]


async def test_a_grace_below_a_second_is_a_problem() -> None:
    assert problems_of(grace="0s") == [
        "error[wrong-value]: expected duration >= 1, got '0s'\n    at: ticks.cron.nightly.grace"
    ]


async def test_each_schedule_is_supervised_by_itself(resource: Resource) -> None:
    cron = cron_of(resource, WallClock("2024-01-10T12:00:00+00:00"))
    ticks = Ticks(cron={"nightly": cron}, enabled=False)

    [unit] = ticks.units()

    assert unit.label == "ticks.cron.nightly"
    assert list(unit.offers()) == ["ticks.cron.nightly"]
    assert not unit.feeds()
    assert [each.name for each in dependencies_of(ticks)] == ["pipeline.x"]
