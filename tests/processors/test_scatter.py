from __future__ import annotations

import asyncio
from typing import Any

import pytest

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
    text = "scatter-gather: {input_path_prefix: 'given.', mapping: [{pipeline: sum}]}"

    assert problems(text) == [
        "expected a path into the baton, got 'given.', which has an empty part"
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
