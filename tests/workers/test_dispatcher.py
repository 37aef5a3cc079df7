"""The rules of a pool, with workers that the test plays itself and a clock that it moves."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

import pytest

from piped.errors import DeadlineExceeded, QueueFull, Unavailable
from piped.workers.dispatcher import Dispatcher
from piped.workers.errors import AttemptsUsed, NoWorkers, PartSetAside
from piped.workers.frames import (
    SPOKEN,
    Answer,
    Back,
    Beat,
    Cancel,
    Died,
    Drain,
    Drained,
    Go,
    Hello,
    Refusal,
    Started,
    ToWorker,
    Welcome,
    Who,
    Work,
)
from piped.workers.parts import Gathered, Part
from piped.workers.slate import Slate
from tests.conftest import Clock, turn

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("clock")]

F = TypeVar("F")


@pytest.fixture
def anyio_backend(movable_loop: tuple[str, dict[str, Any]]) -> tuple[str, dict[str, Any]]:
    return movable_loop


@dataclass
class Rules:
    deadline: float = 2.0
    lease: float = 0.5
    attempts: int = 3
    max_pending: int = 100
    max_pending_bytes: int = 1000
    when_empty: str = "wait"
    format: str = "json"


class Wire:
    """Keeps the frames for each worker, and knows who is there."""

    def __init__(self) -> None:
        self.sent: dict[bytes, list[ToWorker]] = {}
        self.gone: set[bytes] = set()

    def send(self, address: bytes, frame: ToWorker) -> None:
        if address not in self.gone:
            self.sent.setdefault(address, []).append(frame)

    def all(self, address: bytes, kind: type[F]) -> list[F]:
        return [each for each in self.sent.get(address, []) if isinstance(each, kind)]


class Pool:
    """A dispatcher, and the workers that a test plays."""

    def __init__(self, **rules: Any) -> None:
        self.wire = Wire()
        self.aside: list[Part] = []
        self.dispatcher = Dispatcher(
            "math",
            Rules(**rules),
            self.wire,
            _take_results,
            lambda part, _error: self.aside.append(part),
        )
        self.counters = self.dispatcher.counters

    def hello(self, name: bytes, capacity: int = 1, **more: Any) -> bytes:
        hello = Hello(SPOKEN, "math", name.decode(), capacity=capacity, **more)
        self.dispatcher.receive(name, hello)
        return name

    def submit(self, text: str = "x", deadline_s: float = 2.0) -> asyncio.Future[list[Any]]:
        return self.dispatcher.submit("sum", text.encode(), deadline_s)

    def together(self, *texts: str) -> Gathered:
        return self.dispatcher.submit_all([("sum", each.encode()) for each in texts], 2.0)

    def work(self, worker: bytes) -> list[Work]:
        return self.wire.all(worker, Work)

    def start(self, worker: bytes, work: Work) -> None:
        self.dispatcher.receive(worker, Started(((work.id, work.attempt),)))

    def beat(self, worker: bytes, *works: Work) -> None:
        self.dispatcher.receive(worker, Beat(tuple((each.id, each.attempt) for each in works)))

    def answer(
        self, worker: bytes, work: Work, text: str = "y", *, is_good: bool = True, capacity: int = 1
    ) -> None:
        answer = Answer(work.id, work.attempt, is_good, text.encode(), capacity)
        self.dispatcher.receive(worker, answer)

    def die(self, worker: bytes) -> None:
        self.wire.gone.add(worker)
        self.dispatcher.lost(worker, "its connection has ended")


def _take_results(answer: Answer, worker: str) -> list[Any]:
    if not answer.is_good:
        raise ValueError(f"{worker}: {answer.payload.decode()}")
    return [answer.payload.decode()]


Slates: TypeAlias = Callable[[bytes], Slate]


@pytest.fixture
def slates() -> Iterator[Slates]:
    """Make the slates of workers that the test plays."""
    made: list[Slate] = []

    def make(owner: bytes) -> Slate:
        made.append(Slate(owner))
        return made[-1]

    yield make
    for each in made:
        each.close()


async def failure(future: asyncio.Future[list[Any]]) -> str:
    await turn()
    assert future.done()
    error = future.exception()
    return f"{type(error).__name__}: {error}"


async def test_a_part_goes_to_a_worker_and_its_answer_to_the_caller() -> None:
    pool = Pool()
    worker = pool.hello(b"one")

    future = pool.submit("x")
    [work] = pool.work(worker)
    pool.answer(worker, work, "y")

    assert (work.pipeline, work.payload, work.attempt) == ("sum", b"x", 1)
    assert await future == ["y"]
    assert (pool.counters.submitted, pool.counters.answered) == (1, 1)
    assert (pool.dispatcher.pending, pool.dispatcher.pending_bytes) == (0, 0)


async def test_a_worker_gets_no_more_than_it_can_do() -> None:
    pool = Pool()
    worker = pool.hello(b"one", capacity=2)

    futures = [pool.submit(str(i)) for i in range(5)]
    before = len(pool.work(worker))
    pool.answer(worker, pool.work(worker)[0], capacity=2)

    assert before == 2
    assert len(pool.work(worker)) == 3
    assert (pool.dispatcher.in_flight, pool.dispatcher.depth) == (2, 2)
    assert futures[0].done()


async def test_parts_are_spread_over_the_workers_in_turn() -> None:
    pool = Pool()
    one, two = pool.hello(b"one", capacity=9), pool.hello(b"two", capacity=9)

    for _ in range(6):
        pool.submit()

    assert (len(pool.work(one)), len(pool.work(two))) == (3, 3)


async def test_parts_wait_for_the_first_worker() -> None:
    pool = Pool()

    future = pool.submit()
    worker = pool.hello(b"one")
    pool.answer(worker, pool.work(worker)[0])

    assert await future == ["y"]


async def test_the_part_of_a_dead_worker_goes_first_to_another_one() -> None:
    pool = Pool()
    one = pool.hello(b"one")
    lost = pool.submit("lost")
    pool.submit("later")
    pool.die(one)

    two = pool.hello(b"two")

    [work] = pool.work(two)
    assert (work.payload, work.attempt, work.must_ask) == (b"lost", 2, True)
    pool.answer(two, work)
    assert await lost == ["y"]
    assert pool.counters.redelivered == 1


async def test_a_key_stays_the_same_in_each_attempt() -> None:
    pool = Pool()
    one = pool.hello(b"one")
    pool.submit()
    first = pool.work(one)[0]
    pool.die(one)

    two = pool.hello(b"two")

    assert pool.work(two)[0].key == first.key == first.id.hex()


async def test_a_part_whose_lease_has_ended_goes_to_another_worker(clock: Clock) -> None:
    pool = Pool()
    one = pool.hello(b"one")
    future = pool.submit()
    pool.start(one, pool.work(one)[0])
    two = pool.hello(b"two")

    await _pass(clock, 0.6)

    [work] = pool.work(two)
    pool.answer(two, work)
    assert await future == ["y"]


async def test_beats_keep_a_lease(clock: Clock) -> None:
    pool = Pool()
    one, two = pool.hello(b"one"), b"two"
    pool.submit()
    [work] = pool.work(one)
    pool.start(one, work)
    pool.hello(two)

    for _ in range(12):
        await _pass(clock, 0.125)
        pool.beat(one, work)

    assert pool.work(two) == []


async def test_the_first_answer_of_any_holder_wins_and_others_are_counted(clock: Clock) -> None:
    pool = Pool()
    one = pool.hello(b"one")
    future = pool.submit()
    [first] = pool.work(one)
    pool.start(one, first)
    two = pool.hello(b"two")
    await _pass(clock, 0.6)
    [second] = pool.work(two)

    pool.answer(one, first, "of the first")
    pool.answer(two, second, "of the second")
    pool.answer(one, first, "of the first, again")

    assert await future == ["of the first"]
    assert (pool.counters.double, pool.counters.forged) == (2, 0)
    assert pool.wire.all(two, Cancel) == [Cancel(second.id, 2)]


async def test_an_answer_of_one_that_never_had_the_part_is_forged() -> None:
    pool = Pool()
    one, two = pool.hello(b"one"), pool.hello(b"two")
    future = pool.submit()
    [work] = pool.work(one)

    pool.answer(two, work, "forged")
    pool.dispatcher.receive(b"nobody", Answer(work.id, 1, True, b"forged"))
    pool.dispatcher.receive(one, Answer(b"?" * 16, 1, True, b"forged"))
    pool.dispatcher.receive(one, Answer(work.id, 2, True, b"forged"))

    assert not future.done()
    assert pool.counters.forged == 4
    assert pool.wire.sent[b"nobody"] == [Who()]


async def test_an_answer_after_the_deadline_is_late(clock: Clock) -> None:
    pool = Pool()
    one = pool.hello(b"one")
    future = pool.submit(deadline_s=0.3)
    [work] = pool.work(one)
    pool.start(one, work)
    await _pass(clock, 0.4)

    pool.answer(one, work)

    assert await failure(future) == "DeadlineExceeded: pool 'math': no answer of 'sum' in time"
    assert (pool.counters.expired, pool.counters.late) == (1, 1)
    assert pool.wire.all(one, Cancel) == [Cancel(work.id, 1)]


async def test_a_worker_that_was_given_up_may_still_answer() -> None:
    pool = Pool()
    one = pool.hello(b"one")
    future = pool.submit()
    [work] = pool.work(one)
    pool.start(one, work)
    pool.die(one)
    pool.wire.gone.clear()

    pool.answer(one, work)

    assert await future == ["y"]


async def test_a_mistake_of_who_is_told_of_a_part_set_aside_stops_nothing(clock: Clock) -> None:
    def fail(_part: Part, _error: Exception) -> None:
        raise OSError("the disk is full")

    asyncio.get_running_loop().set_exception_handler(lambda _loop, _fault: None)
    pool = Pool()
    pool.dispatcher._on_set_aside = fail
    poison, later = pool.submit(), pool.submit(deadline_s=1.0)
    for name in (b"one", b"two"):
        worker = pool.hello(name)
        pool.start(worker, pool.work(worker)[0])
        with contextlib.suppress(OSError):
            pool.die(worker)

    await _pass(clock, 1.1)

    assert isinstance(poison.exception(), PartSetAside)
    assert isinstance(later.exception(), DeadlineExceeded)


async def test_a_worker_that_was_only_cut_off_has_not_died() -> None:
    pool = Pool(attempts=9)
    future = pool.submit()
    for _ in range(4):
        one = pool.hello(b"one")
        pool.start(one, pool.work(one)[-1])
        pool.dispatcher.lost(one, "its connection was reset")

    pool.hello(b"one")
    pool.answer(b"one", pool.work(b"one")[-1])

    assert await future == ["y"]
    assert pool.counters.set_aside == 0


async def test_a_part_that_has_killed_two_workers_is_set_aside() -> None:
    pool = Pool(attempts=9)
    future = pool.submit("poison")
    for name in (b"one", b"two"):
        worker = pool.hello(name)
        pool.start(worker, pool.work(worker)[0])
        pool.die(worker)

    three = pool.hello(b"three")

    assert pool.work(three) == []
    assert await failure(future) == (
        "PartSetAside: a part for 'sum' was set aside by pool 'math': 2 workers died of it"
    )
    assert pool.counters.set_aside == 1
    assert len(pool.aside) == 1


async def test_what_a_worker_has_begun_is_read_from_its_slate(slates: Slates) -> None:
    pool = Pool(attempts=9)
    future = pool.submit("poison")
    for name in (b"one", b"two"):
        slate = slates(name)
        worker = pool.hello(name, pid=os.getpid(), slate=slate.fd)
        work = pool.work(worker)[0]
        assert pool.wire.all(worker, Welcome)[0].sees_slate
        slate.write(work.id, work.attempt)
        pool.die(worker)

    assert await failure(future) == (
        "PartSetAside: a part for 'sum' was set aside by pool 'math': 2 workers died of it"
    )


async def test_what_a_worker_has_not_begun_does_not_count_though_it_has_a_slate(
    slates: Slates,
) -> None:
    pool = Pool(attempts=1)
    future = pool.submit("innocent")
    for name in (b"one", b"two", b"three"):
        slate = slates(name)
        worker = pool.hello(name, pid=os.getpid(), slate=slate.fd)
        slate.write(pool.work(worker)[0].id, 99)
        pool.die(worker)

    last = pool.hello(b"last")
    pool.answer(last, pool.work(last)[0])

    assert await future == ["y"]


async def test_slates_are_let_go_with_their_workers(slates: Slates) -> None:
    made = {name: slates(name) for name in (b"one", b"two")}
    before = len(os.listdir("/proc/self/fd"))
    pool = Pool()
    for name, slate in made.items():
        pool.hello(name, pid=os.getpid(), slate=slate.fd)
    opened = len(os.listdir("/proc/self/fd"))

    pool.die(b"one")
    pool.dispatcher.close(RuntimeError("the test is over"))

    assert opened == before + 2
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("pid", [0, -1, 2**40])
async def test_a_worker_whose_slate_cannot_be_read_is_to_say_what_it_begins(pid: int) -> None:
    pool = Pool()

    worker = pool.hello(b"one", pid=pid, slate=3)

    assert not pool.wire.all(worker, Welcome)[0].sees_slate


async def test_what_is_set_aside_keeps_its_payload_for_those_who_are_told() -> None:
    payloads: list[bytes] = []
    pool = Pool()
    pool.dispatcher._on_set_aside = lambda part, _error: payloads.append(part.payload)
    pool.submit("poison").add_done_callback(lambda each: each.exception())
    for name in (b"one", b"two"):
        worker = pool.hello(name)
        pool.start(worker, pool.work(worker)[0])
        pool.die(worker)

    assert payloads == [b"poison"]


async def test_deaths_before_a_part_has_begun_count_for_nothing() -> None:
    pool = Pool(attempts=2)
    future = pool.submit()
    for i in range(9):
        pool.die(pool.hello(f"dying {i}".encode()))

    last = pool.hello(b"last")
    pool.answer(last, pool.work(last)[0])

    assert await future == ["y"]
    assert (pool.counters.set_aside, pool.counters.redelivered) == (0, 9)


async def test_leases_that_end_before_a_part_has_begun_count_for_nothing(clock: Clock) -> None:
    pool = Pool(attempts=1)
    future = pool.submit(deadline_s=30)
    for i in range(5):
        pool.hello(f"silent {i}".encode())
        await _pass(clock, 0.6)

    last = pool.hello(b"last")
    pool.answer(last, pool.work(last)[0])

    assert await future == ["y"]


async def test_the_death_of_a_child_counts_like_that_of_a_worker() -> None:
    pool = Pool()
    workers = pool.hello(b"one"), pool.hello(b"two")
    future = pool.submit()
    for worker in workers:
        [work] = pool.work(worker)
        pool.start(worker, work)
        pool.dispatcher.receive(worker, Died(work.id, work.attempt))

    assert (await failure(future)).startswith("PartSetAside: ")
    assert pool.dispatcher.is_served


async def test_a_part_that_may_run_once_is_not_run_again() -> None:
    pool = Pool(attempts=1)
    one = pool.hello(b"one")
    future = pool.submit()
    [work] = pool.work(one)
    pool.start(one, work)
    two = pool.hello(b"two")
    pool.die(one)

    assert work.must_ask
    assert pool.wire.all(one, Go) == [Go(work.id, 1)]
    assert pool.work(two) == []
    assert await failure(future) == (
        "AttemptsUsed: pool 'math' has tried 'sum' once, and no worker came to its end"
    )


async def test_a_frozen_worker_may_answer_after_the_last_attempt(clock: Clock) -> None:
    pool = Pool(attempts=1)
    one = pool.hello(b"one")
    future = pool.submit()
    [work] = pool.work(one)
    pool.start(one, work)
    await _pass(clock, 1.0)

    pool.answer(one, work)

    assert await future == ["y"]


async def test_deadlines_and_leases_are_kept_after_a_time_without_parts(clock: Clock) -> None:
    pool = Pool(lease=0.1)
    pool.hello(b"one", capacity=2)
    await _pass(clock, 0.1)  # now it looks only once a second

    short, long = pool.submit(deadline_s=0.05), pool.submit()
    await _pass(clock, 0.2)
    two = pool.hello(b"two")

    assert await failure(short) == "DeadlineExceeded: pool 'math': no answer of 'sum' in time"
    assert [each.attempt for each in pool.work(two)] == [2]
    assert not long.done()


async def test_attempts_that_are_used_are_told_at_the_deadline(clock: Clock) -> None:
    pool = Pool(attempts=1)
    one = pool.hello(b"one")
    future = pool.submit()
    pool.start(one, pool.work(one)[0])

    await _pass(clock, 2.1)

    assert (await failure(future)).startswith("AttemptsUsed: pool 'math' has tried 'sum' once")


async def test_a_former_holder_that_asks_is_told_to_leave_it(clock: Clock) -> None:
    pool = Pool(attempts=1)
    one = pool.hello(b"one")
    pool.submit()
    [work] = pool.work(one)
    pool.hello(b"two")
    await _pass(clock, 0.6)

    pool.start(one, work)

    assert pool.wire.all(one, Go) == []
    assert Cancel(work.id, 1) in pool.wire.all(one, Cancel)


async def test_what_a_worker_gives_back_goes_to_another_one() -> None:
    pool = Pool()
    one, two = pool.hello(b"one"), b"two"
    pool.submit()
    [work] = pool.work(one)
    pool.hello(two)

    pool.dispatcher.receive(one, Back(work.id, work.attempt))

    assert [each.attempt for each in pool.work(two)] == [2]


async def test_what_the_only_worker_gives_back_goes_to_it_again() -> None:
    pool = Pool()
    one = pool.hello(b"one")
    future = pool.submit()
    [work] = pool.work(one)
    pool.start(one, work)

    pool.dispatcher.receive(one, Died(work.id, work.attempt))
    pool.answer(one, pool.work(one)[1])

    assert await future == ["y"]


async def test_what_the_only_worker_keeps_silent_about_does_not_go_to_it_again(
    clock: Clock,
) -> None:
    pool = Pool()
    one = pool.hello(b"one", capacity=5)
    pool.submit(deadline_s=60)
    [work] = pool.work(one)
    pool.start(one, work)

    await _pass(clock, 1.0)
    pool.beat(one)

    assert len(pool.work(one)) == 1


async def test_a_worker_that_drains_gets_nothing_more() -> None:
    pool = Pool()
    one = pool.hello(b"one", capacity=5)

    pool.dispatcher.receive(one, Drain())
    pool.submit()

    assert pool.wire.all(one, Drained) == [Drained()]
    assert pool.work(one) == []
    assert not pool.dispatcher.is_served


async def test_a_silent_worker_gets_nothing_until_it_is_heard_again(clock: Clock) -> None:
    pool = Pool()
    one = pool.hello(b"one", capacity=5)
    await _pass(clock, 4.5)

    future = pool.submit()
    before = pool.work(one)
    pool.beat(one)

    assert before == []
    assert len(pool.work(one)) == 1
    assert not future.done()


async def test_the_place_of_a_part_that_was_lost_on_the_way_comes_back(clock: Clock) -> None:
    pool = Pool()
    one = pool.hello(b"one")
    lost, later = pool.submit(deadline_s=60), pool.submit(deadline_s=60)
    [work] = pool.work(one)
    await _pass(clock, 0.6)

    pool.beat(one)
    asked = pool.wire.all(one, Cancel)[-1]
    pool.dispatcher.receive(one, Back(asked.id, asked.attempt))

    assert asked == Cancel(work.id, 1)
    assert len(pool.work(one)) == 2
    assert [lost.done(), later.done()] == [False, False]


async def test_what_is_run_after_its_lease_has_ended_is_not_cancelled(clock: Clock) -> None:
    pool = Pool()
    one = pool.hello(b"one")
    pool.submit(deadline_s=60)
    [work] = pool.work(one)
    pool.start(one, work)
    await _pass(clock, 0.6)

    pool.beat(one, work)

    assert pool.wire.all(one, Cancel) == []


async def test_who_has_given_a_part_back_may_say_so_again() -> None:
    pool = Pool()
    one = pool.hello(b"one", capacity=2)
    future = pool.submit()
    [first] = pool.work(one)
    pool.dispatcher.receive(one, Back(first.id, 1, 2))
    pool.dispatcher.receive(one, Back(first.id, 1, 2))

    future.cancel()

    assert pool.wire.all(one, Cancel) == [Cancel(first.id, 2)]


async def test_an_answer_to_an_earlier_attempt_ends_the_present_one_too() -> None:
    pool = Pool()
    one = pool.hello(b"one", capacity=2)
    future = pool.submit()
    [first] = pool.work(one)
    pool.dispatcher.receive(one, Back(first.id, 1, 2))

    pool.answer(one, first, capacity=2)

    assert await future == ["y"]
    assert pool.wire.all(one, Cancel) == [Cancel(first.id, 2)]


async def test_what_waits_for_another_worker_keeps_nobody_waiting() -> None:
    pool = Pool()
    one, two = pool.hello(b"one", capacity=2), pool.hello(b"two")
    pool.submit("has been with one")
    pool.submit("of two")
    [work] = pool.work(one)
    pool.dispatcher.receive(one, Back(work.id, 1, 2))

    pool.submit("new")

    assert [each.payload for each in pool.work(one)] == [b"has been with one", b"new"]
    assert [each.payload for each in pool.work(two)] == [b"of two"]


async def test_what_is_past_its_deadline_is_sent_to_nobody() -> None:
    pool = Pool()
    one = pool.hello(b"one")

    future = pool.submit(deadline_s=0)

    assert pool.work(one) == []
    assert isinstance(future.exception(), DeadlineExceeded)
    assert (pool.counters.expired, pool.dispatcher.pending) == (1, 0)


async def test_a_silent_worker_that_says_hello_again_gets_parts(clock: Clock) -> None:
    pool = Pool()
    one = pool.hello(b"one")
    await _pass(clock, 4.5)

    pool.hello(one)
    pool.submit()

    assert len(pool.work(one)) == 1


async def test_one_that_takes_parts_and_never_answers_gets_no_more(clock: Clock) -> None:
    pool = Pool()
    one = pool.hello(b"one", capacity=2)
    for _ in range(6):
        pool.submit(deadline_s=60)
    for _ in range(8):
        await _pass(clock, 0.3)
        pool.beat(one)

    assert len(pool.work(one)) == 2


async def test_retries_without_a_death_wait_for_the_budget(clock: Clock) -> None:
    pool = Pool(attempts=100)
    pool.submit(deadline_s=500).add_done_callback(lambda each: each.exception())
    for i in range(12):  # each begins, and falls silent: a lease of a living worker
        worker = pool.hello(f"worker {i}".encode())
        for work in pool.work(worker):
            pool.start(worker, work)
        await _pass(clock, 0.6)
        pool.dispatcher.lost(worker, "forgotten by the test")  # so that its credit is gone

    held = pool.counters.delayed
    await _pass(clock, 61)
    last = pool.hello(b"last")
    await _pass(clock, 0.1)

    assert held > 0
    assert len(pool.work(last)) == 1


async def test_a_full_pool_refuses() -> None:
    pool = Pool(max_pending=2)
    pool.submit()
    pool.submit()

    with pytest.raises(QueueFull) as raised:
        pool.submit()

    assert str(raised.value) == "pool 'math' is full: 2 parts (2 bytes) wait in it"
    assert pool.counters.refused == 1


async def test_a_pool_is_full_of_bytes_too() -> None:
    pool = Pool(max_pending_bytes=10)
    pool.submit("0123456789")

    with pytest.raises(QueueFull):
        pool.submit("x")


async def test_an_ended_part_makes_room(clock: Clock) -> None:
    pool = Pool(max_pending=1)
    future = pool.submit(deadline_s=0.1)
    await _pass(clock, 0.2)

    pool.submit()

    assert await failure(future) == ("NeverRan: pool 'math': 'sum' never ran: it has no worker")


async def test_an_empty_pool_may_fail_at_once() -> None:
    pool = Pool(when_empty="fail")

    with pytest.raises(NoWorkers) as raised:
        pool.submit()

    assert str(raised.value) == "pool 'math' has no worker"


async def test_a_cancelled_part_is_not_run() -> None:
    pool = Pool()
    future = pool.submit()

    future.cancel()
    await turn()
    worker = pool.hello(b"one")

    assert pool.work(worker) == []
    assert (pool.counters.cancelled, pool.dispatcher.pending) == (1, 0)


async def test_a_worker_is_told_of_a_cancelled_part_and_its_credit_comes_back() -> None:
    pool = Pool()
    one = pool.hello(b"one")
    future = pool.submit()
    [work] = pool.work(one)
    future.cancel()
    await turn()

    pool.submit()
    before = len(pool.work(one))
    pool.dispatcher.receive(one, Back(work.id, work.attempt))

    assert pool.wire.all(one, Cancel) == [Cancel(work.id, 1)]
    assert (before, len(pool.work(one))) == (1, 2)


async def test_a_failure_at_a_worker_is_raised_at_the_caller() -> None:
    pool = Pool()
    one = pool.hello(b"one")
    future = pool.submit()

    pool.answer(one, pool.work(one)[0], "no such number", is_good=False)

    with pytest.raises(ValueError, match=r"^one: no such number$"):
        await future
    assert (pool.counters.failed, pool.counters.answered) == (1, 0)


async def test_of_parts_in_a_row_the_first_that_is_not_answered_has_begun() -> None:
    pool = Pool(attempts=9)
    one = pool.hello(b"one", capacity=3)
    futures = [pool.submit(text) for text in "abc"]
    a, b, c = pool.work(one)
    row = tuple((each.id, each.attempt) for each in (a, b, c))
    pool.dispatcher.receive(one, Started(row))
    pool.answer(one, a)
    pool.die(one)
    two = pool.hello(b"two", capacity=2)
    for work in pool.work(two):
        pool.start(two, work)

    pool.die(two)

    assert futures[0].done()
    assert (await failure(futures[1])).startswith("PartSetAside: ")
    assert not futures[2].done()


async def test_workers_of_other_pools_and_other_times_are_refused() -> None:
    pool = Pool()

    pool.dispatcher.receive(b"a", Hello(SPOKEN, "other"))
    pool.dispatcher.receive(b"b", Hello((99,), "math"))

    assert pool.wire.all(b"a", Refusal) == [Refusal("the pool is 'math', not 'other'")]
    assert pool.wire.all(b"b", Refusal) == [
        Refusal("it speaks versions [99], and none of them is ours")
    ]
    assert not pool.dispatcher.is_served


async def test_each_front_has_a_life_of_its_own() -> None:
    lives = set()
    for _ in range(2):
        pool = Pool()
        pool.hello(b"one")
        lives |= {each.life for each in pool.wire.all(b"one", Welcome)}

    assert len(lives) == 2


async def test_a_worker_that_says_hello_twice_is_welcome_twice_and_keeps_what_it_has() -> None:
    pool = Pool()
    one = pool.hello(b"one")
    future = pool.submit()

    pool.hello(b"one")
    pool.hello(b"two")
    pool.answer(one, pool.work(one)[0])

    assert len(pool.wire.all(one, Welcome)) == 2
    assert pool.work(b"two") == []
    assert await future == ["y"]


async def test_being_away_oneself_makes_no_worker_suspect(clock: Clock) -> None:
    pool = Pool()
    one, two = pool.hello(b"one"), pool.hello(b"two")
    pool.submit(deadline_s=60)
    [work] = pool.work(one)
    pool.start(one, work)

    await clock.advance(30)
    pool.beat(one, work)
    await _pass(clock, 0.1)

    assert pool.work(two) == []
    assert pool.dispatcher.is_served


async def test_closing_ends_all_that_waits() -> None:
    pool = Pool()
    futures = [pool.submit() for _ in range(3)]

    pool.dispatcher.close(Unavailable("the pool is closed"))

    assert [await failure(each) for each in futures] == ["Unavailable: the pool is closed"] * 3
    assert pool.dispatcher.pending == 0


async def test_parts_that_were_ended_while_they_waited_are_forgotten(clock: Clock) -> None:
    pool = Pool(max_pending=100_000, max_pending_bytes=10**9)
    for _ in range(1000):
        pool.submit().cancel()

    await _pass(clock, 0.1)

    assert len(pool.dispatcher._waiting) == 0


@pytest.mark.parametrize("error", [AttemptsUsed, PartSetAside, DeadlineExceeded, NoWorkers])
def test_each_end_of_a_part_has_a_status(error: Any) -> None:
    assert 500 <= error.http_status <= 504


async def _pass(clock: Clock, seconds: float) -> None:
    """Let time pass in steps so small that nobody seems to have been away."""
    steps = max(1, round(seconds / 0.02))
    for _ in range(steps):
        await clock.advance(seconds / steps, turns=2)
    await turn()


async def test_parts_that_are_sent_together_are_taken_all_or_none() -> None:
    pool = Pool(max_pending=2)

    with pytest.raises(QueueFull):
        pool.together("a", "b", "c")

    assert (pool.dispatcher.pending, pool.counters.refused) == (0, 3)


async def test_one_future_has_the_results_of_all_parts_in_their_order() -> None:
    pool = Pool()
    worker = pool.hello(b"w", capacity=2)
    together = pool.together("a", "b")

    first, second = pool.work(worker)
    pool.answer(worker, second, "2")
    pool.answer(worker, first, "1")

    assert await together.future == [["1"], ["2"]]


async def test_the_first_failure_of_parts_that_are_sent_together_is_that_of_all() -> None:
    pool = Pool()
    worker = pool.hello(b"w", capacity=3)
    together = pool.together("a", "b", "c")

    _, second, third = pool.work(worker)
    pool.answer(worker, third, "c", is_good=False)
    pool.answer(worker, second, "b", is_good=False)

    assert await failure(together.future) == "ValueError: w: c"
    error = together.future.exception()
    assert error is not None
    assert error.__notes__ == ["another part failed too: ValueError: w: b"]
    assert (pool.dispatcher.pending, pool.counters.failed) == (1, 2)


async def test_a_caller_that_gives_up_ends_what_is_left_of_its_parts() -> None:
    pool = Pool()
    worker = pool.hello(b"w", capacity=2)
    together = pool.together("a", "b")
    first, second = pool.work(worker)

    pool.answer(worker, first, "1")
    together.cancel()

    assert pool.wire.all(worker, Cancel) == [Cancel(second.id, 1)]
    assert (pool.dispatcher.pending, pool.counters.cancelled) == (0, 1)
