from __future__ import annotations

import asyncio
from typing import Any

import pytest
from structlog.testing import capture_logs

from piped.errors import BatonError, DeadlineExceeded, QueueFull, Throttled
from tests.conftest import Clock, turn
from tests.processors.conftest import FakePipeline, Make, Problems, Run

pytestmark = pytest.mark.anyio

WAIT = "throttle: {rate: 1, per: 10s, when_over: wait"


@pytest.fixture
def anyio_backend(movable_loop: tuple[str, dict[str, Any]]) -> tuple[str, dict[str, Any]]:
    return movable_loop


def over(step: Any, baton: Any = None) -> Throttled:
    with pytest.raises(Throttled) as raised:
        step(baton)
    return raised.value


class Passed:
    """Sends batons through one processor at the same time, and keeps those that have passed."""

    def __init__(self, made: Any) -> None:
        self.step = made.step()
        self.batons: list[Any] = []

    async def begin(self, *batons: Any) -> list[asyncio.Task[Any]]:
        tasks = [asyncio.create_task(self.send(baton)) for baton in batons]
        await turn()
        return tasks

    async def send(self, baton: Any) -> Any:
        result = await self.step(baton)
        self.batons.append(baton)
        return result


async def test_throttle_lets_a_burst_pass_and_then_the_rate(make: Make, clock: Clock) -> None:
    step = make("throttle: {rate: 2, per: 10s, burst: 3}").step()
    baton = {"n": 1}

    assert [step(baton) is baton for _ in range(3)] == [True, True, True]
    error = over(step)
    assert str(error) == "more than 2 in 10s"
    assert 4.9 < error.retry_after_s <= 5
    await clock.advance(error.retry_after_s)
    step(baton)
    over(step)
    await clock.advance(1000)
    assert [step(n) for n in range(3)] == [0, 1, 2]
    over(step)


@pytest.mark.parametrize(("rate", "burst"), [("3", 3), ("2.5", 3), ("0.5", 1)])
async def test_a_burst_is_the_rate_rounded_up(make: Make, rate: str, burst: int) -> None:
    step = make(f"throttle: {{rate: {rate}, per: 1h}}").step()

    for _ in range(burst):
        step({})

    over(step)


async def test_what_is_refused_does_not_count(make: Make, clock: Clock) -> None:
    step = make("throttle: {rate: 1, per: 10s}").step()
    step({})

    for _ in range(9):
        await clock.advance(1.1)
        over(step)

    await clock.advance(0.2)
    assert step(7) == 7


async def test_no_time_sees_more_than_the_burst_and_the_rate(make: Make, clock: Clock) -> None:
    step = make("throttle: {rate: 10, per: 1s, burst: 5}").step()
    passed = 0

    for _ in range(1000):
        try:
            passed += step(1)
        except Throttled:
            await clock.advance(0.01, turns=0)

    assert 5 <= passed <= 5 + 10 * 10 + 1


async def test_each_key_has_its_own_rate(make: Make) -> None:
    step = make("throttle: {rate: 1, per: 1h, key_path: client.ip}").step()

    for ip in "abc":
        step({"client": {"ip": ip}})

    for ip in "abc":
        over(step, {"client": {"ip": ip}})


async def test_keys_that_were_not_used_for_long_are_forgotten(make: Make, clock: Clock) -> None:
    made = make("throttle: {rate: 2, per: 1h, key_path: k, max_keys: 2}")
    step = made.step()

    with capture_logs() as logs:
        for key in "abac":  # b is forgotten
            step({"k": key})
        over(step, {"k": "a"})
        step({"k": "b"})  # c is forgotten
        step({"k": "b"})
        step({"k": "d"})  # a is forgotten
        await clock.advance(60)

    event = {
        "event": "throttled keys forgotten",
        "log_level": "warning",
        "pipeline": "web.compute",
        "max_keys": 2,
    }
    assert logs == [event | {"count": 1}, event | {"count": 2}]
    assert len(made._buckets) == 2


async def test_a_key_that_has_its_whole_burst_is_forgotten_silently(
    make: Make, clock: Clock
) -> None:
    step = make("throttle: {rate: 1, per: 1s, key_path: k, max_keys: 1}").step()

    with capture_logs() as logs:
        step({"k": "a"})
        await clock.advance(1.1)
        step({"k": "b"})

    assert logs == []


@pytest.mark.parametrize(
    ("baton", "text"),
    [
        ({}, "expected a key at 'k', got nothing"),
        ({"k": object()}, "expected a key of plain values, got object"),
    ],
)
def test_throttle_needs_a_key_that_can_be_compared(run: Run, baton: Any, text: str) -> None:
    with pytest.raises(BatonError) as raised:
        run("throttle: {rate: 1, key_path: k}", baton)

    assert str(raised.value) == text


