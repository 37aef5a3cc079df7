from __future__ import annotations

import asyncio
import sys
from typing import Any

import pytest

from piped.errors import AllPipelinesFailed, BatonError, QueueFull, TooDeep
from tests.conftest import turn
from tests.processors.conftest import Make, Problems, Run
from tests.processors.pool_fakes import FakeFront


def half(n: int) -> int:
    if n % 2:
        error = ValueError(f"{n} is odd")
        error.add_note("something else")
        error.add_note("in pipelines.half[0].eval-lambda (site.yaml:3:7)")
        error.add_note("in pipelines.web[0].for-each (site.yaml:9:7)")
        raise error
    return n // 2


async def half_later(n: int) -> int:
    return half(n)


ODD = {
    "error": {
        "type": "ValueError",
        "message": "3 is odd",
        "at": "pipelines.half[0].eval-lambda (site.yaml:3:7)",
    }
}

every_way = pytest.mark.parametrize(
    ("half", "options"),
    [(half, ""), (half_later, ""), (half, ", parallel: true"), (half_later, ", parallel: true")],
    ids=["sync", "async", "parallel sync", "parallel"],
)


@every_way
def test_for_each_keeps_the_order(run: Run, half: Any, options: str) -> None:
    baton = run(f"for-each: {{pipeline: half{options}}}", [2, 4, 6], **{"pipeline.half": half})

    assert baton == [1, 2, 3]


@every_way
def test_for_each_keeps_the_keys_of_a_dict(run: Run, half: Any, options: str) -> None:
    text = f"for-each: {{pipeline: half{options}}}"

    assert run(text, {"a": 2, "b": 4}, **{"pipeline.half": half}) == {"a": 1, "b": 2}


@every_way
@pytest.mark.parametrize("more", ["", ", done_on_first: true", ", fail_on_error: false"])
def test_for_each_of_nothing_is_nothing(run: Run, half: Any, options: str, more: str) -> None:
    text = f"for-each: {{pipeline: half{options}{more}}}"

    assert run(text, [], **{"pipeline.half": half}) == []
    assert run(text, {}, **{"pipeline.half": half}) == {}


@every_way
def test_for_each_raises_by_default(run: Run, half: Any, options: str) -> None:
    items = [2, 3, 4]

    with pytest.raises(ValueError, match="3 is odd"):
        run(f"for-each: {{pipeline: half{options}}}", items, **{"pipeline.half": half})

    assert items == [2, 3, 4]


@every_way
def test_for_each_tells_of_failures_in_their_place(run: Run, half: Any, options: str) -> None:
    text = f"for-each: {{pipeline: half, fail_on_error: false{options}}}"

    assert run(text, [2, 3, 4], **{"pipeline.half": half}) == [1, ODD, 2]
    assert run(text, {"a": 2, "b": 3}, **{"pipeline.half": half}) == {"a": 1, "b": ODD}


@every_way
def test_for_each_is_done_on_the_first_success(run: Run, half: Any, options: str) -> None:
    text = f"for-each: {{pipeline: half, done_on_first: true{options}}}"

    assert run(text, [3, 4, 5, 6], **{"pipeline.half": half}) == 2


@pytest.mark.parametrize("options", ["", ", parallel: true"])
def test_for_each_tells_where_the_first_of_all_failures_were_raised(run: Run, options: str) -> None:
    async def fail(n: int) -> None:
        error = ValueError(n)
        error.add_note(f"in pipelines.a[{n}].b (site.yaml:3:7)")
        raise error

    text = f"for-each: {{pipeline: fail, done_on_first: true{options}}}"
    with pytest.raises(AllPipelinesFailed) as raised:
        run(text, [*range(9)], **{"pipeline.fail": fail})

    assert raised.value.__notes__ == [
        f"ValueError in pipelines.a[{n}].b (site.yaml:3:7)" for n in range(5)
    ]


@every_way
def test_for_each_raises_if_no_success_was_the_first(run: Run, half: Any, options: str) -> None:
    text = f"for-each: {{pipeline: half, done_on_first: true{options}}}"

    with pytest.raises(AllPipelinesFailed) as raised:
        run(text, [1, 3], **{"pipeline.half": half})

    assert str(raised.value) == (
        "all 2 pipelines failed (ValueError: 1 is odd, ValueError: 3 is odd)"
    )


