from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from structlog.testing import capture_logs

from piped.errors import QueueFull, Unavailable
from piped.providers.background import Background, Tasks
from tests.conftest import Clock

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend(movable_loop: tuple[str, dict[str, Any]]) -> tuple[str, dict[str, Any]]:
    return movable_loop


@asynccontextmanager
async def running(**settings: Any) -> AsyncIterator[Tasks]:
    async with Background(**settings).running() as resources:
        yield resources["background"]


async def test_a_work_goes_on_by_itself_and_is_waited_for_at_the_end() -> None:
    done: list[str] = []
    gate = asyncio.Event()

    async def work() -> None:
        await gate.wait()
        done.append("work")

    async with running() as tasks:
        tasks.start(work, "work")
        assert done == []
        gate.set()

    assert done == ["work"]


async def test_a_work_that_fails_is_logged_and_leaves_the_others_alone() -> None:
    done: list[str] = []

    async def fail() -> None:
        raise ValueError("no")

    async def work() -> None:
        await asyncio.sleep(0)
        done.append("work")

    with capture_logs() as logs:
        async with running() as tasks:
            tasks.start(fail, "fail")
            tasks.start(work, "work")

    assert done == ["work"]
    assert [(each["event"], each["task"]) for each in logs] == [("background task failed", "fail")]


async def test_more_tasks_than_may_run_are_refused_until_one_has_ended() -> None:
    gate = asyncio.Event()

    async def work() -> None:
        await gate.wait()

    async with running(max_tasks=1) as tasks:
        tasks.start(work, "first")
        with pytest.raises(QueueFull) as raised:
            tasks.start(work, "second")
        gate.set()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        tasks.start(work, "third")

    assert str(raised.value) == "1 tasks run in the background already"


async def test_what_is_to_be_done_at_the_end_is_done_as_soon_as_somebody_asks_for_it() -> None:
    done: list[str] = []
    asked = asyncio.Event()

    async with running() as tasks:
        tasks.on_end(asked.wait, lambda: done.append("end"))
        await asyncio.sleep(0)
        before = list(done)
        asked.set()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        at_once = list(done)

    assert before == []
    assert at_once == ["end"]
    assert done == ["end"]


async def test_what_is_to_be_done_at_the_end_is_done_by_the_drain_if_nobody_asks_for_it() -> None:
    done: list[str] = []

    async with running() as tasks:

        async def late() -> None:
            done.append("late")
            tasks.on_end(asyncio.Event().wait, lambda: done.append("at once"))

        tasks.on_end(asyncio.Event().wait, lambda: tasks.start(late, "late"))

    assert done == ["late", "at once"]


async def test_a_work_has_begun_when_it_is_given_up_and_nothing_begins_later() -> None:
    provider = Background()
    provider.drain_s = 0.0
    ended: list[str] = []

    async def again() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            try:
                resources["background"].start(again, "again")
            except Unavailable as error:
                ended.append(str(error))

    async with provider.running() as resources:
        resources["background"].start(again, "again")

    assert ended == ["the service ends: nothing begins in the background any more"]


async def test_a_work_that_takes_longer_than_the_drain_is_given_up(clock: Clock) -> None:
    provider = Background()
    provider.drain_s = 5.0
    started = asyncio.Event()

    async def work() -> None:
        started.set()
        await asyncio.Event().wait()

    async def live() -> None:
        async with provider.running() as resources:
            resources["background"].start(work, "work")

    with capture_logs() as logs:
        life = asyncio.get_running_loop().create_task(live())
        await started.wait()
        await clock.advance(5.0)
        await life

    assert logs == [{"event": "tasks given up", "log_level": "warning", "tasks": 1, "after_s": 5.0}]