async def test_batons_may_wait_in_order(make: Make, clock: Clock) -> None:
    passed = Passed(make(f"{WAIT}}}"))

    await passed.begin(0, 1, 2, 3)

    for count in (1, 2, 3, 4):
        assert passed.batons == [*range(count)]
        await clock.advance(9.9)
        assert passed.batons == [*range(count)]
        await clock.advance(0.101)


async def test_who_comes_later_waits_behind_the_others(make: Make, clock: Clock) -> None:
    passed = Passed(make(f"{WAIT}}}"))
    await passed.begin("first", "second")

    asyncio.get_running_loop().advance(10.001)  # type: ignore[attr-defined] # it is a MovableLoop
    await passed.begin("third")

    assert passed.batons == ["first", "second"]
    await clock.advance(10.001)
    assert passed.batons == ["first", "second", "third"]


async def test_who_is_cancelled_takes_no_turn(make: Make, clock: Clock) -> None:
    passed = Passed(make(f"{WAIT}}}"))
    tasks = await passed.begin(*range(5))

    tasks[1].cancel()  # the one that is next
    tasks[3].cancel()
    await turn()

    await clock.advance(10.001)
    assert passed.batons == [0, 2]
    await clock.advance(10.001)
    assert passed.batons == [0, 2, 4]


async def test_only_so_many_wait(make: Make, clock: Clock) -> None:
    made = make(f"{WAIT}, max_waiting: 2}}")
    passed = Passed(made)
    tasks = await passed.begin(*range(3))

    with pytest.raises(Throttled) as raised:
        await passed.send(3)

    assert 29.9 < raised.value.retry_after_s <= 30
    tasks[2].cancel()
    await turn()
    await passed.begin(4)
    await clock.advance(10.001)
    await clock.advance(10.001)
    assert passed.batons == [0, 1, 4]
    assert made._waiting == 0


async def test_a_key_for_which_batons_wait_is_not_forgotten(make: Make, clock: Clock) -> None:
    made = make(f"{WAIT}, key_path: k, max_keys: 1}}")
    passed = Passed(made)

    await passed.begin(*({"k": key} for key in "aab"))
    assert [*made._buckets] == ["a", "b"]
    await clock.advance(10.001)
    await passed.begin({"k": "c"})

    assert [each["k"] for each in passed.batons] == ["a", "b", "a", "c"]
    assert [*made._buckets] == ["c"]


async def test_waiting_is_quick_where_the_rate_is_high(make: Make) -> None:
    passed = Passed(make("throttle: {rate: 1000000, when_over: wait, burst: 1}"))

    tasks = await passed.begin(*range(100))
    await asyncio.wait(tasks)

    assert passed.batons == [*range(100)]


@pytest.mark.parametrize(
    ("parameters", "problem"),
    [
        ("rate: 0", "expected int or float >= 0.001, got 0"),
        ("rate: .inf", "expected int or float <= 1e+09, got inf"),
        ("rate: .nan", "expected int or float >= 0.001, got nan"),
        ("rate: true", "expected int or float, got True"),
        ("rate: 1, per: 0", "expected duration > 0, got 0"),
        ("rate: 1, burst: 0", "expected int >= 1, got 0"),
        ("rate: 1, when_over: drop", "expected 'fail' or 'wait', got 'drop'"),
    ],
)
def test_throttle_knows_its_bounds(problems: Problems, parameters: str, problem: str) -> None:
    assert problems(f"throttle: {{{parameters}}}") == [problem]


class Room:
    """A pipeline in which batons stay until they are let out, or all are."""

    def __init__(self) -> None:
        self.inside: list[Any] = []
        self.most = 0
        self.gates: dict[Any, asyncio.Event] = {}
        self.errors: dict[Any, BaseException] = {}

    async def __call__(self, baton: Any) -> Any:
        self.inside.append(baton)
        self.most = max(self.most, len(self.inside))
        self.gates[baton] = asyncio.Event()
        try:
            await self.gates[baton].wait()
            if baton in self.errors:
                raise self.errors[baton]
            return -baton
        finally:
            self.inside.remove(baton)

    async def let_out(self, *batons: Any) -> None:
        for baton in batons:
            self.gates[baton].set()
        await turn()

    def pipeline(self) -> Any:
        made = FakePipeline(self)
        made.is_async = True
        return made


@pytest.fixture
def room() -> Room:
    return Room()


def limited(make: Make, room: Room, parameters: str) -> Passed:
    text = f"limit-concurrency: {{pipeline: a, {parameters}}}"
    return Passed(make(text, **{"pipeline.a": room.pipeline()}))