@pytest.mark.parametrize("later", [False, True])
@pytest.mark.parametrize("parallel", ["true", "false"])
@pytest.mark.parametrize("option", ["done_on_first: true", "fail_on_error: false"])
def test_for_each_begins_nothing_more_where_calls_have_no_end(
    run: Run, later: bool, parallel: str, option: str
) -> None:
    begun: list[int] = []

    def fall(n: int) -> None:
        begun.append(n)
        raise TooDeep("pipelines call one another more than 100 deep at 'a'")

    async def fall_later(n: int) -> None:
        fall(n)

    text = f"for-each: {{pipeline: a, parallel: {parallel}, {option}}}"

    with pytest.raises(TooDeep):
        run(text, [1, 2], **{"pipeline.a": fall_later if later else fall})

    assert begun == [1]


@every_way
def test_for_each_lets_the_pipeline_see_the_failure_being_treated(
    run: Run, half: Any, options: str
) -> None:
    def look(_: Any) -> Any:
        return sys.exc_info()[1]

    async def look_later(_: Any) -> Any:
        return look(_)

    text = f"for-each: {{pipeline: look{options}}}"
    error = ValueError("a")

    try:
        raise error
    except ValueError:
        seen = run(text, [1, 2], **{"pipeline.look": look_later if half is half_later else look})

    assert seen == [error, error]


def test_for_each_in_parallel_raises_if_all_failed_and_one_by_one_it_tells(run: Run) -> None:
    text = "for-each: {pipeline: half, fail_on_error: false, parallel: %s}"

    with pytest.raises(AllPipelinesFailed):
        run(text % "true", [3], **{"pipeline.half": half})

    assert run(text % "false", [3], **{"pipeline.half": half}) == [ODD]


