from __future__ import annotations

import asyncio
import sys
from typing import Any

import pytest

from piped.errors import TooDeep
from tests.processors.conftest import Make, Problems, Run


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
