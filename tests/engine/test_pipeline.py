"""Pipelines that call one another: what is async, how deep they go, and which never end."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from piped.batons import Baton
from piped.engine import Pipeline, endless_calls, link, snapshot
from piped.engine.pipeline import MAX_DEPTH
from piped.errors import TooDeep
from piped.processors.code import EvalLambda
from piped.spec import Processor, processor
from tests.engine.conftest import (
    OTHERS,
    QUICK,
    SLOW,
    Build,
    Problems,
    Way,
    compiled,
    failure_of,
    send,
    specs,
)


@processor("wait-once")
class WaitOnce(Processor):
    """Wait, beside processors that do not."""

    async def process(self, baton: Baton) -> Baton:
        await asyncio.sleep(0)
        return baton


def awaited(text: str) -> dict[str, bool]:
    """Return which pipelines of a YAML text must be awaited."""
    pipelines, problems = compiled(text, specs(WaitOnce, *OTHERS, *QUICK))
    assert problems == []
    return {name: pipeline.is_async for name, pipeline in pipelines.items()}


def test_a_pipeline_is_async_if_anything_in_it_waits_error_consumers_included() -> None:
    text = """
        quick: [passthrough]
        slow: [passthrough, wait-once]
        at-errors: [{passthrough: {error_consumers: [wait-once]}}]
        loop: [{passthrough: {id: b}}, {again: {consumers: [{existing: b}]}}, wait-once]
    """

    assert awaited(text) == {"quick": False, "slow": True, "at-errors": True, "loop": True}


def test_a_pipeline_that_calls_an_async_one_is_async_however_far_away() -> None:
    text = """
        a: [{run-pipeline: {pipeline: b}}]
        b: [{run-pipeline: {pipeline: c}}]
        c: [wait-once]
        d: [{run-pipeline: {pipeline: e}}]
        e: [passthrough]
    """

    assert awaited(text) == {"a": True, "b": True, "c": True, "d": False, "e": False}


@pytest.mark.parametrize(("last", "expected"), [("wait-once", True), ("passthrough", False)])
def test_pipelines_that_call_one_another_are_async_together(last: str, expected: bool) -> None:
    text = f"""
        a: [stop, {{run-pipeline: {{pipeline: b}}}}]
        b: [stop, {{run-pipeline: {{pipeline: c}}}}]
        c: [stop, {{run-pipeline: {{pipeline: a}}}}, {last}]
    """

    assert awaited(text) == {"a": expected, "b": expected, "c": expected}


@pytest.mark.anyio
async def test_a_pipeline_can_be_awaited_whether_it_waits_or_not() -> None:
    quick, _ = compiled("p: [{note: {name: a}}]", specs(*QUICK))
    slow, _ = compiled("p: [{note: {name: a}}]", specs(*SLOW))

    results = [await pipelines["p"]({"way": []}) for pipelines in (quick, slow)]

    assert results == [[{"way": ["a"]}], [{"way": ["a"]}]]


def test_a_pipeline_goes_on_after_one_that_stopped_with_its_last_result(way: Way) -> None:
    text = """
        stopping: [{note: {name: a}}, {stop: {decider: 'baton: True'}}, {note: {name: never}}]
        p: [{run-pipeline: {pipeline: stopping}}, {note: {name: b}}]
    """

    assert way(text) == ["a", "b"]


RECURSIVE = """
    p: [{note: {name: down}}, {lambda-decider: {lambda: 'b: 0 if b["n"] else []'}}, DOWN, CALL]
    q: [{run-pipeline: {pipeline: p}}]
""".replace("DOWN", "count-down").replace("CALL", "{run-pipeline: {pipeline: q}}")


@processor("count-down")
class CountDown(Processor):
    """Make the baton's ``n`` one less."""

    def process(self, baton: Baton) -> Baton:
        return {**baton, "n": baton["n"] - 1}


@pytest.mark.parametrize("components", [QUICK, SLOW])
def test_pipelines_may_call_one_another_as_long_as_they_end(components: Any) -> None:
    pipelines, problems = compiled(RECURSIVE, specs(CountDown, *OTHERS, *components))
    assert problems == []
    baton: dict[str, Any] = {"way": [], "n": 40}

    for _ in range(3):  # a depth that is not given back would add up
        send(pipelines["p"], baton)

    assert baton["way"] == ["down"] * 41 * 3


@pytest.mark.parametrize("components", [QUICK, SLOW])
def test_pipelines_that_call_one_another_too_deeply_are_an_error(components: Any) -> None:
    pipelines, _ = compiled(RECURSIVE, specs(CountDown, *OTHERS, *components))

    error = failure_of(pipelines["p"], {"way": [], "n": 1000})

    assert repr(error) == repr(
        TooDeep(f"pipelines call one another more than {MAX_DEPTH} deep at 'p'")
    )


