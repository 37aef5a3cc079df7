from __future__ import annotations

import asyncio
import sys
from typing import Any

import pytest

from piped.batons import MISSING
from piped.errors import BatonError, QueueFull, TooDeep
from tests.conftest import turn
from tests.processors.conftest import Make, Problems, Run
from tests.processors.pool_fakes import FakeFront


def total(numbers: list[int]) -> int:
    return sum(numbers)


async def total_later(numbers: list[int]) -> int:
    return sum(numbers)


@pytest.mark.parametrize("total", [total, total_later])
def test_scatter_gather_stores_each_last_result(run: Run, total: Any) -> None:
    text = """
        scatter-gather:
          mapping:
            - {pipeline: sum, input_path: numbers}
            - {pipeline: longest.one, input_path: words}
            - {pipeline: .web, output_path: here.web}
    """
    resources = {
        "pipeline.sum": total,
        "pipeline.longest.one": lambda words: max(words, key=len),
        "pipeline.web.web": lambda baton: len(baton),
    }

    baton = run(text, {"numbers": [1, 2], "words": ["a", "bc"]}, **resources)

    assert baton == {
        "numbers": [1, 2],
        "words": ["a", "bc"],
        "sum": 3,
        "longest": {"one": "bc"},
        "here": {"web": 2},
    }


def test_scatter_gather_tells_of_calls_that_are_certain(make: Make) -> None:
    text = "scatter-gather: {%s mapping: [{pipeline: .sum}, {pipeline: max, input_path: n}]}"

    assert make(text % "").certain_calls == ("web.sum",)
    assert make(text % "input_path_prefix: n,").certain_calls == ()


def test_scatter_gather_names_a_relative_pipeline_without_its_dots(run: Run) -> None:
    text = "scatter-gather: {mapping: [{pipeline: .sum}]}"

    assert run(text, {}, **{"pipeline.web.sum": lambda _: 1}) == {"sum": 1}


def test_scatter_gather_leaves_out_what_is_missing(run: Run) -> None:
    text = "scatter-gather: {mapping: [{pipeline: sum, input_path: numbers}]}"

    assert run(text, {"n": 1}, **{"pipeline.sum": total}) == {"n": 1}


def test_scatter_gather_discards_and_replaces(run: Run) -> None:
    discarding = "scatter-gather: {mapping: [{pipeline: sum, output_path: null}]}"
    replacing = "scatter-gather: {mapping: [{pipeline: sum, output_path: ''}]}"

    assert run(discarding, [1, 2], **{"pipeline.sum": total}) == [1, 2]
    assert run(replacing, [1, 2], **{"pipeline.sum": total}) == 3


def test_scatter_gather_copies_its_parts(run: Run) -> None:
    def empty(numbers: list[int]) -> None:
        numbers.clear()

    text = (
        "scatter-gather: {copy: %s, mapping: [{pipeline: empty, input_path: n, output_path: null}]}"
    )

    assert run(text % "true", {"n": [1]}, **{"pipeline.empty": empty}) == {"n": [1]}
    assert run(text % "false", {"n": [1]}, **{"pipeline.empty": empty}) == {"n": []}


def test_scatter_gather_puts_prefixes_before_its_paths(run: Run) -> None:
    text = """
        scatter-gather:
          input_path_prefix: "given."
          output_path_prefix: "made."
          mapping: [{pipeline: sum, input_path: numbers}]
    """

    baton = run(text, {"given": {"numbers": [1]}}, **{"pipeline.sum": total})

    assert baton == {"given": {"numbers": [1]}, "made": {"sum": 1}}


def test_scatter_gather_refuses_paths_with_empty_parts(problems: Problems) -> None:
    text = """
        scatter-gather:
          input_path_prefix: "given."
          output_path_prefix: "made."
          mapping:
            - {pipeline: sum}
            - {pipeline: sum, input_path: a, output_path: ""}
            - {pipeline: sum, input_path: a, output_path: null}
    """

    assert problems(text) == [
        "expected a path into the baton, got 'given.', which has an empty part",
        "expected a path into the baton, got 'made.', which has an empty part",
    ]


