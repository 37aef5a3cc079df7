from __future__ import annotations

import asyncio
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from structlog.testing import capture_logs

from piped.errors import BatonError, PipelineError, TooDeep
from tests.conftest import Clock, turn
from tests.processors.conftest import Make, Problems, Run

pytestmark = pytest.mark.anyio

DEDUPE = "dedupe: {key_path: id, input_path: n, pipeline: a"


@pytest.fixture
def anyio_backend(movable_loop: tuple[str, dict[str, Any]]) -> tuple[str, dict[str, Any]]:
    return movable_loop


class Work:
    """A pipeline whose runs wait until they are ended, in order."""

    def __init__(self) -> None:
        self.batons: list[Any] = []
        self.runs: list[asyncio.Future[Any]] = []

    async def run(self, baton: Any) -> Any:
        self.batons.append(baton)
        self.runs.append(asyncio.get_running_loop().create_future())
        return await self.runs[-1]

    def pipeline(self) -> Any:
        async def later(baton: Any) -> Any:
            return await self.run(baton)

        return later

    async def end(self, outcome: Any) -> None:
        """End the last run with a result or an error."""
        if isinstance(outcome, BaseException):
            self.runs[-1].set_exception(outcome)
        else:
            self.runs[-1].set_result(outcome)
        await turn()


@pytest.fixture
def work() -> Work:
    return Work()


async def begin(made: Any, *batons: Any) -> list[asyncio.Task[Any]]:
    """Send batons through a processor at the same time."""
    step = made.step()
    tasks = [asyncio.create_task(step(baton)) for baton in batons]
    await turn()
    return tasks


def same(baton_count: int) -> list[dict[str, Any]]:
    return [{"id": "a", "n": n} for n in range(baton_count)]


def counting() -> Any:
    """Return a pipeline that counts its runs."""
    runs = iter(range(1, 1000))
    return lambda baton: next(runs)


async def as_async(baton: Any) -> Any:
    return f"again {baton}"


async def test_the_first_of_a_key_is_treated(make: Make) -> None:
    step = make(f"{DEDUPE}}}", **{"pipeline.a": lambda n: -n}).step()

    batons = [step({"id": key, "n": n}) for n, key in enumerate("abab", 1)]

    assert [each["n"] for each in batons] == [-1, -2, 3, 4]


async def test_a_repeat_may_go_another_way(make: Make) -> None:
    resources = {"pipeline.a": lambda n: -n, "pipeline.b": lambda n: f"again {n}"}
    step = make(f"{DEDUPE}, repeated: b}}", **resources).step()

    batons = [step({"id": "x", "n": n}) for n in (1, 2)]

    assert [each["n"] for each in batons] == [-1, "again 2"]


async def test_a_repeat_may_go_another_way_that_awaits(make: Make) -> None:
    resources = {"pipeline.a": lambda n: -n, "pipeline.b": as_async}
    made = make(f"{DEDUPE}, repeated: b}}", **resources)
    step = made.step()

    batons = [await step({"id": "x", "n": n}) for n in (1, 2)]

    assert made.is_async
    assert [each["n"] for each in batons] == [-1, "again 2"]


async def test_a_key_is_forgotten_after_the_window(make: Make, clock: Clock) -> None:
    step = make(f"{DEDUPE}, window: 10s}}", **{"pipeline.a": lambda n: -n}).step()
    step({"id": "x", "n": 1})

    await clock.advance(9.9)
    assert step({"id": "x", "n": 2})["n"] == 2  # and does not begin the window anew
    await clock.advance(0.2)

    assert step({"id": "x", "n": 3})["n"] == -3


async def test_a_failure_is_forgotten_at_once(make: Make) -> None:
    def fail(n: int) -> int:
        if n < 3:
            raise ValueError(f"no {n}")
        return -n

    step = make(f"{DEDUPE}}}", **{"pipeline.a": fail}).step()

    for n in (1, 2):
        with pytest.raises(ValueError, match=f"no {n}"):
            step({"id": "x", "n": n})

    assert step({"id": "x", "n": 3})["n"] == -3


async def test_repeats_wait_for_the_first(make: Make, work: Work) -> None:
    made = make(f"{DEDUPE}}}", **{"pipeline.a": work.pipeline()})

    tasks = await begin(made, *same(50), {"id": "b", "n": 99})
    assert work.batons == [0, 99]
    assert not any(task.done() for task in tasks)
    work.runs[0].set_result("first")
    await turn()

    assert [task.done() for task in tasks] == [True] * 50 + [False]
    assert [(await task)["n"] for task in tasks[:50]] == ["first", *range(1, 50)]
    await work.end("other")
    assert await tasks[50] == {"id": "b", "n": "other"}