def test_a_pipeline_that_is_named_by_batons_may_call_itself_as_deeply_too() -> None:
    text = "p: [{run-pipeline: {pipeline_path: name}}]"
    pipelines, _ = compiled(text, specs(*OTHERS))
    [made] = pipelines["p"].processors()
    made._pipelines.resource = Found(pipelines)  # type: ignore[attr-defined]

    error = failure_of(pipelines["p"], {"name": "p"})

    assert repr(error) == repr(
        TooDeep(f"pipelines call one another more than {MAX_DEPTH} deep at 'p'")
    )


class Found:
    """The resource `pipelines`."""

    is_ready = True

    def __init__(self, pipelines: dict[str, Pipeline]) -> None:
        self.pipelines = pipelines

    @property
    def value(self) -> Found:
        return self

    async def wait(self) -> Found:
        return self

    def find(self, name: str) -> Pipeline:
        return self.pipelines[name]


@pytest.mark.anyio
async def test_a_pipeline_is_always_there_for_other_pipelines(build: Build) -> None:
    pipelines = build("{a: [{run-pipeline: {pipeline: b}}], b: [passthrough]}")
    [dependency] = pipelines["a"].dependencies()

    assert dependency.is_ready
    assert await dependency.wait() is dependency.value is pipelines["b"]


def test_pipelines_that_reach_one_another_as_resources_are_recursive(build: Build) -> None:
    pipelines = build("{a: [{needs: {resource: pipeline.b}}], b: [{run-pipeline: {pipeline: a}}]}")

    assert [each.is_recursive for each in pipelines.values()] == [True, True]


def test_pipelines_without_a_cycle_are_not_recursive(build: Build) -> None:
    pipelines = build("{a: [{run-pipeline: {pipeline: b}}], b: [{needs: {resource: c}}]}")

    assert [each.is_recursive for each in pipelines.values()] == [False, False]


def test_a_cycle_of_certain_calls_is_told_with_both_places(problems: Problems) -> None:
    found = problems("""
        a: [passthrough, {run-pipeline: {pipeline: b}}]
        b: {consumers: [{run-pipeline: {pipeline: a}}]}
    """)

    assert found == [
        "test.yaml:2:27: error[endless-calls]: these pipelines call one another without end:"
        " a -> b -> a\n"
        "    at: pipelines.a[1].run-pipeline\n"
        "    why: called at test.yaml:2:27, called at test.yaml:3:26\n"
        "    hint: let a 'when', a 'switch' or a 'stop' decide about one of the calls"
    ]


def test_a_pipeline_that_certainly_calls_itself_is_told(problems: Problems) -> None:
    [found] = problems("a: [{run-pipeline: {pipeline: a}}]")

    assert found.splitlines()[0] == (
        "test.yaml:1:6: error[endless-calls]: these pipelines call one another without end: a -> a"
    )


@pytest.mark.parametrize(
    "steps",
    [
        "[stop, {run-pipeline: {pipeline: p}}]",
        "[{run-pipeline-if: {pipeline: p}}]",
        "[{run-pipeline: {pipeline: p, input_path: more}}]",
        "[{passthrough: {error_consumers: [{run-pipeline: {pipeline: p}}]}}]",
        "[{run-pipeline: {pipeline_path: name}}]",
    ],
)
def test_a_cycle_that_can_end_is_allowed(problems: Problems, steps: str) -> None:
    assert problems(f"p: {steps}") == []


def test_two_cycles_are_two_problems_and_a_way_into_one_is_none(problems: Problems) -> None:
    found = problems("""
        into: [{run-pipeline: {pipeline: a}}]
        a: [{run-pipeline: {pipeline: a}}]
        c: [{run-pipeline: {pipeline: d}}]
        d: [{run-pipeline: {pipeline: c}}]
    """)

    assert [each.partition(": error")[0] for each in found] == ["test.yaml:3:14", "test.yaml:4:14"]


def test_linking_leaves_out_pipelines_that_could_not_be_built() -> None:
    pipelines, _ = compiled("{p: [{run-pipeline: {pipeline: q}}], q: [passthru]}", specs(*OTHERS))

    link(pipelines)

    assert list(pipelines) == ["p"]
    assert list(endless_calls({"p": pipelines["p"].graph})) == []


