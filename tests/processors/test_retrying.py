from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from typing import Any

import pytest

from piped.errors import CircuitOpen, Throttled, TooDeep
from tests.conftest import Clock, turn
from tests.processors.conftest import Make, Problems, Run

pytestmark = pytest.mark.anyio

RETRY = "retry: {pipeline: a, delay: 1s, jitter: false"


@pytest.fixture
def anyio_backend(movable_loop: tuple[str, dict[str, Any]]) -> tuple[str, dict[str, Any]]:
    return movable_loop


class Failing:
    """A pipeline that raises its errors, one each time, and then gives its baton back."""

    def __init__(self, *errors: BaseException) -> None:
        self.errors = [*errors]
        self.batons: list[Any] = []

    def __call__(self, baton: Any) -> Any:
        self.batons.append(baton)
        if self.errors:
            raise self.errors.pop(0)
        return baton

    def resource(self) -> Any:
        return lambda baton: self(baton)


async def begin(made: Any, baton: Any) -> asyncio.Task[Any]:
    """Send a baton through a processor, until it waits."""
    step = made.step()
    task = asyncio.create_task(step(baton))
    await turn(5)
    return task


async def test_retry_tries_until_an_attempt_succeeds(make: Make, clock: Clock) -> None:
    pipeline = Failing(ValueError(), ValueError())
    made = make(f"{RETRY}}}", **{"pipeline.a": pipeline.resource()})

    task = await begin(made, 7)
    await clock.advance(1.001)
    await clock.advance(2.001)

    assert await task == 7
    assert pipeline.batons == [7, 7, 7]


async def test_retry_waits_longer_each_time_but_not_too_long(make: Make, clock: Clock) -> None:
    pipeline = Failing(*[ValueError() for _ in range(5)])
    text = f"{RETRY}, attempts: 6, factor: 3, max_delay: 5s}}"
    made = make(text, **{"pipeline.a": pipeline.resource()})

    task = await begin(made, 7)

    for count, wait in enumerate([1, 3, 5, 5, 5], 1):
        await clock.advance(wait - 0.1)
        assert len(pipeline.batons) == count
        await clock.advance(0.101)
        assert len(pipeline.batons) == count + 1
    assert await task == 7


async def test_retry_waits_a_random_part_of_the_time(make: Make, clock: Clock) -> None:
    class Half(random.Random):
        def uniform(self, a: float, b: float) -> float:
            return (a + b) / 2

    pipeline = Failing(ValueError())
    made = make("retry: {pipeline: a, delay: 1s}", **{"pipeline.a": pipeline.resource()})
    made._random = Half()

    task = await begin(made, 7)

    await clock.advance(0.4)
    assert len(pipeline.batons) == 1
    await clock.advance(0.101)
    assert await task == 7


@pytest.mark.parametrize("given", [{"n": [1]}, [1]])
async def test_each_attempt_gets_the_input_as_it_was(make: Make, given: Any) -> None:
    seen: list[Any] = []

    def spoil(baton: Any) -> Any:
        seen.append(baton.copy())
        baton.clear()
        raise ValueError

    made = make("retry: {pipeline: a, delay: 0}", **{"pipeline.a": spoil})

    with pytest.raises(ValueError):  # noqa: PT011 - it has no text
        await made.step()(given)

    assert seen == [given, given, given]
    assert given != type(given)()


async def test_the_last_error_tells_how_many_attempts_there_were(make: Make) -> None:
    last = ValueError("last")
    pipeline = Failing(ValueError("first"), ValueError("second"), last)
    made = make("retry: {pipeline: a, delay: 0}", **{"pipeline.a": pipeline.resource()})

    with pytest.raises(ValueError, match="last") as raised:
        await made.step()(7)

    assert raised.value is last
    assert last.__notes__ == ["after 3 attempts"]
    assert last.attempts == 3  # type: ignore[attr-defined] # that is what is tested
    assert last.__context__ is None


async def test_an_error_that_is_shared_by_batons_is_noted_once(make: Make) -> None:
    error = ValueError()
    pipeline = Failing(*[error] * 6)
    step = make("retry: {pipeline: a, delay: 0}", **{"pipeline.a": pipeline.resource()}).step()

    for _ in range(2):
        with pytest.raises(ValueError):  # noqa: PT011 - it has no text
            await step(7)

    assert error.__notes__ == ["after 3 attempts"]


async def test_what_an_inner_retry_has_counted_stays(make: Make) -> None:
    error = KeyError("a")
    error.attempts = 3  # type: ignore[attr-defined] # any exception may have it
    pipeline = Failing(error)
    made = make("retry: {pipeline: a, errors: ValueError}", **{"pipeline.a": pipeline.resource()})

    with pytest.raises(KeyError):
        await made.step()(7)

    assert error.attempts == 3  # type: ignore[attr-defined] # any exception may have it