def test_for_each_without_a_place_tells_of_none(run: Run) -> None:
    text = "for-each: {pipeline: invert, fail_on_error: false}"

    baton = run(text, [0, 1], **{"pipeline.invert": lambda n: 1 // n})

    failure = {"type": "ZeroDivisionError", "message": "integer division or modulo by zero"}
    assert baton == [{"error": {**failure, "at": ""}}, 1]


@pytest.mark.parametrize("items", [[1, 2, 3, 4, 5], {"a": 1, "b": 2, "c": 3, "d": 4, "e": 5}])
def test_for_each_gives_chunks(run: Run, items: Any) -> None:
    text = "for-each: {pipeline: same, chunk_size: 2}"

    baton = run(text, items, **{"pipeline.same": lambda chunk: chunk})

    assert baton == [[1, 2], [3, 4], [5]]


def test_for_each_makes_its_outputs_of_all_results(run: Run) -> None:
    text = """
        for-each: {pipeline: same, namespace: {more: 1}, result_processor: "r: [len(r), *r, more]"}
    """

    assert run(text, (5, 6), **{"pipeline.same": lambda n: n}) == [[1, 5, 1], [1, 6, 1]]


def test_for_each_resolves_relative_names(run: Run) -> None:
    assert run("for-each: {pipeline: .half}", [2], **{"pipeline.web.half": half}) == [1]


@pytest.mark.parametrize(("given", "kind"), [("ab", "str"), (b"ab", "bytes"), (5, "int")])
def test_for_each_refuses_what_has_no_items(run: Run, given: Any, kind: str) -> None:
    with pytest.raises(BatonError) as raised:
        run("for-each: {pipeline: half}", given, **{"pipeline.half": half})

    assert str(raised.value) == f"expected a list or a dict, got {kind}"


def test_for_each_names_what_nobody_defines(problems: Problems) -> None:
    assert problems("for-each: {pipeline: half, result_processor: '_: where'}") == [
        "nobody defines 'where' (add it to the namespace, as in namespace: {where: package.where})"
    ]
    assert problems("for-each: {pipeline: half, chunk_size: 0}") == ["expected int >= 1, got 0"]


class Crowd:
    """Counts how many are in it at the same time."""

    def __init__(self) -> None:
        self.now = self.most = self.left = 0

    async def __call__(self, n: int) -> int:
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await asyncio.sleep(0 if n else 3600)
        except asyncio.CancelledError:
            self.left += 1
            raise
        finally:
            self.now -= 1
        if n < 0:
            raise ValueError(n)
        return n


def crowded(crowd: Crowd) -> Any:
    async def pipeline(n: int) -> int:
        return await crowd(n)

    return pipeline


def test_for_each_in_parallel_is_bounded(run: Run) -> None:
    crowd = Crowd()
    text = "for-each: {pipeline: crowd, parallel: true, max_parallel: 3}"

    run(text, [1] * 10, **{"pipeline.crowd": crowded(crowd)})

    assert crowd.most == 3


def test_for_each_in_parallel_cancels_the_rest_after_the_first_success(run: Run) -> None:
    crowd = Crowd()
    text = "for-each: {pipeline: crowd, parallel: true, done_on_first: true}"

    assert run(text, [0, -1, 7, 0], **{"pipeline.crowd": crowded(crowd)}) == 7

    assert (crowd.now, crowd.left) == (0, 2)


def test_for_each_in_parallel_has_one_first_though_others_do_not_let_themselves_cancel(
    run: Run,
) -> None:
    async def stubborn(n: int) -> int:
        try:
            await asyncio.sleep(3600 if n else 0)
        except asyncio.CancelledError:
            return n
        return n

    text = "for-each: {pipeline: stubborn, parallel: true, done_on_first: true, max_parallel: 2}"

    assert run(text, [5, 0, 6], **{"pipeline.stubborn": stubborn}) == 0


def test_for_each_in_parallel_treats_no_more_after_a_failure_though_others_fail_of_being_cancelled(
    run: Run,
) -> None:
    begun: list[int] = []

    async def stubborn(n: int) -> None:
        begun.append(n)
        try:
            await asyncio.sleep(3600 if n else 0)
        except asyncio.CancelledError:
            raise ValueError(n) from None
        raise TooDeep("pipelines call one another more than 100 deep at 'stubborn'")

    text = "for-each: {pipeline: stubborn, parallel: true, fail_on_error: false, max_parallel: 2}"

    with pytest.raises(TooDeep):
        run(text, [5, 0, 6], **{"pipeline.stubborn": stubborn})

    assert begun == [5, 0]


def test_for_each_in_parallel_cancels_the_rest_after_a_failure(run: Run) -> None:
    crowd = Crowd()
    text = "for-each: {pipeline: crowd, parallel: true}"

    with pytest.raises(ValueError, match="-1") as raised:
        run(text, [0, -1, 0], **{"pipeline.crowd": crowded(crowd)})

    assert raised.value.__context__ is None
    assert (crowd.now, crowd.left) == (0, 2)


@pytest.mark.anyio
async def test_for_each_in_parallel_can_be_cancelled(make: Make) -> None:
    crowd = Crowd()
    text = "for-each: {pipeline: crowd, parallel: true, fail_on_error: false}"
    step = make(text, **{"pipeline.crowd": crowded(crowd)}).step()
    task = asyncio.create_task(step([0, 0]))
    await asyncio.sleep(0)
    await asyncio.sleep(0)

    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
    assert (crowd.now, crowd.left) == (0, 2)


def halves(_pipeline: str, n: int) -> int:
    return half(n)


every_pace = pytest.mark.parametrize("pace", ["", ", parallel: true", ", parallel: false"])


@every_pace
def test_for_each_has_workers_do_it(run: Run, pace: str) -> None:
    front = FakeFront(halves)
    text = f"for-each: {{workers: math, pipeline: .half, deadline: 1s{pace}}}"

    assert run(text, {"a": 2, "b": 4}, **{"workers.math": front}) == {"a": 1, "b": 2}
    assert [(e.pipeline, e.value, e.deadline_s) for e in front.sent] == [
        ("web.half", 2, 1.0),
        ("web.half", 4, 1.0),
    ]


def test_for_each_gives_workers_chunks_and_picks_of_their_results(run: Run) -> None:
    text = """
        for-each: {workers: math, pipeline: same, chunk_size: 2, result_processor: "r: len(r[0])"}
    """

    assert run(text, [1, 2, 3], **{"workers.math": FakeFront(lambda _, n: n)}) == [2, 1]


async def sent_to_workers(make: Make, options: str, items: list[int]) -> Any:
    """Begin a for-each over workers, and return their front and the task."""
    front = FakeFront(fallback="instead")
    text = f"for-each: {{workers: math, pipeline: half{options}}}"
    step = make(text, **{"workers.math": front}).step()
    task = asyncio.create_task(step(items))
    await turn()
    return front, task


@pytest.mark.anyio
async def test_for_each_sends_no_more_at_the_same_time_than_it_may(make: Make) -> None:
    front, task = await sent_to_workers(make, ", max_parallel: 2", [1, 2, 3])
    assert [each.value for each in front.sent] == [1, 2]

    front.sent[1].answer("b")
    await turn()

    assert [each.value for each in front.sent] == [1, 2, 3]
    front.sent[0].answer("a")
    front.sent[2].answer("c")
    assert await task == ["a", "b", "c"]


@pytest.mark.anyio
async def test_for_each_sends_one_after_the_other_where_it_is_told_so(make: Make) -> None:
    front, task = await sent_to_workers(make, ", parallel: false", [1, 2])
    assert [each.value for each in front.sent] == [1]

    front.sent[0].answer("a")
    await turn()

    front.sent[1].answer("b")
    assert await task == ["a", "b"]


@pytest.mark.anyio
async def test_for_each_cancels_the_other_parts_at_the_first_failure(make: Make) -> None:
    front, task = await sent_to_workers(make, "", [1, 2, 3])

    front.sent[1].fail(ValueError("b"))
    await turn()

    with pytest.raises(ValueError, match="b"):
        await task
    assert [each.is_cancelled for each in front.sent] == [True, False, True]


@pytest.mark.anyio
async def test_for_each_that_is_cancelled_cancels_its_parts(make: Make) -> None:
    front, task = await sent_to_workers(make, ", on_failure: partial", [1, 2])

    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
    assert [each.is_cancelled for each in front.sent] == [True, True]


@pytest.mark.anyio
async def test_for_each_cancels_the_other_parts_at_the_first_success(make: Make) -> None:
    front, task = await sent_to_workers(make, ", done_on_first: true", [1, 2, 3])

    front.sent[0].fail(ValueError("a"))
    front.sent[1].answer("b")

    assert await task == "b"
    assert [each.is_cancelled for each in front.sent] == [False, False, True]


@every_pace
@pytest.mark.parametrize("option", ["on_failure: partial", "fail_on_error: false"])
def test_for_each_tells_of_what_workers_have_failed_at_in_its_place(
    run: Run, pace: str, option: str
) -> None:
    text = f"for-each: {{workers: math, pipeline: half, {option}{pace}}}"

    assert run(text, [2, 3], **{"workers.math": FakeFront(halves)}) == [1, ODD]
    assert run(text, [3], **{"workers.math": FakeFront(halves)}) == [ODD]


@every_pace
def test_for_each_puts_a_fallback_in_the_place_of_what_workers_have_failed_at(
    run: Run, pace: str
) -> None:
    text = f"for-each: {{workers: math, pipeline: half, on_failure: fallback{pace}%s}}"
    front = FakeFront(halves, fallback={"of": "pool"})
    front.refuse[2] = QueueFull("pool 'math' is full")

    assert run(text % "", [2, 3, 4], **{"workers.math": front}) == [
        1,
        {"of": "pool"},
        front.fallback,
    ]
    assert run(text % ", fallback: 0", [3], **{"workers.math": FakeFront(halves)}) == [0]
    assert run(text % "", [3], **{"workers.math": FakeFront(halves)}) == [None]


@every_pace
def test_for_each_has_a_fallback_for_the_first_success_where_there_is_none(
    run: Run, pace: str
) -> None:
    text = f"for-each: {{workers: math, pipeline: half, done_on_first: true{pace}%s}}"
    fallback = ", on_failure: fallback, fallback: 0"

    assert run(text % fallback, [3, 5], **{"workers.math": FakeFront(halves)}) == 0
    assert run(text % fallback, [3, 4], **{"workers.math": FakeFront(halves)}) == 2
    with pytest.raises(AllPipelinesFailed):
        run(text % "", [3, 5], **{"workers.math": FakeFront(halves)})


@every_pace
def test_for_each_has_no_fallback_for_its_own_result_processor(run: Run, pace: str) -> None:
    text = f"""
        for-each:
          {{workers: math, pipeline: half, on_failure: fallback, result_processor: "r: r[7]"{pace}}}
    """

    with pytest.raises(IndexError):
        run(text, [2], **{"workers.math": FakeFront(halves)})


@every_pace
@pytest.mark.parametrize("mode", ["raise", "fallback", "partial"])
def test_for_each_ends_where_calls_of_workers_have_no_end(run: Run, pace: str, mode: str) -> None:
    def fall(_pipeline: str, _value: Any) -> None:
        raise TooDeep("pipelines call one another more than 100 deep at 'a'")

    text = f"for-each: {{workers: math, pipeline: a, on_failure: {mode}{pace}}}"

    with pytest.raises(TooDeep):
        run(text, [1, 2], **{"workers.math": FakeFront(fall)})
