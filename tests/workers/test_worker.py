"""What a worker does with the parts that a front, which the test plays, sends it."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from typing import Any, TypeVar

import pytest

from piped.resources import Resource
from piped.spec import PipelineName
from piped.workers.crossing import Crossing
from piped.workers.failures import error_in
from piped.workers.frames import Answer, Back, Beat, Cancel, Go, Started, ToFront, Work
from piped.workers.worker import Worker, idempotency_key
from tests.conftest import turn

pytestmark = pytest.mark.anyio

F = TypeVar("F")
_numbers = itertools.count()


class Pipeline:
    """A pipeline that is a function, or waits for its gate."""

    def __init__(self, do: Callable[[Any], Any], *, is_async: bool = False) -> None:
        self._do = do
        self.is_async = is_async
        self.gate = asyncio.Event()
        self.runs = 0

    def now(self, value: Any) -> list[Any]:
        self.runs += 1
        return [self._do(value)]

    async def __call__(self, value: Any) -> list[Any]:
        self.runs += 1
        await self.gate.wait()
        return [self._do(value)]


class Front:
    """Plays the front of one worker."""

    def __init__(self, group: asyncio.TaskGroup) -> None:
        self.said: list[ToFront] = []
        self.beaten = asyncio.Event()
        self.flushed: list[list[ToFront]] = []
        self.waiting = Pipeline(lambda value: value, is_async=True)
        self.double = Pipeline(lambda value: value * 2)
        self.failing = Pipeline(lambda value: 1 / value)
        self.resources = {
            name: Resource(f"pipeline.{name}") for name in ("double", "failing", "waiting")
        }
        names = {}
        for name, resource in self.resources.items():
            resource.ready(getattr(self, name))
            names[name] = PipelineName(f"pipeline.{name}", resource=resource)
        self.worker = Worker("math", names, Crossing("json"), 8, self._hear, self._flush, group)

    def _hear(self, frame: ToFront) -> None:
        self.said.append(frame)
        if isinstance(frame, Beat):
            self.beaten.set()

    def _flush(self) -> None:
        self.flushed.append(list(self.said))

    def give(
        self, pipeline: str, payload: str = "4", *, left_s: float = 5.0, must_ask: bool = False
    ) -> Work:
        id_ = next(_numbers).to_bytes(16, "big")
        work = Work(id_, 1, pipeline, payload.encode(), left_s, must_ask, "the key")
        self.worker.receive(work)
        return work

    def all(self, kind: type[F]) -> list[F]:
        return [each for each in self.said if isinstance(each, kind)]

    def answers(self) -> list[tuple[bytes, bool, bytes]]:
        return [(each.id, each.is_good, each.payload) for each in self.all(Answer)]


@pytest.fixture
async def front(anyio_backend: Any) -> AsyncIterator[Front]:
    async with asyncio.TaskGroup() as group:
        found = Front(group)
        yield found
        found.worker.close()


async def test_a_part_is_said_to_run_and_then_answered(front: Front) -> None:
    work = front.give("double")
    await turn()

    assert front.all(Started) == [Started(((work.id, 1),))]
    assert front.answers() == [(work.id, True, b"[8]")]
    assert front.worker.held == 0


async def test_that_a_part_runs_is_sent_before_it_runs(front: Front) -> None:
    sent_before: list[ToFront] = []
    front.double._do = lambda _value: sent_before.extend(front.flushed[-1])

    work = front.give("double")
    await turn()

    assert sent_before == [Started(((work.id, 1),))]


async def test_that_a_part_runs_is_sent_before_its_task_goes_on(front: Front) -> None:
    came: list[str] = []
    hear = front.worker._send

    def send(frame: ToFront) -> None:  # as a link does: in the next turn
        hear(frame)
        asyncio.get_running_loop().call_soon(came.append, type(frame).__name__)

    front.worker._send = send
    front.waiting.gate.set()
    front.waiting._do = lambda _value: came.append("run")

    front.give("waiting")
    await turn()

    assert came == ["Started", "run", "Answer"]


async def test_a_part_that_waits_leaves_room_for_others(front: Front) -> None:
    slow, fast = front.give("waiting", "1"), front.give("double", "2")
    await turn()
    front.waiting.gate.set()
    await turn()

    assert front.answers() == [(fast.id, True, b"[4]"), (slow.id, True, b"[1]")]


async def test_a_failure_is_an_answer(front: Front) -> None:
    front.give("failing", "0")
    await turn()

    [answer] = front.all(Answer)
    error = error_in(answer.payload, "math-1")
    assert not answer.is_good
    assert isinstance(error, ZeroDivisionError)
    assert str(error) == "division by zero"


@pytest.mark.parametrize("pipeline", ["unknown", "__class__", ""])
async def test_what_the_pool_does_not_serve_is_refused(front: Front, pipeline: str) -> None:
    front.give(pipeline)
    await turn()

    [answer] = front.all(Answer)
    assert str(error_in(answer.payload, "w")) == f"pool 'math' does not serve '{pipeline}'"


async def test_a_baton_that_cannot_be_read_is_a_failure(front: Front) -> None:
    front.give("double", "{")
    await turn()

    [answer] = front.all(Answer)
    assert str(error_in(answer.payload, "w")).startswith("not JSON: ")


async def test_a_part_that_must_ask_waits_for_the_word(front: Front) -> None:
    work = front.give("double", must_ask=True)
    await turn()
    before = front.double.runs

    front.worker.receive(Go(work.id, 1))
    front.worker.receive(Go(work.id, 1))
    await turn()

    assert (before, front.double.runs) == (0, 1)
    assert front.all(Started) == [Started(((work.id, 1),))]


async def test_of_parts_that_must_ask_one_is_asked_for_at_a_time(front: Front) -> None:
    one, two = front.give("double", must_ask=True), front.give("double", must_ask=True)
    await turn()
    asked = front.all(Started)
    front.worker.receive(Go(one.id, 1))
    await turn()

    assert asked == [Started(((one.id, 1),))]
    assert front.all(Started) == [Started(((one.id, 1),)), Started(((two.id, 1),))]


async def test_a_part_that_is_refused_makes_way_for_the_next(front: Front) -> None:
    one, two = front.give("double", must_ask=True), front.give("double", must_ask=True)

    front.worker.receive(Cancel(one.id, 1))
    await turn()

    assert front.all(Started)[-1] == Started(((two.id, 1),))
    assert front.all(Back) == [Back(one.id, 1, 8)]


async def test_a_cancelled_part_is_given_back(front: Front) -> None:
    work = front.give("waiting")
    await turn()

    front.worker.receive(Cancel(work.id, 1))
    await turn()

    assert front.all(Back) == [Back(work.id, 1, 8)]
    assert front.worker.held == 0


async def test_a_part_that_is_not_here_is_given_back_when_it_is_cancelled(front: Front) -> None:
    front.worker.receive(Cancel(b"?" * 16, 2))

    assert front.said == [Back(b"?" * 16, 2, 8)]


async def test_a_part_that_is_cancelled_before_it_begins_is_given_back_once(front: Front) -> None:
    work = front.give("waiting")
    front.worker.receive(Cancel(work.id, 1))
    await turn()

    assert front.all(Back) == [Back(work.id, 1, 8)]
    assert (front.waiting.runs, front.worker.held) == (0, 0)


async def test_what_is_past_its_deadline_is_not_run(front: Front) -> None:
    work = front.give("double", left_s=-1)
    await turn()

    assert front.double.runs == 0
    assert [each.id for each in front.all(Back)] == [work.id]


async def test_a_part_that_waits_ends_with_its_deadline(front: Front) -> None:
    front.give("waiting", left_s=0.01)
    async with asyncio.timeout(5):
        await front.worker.finished()
    await turn()

    [answer] = front.all(Answer)
    error = error_in(answer.payload, "w")
    assert f"{type(error).__name__}: {error}" == ("DeadlineExceeded: 'waiting' did not end in time")


async def test_what_is_not_there_is_given_back_and_no_more_is_taken(front: Front) -> None:
    front.resources["double"].lost("its peer is away")

    work = front.give("double")

    assert front.all(Back) == [Back(work.id, 1, 0)]
    assert front.worker.capacity == 0


async def test_a_part_knows_its_key_and_others_know_none(front: Front) -> None:
    keys = []
    front.double._do = lambda _value: keys.append(idempotency_key.get())

    front.give("double")
    await turn()

    assert keys == ["the key"]
    assert idempotency_key.get() == ""


async def test_the_same_part_twice_is_run_once(front: Front) -> None:
    work = front.give("waiting")

    front.worker.receive(work)
    front.waiting.gate.set()
    await turn()

    assert front.waiting.runs == 1


async def test_beats_name_the_parts(front: Front) -> None:
    work = front.give("waiting")
    front.worker.lease_s = 0.04
    front.worker.start()
    async with asyncio.timeout(5):
        await front.beaten.wait()

    assert front.all(Beat)[0] == Beat(((work.id, 1),), 8)


async def test_results_that_cannot_cross_are_a_failure(front: Front) -> None:
    front.double._do = lambda _value: {"a": [1, {2, 3}]}

    front.give("double")
    await turn()

    [answer] = front.all(Answer)
    error = error_in(answer.payload, "w")
    assert str(error).endswith("cannot cross to a worker: 0.a.1: expected plain data, got set")