async def test_so_many_are_in_the_pipeline_and_others_wait_in_order(make: Make, room: Room) -> None:
    passed = limited(make, room, "limit: 2")

    tasks = await passed.begin(*range(5))

    assert room.inside == [0, 1]
    await room.let_out(1)
    assert room.inside == [0, 2]
    await room.let_out(0, 2)
    assert room.inside == [3, 4]
    await room.let_out(3, 4)
    assert [await task for task in tasks] == [0, -1, -2, -3, -4]
    assert room.most == 2


async def test_a_place_is_left_by_who_fails_or_is_cancelled(make: Make, room: Room) -> None:
    passed = limited(make, room, "limit: 1")
    tasks = await passed.begin(*range(3))

    room.errors[0] = ValueError("no")
    await room.let_out(0)
    assert room.inside == [1]
    tasks[1].cancel()
    await turn()

    assert room.inside == [2]
    await room.let_out(2)
    assert await tasks[2] == -2
    with pytest.raises(ValueError, match="no"):
        await tasks[0]


async def test_cancelled_waiters_leave_no_hole(make: Make, room: Room) -> None:
    passed = limited(make, room, "limit: 1, max_waiting: 3")
    tasks = await passed.begin(*range(4))

    tasks[1].cancel()
    tasks[2].cancel()
    await turn()
    more = await passed.begin(4, 5)
    await room.let_out(0)
    await room.let_out(3)
    await room.let_out(4)
    await room.let_out(5)

    assert passed.batons == [0, 3, 4, 5]
    assert all(task.done() for task in [*tasks, *more])


async def test_a_waiter_that_is_cancelled_as_it_gets_a_place_gives_it_on(
    make: Make, room: Room
) -> None:
    made = make("limit-concurrency: {pipeline: a, limit: 1}", **{"pipeline.a": room.pipeline()})
    passed = Passed(made)
    await made._enter()
    tasks = await passed.begin(1, 2)

    made._leave()
    tasks[0].cancel()
    await turn()

    assert room.inside == [2]
    await room.let_out(2)
    assert await tasks[1] == -2
    assert made._taken == 0


async def test_the_place_of_all_is_free_in_the_end(make: Make, room: Room) -> None:
    made = make("limit-concurrency: {pipeline: a, limit: 3}", **{"pipeline.a": room.pipeline()})
    passed = Passed(made)
    tasks = await passed.begin(*range(60))

    for turn_ in range(200):
        for task in tasks[turn_ % 7 :: 7]:
            if turn_ % 3 == 0 and task not in tasks[::2]:
                task.cancel()
        await room.let_out(*room.inside)

    assert room.most == 3
    assert passed.batons[0] == 0
    assert passed.batons == sorted(passed.batons)
    assert all(task.done() for task in tasks)
    assert made._taken == 0
    assert not made._waiting


async def test_more_than_so_many_do_not_wait(make: Make, room: Room) -> None:
    passed = limited(make, room, "limit: 2, max_waiting: 1")
    await passed.begin(*range(3))

    with pytest.raises(QueueFull) as raised:
        await passed.send(3)

    assert str(raised.value) == "2 are under way and 1 wait already"
    await room.let_out(0)
    await room.let_out(1, 2)


async def test_nobody_waits_longer_than_he_wants(make: Make, room: Room, clock: Clock) -> None:
    passed = limited(make, room, "limit: 1, wait: 5s")
    tasks = await passed.begin(0, 1)
    await clock.advance(3)
    tasks += await passed.begin(2)

    await clock.advance(2.1)
    await room.let_out(0)

    with pytest.raises(DeadlineExceeded) as raised:
        await tasks[1]
    assert str(raised.value) == "waited 5s for one of 1 places"
    assert room.inside == [2]
    await room.let_out(2)
    assert await tasks[2] == -2


async def test_a_baton_that_comes_back_has_its_place(make: Make) -> None:
    steps: list[Any] = []

    async def again(n: int) -> Any:
        await asyncio.sleep(0)
        return await steps[0](n - 1) if n else "done"

    made = make("limit-concurrency: {pipeline: a, limit: 1}", **{"pipeline.a": again})
    steps.append(made.step())

    assert await steps[0](5) == "done"
    assert made._taken == 0


def test_what_awaits_nothing_is_never_in_use_twice(make: Make) -> None:
    made = make("limit-concurrency: {pipeline: a, limit: 1}", **{"pipeline.a": lambda n: n + 1})

    assert not made.is_async
    assert made.step()(1) == 2


def test_limit_concurrency_says_which_pipeline_it_certainly_calls(make: Make) -> None:
    assert make("limit-concurrency: {pipeline: a}").certain_calls == ("a",)
    assert make("limit-concurrency: {pipeline: a, input_path: n}").certain_calls == ()
