from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from piped.app import Service
from piped.errors import BatonError
from piped.spec import dependencies_of, elsewhere
from tests.processors.conftest import Make, Problems, Run
from tests.processors.pool_fakes import FakeFront


@pytest.fixture
def front() -> FakeFront:
    return FakeFront()


def test_submit_work_gives_its_input_to_the_pool_and_stores_the_key(
    run: Run, front: FakeFront
) -> None:
    text = "submit-work: {workers: math, pipeline: .sum, input_path: n}"

    baton = run(text, {"n": 4}, **{"workers.math": front})

    assert baton == {"n": 4, "key": "made-up"}
    assert front.jobs == [("web.sum", 4, "", "")]


def test_submit_work_names_the_pipeline_that_goes_on_later(run: Run, front: FakeFront) -> None:
    text = "submit-work: {workers: math, pipeline: sum, then: .done, key: a, output_path: job.id}"

    baton = run(text, {"n": 4}, **{"workers.math": front})

    assert baton == {"n": 4, "job": {"id": "a"}}
    assert [each[2:] for each in front.jobs] == [("a", "web.done")]


def test_submit_work_runs_only_its_then_here(make: Make) -> None:
    step = make("submit-work: {workers: math, pipeline: sum, then: .done}")

    here = {each.name for each in dependencies_of(step)} - {each.name for each in elsewhere(step)}

    assert here == {"workers.math", "pipeline.web.done"}
    assert step.is_async
    assert step.certain_calls == ()


@pytest.mark.parametrize(("given", "key"), [("order-17", "order-17"), (17, "17"), (0, "0")])
def test_submit_work_finds_its_key_in_the_baton(
    run: Run, front: FakeFront, given: Any, key: str
) -> None:
    text = "submit-work: {workers: math, pipeline: sum, key: !path order.id, output_path: null}"
    baton = {"order": {"id": given}}

    assert run(text, baton, **{"workers.math": front}) == {"order": {"id": given}}
    assert front.jobs == [("sum", {"order": {"id": given}}, key, "")]


@pytest.mark.parametrize(
    ("baton", "got"),
    [({}, "nothing"), ({"id": ""}, "''"), ({"id": True}, "True"), ({"id": 1.5}, "1.5")],
)
def test_submit_work_refuses_what_is_no_key(
    run: Run, front: FakeFront, baton: Any, got: str
) -> None:
    text = "submit-work: {workers: math, pipeline: sum, key: !path id}"

    with pytest.raises(BatonError) as raised:
        run(text, baton, **{"workers.math": front})

    assert str(raised.value) == f"expected a text or a number as the key at 'id', got {got}"
    assert front.jobs == []


def test_submit_work_refuses_a_key_without_a_sign(run: Run, front: FakeFront) -> None:
    with pytest.raises(BatonError) as raised:
        run("submit-work: {workers: math, pipeline: a, key: ''}", {}, **{"workers.math": front})

    assert str(raised.value) == "expected a text or a number as the key, got ''"


def test_submit_work_wants_pipelines_that_have_names(problems: Problems) -> None:
    text = "submit-work: {workers: math, pipeline: [passthrough], then: [passthrough]}"

    assert problems(text) == [
        "expected the name of a pipeline that the pool serves, got a list of steps",
        "expected the name of a pipeline, got a list of steps",
    ]
    assert problems("submit-work: {pipeline: sum}") == [
        "submit-work needs the parameter 'workers' (add workers: math)"
    ]


DOCUMENT = """
workers:
  math: {pipelines: [double]}
contexts:
  seen: []
pipelines:
  double: [{map: {lambda: "n: n * 2"}}]
  done: [{collect-batons: {context: seen}}]
  seen: [{fetch-context: {context: seen, output_path: ""}}]
  order:
    - submit-work: {workers: math, pipeline: double, input_path: n, key: !path id, then: done}
"""


@pytest.mark.anyio
async def test_submit_work_has_a_job_done_once_and_its_result_taken_up_here(tmp_path: Path) -> None:
    file = tmp_path / "service.yaml"
    file.write_text(DOCUMENT)

    async with Service.load(file) as service, asyncio.timeout(8):
        [first] = await service.call("order", {"id": 17, "n": 2})
        [again] = await service.call("order", {"id": 17, "n": 3})
        await service.call("order", {"id": 18, "n": 4})
        [seen] = await service.call("seen")
        while len(seen) < 2:  # noqa: ASYNC110 - a list tells nobody that it has changed
            await asyncio.sleep(0)

    assert first["key"] == again["key"] == "17"
    assert sorted(seen, key=lambda each: each["key"]) == [
        {"key": "17", "pipeline": "double", "result": 4},
        {"key": "18", "pipeline": "double", "result": 8},
    ]