@pytest.mark.parametrize("error", [ValueError("no"), TooDeep("deep")])
async def test_where_the_first_fails_one_that_waits_becomes_the_first(
    make: Make, work: Work, error: Exception
) -> None:
    made = make(f"{DEDUPE}}}", **{"pipeline.a": work.pipeline()})
    tasks = await begin(made, *same(4))

    await work.end(error)
    assert work.batons == [0, 1]
    tasks += await begin(made, {"id": "a", "n": 4})
    await work.end(error)
    await work.end("third")

    outcomes: list[Any] = await asyncio.gather(*tasks, return_exceptions=True)
    assert outcomes[:2] == [error, error]
    assert [each["n"] for each in outcomes[2:]] == ["third", 3, 4]
    assert work.batons == [0, 1, 2]


async def test_where_the_first_is_cancelled_one_that_waits_becomes_the_first(
    make: Make, work: Work
) -> None:
    made = make(f"{DEDUPE}}}", **{"pipeline.a": work.pipeline()})
    tasks = await begin(made, *same(4))

    tasks[2].cancel()
    tasks[0].cancel()
    await turn()
    assert work.batons == [0, 1]
    await work.end("second")

    assert (await tasks[1])["n"] == "second"
    assert (await tasks[3])["n"] == 3
    assert made._flights._under_way == {}


async def test_who_is_cancelled_as_it_becomes_the_first_gives_that_on(
    make: Make, work: Work
) -> None:
    made = make(f"{DEDUPE}}}", **{"pipeline.a": work.pipeline()})
    made._flights.begin("a")
    tasks = await begin(made, *same(2))

    made._flights._hand_over("a")
    tasks[0].cancel()
    await turn()

    assert work.batons == [1]
    await work.end("second")
    assert (await tasks[1])["n"] == "second"


async def test_nothing_stays_when_all_are_cancelled(make: Make, work: Work) -> None:
    made = make(f"{DEDUPE}}}", **{"pipeline.a": work.pipeline()})
    tasks = await begin(made, *same(5))

    for task in tasks:
        task.cancel()
    await turn()

    assert all(task.cancelled() for task in tasks)
    assert made._flights._under_way == {}
    [task] = await begin(made, {"id": "a", "n": 9})
    await work.end("new")
    assert (await task)["n"] == "new"


async def test_the_oldest_treated_key_is_forgotten_when_there_are_too_many(
    make: Make, clock: Clock
) -> None:
    made = make(f"{DEDUPE}, max_keys: 3}}", **{"pipeline.a": lambda n: -n})
    step = made.step()

    with capture_logs() as logs:
        for key in range(8):
            step({"id": key, "n": 1})
        await clock.advance(61)
        step({"id": 8, "n": 1})
        await clock.advance(61)

    assert [*made._seen] == [6, 7, 8]
    event = {
        "event": "keys forgotten before their time",
        "log_level": "warning",
        "pipeline": "a",
        "max_keys": 3,
    }
    assert logs == [event | {"count": 1}, event | {"count": 4}, event | {"count": 1}]


async def test_keys_under_way_are_not_forgotten(make: Make, work: Work) -> None:
    made = make(f"{DEDUPE}, max_keys: 2}}", **{"pipeline.a": work.pipeline()})
    tasks = await begin(made, *({"id": key, "n": key} for key in range(5)))

    repeats = await begin(made, *({"id": key, "n": "again"} for key in range(5)))
    for run in work.runs:
        run.set_result("first")
    await turn()

    assert [(await task)["n"] for task in tasks] == ["first"] * 5
    assert [(await task)["n"] for task in repeats] == ["again"] * 5
    assert [*made._seen] == [3, 4]


@pytest.mark.parametrize(
    ("baton", "text"),
    [
        ({"n": 1}, "expected a key at 'id', got nothing"),
        ({"id": object(), "n": 1}, "expected a key of plain values, got object"),
    ],
)
def test_dedupe_needs_a_key(run: Run, baton: Any, text: str) -> None:
    with pytest.raises(BatonError) as raised:
        run(f"{DEDUPE}}}", baton, **{"pipeline.a": lambda n: -n})

    assert str(raised.value) == text