def test_scatter_gather_needs_a_place_for_the_result_of_what_has_no_name(
    problems: Problems,
) -> None:
    text = """
        scatter-gather:
          mapping:
            - {pipeline: [passthrough], input_path: a}
            - {pipeline: [passthrough], input_path: a, output_path: ''}
            - {pipeline: [passthrough], input_path: a, output_path: null}
    """

    assert problems(text) == [
        "expected an 'output_path': a pipeline that is written in place has no name"
        " (null discards the result)"
    ]


def test_scatter_gather_is_synchronous_where_its_pipelines_are(make: Make) -> None:
    text = "scatter-gather: {mapping: [{pipeline: a}, {pipeline: b}]}"

    assert not make(text, **{"pipeline.a": total, "pipeline.b": total}).is_async
    assert make(text, **{"pipeline.a": total, "pipeline.b": total_later}).is_async


@pytest.mark.parametrize("later", [False, True])
def test_scatter_gather_raises_the_first_failure_when_all_are_done(run: Run, later: bool) -> None:
    done: list[str] = []

    def fail(name: str) -> Any:
        def now(_: Any) -> None:
            done.append(name)
            raise ValueError(name)

        async def pipeline(_: Any) -> None:
            await asyncio.sleep(0)
            now(_)

        return pipeline if later else now

    def finish(_: Any) -> None:
        done.append("c")

    text = "scatter-gather: {mapping: [{pipeline: a}, {pipeline: b}, {pipeline: c}]}"
    baton: dict[str, Any] = {}

    with pytest.raises(ValueError, match="a") as raised:
        run(text, baton, **{"pipeline.a": fail("a"), "pipeline.b": fail("b"), "pipeline.c": finish})

    assert sorted(done) == ["a", "b", "c"]
    assert baton == {}
    assert raised.value.__notes__ == ["another part failed too: ValueError: b"]


@pytest.mark.anyio
async def test_scatter_gather_runs_its_parts_at_the_same_time(make: Make) -> None:
    met = asyncio.Barrier(2)

    async def meet(_: Any) -> int:
        await met.wait()
        return 1

    text = "scatter-gather: {mapping: [{pipeline: a}, {pipeline: b}]}"
    step = make(text, **{"pipeline.a": meet, "pipeline.b": meet}).step()

    async with asyncio.timeout(5):
        assert await step({}) == {"a": 1, "b": 1}


def too_deep(_: Any) -> None:
    raise TooDeep("pipelines call one another more than 100 deep at 'a'")


def test_scatter_gather_begins_nothing_more_where_calls_have_no_end(run: Run) -> None:
    begun: list[Any] = []
    text = "scatter-gather: {mapping: [{pipeline: a}, {pipeline: b}]}"

    with pytest.raises(TooDeep):
        run(text, {}, **{"pipeline.a": too_deep, "pipeline.b": lambda n: begun.append(n)})

    assert begun == []


def test_scatter_gather_waits_for_nothing_more_where_calls_have_no_end(run: Run) -> None:
    async def wait(_: Any) -> None:
        await asyncio.sleep(3600)

    text = "scatter-gather: {mapping: [{pipeline: a}, {pipeline: b}]}"

    with pytest.raises(TooDeep):
        run(text, {}, **{"pipeline.a": too_deep, "pipeline.b": wait})


@pytest.mark.parametrize("later", [False, True])
def test_scatter_gather_lets_its_parts_see_the_failure_being_treated(run: Run, later: bool) -> None:
    def look(_: Any) -> Any:
        return sys.exc_info()[1]

    async def look_later(_: Any) -> Any:
        return look(_)

    text = "scatter-gather: {mapping: [{pipeline: a}]}"
    error = ValueError("a")

    try:
        raise error
    except ValueError:
        baton = run(text, {}, **{"pipeline.a": look_later if later else look})

    assert baton == {"a": error}


WORKERS = """
    scatter-gather:
      workers: math
      %s
      mapping:
        - {pipeline: sum, input_path: n, output_path: sum}
        - {pipeline: .square, input_path: n, output_path: square}
        - {pipeline: max, input_path: n, output_path: most}
"""