@pytest.mark.anyio
@pytest.mark.parametrize("components", [QUICK, SLOW])
async def test_a_traced_run_tells_what_happened_at_each_step(components: Any) -> None:
    text = "p: [{note: {name: a}}, {fail: {}, error_consumers: [{replace: {value: 1}}]}]"
    pipelines, _ = compiled(text, specs(*components))

    results, trace = await pipelines["p"].traced({"way": []})

    assert results == [{"way": ["a"], "value": 1}]
    assert all(step.pop("time_spent") >= 0 for step in trace)
    assert trace == [
        {
            "processor": "pipelines.p[0].note",
            "place": "test.yaml:1:6",
            "baton": {"way": []},
            "output": {"way": ["a"]},
            "failure": None,
        },
        {
            "processor": "pipelines.p[1].fail",
            "place": "test.yaml:1:25",
            "baton": {"way": ["a"]},
            "output": None,
            "failure": "ValueError: no",
        },
        {
            "processor": "pipelines.p[1].fail.error_consumers[0].replace",
            "place": "test.yaml:1:54",
            "baton": {"way": ["a"], "failures": -2},
            "output": {"way": ["a"], "value": 1},
            "failure": None,
        },
    ]


def test_a_snapshot_is_plain_and_copes_with_odd_objects_and_circles() -> None:
    circle: dict[str, Any] = {}
    circle["self"] = circle

    assert snapshot({"a": [1, 2], 3: {4}}) == {"a": [1, 2], "3": [4]}
    assert snapshot({"odd": NotImplemented}) == {"odd": "NotImplemented"}
    assert snapshot(circle) == "{'self': {...}}"


def test_a_snapshot_of_what_cannot_show_itself_says_so() -> None:
    class Broken:
        def __repr__(self) -> str:
            raise LookupError("away")

    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]

    assert snapshot({"a": Broken()}) == {"a": "<Broken: LookupError in its repr>"}
    assert snapshot({(1, Broken()): 1}) == "<dict: LookupError in its repr>"
    assert snapshot(deep) == "<list: RecursionError in its repr>"


def test_a_lambda_in_a_document_is_a_step_like_any_other() -> None:
    pipelines, problems = compiled("p: [{eval-lambda: {lambda: 'n: n * 2'}}]", specs(EvalLambda))

    assert (problems, send(pipelines["p"], 4)) == ([], [8])


def test_a_pipeline_shows_its_name(build: Build) -> None:
    assert repr(build("web: {p: [passthrough]}")["web.p"]) == "<Pipeline web.p>"


def test_a_chain_of_calls_that_is_too_deep_for_python_is_told() -> None:
    chain = [f"p{n}: [{{run-pipeline: {{pipeline: p{n + 1}}}}}]" for n in range(800)]
    pipelines, problems = compiled("\n".join([*chain, "p800: [passthrough]"]), specs(*OTHERS))
    assert problems == []

    error = failure_of(pipelines["p0"], {})

    assert isinstance(error, TooDeep)
    assert str(error).startswith("pipelines call one another too deep at 'p")
    assert send(pipelines["p750"], 5) == [5]
    assert [pipelines[name].is_deep for name in ("p0", "p790")] == [True, False]


@pytest.mark.parametrize(
    "steps",
    [
        "[{run-pipeline: {pipeline: g}, error_consumers: [{run-pipeline: {pipeline: g}}]}]",
        "[{run-pipeline-if: {pipeline: g}, error_consumers: [{run-pipeline: {pipeline: g}}]}]",
    ],
)
def test_calls_without_end_are_not_begun_again_by_error_consumers(build: Build, steps: str) -> None:
    pipelines = build(f"""
        g: [{{choose: {{indexes: [0]}}}}, {{inline-pipeline: steps}}]
        steps: {steps}
        p: [{{run-pipeline: {{pipeline: g}}, error_consumers: [see-error]}}]
    """)

    error, baton = failure_of(pipelines["g"], {"way": []}), {"way": list[str]()}
    send(pipelines["p"], baton)

    what = "pipelines call one another more than 100 deep at 'g'"
    assert repr(error) == repr(TooDeep(what))
    assert baton["way"] == [repr(TooDeep(what))]


def test_in_a_cycle_code_that_recurses_too_deep_is_treated_as_the_cycle() -> None:
    @processor("recurse")
    class Recurse(Processor):
        """Call itself until Python refuses."""

        def process(self, baton: Baton) -> Baton:
            return self.process(baton)

    again = "{run-pipeline: {pipeline: g}}"
    text = f"g: [{{choose: {{indexes: [0]}}}}, {{recurse: {{}}, error_consumers: [{again}]}}]"
    pipelines, problems = compiled(text, specs(Recurse, *OTHERS))

    assert problems == []
    assert repr(failure_of(pipelines["g"], {})) == repr(
        TooDeep("pipelines call one another too deep at 'g'")
    )