@pytest.mark.parametrize("name", ["dedupe: {key_path: id, pipeline: a}", "cache: {pipeline: a}"])
@pytest.mark.parametrize("is_async", [True, False])
async def test_a_pipeline_that_comes_back_with_its_own_key_is_told(
    make: Make, name: str, is_async: bool
) -> None:
    steps: list[Any] = []

    def again(baton: Any) -> Any:
        return steps[0](baton)

    async def async_again(baton: Any) -> Any:
        return await steps[0](baton)

    made = make(name, **{"pipeline.a": async_again if is_async else again})
    steps.append(made.step())

    async def send() -> Any:
        return await steps[0]({"id": 1}) if is_async else steps[0]({"id": 1})

    with pytest.raises(PipelineError) as raised:
        await send()

    assert str(raised.value) == "the pipeline comes back with its own key, and waits for itself"
    assert made._flights._under_way == {}


async def test_cache_runs_once_for_each_key(make: Make) -> None:
    step = make("cache: {pipeline: a}", **{"pipeline.a": counting()}).step()

    assert [step(key) for key in ("x", "y", "x", "y")] == [1, 2, 1, 2]


async def test_what_is_too_old_is_made_again(make: Make, clock: Clock) -> None:
    step = make("cache: {pipeline: a, ttl: 10s}", **{"pipeline.a": counting()}).step()
    step("x")

    await clock.advance(9.9)
    assert step("x") == 1  # and does not become younger
    await clock.advance(0.2)

    assert step("x") == 2


async def test_none_is_a_result_too(make: Make) -> None:
    runs: list[Any] = []
    step = make("cache: {pipeline: a}", **{"pipeline.a": lambda key: runs.append(key)}).step()

    assert [step("x"), step("x")] == [None, None]
    assert runs == ["x"]


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (1, True),
        (1, 1.0),
        (1, "1"),
        (True, 1.0),
        (0, False),
        (None, "None"),
        ("a", b"a"),
        ([1], [True]),
        ([], {}),
        (["dict"], {}),
        ({"a": 1}, {"a": True}),
        ({"a": 1}, [["a", 1]]),
        ({1: "a"}, {"1": "a"}),
        ([[1], 2], [1, [2]]),
        (["bool", "True"], True),
        (1, Decimal(1)),
        (10**30, float(10**30)),
    ],
)
async def test_keys_that_say_something_else_do_not_collide(
    make: Make, left: Any, right: Any
) -> None:
    step = make("cache: {pipeline: a}", **{"pipeline.a": counting()}).step()

    assert [step(left), step(right), step(left), step(right)] == [1, 2, 1, 2]


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ({"a": 1, "b": [2]}, {"b": [2], "a": 1}),
        ([1, (2, 3)], (1, [2, 3])),
        ({1, 2, 3}, frozenset({3, 2, 1})),
        (date(2026, 1, 31), date(2026, 1, 31)),
        (float("nan"), float("nan")),
        (10**30, 10**30),
    ],
)
async def test_keys_that_say_the_same_are_one(make: Make, left: Any, right: Any) -> None:
    step = make("cache: {pipeline: a}", **{"pipeline.a": counting()}).step()

    assert [step(left), step(right)] == [1, 1]


def deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (object(), "expected a key of plain values, got object"),
        ([{"a": object()}], "expected a key of plain values, got object"),
        (bytearray(b"a"), "expected a key of plain values, got bytearray"),
        (deep(100_000), "expected a key, got what is nested too deep"),
    ],
)
def test_what_cannot_be_compared_is_no_key(run: Run, value: Any, text: str) -> None:
    with pytest.raises(BatonError) as raised:
        run("cache: {pipeline: a}", value, **{"pipeline.a": counting()})

    assert str(raised.value) == text


async def test_a_key_is_found_in_the_input(make: Make) -> None:
    text = "cache: {pipeline: a, input_path: ask, output_path: answer, key_path: who.id}"
    step = make(text, **{"pipeline.a": counting()}).step()

    answers = [step({"ask": {"who": {"id": id_}, "n": n}}) for n, id_ in enumerate("xyx")]

    assert [each["answer"] for each in answers] == [1, 2, 1]
    with pytest.raises(BatonError) as raised:
        step({"ask": {}})
    assert str(raised.value) == "expected a key at 'who.id', got nothing"


async def test_a_key_is_made_of_the_input(make: Make) -> None:
    text = "cache: {pipeline: a, key: 'text: text.lower()'}"
    step = make(text, **{"pipeline.a": counting()}).step()

    assert [step("X"), step("y"), step("x")] == [1, 2, 1]


async def test_a_result_that_is_changed_stays_as_it_was_kept(make: Make) -> None:
    step = make("cache: {pipeline: a}", **{"pipeline.a": lambda _: {"n": [1]}}).step()

    for _ in range(3):
        result = step("x")
        assert result == {"n": [1]}
        result["n"] = "changed"