class Scatter:
    """A scatter-gather whose parts a test answers."""

    def __init__(self, make: Make, options: str = "", baton: Any = None) -> None:
        self.front = FakeFront(fallback=[])
        self.baton = {"n": [1, 2]} if baton is None else baton
        self._step = make(WORKERS % options, **{"workers.math": self.front}).step()

    async def begin(self) -> asyncio.Task[Any]:
        self.task = asyncio.create_task(self._step(self.baton))
        await turn()
        return self.task


def test_scatter_gather_waits_for_workers_and_calls_nothing_here(make: Make) -> None:
    step = make("scatter-gather: {workers: math, mapping: [{pipeline: a}]}")

    assert step.is_async
    assert step.certain_calls == ()


@pytest.mark.anyio
async def test_scatter_gather_sends_all_parts_before_it_waits(make: Make) -> None:
    scatter = Scatter(make, "deadline: 250ms")

    task = await scatter.begin()

    sent = scatter.front.sent
    assert [each.pipeline for each in sent] == ["sum", "web.square", "max"]
    assert [each.value for each in sent] == [[1, 2]] * 3
    assert [each.deadline_s for each in sent] == [0.25] * 3
    sent[2].answer(2)
    sent[0].answer("not the last one", 3)
    await turn()
    assert not task.done()
    sent[1].answer()
    assert await task == {"n": [1, 2], "sum": 3, "square": None, "most": 2}


def test_scatter_gather_leaves_out_what_is_missing_for_workers_too(run: Run) -> None:
    front = FakeFront()

    assert run(WORKERS % "", {"a": 1}, **{"workers.math": front}) == {"a": 1}
    assert front.sent == []


@pytest.mark.anyio
async def test_scatter_gather_cancels_the_other_parts_at_the_first_failure(make: Make) -> None:
    scatter = Scatter(make)
    task = await scatter.begin()

    scatter.front.sent[1].fail(ValueError("b"))
    await turn()

    with pytest.raises(ValueError, match="b"):
        await task
    assert [each.is_cancelled for each in scatter.front.sent] == [True, False, True]
    assert scatter.baton == {"n": [1, 2]}


@pytest.mark.anyio
async def test_scatter_gather_notes_the_other_parts_that_had_failed_by_then(make: Make) -> None:
    scatter = Scatter(make)
    task = await scatter.begin()

    scatter.front.sent[0].fail(ValueError("a"))
    scatter.front.sent[2].fail(KeyError("c"))
    await turn()

    with pytest.raises(ValueError, match="a") as raised:
        await task
    assert raised.value.__notes__ == ["another part failed too: KeyError: 'c'"]
    assert scatter.front.sent[1].is_cancelled


@pytest.mark.anyio
@pytest.mark.parametrize("refused", [0, 1, 2])
async def test_scatter_gather_leaves_no_part_running_where_the_pool_refuses_one(
    make: Make, refused: int
) -> None:
    scatter = Scatter(make)
    scatter.front.refuse[refused] = QueueFull("pool 'math' is full")

    task = await scatter.begin()

    with pytest.raises(QueueFull):
        await task
    assert scatter.front.sent == []


@pytest.mark.anyio
@pytest.mark.parametrize("mode", ["raise", "fallback", "partial"])
async def test_scatter_gather_that_is_cancelled_cancels_all_its_parts(
    make: Make, mode: str
) -> None:
    scatter = Scatter(make, f"on_failure: {mode}")
    task = await scatter.begin()
    scatter.front.sent[0].answer(3)
    await turn()

    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
    assert [each.is_cancelled for each in scatter.front.sent] == [False, True, True]


@pytest.mark.anyio
@pytest.mark.parametrize(("own", "stands"), [("", []), ("fallback: {no: 1}", {"no": 1})])
async def test_scatter_gather_takes_the_fallback_for_each_part_that_has_failed(
    make: Make, own: str, stands: Any
) -> None:
    scatter = Scatter(make, f"on_failure: fallback\n      {own}")
    scatter.front.refuse[2] = QueueFull("pool 'math' is full")
    task = await scatter.begin()

    scatter.front.sent[0].fail(ValueError("a"))
    scatter.front.sent[1].answer(9)

    baton = await task
    assert baton == {"n": [1, 2], "sum": stands, "square": 9, "most": stands}
    assert baton["sum"] is not baton["most"]


