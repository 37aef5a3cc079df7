from __future__ import annotations

import asyncio

import pytest

from piped.batons import Baton
from piped.engine import Pipeline
from piped.processors.code import EvalLambda
from piped.processors.flow import Passthrough, Stop
from piped.processors.pipelines import RunPipeline
from piped.spec import Processor, processor
from tests.engine.conftest import compiled, specs

pytestmark = pytest.mark.anyio


@processor("hang")
class Hang(Processor):
    """Wait for ever."""

    async def process(self, baton: Baton) -> Baton:
        await asyncio.Event().wait()
        return baton


def pipeline_of(text: str) -> Pipeline:
    """Return the pipeline ``p`` of a text."""
    pipelines, problems = compiled(text, specs(Passthrough, EvalLambda, Stop, RunPipeline, Hang))
    assert problems == []
    return pipelines["p"]


def begun(pipeline: Pipeline) -> list[tuple[str, int, int]]:
    """Return how often each step was begun, and how often it failed."""
    return [(each.node.name, each.begun, each.failed) for each in pipeline.steps()]


async def test_runs_that_are_timed_and_runs_that_are_not_do_the_same() -> None:
    pipeline = pipeline_of("p: [{passthrough: {error_consumers: [passthrough]}}, passthrough]")

    results = [await pipeline(number) for number in range(1000)]

    assert results == [[number] for number in range(1000)]
    assert pipeline.tally.count == 1000
    assert begun(pipeline) == [
        ("passthrough", 1000, 0),
        ("passthrough", 1000, 0),
        ("passthrough", 0, 0),
    ]


async def test_each_turn_of_a_loop_is_counted() -> None:
    text = """\
p:
    - passthrough: {id: again}
    - eval-lambda: {lambda: "b: b - 1"}
    - stop: {decider: "b: b <= 0", consumers: [existing: again]}
"""
    pipeline = pipeline_of(text)

    await pipeline(10)

    assert begun(pipeline) == [("passthrough", 10, 0), ("eval-lambda", 10, 0), ("stop", 10, 0)]


async def test_pipelines_that_call_one_another_in_a_circle_are_counted_and_timed() -> None:
    text = """\
p:
    - stop: {decider: "b: b <= 0"}
    - eval-lambda: {lambda: "b: b - 1"}
    - run-pipeline: {pipeline: p}
"""
    pipeline = pipeline_of(text)

    await pipeline(5)

    assert pipeline.is_deep
    assert pipeline.tally.count == 6
    assert pipeline.tally.spent_s > 0


async def test_a_run_that_fails_is_counted_and_the_steps_after_it_are_not() -> None:
    pipeline = pipeline_of("p: [passthrough, {eval-lambda: {lambda: 'b: 1 / b'}}, passthrough]")

    for number in (1, 0, 2, 0):
        try:
            await pipeline(number)
        except ZeroDivisionError:
            continue

    assert (pipeline.tally.count, pipeline.tally.failed, pipeline.tally.cancelled) == (4, 2, 0)
    assert begun(pipeline) == [("passthrough", 4, 0), ("eval-lambda", 4, 2), ("passthrough", 2, 0)]


@pytest.mark.parametrize(
    "text",
    [
        "p: [passthrough, {eval-lambda: {lambda: 'b: 1 / b'}}, {eval-lambda: {lambda: 'b: b'}}]",
        "p: [passthrough, {eval-lambda: {lambda: 'b: 1 / b'}}, {stop: {decider: 'b: True'}}]",
    ],
)
async def test_traced_runs_are_counted_as_all_others_are(text: str) -> None:
    pipeline = pipeline_of(text)

    for number in (1, 0, 2, 0, 3):
        try:
            await pipeline.traced(number)
        except ZeroDivisionError:
            await pipeline(1)

    assert (pipeline.tally.count, pipeline.tally.failed, pipeline.tally.cancelled) == (7, 2, 0)
    assert [counts[1:] for counts in begun(pipeline)] == [(7, 0), (7, 2), (5, 0)]


async def test_a_step_is_not_begun_where_an_error_consumer_before_it_is_cancelled() -> None:
    text = "p: [{eval-lambda: {lambda: 'b: 1 / b', chained_error_consumers: [hang, passthrough]}}]"
    pipeline = pipeline_of(text)

    async with asyncio.TaskGroup() as group:
        task = group.create_task(pipeline(0))
        await asyncio.sleep(0)
        task.cancel()

    assert pipeline.tally.cancelled == 1
    assert begun(pipeline) == [("eval-lambda", 1, 1), ("hang", 1, 0), ("passthrough", 0, 0)]
