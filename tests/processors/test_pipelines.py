from __future__ import annotations

import asyncio
from typing import Any

import pytest

from piped.batons import MISSING
from piped.errors import BatonError, QueueFull, TooDeep
from piped.spec import dependencies_of
from tests.conftest import turn
from tests.processors.conftest import FakePipeline, Make, Problems, Run
from tests.processors.pool_fakes import FakeFront


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


def doubles(_pipeline: str, n: int) -> int:
    return n * 2


def falls(_pipeline: str, n: int) -> None:
    raise ValueError(f"{n} is too much")


def test_run_pipeline_has_workers_run_it(run: Run) -> None:
    text = "run-pipeline: {workers: math, pipeline: .double, input_path: n, output_path: twice}"
    front = FakeFront(doubles)

    baton = run(text, {"n": 2}, **{"workers.math": front})

    assert baton == {"n": 2, "twice": 4}
    assert [(each.pipeline, each.value) for each in front.sent] == [("web.double", 2)]


def test_run_pipeline_waits_for_workers_and_calls_nothing_here(make: Make) -> None:
    step = make("run-pipeline: {workers: math, pipeline: double}", **{"pipeline.double": double})

    assert step.is_async
    assert step.certain_calls == ()


def test_run_pipeline_needs_no_pipeline_here_that_workers_run(make: Make) -> None:
    step = make("run-pipeline: {workers: math, pipeline_path: name}")

    assert [each.name for each in dependencies_of(step)] == ["workers.math"]


@pytest.mark.parametrize(("deadline", "deadline_s"), [("", None), (", deadline: 250ms", 0.25)])
def test_run_pipeline_tells_workers_of_its_deadline(
    run: Run, deadline: str, deadline_s: float | None
) -> None:
    front = FakeFront(doubles)

    run(f"run-pipeline: {{workers: math, pipeline: a{deadline}}}", 2, **{"workers.math": front})

    assert [each.deadline_s for each in front.sent] == [deadline_s]


def test_run_pipeline_puts_all_results_of_workers(run: Run) -> None:
    text = "run-pipeline: {workers: math, pipeline: double, only_last_result: false}"

    assert run(text, 2, **{"workers.math": FakeFront(doubles)}) == [4]


@pytest.mark.parametrize("name", ["web.double", ".double", "pipeline.web.double"])
def test_run_pipeline_sends_workers_the_name_that_the_baton_has(run: Run, name: str) -> None:
    text = "run-pipeline: {workers: math, pipeline_path: where, input_path: n}"
    front = FakeFront(doubles)

    assert run(text, {"where": name, "n": 2}, **{"workers.math": front}) == {"where": name, "n": 4}
    assert [each.pipeline for each in front.sent] == ["web.double"]


def test_run_pipeline_raises_what_was_raised_at_a_worker(run: Run) -> None:
    text = "run-pipeline: {workers: math, pipeline: double, input_path: n}"
    baton = {"n": 2}

    with pytest.raises(ValueError, match="2 is too much"):
        run(text, baton, **{"workers.math": FakeFront(falls)})

    assert baton == {"n": 2}


def test_run_pipeline_raises_what_the_pool_refuses(run: Run) -> None:
    front = FakeFront()
    front.refuse[0] = QueueFull("pool 'math' is full")

    with pytest.raises(QueueFull):
        run("run-pipeline: {workers: math, pipeline: double}", 2, **{"workers.math": front})


FALLING = "run-pipeline: {workers: math, pipeline: double, input_path: n, on_failure: fallback%s}"


@pytest.mark.parametrize(
    ("own", "of_pool", "output"),
    [(", fallback: 7", 8, 7), ("", 8, 8), (", fallback: null", 8, None), ("", MISSING, None)],
)
def test_run_pipeline_goes_on_with_a_fallback(
    run: Run, own: str, of_pool: Any, output: int | None
) -> None:
    front = FakeFront(falls, of_pool)

    assert run(FALLING % own, {"n": 2}, **{"workers.math": front}) == {"n": output}


def test_run_pipeline_goes_on_with_a_fallback_where_the_pool_refuses(run: Run) -> None:
    front = FakeFront()
    front.refuse[0] = BatonError("cannot cross to a worker: object")

    assert run(FALLING % ", fallback: 7", {"n": 2}, **{"workers.math": front}) == {"n": 7}


@pytest.mark.parametrize("own", ["", ", fallback: []"])
def test_run_pipeline_gives_each_baton_a_fallback_of_its_own(run: Run, own: str) -> None:
    front = FakeFront(falls, fallback=[])

    first = run(FALLING % own, {"n": 2}, **{"workers.math": front})
    first["n"].append(1)

    assert run(FALLING % own, {"n": 2}, **{"workers.math": front}) == {"n": []}
    assert front.fallback == []


def test_run_pipeline_has_no_fallback_where_calls_have_no_end(run: Run) -> None:
    def fall(_pipeline: str, _value: Any) -> None:
        raise TooDeep("pipelines call one another more than 100 deep at 'a'")

    with pytest.raises(TooDeep):
        run(FALLING % "", {"n": 2}, **{"workers.math": FakeFront(fall)})


def test_run_pipeline_has_no_fallback_for_a_name_that_is_none(run: Run) -> None:
    text = "run-pipeline: {workers: math, pipeline_path: where, on_failure: fallback}"

    with pytest.raises(BatonError) as raised:
        run(text, {}, **{"workers.math": FakeFront()})

    assert str(raised.value) == "expected the name of a pipeline at 'where', got None"


@pytest.mark.anyio
async def test_run_pipeline_that_is_cancelled_cancels_its_part(make: Make) -> None:
    front = FakeFront()
    step = make("run-pipeline: {workers: math, pipeline: a}", **{"workers.math": front}).step()
    task = asyncio.create_task(step(1))
    await turn()

    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
    assert front.sent[0].is_cancelled


def test_run_pipeline_if_sends_to_workers_where_the_condition_holds(run: Run) -> None:
    text = "run-pipeline-if: {workers: math, pipeline: double, condition: 'n: n > 3'}"
    front = FakeFront(doubles)

    assert run(text, 4, **{"workers.math": front}) == 8
    assert run(text, 3, **{"workers.math": front}) == 3
    assert len(front.sent) == 1


def test_run_pipeline_cannot_trace_what_workers_do(problems: Problems) -> None:
    assert problems("run-pipeline: {workers: math, pipeline: a, trace_path: t}") == [
        "what workers do cannot be traced here"
    ]


def test_run_pipeline_has_no_partial_result(problems: Problems) -> None:
    assert problems("run-pipeline: {workers: math, pipeline: a, on_failure: partial}") == [
        "expected 'raise' or 'fallback', got 'partial'"
    ]
