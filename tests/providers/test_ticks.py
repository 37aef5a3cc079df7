from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from structlog.testing import capture_logs

from piped.document.nodes import Entry, Mapping, Scalar
from piped.errors import Place
from piped.providers.ticks import Interval, Ticking, Ticks
from piped.resources import Resource
from piped.spec import Decoder, Dependency, Duration, dependencies_of, spec_of
from tests.conftest import Clock, turn
from tests.providers.conftest import Pipeline

HERE = Place("service.yaml", 3, 5)

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend(movable_loop: tuple[str, dict[str, Any]]) -> tuple[str, dict[str, Any]]:
    return movable_loop


def interval_of(resource: Resource, **settings: Any) -> Interval:
    made = Interval(
        interval=Duration(1.0),
        processor=Dependency(resource.name, resource=resource),
        **settings,
    )
    made.named("reaper")
    made.is_feeding = True
    return made


def ticking_in(resources: dict[str, Any]) -> Ticking:
    ticking = resources["ticks.interval.reaper"]
    assert isinstance(ticking, Ticking)
    return ticking


async def test_the_first_tick_comes_at_once_and_says_so(
    pipeline: Pipeline, resource: Resource
) -> None:
    async with interval_of(resource).running():
        await turn()

    [baton] = pipeline.batons
    assert baton["interval"] == 1.0
    assert baton["delta"] == 0.0
    assert baton["previous_tick"] == baton["tick"] == pytest.approx(time.time(), abs=5)


async def test_ticks_come_at_each_interval_on_a_journey_of_their_own(
    pipeline: Pipeline, resource: Resource, clock: Clock
) -> None:
    async with interval_of(resource).running():
        await turn()
        await clock.advance(1.0)
        await clock.advance(1.0)

    assert len(pipeline.batons) == 3
    assert len(set(pipeline.journeys)) == 3
    assert pipeline.batons[2]["delta"] == pytest.approx(1.0, abs=0.5)
    assert pipeline.batons[2]["previous_tick"] == pipeline.batons[1]["tick"]


async def test_ticks_never_overlap_and_what_was_missed_is_not_made_up_for(
    pipeline: Pipeline, resource: Resource, clock: Clock
) -> None:
    async with interval_of(resource).running():
        pipeline.gate.clear()
        await turn()
        await clock.advance(10.0)
        during = len(pipeline.batons)
        pipeline.gate.set()
        await turn()

    assert during == 1
    assert len(pipeline.batons) == 2


async def test_ticks_are_counted_and_so_are_those_that_were_missed(
    pipeline: Pipeline, resource: Resource, clock: Clock
) -> None:
    interval = interval_of(resource)

    async with interval.running():
        pipeline.gate.clear()
        await turn()
        during = interval.is_treating
        await clock.advance(3.5)
        pipeline.gate.set()
        await turn()

    counted = interval.counters
    assert during
    assert not interval.is_treating
    assert (counted.fired, counted.failed, counted.missed) == (2, 0, 2)
    assert counted.last == pipeline.batons[-1]["tick"]


async def test_a_tick_that_fails_is_logged_once_and_ticking_goes_on(
    pipeline: Pipeline, resource: Resource, clock: Clock
) -> None:
    pipeline.error = ValueError("no")

    with capture_logs() as lines:
        async with interval_of(resource).running():
            await turn()
            pipeline.error = None
            await clock.advance(1.0)

    assert len(pipeline.batons) == 2
    assert lines == [
        {
            "event": "tick failed",
            "tick": "ticks.interval.reaper",
            "exc_info": True,
            "log_level": "error",
        }
    ]


async def test_ticks_wait_until_the_processor_is_ready(
    pipeline: Pipeline, resource: Resource
) -> None:
    resource.lost("the peer is away")

    async with interval_of(resource).running():
        await turn()
        before = len(pipeline.batons)
        resource.ready(pipeline)
        await turn()

    assert before == 0
    assert len(pipeline.batons) == 1


