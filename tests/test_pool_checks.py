"""What is wrong between the pools of a document and the pipelines that send to them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from piped.app import Service, blueprint_of
from piped.errors import DeadlineExceeded
from tests.conftest import Told


def without_hints(found: list[str]) -> list[str]:
    return [each for each in found if " hint[" not in each]


SENDERS = [
    "run-pipeline: {workers: math, pipeline: .own}",
    "run-pipeline-if: {workers: math, pipeline: .own}",
    "for-each: {workers: math, pipeline: .own}",
    "submit-work: {workers: math, pipeline: .own, then: web.compute}",
    "scatter-gather: {workers: math, mapping: [{pipeline: sum}, {pipeline: web.own}]}",
]


@pytest.mark.parametrize("step", SENDERS)
def test_a_pipeline_that_its_pool_does_not_serve_is_told(told: Told, step: str) -> None:
    found = told(
        "workers: {math: {pipelines: [sum, mean]}}",
        "pipelines:",
        "  sum: [passthrough]",
        "  mean: [passthrough]",
        "  web:",
        "    own: [passthrough]",
        f"    compute: [{step}]",
    )

    [error] = without_hints(found)
    assert error.splitlines()[0].endswith("error[not-served]: pool 'math' does not serve 'web.own'")
    assert error.splitlines()[2:] == [
        "    why: it serves: sum, mean",
        "    hint: add 'web.own' to workers.math.pipelines, or name another one",
    ]


def test_what_a_pool_does_not_serve_is_told_where_it_is_named(told: Told) -> None:
    step = "scatter-gather: {workers: math, mapping: [{pipeline: sum}, {pipeline: own}]}"

    found = told(
        "workers: {math: {pipelines: [sum]}}",
        f"pipelines: {{sum: [passthrough], own: [passthrough], a: [{step}]}}",
    )

    assert [each.splitlines()[:2] for each in without_hints(found)] == [
        [
            "service.yaml:2:127: error[not-served]: pool 'math' does not serve 'own'",
            "    at: pipelines.a[0].scatter-gather.mapping[1].pipeline",
        ]
    ]


@pytest.mark.parametrize(
    "step",
    [
        "run-pipeline: {workers: math, pipeline: ..sum}",
        "run-pipeline: {pipeline: .own}",
        "run-pipeline: {workers: math, pipeline_path: name}",
        "submit-work: {workers: math, pipeline: sum, then: .own}",
    ],
)
def test_a_pipeline_that_its_pool_serves_or_that_runs_here_is_fine(told: Told, step: str) -> None:
    found = told(
        "workers: {math: {pipelines: [sum]}}",
        "pipelines:",
        "  sum: [passthrough]",
        f"  web: {{own: [passthrough], compute: [{step}]}}",
    )

    assert without_hints(found) == []


@pytest.mark.parametrize(
    ("pool", "step", "code"),
    [
        ("math", "run-pipeline: {workers: math, pipeline: own}", "unknown-pipeline"),
        ("other", "run-pipeline: {workers: math, pipeline: sum}", "unknown-resource"),
        ("math: {pipelines: 7}, other", "for-each: {workers: math, pipeline: a}", "wrong-value"),
    ],
)
def test_what_is_wrong_with_the_pool_or_the_name_itself_is_told_alone(
    told: Told, pool: str, step: str, code: str
) -> None:
    found = told(
        f"workers: {{{pool}: {{pipelines: [sum]}}}}",
        f"pipelines: {{sum: [passthrough], a: [{step}]}}",
    )

    [error] = without_hints(found)
    assert f" error[{code}]: " in error


WHY = (
    "    why: each part keeps its place at a worker while it waits for one that needs a place, too"
    "\n    hint: leave out 'workers: math' here, or let another pool serve what is sent"
)


def test_a_pool_that_waits_for_itself_is_told(told: Told) -> None:
    found = told(
        "workers: {math: {pipelines: [sum, square]}}",
        "pipelines:",
        "  square: [passthrough]",
        "  sum: [run-pipeline: {workers: math, pipeline: square}]",
        "  web: [run-pipeline: {workers: math, pipeline: sum}]",
    )

    assert found == [
        "service.yaml:4:33: warning[waits-for-itself]: pool 'math' may wait for itself: it runs"
        " 'sum', which sends to it\n"
        "    at: pipelines.sum[0].run-pipeline.workers\n" + WHY
    ]


def test_a_pool_that_waits_for_itself_over_others_is_told_with_the_way(told: Told) -> None:
    found = told(
        "workers: {math: {pipelines: [sum, square]}, text: {pipelines: [spell]}}",
        "pipelines:",
        "  square: [passthrough]",
        "  sum: [run-pipeline: {pipeline: [run-pipeline: {workers: text, pipeline: spell}]}]",
        "  spell: [run-pipeline: {pipeline: say}]",
        "  say: [scatter-gather: {workers: math, mapping: [{pipeline: square}]}]",
    )

    assert found == [
        "service.yaml:6:35: warning[waits-for-itself]: pool 'math' may wait for itself: it runs"
        " 'sum' -> 'sum[0].run-pipeline.pipeline' -> 'spell' -> 'say', which sends to"
        " it\n"
        "    at: pipelines.say[0].scatter-gather.workers\n" + WHY
    ]


@pytest.mark.parametrize(
    "step",
    [
        "for-each: {workers: math, pipeline: square}",
        "run-pipeline-if: {workers: math, pipeline: square}",
        "scatter-gather: {workers: math, mapping: [{pipeline: square}]}",
        "run-pipeline: {workers: math, pipeline_path: name}",
        "run-pipeline: {workers: text, pipeline_path: name}",
        "retry: {pipeline: [for-each: {workers: math, pipeline: square}]}",
    ],
)
def test_whatever_waits_for_its_own_pool_is_told(told: Told, step: str) -> None:
    found = told(
        "workers: {math: {pipelines: [sum, square]}, text: {pipelines: [spell]}}",
        "pipelines:",
        "  square: [passthrough]",
        "  spell: [run-pipeline: {workers: math, pipeline: square}]",
        f"  sum: [{step}]",
    )

    assert ["warning[waits-for-itself]" in each for each in found] == [True]


@pytest.mark.parametrize(
    "step",
    [
        "run-pipeline: {pipeline: square}",
        "run-pipeline: {workers: text, pipeline: spell}",
        "submit-work: {workers: math, pipeline: square}",
        "submit-work: {workers: text, pipeline: say}",
    ],
)
def test_what_waits_for_others_or_for_nobody_is_fine(told: Told, step: str) -> None:
    found = told(
        "workers: {math: {pipelines: [sum, square]}, text: {pipelines: [spell, say]}}",
        "pipelines:",
        "  say: [passthrough]",
        "  square: [passthrough]",
        "  spell: [passthrough]",
        f"  sum: [{step}]",
    )

    assert found == []


def test_a_job_that_a_worker_would_submit_is_told(told: Told) -> None:
    found = told(
        "workers: {math: {transport: zmq, pipelines: [sum]}, text: {pipelines: [spell]}}",
        "pipelines:",
        "  spell: [passthrough]",
        "  sum: [submit-work: {workers: text, pipeline: spell}]",
        "  web: [submit-work: {workers: math, pipeline: sum}]",
    )

    assert found == [
        "service.yaml:4:32: warning[job-of-worker]: workers submit no jobs: pool 'math' runs"
        " 'sum'\n"
        "    at: pipelines.sum[0].submit-work.workers\n"
        "    hint: let a pipeline of the front submit it, with what the workers have answered"
    ]


SELF: Final = """
workers:
  math:
    transport: {transport}
    listen: "ipc://{folder}/math"
    pipelines: [sum, mean, one]
    concurrency: 1
    deadline: {deadline}
    lease: 5s