def test_scatter_gather_has_none_where_nobody_gives_a_fallback(run: Run) -> None:
    def fall(pipeline: str, _value: Any) -> None:
        raise ValueError(pipeline)

    front = FakeFront(fall, fallback=MISSING)

    baton = run(WORKERS % "on_failure: fallback", {"n": 1}, **{"workers.math": front})

    assert baton == {"n": 1, "sum": None, "square": None, "most": None}


@pytest.mark.anyio
async def test_scatter_gather_tells_which_parts_are_missing(make: Make) -> None:
    scatter = Scatter(make, "on_failure: partial")
    scatter.front.refuse[2] = BatonError("cannot cross to a worker: n: object")
    error = ValueError("b")
    error.add_note("in pipelines.square[0].map (site.yaml:3:7)")
    task = await scatter.begin()

    scatter.front.sent[1].fail(error)
    await turn()
    scatter.front.sent[0].answer(3)

    told = {"type": "ValueError", "message": "b", "at": "pipelines.square[0].map (site.yaml:3:7)"}
    refused = {"type": "BatonError", "message": "cannot cross to a worker: n: object", "at": ""}
    assert await task == {
        "n": [1, 2],
        "sum": 3,
        "missing": [
            {"pipeline": "web.square", "output_path": "square", "error": told},
            {"pipeline": "max", "output_path": "most", "error": refused},
        ],
    }


def test_scatter_gather_says_that_nothing_is_missing(run: Run) -> None:
    options = "{on_failure: partial, missing_path: not.there, output_path_prefix: made.}"
    text = (WORKERS % "").replace("workers: math", f"<<: {options}\n      workers: math")

    baton = run(text, {"n": 1}, **{"workers.math": FakeFront(lambda _, n: n)})

    assert baton == {
        "n": 1,
        "made": {"sum": 1, "square": 1, "most": 1},
        "not": {"there": []},
    }


def test_scatter_gather_goes_on_though_all_parts_are_missing(run: Run) -> None:
    def fall(pipeline: str, _value: Any) -> None:
        raise ValueError(pipeline)

    baton = run(WORKERS % "on_failure: partial", {"n": 1}, **{"workers.math": FakeFront(fall)})

    assert [each["pipeline"] for each in baton.pop("missing")] == ["sum", "web.square", "max"]
    assert baton == {"n": 1}


@pytest.mark.anyio
@pytest.mark.parametrize("mode", ["raise", "fallback", "partial"])
async def test_scatter_gather_raises_at_once_where_calls_of_workers_have_no_end(
    make: Make, mode: str
) -> None:
    scatter = Scatter(make, f"on_failure: {mode}")
    task = await scatter.begin()

    scatter.front.sent[0].fail(TooDeep("pipelines call one another more than 100 deep at 'a'"))
    await turn()

    with pytest.raises(TooDeep):
        await task
    assert [each.is_cancelled for each in scatter.front.sent] == [False, True, True]


def test_scatter_gather_needs_a_path_for_what_is_missing(problems: Problems) -> None:
    text = "scatter-gather: {workers: math, missing_path: '', mapping: [{pipeline: a}]}"

    assert problems(text) == [
        "expected a path for 'missing_path', got '', which is the whole baton"
    ]


@pytest.mark.parametrize("mode", ["raise", "fallback"])
def test_scatter_gather_tells_nowhere_what_is_missing_where_all_is_there(
    problems: Problems, mode: str
) -> None:
    text = f"""
        scatter-gather:
          {{workers: math, on_failure: {mode}, missing_path: gone, mapping: [{{pipeline: a}}]}}
    """

    assert problems(text) == [
        f"'missing_path' has no effect with 'on_failure: {mode}' (write 'on_failure: partial')"
    ]
