from __future__ import annotations

import asyncio
from typing import Any

import pytest
from structlog.testing import capture_logs

from piped.providers.events import SystemEvents
from piped.resources import Resource
from piped.spec import Dependency
from tests.conftest import Clock

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend(movable_loop: tuple[str, dict[str, Any]]) -> tuple[str, dict[str, Any]]:
    return movable_loop


def to(call: Any, name: str = "pipeline.x") -> Dependency[Any]:
    resource = Resource(name)
    resource.ready(call)
    return Dependency(name, resource=resource)


async def test_an_event_goes_to_all_labels_at_the_same_time() -> None:
    batons: list[Any] = []
    both = asyncio.Barrier(2)

    async def pipeline(baton: Any) -> None:
        await both.wait()
        batons.append(baton)

    events = SystemEvents(startup={"a": to(pipeline), "b": to(pipeline)})
    events.is_feeding = True
    await events.fire("startup")
    await events.fire("shutdown")

    assert batons == [{"event_type": "startup"}, {"event_type": "startup"}]
    assert batons[0] is not batons[1]
    assert events.feeds()


async def test_an_event_that_fails_is_logged_and_the_others_go_on() -> None:
    batons: list[Any] = []

    def fail(baton: Any) -> None:
        raise ValueError("no")

    events = SystemEvents(shutdown={"bad": to(fail), "good": to(batons.append)})
    events.is_feeding = True
    with capture_logs() as lines:
        await events.fire("shutdown")

    assert batons == [{"event_type": "shutdown"}]
    assert lines == [
        {
            "event": "system event failed",
            "event_name": "shutdown.bad",
            "exc_info": True,
            "log_level": "error",
        }
    ]


async def test_the_end_does_not_wait_for_ever(clock: Clock) -> None:
    lost = Dependency[Any]("pipeline.x", resource=Resource("pipeline.x"))
    events = SystemEvents(shutdown={"away": lost})
    events.is_feeding = True

    with capture_logs() as lines:
        fired = asyncio.create_task(events.fire("shutdown"))
        await clock.advance(0.0)
        await clock.advance(10.0)
        await fired

    assert lines == [
        {
            "event": "system event given up",
            "event_name": "shutdown.away",
            "after_s": 10.0,
            "log_level": "error",
        }
    ]


async def test_no_event_is_fired_where_nothing_is_fed() -> None:
    batons: list[Any] = []
    events = SystemEvents(startup={"a": to(batons.append)})

    async with events.running() as resources:
        await events.fire("startup")

    assert batons == []
    assert resources == {}
    assert not SystemEvents().feeds()