pipelines:
  sum: [run-pipeline: {{workers: math, pipeline: mean, deadline: {mean}}}]
  mean: [run-pipeline: {{workers: math, pipeline: one, deadline: {one}}}]
  one: [map: {{lambda: "n: 1"}}]
"""


@asynccontextmanager
async def _pool(folder: Path, **values: str) -> AsyncIterator[Any]:
    """Run the front of a pool with one worker that has one place, which waits for another."""
    document = folder / "service.yaml"
    document.write_text(SELF.format(folder=folder, **values))
    async with AsyncExitStack() as stack:
        front = await stack.enter_async_context(Service.load(document))
        if values["transport"] == "zmq":
            await stack.enter_async_context(Service(blueprint_of(document), work="math"))
        pool: Any = await front.resources["workers.math"].wait()
        assert await pool.call("one", 3, 9.0) == [1]  # the worker is there
        yield pool


@pytest.mark.anyio
@pytest.mark.parametrize("transport", ["local", "zmq"])
async def test_a_pool_that_waits_for_itself_fails_by_its_deadline(
    tmp_path: Path, transport: str
) -> None:
    async with (
        asyncio.timeout(20),
        _pool(tmp_path, transport=transport, deadline="1s", mean="9s", one="9s") as pool,
    ):
        with pytest.raises(DeadlineExceeded) as caught:
            await pool.call("sum", 3)
        results = await pool.call("one", 3, 9.0)

    assert str(caught.value) in (  # of the worker, or of the front if that sees it first
        "'sum' did not end in time",
        "pool 'math': no answer of 'sum' in time",
    )
    assert results == [1]


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("transport", "waiting", "deadlines"),
    [
        ("local", "mean", {"mean": "300ms", "one": "9s"}),
        ("zmq", "one", {"mean": "9s", "one": "300ms"}),  # parts of parts have a pool of their own
    ],
)
async def test_a_pool_that_waits_for_itself_says_what_never_ran(
    tmp_path: Path, transport: str, waiting: str, deadlines: dict[str, str]
) -> None:
    async with (
        asyncio.timeout(20),
        _pool(tmp_path, transport=transport, deadline="9s", **deadlines) as pool,
    ):
        with pytest.raises(DeadlineExceeded) as caught:
            await pool.call("sum", 3)
        results = await pool.call("one", 3, 9.0)

    assert str(caught.value) == (f"pool 'math': '{waiting}' never ran: all its workers are busy")
    assert results == [1]
