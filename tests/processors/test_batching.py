from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from structlog.testing import capture_logs

from piped.app import Service
from piped.errors import BatonError, PipelineError, QueueFull, Unavailable
from piped.providers.background import Background, Tasks
from tests.conftest import Clock, turn
from tests.processors.conftest import Make, Problems

pytestmark = pytest.mark.anyio

Batching: TypeAlias = Callable[..., Any]


@pytest.fixture
def anyio_backend(movable_loop: tuple[str, dict[str, Any]]) -> tuple[str, dict[str, Any]]:
    return movable_loop


@asynccontextmanager
async def running(**settings: Any) -> AsyncIterator[Tasks]:
    async with Background(**settings).running() as resources:
        yield resources["background"]


class Sink:
    """A pipeline that keeps its batches; each waits for the gate, and may fail."""

    def __init__(self) -> None:
        self.batches: list[list[Any]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.error: Exception | None = None
        self.at_once = 0

    def pipeline(self) -> Any:
        async def later(batch: list[Any]) -> Any:
            self.batches.append(batch)
            self.at_once += 1
            assert self.at_once == 1
            try:
                await self.gate.wait()
                if self.error:
                    raise self.error
                return [-each for each in batch]
            finally:
                self.at_once -= 1

        return later


class Ending:
    """A service that ends when the test says so."""

    def __init__(self) -> None:
        self.stopping = asyncio.Event()

    async def stopped(self) -> int:
        await self.stopping.wait()
        return 0


@pytest.fixture
def sink() -> Sink:
    return Sink()


@pytest.fixture
def service() -> Ending:
    return Ending()


@pytest.fixture
def batch(make: Make, sink: Sink, service: Ending) -> Batching:
    """Make a batch processor: `batch(tasks, "count: 3")`."""

    def batch(tasks: Tasks, parameters: str, pipeline: Any = None) -> Any:
        resources = {
            "pipeline.a": pipeline or sink.pipeline(),
            "background": tasks,
            "service": service,
        }
        return make(f"batch: {{pipeline: a, {parameters}}}", **resources)

    return batch


async def begin(made: Any, *batons: Any) -> list[asyncio.Task[Any]]:
    """Send batons through a processor at the same time."""
    step = made.step()
    tasks = [asyncio.create_task(step(baton)) for baton in batons]
    await turn()
    return tasks


async def test_a_batch_is_sent_when_it_has_its_count(batch: Batching, sink: Sink) -> None:
    async with running() as tasks:
        step = batch(tasks, "count: 3, within: 1h").step()
        results = [step(n) for n in range(7)]
        await turn()

        assert results == [*range(7)]
        assert sink.batches == [[0, 1, 2], [3, 4, 5]]


async def test_a_batch_is_sent_when_its_time_has_come(
    batch: Batching, sink: Sink, clock: Clock
) -> None:
    async with running() as tasks:
        step = batch(tasks, "within: 10s").step()
        step(1)
        await clock.advance(9)
        step(2)
        await clock.advance(0.9)
        assert sink.batches == []
        await clock.advance(0.2)
        assert sink.batches == [[1, 2]]
        step(3)
        await clock.advance(9.9)
        assert sink.batches == [[1, 2]]
        await clock.advance(0.2)

        assert sink.batches == [[1, 2], [3]]


async def test_the_last_batch_is_sent_when_the_service_ends(batch: Batching, sink: Sink) -> None:
    async with running() as tasks:
        step = batch(tasks, "within: 1h").step()
        step(1)
        step(2)

    assert sink.batches == [[1, 2]]


async def test_who_waits_is_answered_as_soon_as_the_service_is_asked_to_end(
    batch: Batching, service: Ending
) -> None:
    async with running() as tasks:
        callers = await begin(batch(tasks, "within: 1h, wait_for: item"), 1, 2)
        service.stopping.set()
        await turn()

        assert [each.result() for each in callers if each.done()] == [-1, -2]


async def test_a_service_that_is_asked_to_end_sends_the_batch_that_its_callers_wait_for(
    tmp_path: Path,
) -> None:
    document = tmp_path / "service.yaml"
    document.write_text("""
pipelines:
  negate:
    - batch: {within: 1h, wait_for: item, pipeline: negate-all}
  negate-all:
    - eval-lambda: {lambda: "numbers: [-n for n in numbers]"}
""")

    async with Service.load(document) as service:
        callers = [asyncio.create_task(service.call("negate", n)) for n in (1, 2)]
        await turn()
        service.stop()
        async with asyncio.timeout(1):
            results = [await each for each in callers]

    assert results == [[-1], [-2]]


async def test_what_comes_while_the_service_ends_is_sent_as_soon_as_that_may_be(
    batch: Batching, sink: Sink, service: Ending
) -> None:
    async with running() as tasks:
        step = batch(tasks, "count: 4, within: 1h").step()
        sink.gate.clear()
        step(1)
        service.stopping.set()
        await turn()
        for n in range(2, 8):
            step(n)
        sink.gate.set()
        await turn()

        assert sink.batches == [[1], [2, 3, 4, 5], [6, 7]]


async def test_the_first_input_may_come_while_the_background_drains(
    batch: Batching, sink: Sink
) -> None:
    async with running() as tasks:
        step = batch(tasks, "within: 1h").step()

        async def come_late() -> None:
            await turn()
            step(1)
            step(2)

        tasks.start(come_late, "late")

    assert sink.batches == [[1, 2]]


async def test_who_waits_is_told_even_if_its_batch_was_given_up_before_it_began(
    batch: Batching, sink: Sink
) -> None:
    sink.gate.clear()
    provider = Background()
    provider.drain_s = 0.0

    async with provider.running() as resources:
        step = batch(resources["background"], "wait_for: batch").step()
        caller = asyncio.create_task(step(1))
        await asyncio.sleep(0)

    async with asyncio.timeout(1):
        with pytest.raises(Unavailable) as raised:
            await caller
    assert str(raised.value) == "the batch was given up, because the service ends"


async def test_what_is_given_up_at_the_end_is_told(batch: Batching, sink: Sink) -> None:
    sink.gate.clear()
    provider = Background()
    provider.drain_s = 0.0

    with capture_logs() as logs:
        async with provider.running() as resources:
            step = batch(resources["background"], "count: 2").step()
            for n in range(5):
                step(n)
            await turn()

    assert {"event": "batches given up", "items": 5} in [
        {"event": each["event"], "items": each.get("items")} for each in logs
    ]


async def test_who_waits_is_told_that_its_batch_is_given_up(batch: Batching, sink: Sink) -> None:
    sink.gate.clear()
    provider = Background()
    provider.drain_s = 0.0

    async with provider.running() as resources:
        made = batch(resources["background"], "count: 2, wait_for: item")
        tasks = await begin(made, 1, 2, 3)

    for task in tasks:
        with pytest.raises(Unavailable) as raised:
            await task
        assert str(raised.value) == "the batch was given up, because the service ends"


@pytest.mark.parametrize(
    ("values", "batches"),
    [
        ([b"12345", b"1234", b"12"], [[b"12345", b"1234"], [b"12"]]),
        (["ääää", "ä", "a"], [["ääää", "ä"], ["a"]]),
        ([b"123456789012", b"1"], [[b"123456789012"], [b"1"]]),
        ([b"1", b"123456789012"], [[b"1"], [b"123456789012"]]),
        ([b"1234567890", b"1"], [[b"1234567890"], [b"1"]]),
        ([{"a": 1}, {"b": 2}, None], [[{"a": 1}], [{"b": 2}], [None]]),
    ],
)
async def test_a_batch_is_no_larger_than_it_may_be(
    batch: Batching, sink: Sink, values: list[Any], batches: list[Any]
) -> None:
    sink.error = ValueError("it is not looked at")
    async with running() as tasks:
        step = batch(tasks, "bytes: 10, within: 1h").step()
        for value in values:
            step(value)

    assert sink.batches == batches


async def test_what_has_no_size_is_refused(batch: Batching, sink: Sink) -> None:
    async with running() as tasks:
        step = batch(tasks, "bytes: 10").step()
        with pytest.raises(BatonError) as raised:
            step(object())

    assert str(raised.value) == "cannot encode object as JSON"
    assert sink.batches == []


async def test_a_batch_keeps_what_a_baton_was(batch: Batching, sink: Sink) -> None:
    baton = {"n": 1}
    async with running() as tasks:
        step = batch(tasks, "within: 1h, input_path: ''").step()
        sink.error = ValueError("it is not looked at")
        assert step(baton) is baton
        baton["n"] = 2

    assert sink.batches == [[{"n": 1}]]


async def test_batches_are_sent_one_after_the_other(batch: Batching, sink: Sink) -> None:
    async with running() as tasks:
        step = batch(tasks, "count: 2, within: 1h").step()
        sink.gate.clear()
        for n in range(6):
            step(n)
        await turn()
        assert sink.batches == [[0, 1]]
        sink.gate.set()
        await turn()

        assert sink.batches == [[0, 1], [2, 3], [4, 5]]


async def test_a_batch_that_fails_is_logged_and_the_next_one_is_sent(
    batch: Batching, sink: Sink
) -> None:
    sink.error = ValueError("no")

    with capture_logs() as logs:
        async with running() as tasks:
            step = batch(tasks, "count: 2").step()
            step(1)
            step(2)
            await turn()
            sink.error = None
            step(3)

    assert logs == [
        {
            "event": "batch failed",
            "log_level": "error",
            "pipeline": "a",
            "items": 2,
            "exc_info": True,
        }
    ]
    assert sink.batches == [[1, 2], [3]]


async def test_only_so_many_are_pending(batch: Batching, sink: Sink) -> None:
    async with running() as tasks:
        step = batch(tasks, "count: 2, max_pending: 3").step()
        sink.gate.clear()
        for n in range(3):
            step(n)
        await turn()
        with pytest.raises(QueueFull) as raised:
            step(3)
        sink.gate.set()
        await turn()
        step(4)

    assert str(raised.value) == "3 inputs are collected or being sent already"
    assert [n for each in sink.batches for n in each] == [0, 1, 2, 4]


async def test_a_full_background_refuses_the_input(batch: Batching, sink: Sink) -> None:
    gate = asyncio.Event()
    async with running(max_tasks=1) as tasks:
        made = batch(tasks, "count: 2")
        step = made.step()
        tasks.start(gate.wait, "other")
        with pytest.raises(QueueFull):
            step(1)
        gate.set()
        await turn()
        step(2)
        assert made._pending == 1

    assert sink.batches == [[2]]


async def test_a_baton_may_wait_for_its_batch(batch: Batching) -> None:
    def total(numbers: list[int]) -> Any:
        return {"sum": sum(numbers)}

    async with running() as tasks:
        made = batch(tasks, "count: 3, wait_for: batch, within: 1h", total)
        callers = await begin(made, 1, 2, 3)
        results = [await each for each in callers]

    assert results == [{"sum": 6}] * 3
    assert len({id(each) for each in results}) == 3


async def test_a_baton_may_wait_for_its_own_item(batch: Batching) -> None:
    async with running() as tasks:
        made = batch(tasks, "count: 3, wait_for: item, input_path: n, output_path: m, within: 1h")
        callers = await begin(made, *({"n": n} for n in range(6)))

        assert [await each for each in callers] == [{"n": n, "m": -n} for n in range(6)]


@pytest.mark.parametrize(
    ("result", "got"),
    [([1], "one of 1"), ([1, 2, 3], "one of 3"), ("ab", "str"), (None, "NoneType")],
)
async def test_each_baton_needs_an_item(batch: Batching, result: Any, got: str) -> None:
    async with running() as tasks:
        made = batch(tasks, "count: 2, wait_for: item", lambda _: result)
        callers = await begin(made, 1, 2)
        outcomes = await asyncio.gather(*callers, return_exceptions=True)

    assert [type(each) for each in outcomes] == [BatonError, BatonError]
    assert {str(each) for each in outcomes} == {
        f"expected a list of 2 items for a batch of 2, got {got}"
    }


@pytest.mark.parametrize("mode", ["batch", "item"])
async def test_an_error_goes_to_every_baton_of_its_batch(
    batch: Batching, sink: Sink, mode: str
) -> None:
    sink.error = ValueError("no")

    with capture_logs() as logs:
        async with running() as tasks:
            made = batch(tasks, f"count: 2, wait_for: {mode}")
            callers = await begin(made, 1, 2)
            sink.error = None
            callers += await begin(made, 3, 4)
            outcomes = await asyncio.gather(*callers, return_exceptions=True)

    assert [str(each) for each in outcomes[:2]] == ["no", "no"]
    assert not any(isinstance(each, Exception) for each in outcomes[2:])
    assert logs == []


async def test_a_cancelled_baton_is_left_out(batch: Batching, sink: Sink, clock: Clock) -> None:
    async with running() as tasks:
        callers = await begin(made := batch(tasks, "within: 5s, wait_for: item"), *range(1, 4))
        callers[1].cancel()
        await clock.advance(5.1)

        assert [await callers[0], await callers[2]] == [-1, -3]
        assert sink.batches == [[1, 3]]
        assert made._pending == 0


async def test_a_baton_that_is_cancelled_late_does_not_disturb_the_others(
    batch: Batching, sink: Sink
) -> None:
    sink.gate.clear()

    async with running() as tasks:
        callers = await begin(batch(tasks, "count: 3, wait_for: item"), 1, 2, 3)
        callers[0].cancel()
        await turn()
        sink.gate.set()

        assert [await callers[1], await callers[2]] == [-2, -3]
        assert callers[0].cancelled()
        assert sink.batches == [[1, 2, 3]]


async def test_a_batch_of_which_all_are_cancelled_is_not_sent(
    batch: Batching, sink: Sink, clock: Clock
) -> None:
    async with running() as tasks:
        made = batch(tasks, "within: 5s, wait_for: batch")
        for caller in await begin(made, 1, 2, 3):
            caller.cancel()
        await clock.advance(5.1)

        assert sink.batches == []
        assert made._pending == 0


async def test_a_pipeline_cannot_wait_for_a_batch_after_its_own(batch: Batching) -> None:
    steps: list[Any] = []

    async def again(numbers: list[int]) -> Any:
        return await steps[0](numbers[0] + 1)

    async with running() as tasks:
        made = batch(tasks, "count: 1, wait_for: batch", again)
        steps.append(made.step())
        [caller] = await begin(made, 1)
        with pytest.raises(PipelineError) as raised:
            await caller

    assert str(raised.value) == "the pipeline of a batch waits for one that comes after it"


async def test_a_batch_goes_on_when_the_background_is_there_again(
    batch: Batching, sink: Sink
) -> None:
    async with running() as tasks:
        made = batch(tasks, "within: 1h")
        made.step()(1)
    async with running() as tasks:
        made._background.resource.ready(tasks)
        made.step()(2)
        made.step()(3)

    assert sink.batches == [[1], [2, 3]]


async def test_many_batons_get_their_own_items(batch: Batching, sink: Sink, clock: Clock) -> None:
    async with running() as tasks:
        made = batch(tasks, "count: 7, within: 1s, wait_for: item")
        callers: list[asyncio.Task[Any]] = []
        for start in range(0, 300, 30):
            callers += await begin(made, *range(start, start + 30))
            callers[start + 29].cancel()  # it still waits for its batch to be full
            await clock.advance(1.1)
        outcomes = await asyncio.gather(*callers, return_exceptions=True)

        assert made._pending == 0
    given = [each for each in outcomes if not isinstance(each, asyncio.CancelledError)]
    assert given == [-n for n in range(300) if n % 30 != 29]
    assert max(map(len, sink.batches)) == 7


async def test_a_step_is_async_if_its_baton_waits(batch: Batching) -> None:
    async with running() as tasks:
        waits = [
            batch(tasks, f"wait_for: {mode}").is_async for mode in ("nothing", "batch", "item")
        ]

    assert waits == [False, True, True]


def test_batch_knows_its_bounds(problems: Problems) -> None:
    assert problems("batch: {pipeline: a, count: 0}") == ["expected int >= 1, got 0"]
    assert problems("batch: {pipeline: a, count: 9, max_pending: 8}") == [
        "expected at least the 9 of 'count', got 8"
    ]
    assert problems("batch: {pipeline: a, bytes: big}") == [
        "expected a size such as 64KiB or 1MiB, got 'big'"
    ]