async def test_an_error_that_lets_nothing_be_said_is_raised_all_the_same(make: Make) -> None:
    @dataclass(frozen=True)
    class Frozen(Exception):
        code: int

    pipeline = Failing(*[Frozen(5) for _ in range(3)])
    made = make("retry: {pipeline: a, delay: 0}", **{"pipeline.a": pipeline.resource()})

    with pytest.raises(Frozen) as raised:
        await made.step()(7)

    assert raised.value.code == 5
    assert len(pipeline.batons) == 3


async def test_other_errors_are_not_tried_again(make: Make) -> None:
    pipeline = Failing(ValueError(), KeyError("a"))
    text = "retry: {pipeline: a, delay: 0, errors: [ValueError, OSError]}"
    made = make(text, **{"pipeline.a": pipeline.resource()})

    with pytest.raises(KeyError) as raised:
        await made.step()(7)

    assert len(pipeline.batons) == 2
    assert raised.value.__notes__ == ["after 2 attempts"]


@pytest.mark.parametrize("error", [TooDeep("deep"), asyncio.CancelledError()])
async def test_what_has_no_end_and_what_is_cancelled_is_not_tried_again(
    make: Make, error: BaseException
) -> None:
    pipeline = Failing(error)
    made = make("retry: {pipeline: a, delay: 0}", **{"pipeline.a": pipeline.resource()})

    with pytest.raises(type(error)):
        await made.step()(7)

    assert len(pipeline.batons) == 1
    assert not hasattr(error, "__notes__")


@pytest.mark.parametrize("error", [Throttled("slow", 5.0), CircuitOpen("open", 5.0)])
async def test_an_error_may_ask_to_be_waited_for(
    make: Make, clock: Clock, error: Exception
) -> None:
    pipeline = Failing(error)
    made = make(f"{RETRY}, max_delay: 2s}}", **{"pipeline.a": pipeline.resource()})

    task = await begin(made, 7)

    await clock.advance(4.9)
    assert len(pipeline.batons) == 1
    await clock.advance(0.101)
    assert await task == 7


@pytest.mark.parametrize("asked", [None, True, "5", -5.0, float("nan")])
async def test_what_is_no_time_is_not_waited_for(make: Make, clock: Clock, asked: Any) -> None:
    error = ValueError()
    error.retry_after_s = asked  # type: ignore[attr-defined] # any exception may have it
    made = make(f"{RETRY}}}", **{"pipeline.a": Failing(error).resource()})

    task = await begin(made, 7)
    await clock.advance(1.001)

    assert await task == 7


@pytest.mark.parametrize("asked", [86_401.0, float("inf"), 10**400])
async def test_nobody_waits_for_more_than_a_day(make: Make, asked: float) -> None:
    pipeline = Failing(Throttled("slow", asked))
    made = make(f"{RETRY}}}", **{"pipeline.a": pipeline.resource()})

    with pytest.raises(Throttled):
        await made.step()(7)

    assert len(pipeline.batons) == 1


async def test_no_attempt_begins_after_the_deadline(make: Make, clock: Clock) -> None:
    pipeline = Failing(*[ValueError() for _ in range(9)])
    text = f"{RETRY}, attempts: 9, factor: 1, deadline: 2.5s}}"
    made = make(text, **{"pipeline.a": pipeline.resource()})

    task = await begin(made, 7)
    await clock.advance(1.001)
    await clock.advance(1.001)

    assert task.done()  # nothing is gained by waiting for the end of it
    assert isinstance(task.exception(), ValueError)
    assert len(pipeline.batons) == 3


async def test_an_attempt_under_way_is_not_cut_off_by_the_deadline(
    make: Make, clock: Clock
) -> None:
    async def slow(baton: Any) -> Any:
        await asyncio.sleep(10)
        return baton

    made = make(f"{RETRY}, deadline: 1s}}", **{"pipeline.a": slow})

    task = await begin(made, 7)
    await clock.advance(10.001)

    assert await task == 7


async def test_a_baton_that_waits_can_be_cancelled(make: Make) -> None:
    pipeline = Failing(ValueError())
    made = make(f"{RETRY}}}", **{"pipeline.a": pipeline.resource()})

    task = await begin(made, 7)
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(pipeline.batons) == 1


def test_retry_leaves_the_baton_where_there_is_no_input(run: Run) -> None:
    pipeline = Failing(ValueError())

    baton = run("retry: {pipeline: a, input_path: n}", {}, **{"pipeline.a": pipeline.resource()})

    assert baton == {}
    assert pipeline.batons == []


def test_retry_says_which_pipeline_it_certainly_calls(make: Make) -> None:
    assert make("retry: {pipeline: a}").certain_calls == ("a",)
    assert make("retry: {pipeline: a, input_path: n}").certain_calls == ()


def test_retry_knows_its_bounds(problems: Problems) -> None:
    assert problems("retry: {pipeline: a, attempts: 0}") == ["expected int >= 1, got 0"]
    assert problems("retry: {pipeline: a, factor: 0.5}") == ["expected int or float >= 1, got 0.5"]
