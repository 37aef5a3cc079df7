"""What run-pipeline, scatter-gather and for-each have in common about workers."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, TypeAlias

import httpx
import pytest

from piped.app import Service
from piped.errors import BatonError, DeadlineExceeded, QueueFull, Unavailable
from piped.spec import dependencies_of, elsewhere
from piped.workers.local import ADDRESS
from tests.conftest import Clock, turn
from tests.processors.conftest import Make, Problems
from tests.stories.processes import free_ports

Serve: TypeAlias = Callable[..., AbstractAsyncContextManager[Service]]

every_sender = pytest.mark.parametrize(
    "text",
    [
        "run-pipeline: {pipeline: %s%s}",
        "run-pipeline-if: {pipeline: %s%s}",
        "for-each: {pipeline: %s%s}",
        "scatter-gather: {mapping: [{pipeline: %s, output_path: out}]%s}",
    ],
    ids=["run-pipeline", "run-pipeline-if", "for-each", "scatter-gather"],
)


@every_sender
@pytest.mark.parametrize(
    ("option", "name"),
    [
        ("deadline: 1s", "deadline"),
        ("on_failure: fallback", "on_failure"),
        ("fallback: null", "fallback"),
    ],
)
def test_options_about_workers_need_workers(
    problems: Problems, text: str, option: str, name: str
) -> None:
    found = problems(text % ("a", f", {option}"))

    assert found == [f"'{name}' is about workers, and there are none (add 'workers: POOL')"]


@every_sender
def test_workers_run_no_pipeline_that_is_written_in_place(problems: Problems, text: str) -> None:
    found = problems(text % ("[passthrough]", ", workers: math"))

    assert found == ["expected the name of a pipeline that the pool serves, got a list of steps"]


@every_sender
def test_a_fallback_that_is_never_used_is_a_problem(problems: Problems, text: str) -> None:
    assert problems(text % ("a", ", workers: math, fallback: 7")) == [
        "'fallback' has no effect with 'on_failure: raise' (write 'on_failure: fallback')"
    ]
    assert problems(text % ("a", ", workers: math, fallback: 7, on_failure: fallback")) == []


@every_sender
def test_a_deadline_that_nobody_can_meet_is_a_problem(problems: Problems, text: str) -> None:
    assert problems(text % ("a", ", workers: math, deadline: 0s")) == [
        "expected duration > 0, got '0s'"
    ]


@every_sender
def test_what_workers_run_is_not_needed_here(make: Make, text: str) -> None:
    step = make(text % ("a", ", workers: math"))

    assert {each.name for each in elsewhere(step)} == {"pipeline.a"}
    assert "workers.math" in {each.name for each in dependencies_of(step)}


@every_sender
def test_a_pool_that_is_lost_has_no_fallback(make: Make, text: str) -> None:
    step = make(text % ("a", ", workers: math, on_failure: fallback, fallback: 7")).step()

    with pytest.raises(Unavailable):
        asyncio.run(step([1]))


DOCUMENT = """
workers:
  math: {pipelines: [sum, half, hang, set, key, web.own], deadline: 5s, fallback: none}
pipelines:
  sum: [{map: {lambda: "numbers: sum(numbers)"}}]
  half: [{exec-code: {code: "if input & 1: raise ValueError('odd')\\nreturn input // 2"}}]
  hang: [{wait: {delay: 1h}}]
  set: [{map: {lambda: "numbers: {'seen': {*numbers}}"}}]
  key: [fetch-idempotency-key]
  web:
    own: [{map: {lambda: "n: [n]"}}]
    compute:
      - %s
