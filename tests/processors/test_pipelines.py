from __future__ import annotations

from typing import Any

import pytest

from piped.errors import BatonError
from tests.processors.conftest import FakePipeline, Make, Problems, Run


class Pipelines:
    def __init__(self, **pipelines: Any) -> None:
        self.pipelines = {
            name.replace("_", "."): FakePipeline(pipelines[name]) for name in pipelines
        }

    def find(self, name: str) -> FakePipeline:
        return self.pipelines[name]


def double(n: int) -> int:
    return n * 2


async def double_later(n: int) -> int:
    return n * 2


def test_run_pipeline_without_awaits_is_synchronous(make: Make) -> None:
    assert not make("run-pipeline: {pipeline: double}", **{"pipeline.double": double}).is_async
    assert make("run-pipeline: {pipeline: double}", **{"pipeline.double": double_later}).is_async


@pytest.mark.parametrize("pipeline", [double, double_later])
def test_run_pipeline_puts_the_last_result(run: Run, pipeline: Any) -> None:
    text = "run-pipeline: {pipeline: double, input_path: n, output_path: twice}"

    baton = run(text, {"n": 2}, **{"pipeline.double": pipeline})

    assert baton == {"n": 2, "twice": 4}


def test_run_pipeline_puts_all_results(run: Run) -> None:
    text = "run-pipeline: {pipeline: double, only_last_result: false}"

    assert run(text, 2, **{"pipeline.double": double}) == [4]


def test_run_pipeline_without_any_result_gives_none(run: Run) -> None:
    class Empty(FakePipeline):
        def now(self, baton: Any) -> list[Any]:
            return []

    pipeline = Empty(double)

    assert run("run-pipeline: {pipeline: double}", 2, **{"pipeline.double": pipeline}) is None


def test_run_pipeline_resolves_relative_names(run: Run) -> None:
    resources = {"pipeline.web.double": double}

    assert run("run-pipeline: {pipeline: .double}", 2, **resources) == 4


@pytest.mark.parametrize("name", ["web.double", ".double", "pipeline.web.double"])
def test_run_pipeline_finds_the_pipeline_that_the_baton_names(run: Run, name: str) -> None:
    text = "run-pipeline: {pipeline_path: where, input_path: n}"
    pipelines = Pipelines(web_double=double)

    baton = run(text, {"where": name, "n": 2}, pipelines=pipelines)

    assert baton == {"where": name, "n": 4}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (None, "expected the name of a pipeline at 'where', got None"),
        (5, "expected the name of a pipeline at 'where', got 5"),
        ("..", "expected the name of a pipeline at 'where', got '..'"),
        ("...x", "'...x' leads out of the pipelines: 'web.compute' has 2 parts"),
    ],
)
def test_run_pipeline_refuses_what_is_no_name(run: Run, name: Any, message: str) -> None:
    with pytest.raises(BatonError) as raised:
        run("run-pipeline: {pipeline_path: where}", {"where": name}, pipelines=Pipelines())

    assert str(raised.value) == message


def test_run_pipeline_lets_an_unknown_name_be_told_by_who_knows_the_names(run: Run) -> None:
    with pytest.raises(LookupError):
        run("run-pipeline: {pipeline_path: where}", {"where": "nope"}, pipelines=Pipelines())


def test_run_pipeline_stores_a_trace_in_what_goes_on(run: Run) -> None:
    text = "run-pipeline: {pipeline: wrap, trace_path: trace}"

    baton = run(text, 2, **{"pipeline.wrap": lambda n: {"n": n}})

    assert baton == {"n": 2, "trace": [{"baton": 2}]}


def test_run_pipeline_tells_of_calls_that_are_certain(make: Make) -> None:
    resources = {"pipeline.double": double}

    certain = make("run-pipeline: {pipeline: double}", **resources)
    without_input = make(
        "run-pipeline: {pipeline: double, input_path: n, skip_if_nonexistent: false}", **resources
    )
    with_input = make("run-pipeline: {pipeline: double, input_path: n}", **resources)
    conditional = make("run-pipeline-if: {pipeline: double}", **resources)

    assert certain.certain_calls == without_input.certain_calls == ("double",)
    assert with_input.certain_calls == conditional.certain_calls == ()


def test_run_pipeline_wants_one_way_to_find_it(problems: Problems) -> None:
    assert problems("run-pipeline: {}") == [
        "expected exactly one of 'pipeline' and 'pipeline_path', got neither"
    ]
    assert problems("run-pipeline: {pipeline: a, pipeline_path: b}") == [
        "expected exactly one of 'pipeline' and 'pipeline_path', got both"
    ]
    assert problems("run-pipeline: {pipeline: a, trace_path: ''}") == [
        "expected a path for 'trace_path', got '', which is the whole baton"
    ]


@pytest.mark.parametrize("pipeline", [double, double_later])
def test_run_pipeline_if_runs_where_the_condition_holds(run: Run, pipeline: Any) -> None:
    text = """
        run-pipeline-if:
          pipeline: double
          input_path: n
          condition_input_path: go
          condition: "go: go == wanted"
          namespace: {wanted: 1}
    """

    assert run(text, {"n": 2, "go": 1}, **{"pipeline.double": pipeline}) == {"n": 4, "go": 1}
    assert run(text, {"n": 2, "go": 2}, **{"pipeline.double": pipeline}) == {"n": 2, "go": 2}
    assert run(text, {"n": 2}, **{"pipeline.double": pipeline}) == {"n": 2}


def test_run_pipeline_if_asks_for_truth_by_default(run: Run) -> None:
    text = "run-pipeline-if: {pipeline: double}"

    assert run(text, 2, **{"pipeline.double": double}) == 4
    assert run(text, [], **{"pipeline.double": double}) == []


def test_run_pipeline_if_checks_both_its_halves(problems: Problems) -> None:
    assert problems("run-pipeline-if: {condition: '_: where'}") == [
        "expected exactly one of 'pipeline' and 'pipeline_path', got neither",
        "nobody defines 'where' (add it to the namespace, as in namespace: {where: package.where})",
    ]
