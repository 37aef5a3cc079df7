from __future__ import annotations

import asyncio
import sys
import traceback
from typing import Any

import pytest
from structlog.testing import capture_logs

from piped.errors import DeadlineExceeded
from tests.conftest import Clock
from tests.processors.conftest import Make, Problems, Run


def seen(baton: Any) -> Any:
    """Return the baton and the failure that is being treated."""
    return baton, sys.exc_info()[1]


async def ever(_: Any) -> None:
    await asyncio.Event().wait()


def test_timeout_is_certain_to_call_its_pipeline(make: Make) -> None:
    resources = {"pipeline.a": ever, "pipeline.b": seen}

    made = make("timeout: {pipeline: a, after: 1, otherwise: b}", **resources)
    partly = make("timeout: {pipeline: a, after: 1, input_path: n}", **resources)

    assert made.certain_calls == ("a",)
    assert partly.certain_calls == ()


def test_timeout_needs_a_time(problems: Problems) -> None:
    assert problems("timeout: {pipeline: a, after: 0}") == ["expected duration > 0, got 0"]
    assert problems("timeout: {pipeline: a, after: -1}") == [
        "expected a duration such as 2s or 250ms, got -1"
    ]


def test_timeout_lets_what_awaits_nothing_be_and_says_so_once(make: Make) -> None:
    timeout = make(
        "timeout: {pipeline: a, after: 1us, otherwise: b}",
        **{"pipeline.a": lambda baton: baton | {"m": sum(range(1000))}, "pipeline.b": ever},
    )

    with capture_logs() as lines:
        steps = [timeout.step(), timeout.step()]

    assert [step({"n": 1}) for step in steps] == [{"n": 1, "m": 499500}] * 2
    assert lines == [
        {
            "event": "timeout cannot stop what awaits nothing",
            "pipeline": "a",
            "log_level": "warning",
        }
    ]


def test_timeout_gives_what_comes_in_time(run: Run) -> None:
    async def more(n: int) -> int:
        return n + 1

    text = "timeout: {pipeline: a, after: 10s, input_path: n, output_path: m}"

    assert run(text, {"n": 1}, **{"pipeline.a": more}) == {"n": 1, "m": 2}


@pytest.mark.anyio
class TestLate:
    """What happens when the time is over, on a clock that the tests move."""

    @pytest.fixture
    def anyio_backend(self, movable_loop: tuple[str, dict[str, Any]]) -> Any:
        return movable_loop

    async def outcome(self, clock: Clock, step: Any, baton: Any, seconds: float) -> Any:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(told(step, baton))
            await asyncio.sleep(0)
            await clock.advance(seconds)
            assert task.done()
        return task.result()

    async def test_it_is_an_error_that_says_how_long_was_waited(
        self, make: Make, clock: Clock
    ) -> None:
        step = make("timeout: {pipeline: a, after: 2s}", **{"pipeline.a": ever}).step()

        error = await self.outcome(clock, step, {}, 2.1)

        assert type(error) is DeadlineExceeded
        assert str(error) == "expected an answer within 2s"
        assert "CancelledError" not in "".join(traceback.format_exception(error))

    async def test_the_pipeline_is_cancelled_and_its_changes_do_not_show(
        self, make: Make, clock: Clock
    ) -> None:
        ended: list[str] = []

        async def change(baton: dict[str, Any]) -> None:
            baton["half"] = "done"
            try:
                await asyncio.Event().wait()
            finally:
                ended.append("cancelled")

        step = make("timeout: {pipeline: a, after: 250ms}", **{"pipeline.a": change}).step()
        baton = {"n": 1}

        error = await self.outcome(clock, step, baton, 0.3)

        assert str(error) == "expected an answer within 0.25s"
        assert ended == ["cancelled"]
        assert baton == {"n": 1}

    async def test_otherwise_gets_the_input_and_sees_the_error(
        self, make: Make, clock: Clock
    ) -> None:
        resources = {"pipeline.a": ever, "pipeline.b": seen}
        step = make("timeout: {pipeline: a, after: 2s, otherwise: b}", **resources).step()

        baton, error = await self.outcome(clock, step, {"n": 1}, 2.1)

        assert baton == {"n": 1}
        assert type(error) is DeadlineExceeded

    async def test_a_timeout_error_of_the_pipelines_own_passes(
        self, make: Make, clock: Clock
    ) -> None:
        own = TimeoutError("the database is slow")

        async def fail(_: Any) -> None:
            raise own

        resources = {"pipeline.a": fail, "pipeline.b": seen}
        step = make("timeout: {pipeline: a, after: 2s, otherwise: b}", **resources).step()

        assert await self.outcome(clock, step, {}, 0) is own

    async def test_a_timeout_error_passes_even_at_the_last_moment(
        self, make: Make, clock: Clock
    ) -> None:
        own = TimeoutError("the database is slow")

        async def give_up(_: Any) -> None:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                raise own from None

        step = make("timeout: {pipeline: a, after: 2s}", **{"pipeline.a": give_up}).step()

        assert await self.outcome(clock, step, {}, 2.1) is own

    async def test_the_inner_deadline_is_not_the_outer_one(self, make: Make, clock: Clock) -> None:
        inner = make("timeout: {pipeline: a, after: 1s}", **{"pipeline.a": ever}).step()

        async def call_inner(baton: Any) -> Any:
            return await inner(baton)

        resources = {"pipeline.a": call_inner, "pipeline.b": seen}
        outer = make("timeout: {pipeline: a, after: 2s, otherwise: b}", **resources).step()

        error = await self.outcome(clock, outer, {}, 1.1)

        assert str(error) == "expected an answer within 1s"

    async def test_callers_have_deadlines_of_their_own(self, make: Make, clock: Clock) -> None:
        async def wait(seconds: float) -> float:
            await asyncio.sleep(seconds)
            return seconds

        step = make("timeout: {pipeline: a, after: 2s}", **{"pipeline.a": wait}).step()

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(told(step, seconds)) for seconds in (1, 3)]
            await asyncio.sleep(0)
            await clock.advance(1.5)
            tasks.append(group.create_task(told(step, 1)))
            await asyncio.sleep(0)
            await clock.advance(1.5)

        first, second, third = (task.result() for task in tasks)
        assert first == third == 1
        assert type(second) is DeadlineExceeded

    async def test_being_cancelled_is_not_being_late(self, make: Make) -> None:
        resources = {"pipeline.a": ever, "pipeline.b": seen}
        step = make("timeout: {pipeline: a, after: 2s, otherwise: b}", **resources).step()

        async with asyncio.TaskGroup() as group:
            task = group.create_task(step({}))
            await asyncio.sleep(0)
            task.cancel()

        assert task.cancelled()


async def told(step: Any, baton: Any) -> Any:
    """Return what a step gives, or the error that it raises."""
    try:
        return await step(baton)
    except Exception as error:
        return error