"""


@pytest.fixture
def serve(tmp_path: Path) -> Serve:
    """Run a document whose pipeline web.compute has one step; the options are those of the pool."""

    @asynccontextmanager
    async def serve(step: str, *, more: str = "", **options: Any) -> AsyncIterator[Service]:
        file = tmp_path / "service.yaml"
        file.write_text(DOCUMENT % step + more)
        overrides = {f"workers.math.{name}": value for name, value in options.items()}
        async with Service.load(file, overrides) as service:
            yield service

    return serve


def dispatcher_of(service: Service) -> Any:
    """Return what knows all parts of the pool that have not come to an end."""
    return service.resources["workers.math"].value.ledger


async def outcome(service: Service, baton: Any) -> Any:
    """Return the last result of web.compute, or why there is none."""
    try:
        return (await service.call("web.compute", baton))[-1]
    except Exception as error:
        return error


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("step", "baton", "expected"),
    [
        ("run-pipeline: {%s, pipeline: sum, input_path: n}", {"n": [1, 2]}, {"n": 3}),
        ("run-pipeline: {%s, pipeline: .own, only_last_result: false}", 1, [[1]]),
        (
            "run-pipeline: {%s, pipeline_path: name, input_path: n}",
            {"name": "..sum", "n": [1, 2]},
            {"name": "..sum", "n": 3},
        ),
        ("run-pipeline: {%s, pipeline: sum, on_failure: fallback}", 5, "none"),
        ("run-pipeline-if: {%s, pipeline: sum, condition: 'n: len(n) > 1'}", [1], [1]),
        ("run-pipeline-if: {%s, pipeline: sum, condition: 'n: len(n) > 1'}", [1, 2], 3),
        (
            "scatter-gather: {%s, mapping: [{pipeline: .own, input_path: n}]}",
            {"n": 1},
            {"n": 1, "own": [1]},
        ),
        ("for-each: {%s, pipeline: .own}", [1, 2], [[1], [2]]),
        ("for-each: {%s, pipeline: half}", {"a": 2, "b": 4}, {"a": 1, "b": 2}),
        ("for-each: {%s, pipeline: half}", [], []),
        ("for-each: {%s, pipeline: sum, chunk_size: 2}", [1, 2, 3], [3, 3]),
        ("for-each: {%s, pipeline: half, done_on_first: true}", [3, 4, 5], 2),
        ("for-each: {%s, pipeline: half, on_failure: fallback}", [2, 3], [1, "none"]),
        ("for-each: {%s, pipeline: half, parallel: false}", [2, 4], [1, 2]),
    ],
)
async def test_the_workers_of_a_document_do_what_they_are_sent(
    serve: Serve, step: str, baton: Any, expected: Any
) -> None:
    async with serve(step % "workers: math") as service:
        results = await service.call("web.compute", copy.deepcopy(baton))

    assert results == [expected]


SENDERS = [
    "run-pipeline: {workers: math, pipeline: hang}",
    "for-each: {workers: math, pipeline: hang}",
    "for-each: {workers: math, pipeline: hang, on_failure: partial, parallel: false}",
    "scatter-gather: {workers: math, mapping: [{pipeline: hang}, {pipeline: hang}]}",
    "scatter-gather: {workers: math, on_failure: partial, mapping: [{pipeline: hang}]}",
]


@pytest.mark.anyio
@pytest.mark.parametrize("step", SENDERS)
async def test_a_step_that_is_cancelled_leaves_no_part_behind(serve: Serve, step: str) -> None:
    async with serve(step) as service, asyncio.TaskGroup() as group:
        task = group.create_task(service.call("web.compute", [1, 2]))
        await turn()
        dispatcher = dispatcher_of(service)
        assert dispatcher.in_flight > 0

        task.cancel()
        await turn()

        assert task.cancelled()
        assert (dispatcher.pending, dispatcher.pending_bytes, dispatcher.in_flight) == (0, 0, 0)
        assert dispatcher.counters.cancelled > 0


THREE = """scatter-gather:
          workers: math
          on_failure: %s
          mapping:
            - {pipeline: hang, input_path: n, output_path: late}
            - {pipeline: half, input_path: n, output_path: half}
            - {pipeline: sum, input_path: all, output_path: sum}