async def test_a_processor_that_has_failed_for_good_is_told_now_and_then(
    pipeline: Pipeline, resource: Resource, clock: Clock
) -> None:
    resource.failed("the file is no JSON")

    with capture_logs() as lines:
        async with interval_of(resource).running() as resources:
            await turn()
            for _ in range(70):
                await clock.advance(1.0)
            is_ticking = ticking_in(resources).is_ticking

    assert is_ticking
    assert pipeline.batons == []
    assert lines == 2 * [
        {
            "event": "tick failed",
            "tick": "ticks.interval.reaper",
            "reason": "'pipeline.x' has failed for good: the file is no JSON",
            "log_level": "error",
        }
    ]


async def test_ticks_can_be_stopped_and_started_by_others(
    pipeline: Pipeline, resource: Resource, clock: Clock
) -> None:
    async with interval_of(resource).running() as resources:
        ticking = ticking_in(dict(resources))
        await turn()
        ticking.stop_ticking()
        ticking.stop_ticking()
        await clock.advance(5.0)
        while_stopped = len(pipeline.batons)
        ticking.start_ticking()
        ticking.start_ticking()
        await turn()

    assert while_stopped == 1
    assert len(pipeline.batons) == 2
    assert pipeline.batons[1]["delta"] == 0.0


async def test_ticks_stopped_while_the_processor_is_away_do_not_come(
    pipeline: Pipeline, resource: Resource
) -> None:
    resource.lost("the peer is away")

    async with interval_of(resource).running() as resources:
        await turn()
        ticking_in(dict(resources)).stop_ticking()
        resource.ready(pipeline)
        await turn()

    assert pipeline.batons == []


async def test_ticks_without_auto_start_wait_for_somebody(
    pipeline: Pipeline, resource: Resource
) -> None:
    async with interval_of(resource, auto_start=False).running() as resources:
        await turn()
        before, ticking = len(pipeline.batons), ticking_in(dict(resources))
        ticking.start_ticking()
        await turn()

    assert before == 0
    assert len(pipeline.batons) == 1


async def test_ticks_are_not_started_where_nothing_is_fed(
    pipeline: Pipeline, resource: Resource
) -> None:
    interval = interval_of(resource)
    interval.is_feeding = False

    with capture_logs() as lines:
        async with interval.running() as resources:
            ticking_in(dict(resources)).start_ticking()
            await turn()

    assert pipeline.batons == []
    assert [each["event"] for each in lines] == ["ticking is not enabled"]


async def test_leaving_waits_for_the_tick_that_is_being_treated(
    pipeline: Pipeline, resource: Resource
) -> None:
    pipeline.gate.clear()

    async with interval_of(resource).running() as resources:
        await turn()
        asyncio.get_running_loop().call_soon(pipeline.gate.set)

    assert not ticking_in(dict(resources)).is_ticking
    assert len(pipeline.batons) == 1


async def test_leaving_gives_up_a_tick_that_does_not_end(
    pipeline: Pipeline, resource: Resource, clock: Clock
) -> None:
    pipeline.gate.clear()

    async def run() -> None:
        async with interval_of(resource).running():
            await turn()

    with capture_logs() as lines:
        task = asyncio.create_task(run())
        await turn()
        await turn()
        await clock.advance(25.0)
        await task

    assert [(each["event"], each["after_s"]) for each in lines] == [("tick given up", 25.0)]


async def test_an_interval_of_nothing_is_a_problem() -> None:
    spec = spec_of(Ticks)
    assert spec is not None
    decoder = Decoder()
    parameters = {"interval": Scalar(HERE, 0), "processor": Scalar(HERE, "pipeline.reap")}
    reaper = Mapping(HERE, {key: Entry(HERE, each) for key, each in parameters.items()})
    intervals = Mapping(HERE, {"reaper": Entry(HERE, reaper)})

    decoder.section(spec, Mapping(HERE, {"interval": Entry(HERE, intervals)}), "ticks")

    assert [str(each) for each in decoder.problems] == [
        "service.yaml:3:5: error[wrong-value]: expected an interval above 0, got 0.0\n"
        "    at: ticks.interval.reaper"
    ]


async def test_each_interval_is_supervised_by_itself(resource: Resource) -> None:
    ticks = Ticks(interval={"reaper": interval_of(resource)}, enabled=False)

    [unit] = ticks.units()

    assert unit.label == "ticks.interval.reaper"
    assert list(unit.offers()) == ["ticks.interval.reaper"]
    assert not unit.feeds()
    assert [each.name for each in dependencies_of(ticks)] == ["pipeline.x"]