async def test_things_in_a_result_are_shared(make: Make) -> None:
    step = make("cache: {pipeline: a}", **{"pipeline.a": lambda _: [[1]]}).step()

    assert step("x")[0] is step("x")[0]


async def test_batons_of_one_key_share_a_run(make: Make, work: Work) -> None:
    made = make("cache: {pipeline: a}", **{"pipeline.a": work.pipeline()})

    tasks = await begin(made, *["x"] * 50)
    await work.end({"n": 1})
    results = [await task for task in tasks]

    assert work.batons == ["x"]
    assert results == [{"n": 1}] * 50
    assert len({id(each) for each in results}) == 50


async def test_an_error_goes_to_all_who_wait_and_is_not_kept(make: Make, work: Work) -> None:
    made = make("cache: {pipeline: a}", **{"pipeline.a": work.pipeline()})
    error = ValueError("no")

    tasks = await begin(made, *["x"] * 9)
    tasks[4].cancel()
    await work.end(error)

    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert [each is error for each in outcomes] == [True] * 4 + [False] + [True] * 4
    [task] = await begin(made, "x")
    await work.end("new")
    assert await task == "new"


async def test_each_who_waits_raises_a_shared_error_with_a_short_traceback(
    make: Make, work: Work
) -> None:
    made = make("cache: {pipeline: a}", **{"pipeline.a": work.pipeline()})
    error = ValueError("no")

    tasks = await begin(made, *["x"] * 200)
    await work.end(error)
    await asyncio.gather(*tasks, return_exceptions=True)

    frames, trace = 0, error.__traceback__
    while trace:
        frames, trace = frames + 1, trace.tb_next
    assert frames < 20


async def test_a_run_whose_baton_is_cancelled_is_done_by_another(make: Make, work: Work) -> None:
    made = make("cache: {pipeline: a}", **{"pipeline.a": work.pipeline()})
    tasks = await begin(made, *["x"] * 4)

    tasks[0].cancel()
    await turn()
    assert work.batons == ["x", "x"]
    tasks[1].cancel()
    await turn()
    await work.end("third")

    assert [await task for task in tasks[2:]] == ["third", "third"]
    assert work.batons == ["x", "x", "x"]


async def test_too_deep_says_nothing_about_others(make: Make, work: Work) -> None:
    made = make("cache: {pipeline: a}", **{"pipeline.a": work.pipeline()})
    tasks = await begin(made, "x", "x")

    await work.end(TooDeep("deep"))
    await work.end("fine")

    with pytest.raises(TooDeep):
        await tasks[0]
    assert await tasks[1] == "fine"


async def test_without_a_time_only_runs_are_shared(make: Make, work: Work) -> None:
    made = make("cache: {pipeline: a, ttl: 0}", **{"pipeline.a": work.pipeline()})
    tasks = await begin(made, "x", "x")
    await work.end(1)

    tasks += await begin(made, "x")
    await work.end(2)

    assert [await task for task in tasks] == [1, 1, 2]


async def test_the_least_recently_used_result_is_forgotten(make: Make) -> None:
    step = make("cache: {pipeline: a, max_entries: 2}", **{"pipeline.a": counting()}).step()

    assert [step(key) for key in "abacab"] == [1, 2, 1, 3, 1, 4]


async def test_many_at_once_get_the_right_results(make: Make, clock: Clock) -> None:
    async def slow(n: int) -> int:
        await asyncio.sleep(n)
        return -n

    made = make("cache: {pipeline: a, max_entries: 3, ttl: 2s}", **{"pipeline.a": slow})
    tasks: list[asyncio.Task[Any]] = []

    for round_ in range(30):
        started = await begin(made, *[n % 7 for n in range(40)])
        started[round_].cancel()
        tasks += started
        await clock.advance(0.9)
    await clock.advance(10)
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)

    wrong = [
        outcome
        for index, outcome in enumerate(outcomes)
        if outcome != -(index % 40 % 7) and not isinstance(outcome, asyncio.CancelledError)
    ]
    assert wrong == []
    assert len(made._kept) <= 3
    assert made._flights._under_way == {}


def test_cache_checks_its_key(problems: Problems) -> None:
    assert problems("cache: {pipeline: a, key_path: id, key: 'n: n'}") == [
        "expected exactly one of 'key_path' and 'key', got both"
    ]
    assert problems("cache: {pipeline: a, key: 'n: where'}") == [
        "nobody defines 'where' (add it to the namespace, as in namespace: {where: package.where})"
    ]