"""


@pytest.mark.anyio
async def test_the_first_failure_is_raised_and_ends_the_other_parts(serve: Serve) -> None:
    async with serve(THREE % "raise") as service:
        with pytest.raises(ValueError, match="odd") as raised:
            await service.call("web.compute", {"n": 1, "all": [1, 2]})

        dispatcher = dispatcher_of(service)
        counters = dispatcher.counters
        assert dispatcher.pending == 0
        assert (counters.submitted, counters.failed) == (3, 1)
        assert counters.cancelled >= 1  # the one that hangs; the last may have been answered
        assert counters.answered + counters.cancelled == 2
    [there, here] = raised.value.__notes__
    assert there.startswith("in pipelines.half[0].exec-code (")
    assert here.startswith("in pipelines.web.compute[0].scatter-gather (")


@pytest.mark.anyio
@pytest.mark.parametrize("step", [THREE % "raise", "for-each: {workers: math, pipeline: hang}"])
async def test_a_part_that_the_pool_has_no_room_for_ends_the_others(
    serve: Serve, step: str
) -> None:
    async with serve(step, max_pending=1) as service:
        with pytest.raises(QueueFull):
            await service.call("web.compute", {"n": 1, "all": [1, 2]})

        assert dispatcher_of(service).pending == 0


@pytest.mark.anyio
async def test_for_each_asks_the_pool_for_no_more_room_than_it_is_told(serve: Serve) -> None:
    step = "for-each: {workers: math, pipeline: half, max_parallel: 2}"

    async with serve(step, max_pending=2) as service:
        results = await service.call("web.compute", [*range(0, 20, 2)])

    assert results == [[*range(10)]]


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("mode", "result"), [("raise", "pool 'math' has no worker"), ("fallback", "none")]
)
async def test_a_pool_without_workers_fails_at_once_if_it_is_told_to(
    serve: Serve, mode: str, result: str
) -> None:
    step = f"run-pipeline: {{workers: math, pipeline: sum, on_failure: {mode}}}"

    async with serve(step, when_empty="fail") as service:
        dispatcher_of(service).lost(ADDRESS, "it was killed")
        told = await outcome(service, [1])

    assert str(told) == result


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("pipeline", "baton", "what"),
    [
        ("sum", {"n": [1, {2}]}, "cannot cross to a worker: n.1: expected plain data, got set"),
        ("set", [1], "cannot cross to a worker: 0.seen: expected plain data, got set"),
    ],
)
async def test_what_cannot_cross_is_told_with_its_path(
    serve: Serve, pipeline: str, baton: Any, what: str
) -> None:
    async with serve(f"run-pipeline: {{workers: math, pipeline: {pipeline}}}") as service:
        with pytest.raises(BatonError) as raised:
            await service.call("web.compute", baton)

    assert str(raised.value) == what


@pytest.mark.anyio
async def test_a_baton_may_name_no_pipeline_that_the_pool_does_not_serve(serve: Serve) -> None:
    async with serve("run-pipeline: {workers: math, pipeline_path: name}") as service:
        with pytest.raises(LookupError) as raised:
            await service.call("web.compute", {"name": ".compute"})

    assert str(raised.value) == "pool 'math' does not serve 'web.compute'"


SITE = """
      - write-web-response
web:
  site:
    port: %s
    routing:
      __config__: {processor: pipeline.web.compute, errors: {ValueError: 400}}
"""


@pytest.mark.anyio
async def test_a_failure_at_a_worker_has_the_status_that_the_site_gives_its_type(
    serve: Serve,
) -> None:
    [port] = free_ports(1)
    step = "run-pipeline: {workers: math, pipeline: half, input_path: n}"

    async with (
        serve("set-value: {path: n, value: 3}\n      - " + step, more=SITE % port),
        httpx.AsyncClient(trust_env=False, timeout=10) as client,
    ):
        answer = await client.get(f"http://127.0.0.1:{port}/")

    assert answer.status_code == 400


@pytest.mark.anyio
@pytest.mark.parametrize("blocking", [False, True])
async def test_each_part_of_a_document_has_an_idempotency_key_of_its_own(
    serve: Serve, blocking: bool
) -> None:
    text = 'for-each: {workers: math, pipeline: key, result_processor: "r: r[0].popitem()[1]"}'

    async with serve(text, blocking=blocking, pipelines=["key"]) as service:
        [[first, second]] = await service.call("web.compute", [{}, {}])

    assert first != second
    assert len(bytes.fromhex(first)) == 16


class TestInTime:
    """What the clock does to parts."""

    pytestmark = pytest.mark.anyio

    @pytest.fixture
    def anyio_backend(self, movable_loop: tuple[str, dict[str, Any]]) -> tuple[str, dict[str, Any]]:
        return movable_loop

    @pytest.mark.parametrize(("own", "after_s"), [("", 5), (", deadline: 1s", 1)])
    async def test_a_part_ends_at_the_deadline_of_the_step_or_of_the_pool(
        self, serve: Serve, clock: Clock, own: str, after_s: int
    ) -> None:
        step = f"run-pipeline: {{workers: math, pipeline: hang{own}}}"
        async with serve(step) as service, asyncio.TaskGroup() as group:
            task = group.create_task(outcome(service, None))
            await turn()
            await clock.advance(after_s - 0.9)
            assert not task.done()

            await clock.advance(1.0)

            assert isinstance(await task, DeadlineExceeded)
            assert dispatcher_of(service).pending == 0

    async def test_parts_that_are_late_are_missing_and_the_others_are_there(
        self, serve: Serve, clock: Clock
    ) -> None:
        async with serve(THREE % "partial") as service, asyncio.TaskGroup() as group:
            task = group.create_task(outcome(service, {"n": 4, "all": [1, 2]}))
            await turn()

            await clock.advance(5.1)

            baton = await task
        [missing] = baton.pop("missing")
        assert baton == {"n": 4, "all": [1, 2], "half": 2, "sum": 3}
        assert missing["pipeline"] == "hang"
        assert missing["output_path"] == "late"
        assert missing["error"]["type"] == "DeadlineExceeded"
