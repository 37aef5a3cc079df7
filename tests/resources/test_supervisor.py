"""Keeping providers alive: order, back-off, failing for good, and closing."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import structlog

from piped.errors import Misconfigured, Unavailable
from piped.resources import EssentialFailed, Resource, Supervisor
from piped.resources.supervisor import CLOSING_S, FIRST_PAUSE_S, LONGEST_PAUSE_S, STILL_S
from piped.spec import Provider
from tests.conftest import Clock, turn

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend(movable_loop: Any) -> Any:
    return movable_loop


@pytest.fixture(autouse=True)
def lines() -> Iterator[list[Any]]:
    """The lines that the supervisor logs."""
    with structlog.testing.capture_logs() as lines:
        yield lines


class Longest(random.Random):
    """Chance that always takes the longest pause."""

    def random(self) -> float:
        return 1.0


class Fake(Provider):
    """A provider that does what it is told: an error for each time that it is entered."""

    def __init__(self, name: str, log: list[str], failures: Iterable[Exception] = ()) -> None:
        super().__init__()
        self.label = name
        self.log = log
        self.failures = list(failures)
        self.failure: asyncio.Future[None] | None = None
        self.entered: list[float] = []
        self.closing: Callable[[], Any] = lambda: None

    def offers(self) -> Iterable[str]:
        return (self.label,)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[dict[str, Any]]:
        self.entered.append(asyncio.get_running_loop().time())
        if self.failures:
            raise self.failures.pop(0)
        self.log.append(f"open {self.label}")
        try:
            async with asyncio.TaskGroup() as group:
                self.failure = asyncio.get_running_loop().create_future()
                background = group.create_task(self.work(self.failure))
                yield {self.label: self, "unknown to anybody": 5}
                if (last := self.closing()) is not None:
                    await last
                background.cancel()
        finally:
            self.log.append(f"close {self.label}")

    async def work(self, failure: asyncio.Future[None]) -> None:
        await failure

    def break_down(self, error: Exception) -> None:
        assert self.failure is not None
        self.failure.set_exception(error)


class Edge(Fake):
    """One that takes requests."""

    is_edge = True


class Hanging(Fake):
    """One that never comes to bring anything."""

    @asynccontextmanager
    async def running(self) -> AsyncIterator[dict[str, Any]]:
        try:
            await asyncio.Event().wait()
        finally:
            self.log.append("gave up")
        yield {}


@asynccontextmanager
async def supervised(*providers: Fake) -> AsyncIterator[tuple[Supervisor, dict[str, Resource]]]:
    """Start providers, and close them."""
    resources = {each.label: Resource(each.label) for each in providers}
    supervisor = Supervisor(providers, resources, chance=Longest())
    async with asyncio.TaskGroup() as group:
        try:
            await supervisor.start(group)
            yield supervisor, resources
        finally:
            await supervisor.stop()


async def test_providers_open_in_order_and_close_in_the_opposite_order() -> None:
    log: list[str] = []

    async with supervised(Fake("a", log), Fake("b", log)) as (supervisor, resources):
        assert [each.is_ready for each in resources.values()] == [True, True]
        assert supervisor.failures == {}

    assert log == ["open a", "open b", "close b", "close a"]
    assert [each.reason for each in resources.values()] == ["closed", "closed"]


async def test_one_that_fails_in_the_background_is_lost_with_its_reason_and_entered_again(
    clock: Clock, lines: list[Any]
) -> None:
    log: list[str] = []
    fake = Fake("a", log)

    async with supervised(fake) as (_, resources):
        fake.break_down(Unavailable("the peer left"))
        await turn()
        assert (resources["a"].is_ready, resources["a"].reason) == (False, "the peer left")

        await clock.advance(FIRST_PAUSE_S + 0.01)
        assert resources["a"].is_ready

    assert log == ["open a", "close a", "open a", "close a"]
    assert lines == [
        {
            "provider": "a",
            "reason": "the peer left",
            "event": "unavailable, trying again",
            "log_level": "warning",
        }
    ]


async def test_each_life_says_how_it_is_and_why_it_does_not_run() -> None:
    fake = Fake("a", [])
    supervisor = Supervisor([fake], {})
    [life] = supervisor.lives
    assert (life.state, life.reason, life.brought) == ("lost", "not started yet", None)

    async with asyncio.TaskGroup() as group:
        await supervisor.start(group)
        ready = (life.state, life.reason, life.brought)
        fake.break_down(Misconfigured("a wrong word"))
        await turn()
        failed = (life.state, life.reason, life.brought)
        await supervisor.stop()

    assert ready == ("ready", "", {"a": fake, "unknown to anybody": 5})
    assert failed == ("failed", "a wrong word", None)


async def test_a_peer_that_is_away_does_not_hinder_the_start_of_others(clock: Clock) -> None:
    log: list[str] = []
    away = Fake("a", log, [Unavailable("down")] * 2)
    away.essential = True

    async with supervised(away, Fake("b", log)) as (supervisor, resources):
        assert [each.is_ready for each in resources.values()] == [False, True]
        assert supervisor.failures == {}

        await clock.advance(1)
        await clock.advance(1)
        assert resources["a"].is_ready

    assert log == ["open b", "open a", "close b", "close a"]


async def test_pauses_double_up_to_a_bound(clock: Clock) -> None:
    fake = Fake("a", [], [Unavailable("down")] * 12)

    async with supervised(fake):
        for _ in range(12):
            await clock.advance(LONGEST_PAUSE_S + 0.01)

        assert len(fake.entered) == 13

    async with supervised(fake := Fake("a", [], [Unavailable("down")] * 4)):
        for pause in (0.1, 0.2, 0.4):
            known = len(fake.entered)
            await clock.advance(pause * 0.9)
            assert len(fake.entered) == known
            await clock.advance(pause * 0.2)
            assert len(fake.entered) == known + 1


async def test_unavailable_is_retried_for_ever(clock: Clock) -> None:
    fake = Fake("a", [], [Unavailable("down")] * 1100)

    async with supervised(fake) as (supervisor, resources):
        for _ in range(1100):
            await clock.advance(LONGEST_PAUSE_S + 0.01, turns=6)

        assert resources["a"].is_ready
        assert supervisor.failures == {}


async def test_pauses_are_short_again_after_a_minute_of_running(clock: Clock) -> None:
    fake = Fake("a", [], [Unavailable("down")] * 6)

    async with supervised(fake) as (_, resources):
        for _ in range(6):
            await clock.advance(LONGEST_PAUSE_S)
        await clock.advance(61)
        fake.break_down(Unavailable("down"))
        await turn()
        assert not resources["a"].is_ready

        await clock.advance(FIRST_PAUSE_S + 0.01)

        assert resources["a"].is_ready


async def test_five_errors_in_a_minute_fail_it_for_good(clock: Clock, lines: list[Any]) -> None:
    fake = Fake("a", [], [ValueError("no")] * 9)

    async with supervised(fake) as (supervisor, resources):
        for _ in range(9):
            await clock.advance(2)

        assert {name: repr(why) for name, why in supervisor.failures.items()} == {
            "a": "ValueError('no')"
        }
        assert (resources["a"].reason, len(fake.entered)) == ("no", 5)

    events = [line["event"] for line in lines]
    assert events == ["provider failed"] * 5 + ["failed for good"]
    assert lines[-1]["reason"] == "5 errors in a minute"


async def test_five_errors_in_a_longer_time_do_not(clock: Clock) -> None:
    fake = Fake("a", [], [ValueError("no")] * 9)

    async with supervised(fake) as (supervisor, resources):
        for _ in range(9):
            await clock.advance(31)

        assert (supervisor.failures, resources["a"].is_ready) == ({}, True)


async def test_what_can_never_work_fails_at_once(clock: Clock, lines: list[Any]) -> None:
    fake = Fake("a", [], [Misconfigured("address in use")])

    async with supervised(fake) as (supervisor, resources):
        await clock.advance(60)

        assert str(supervisor.failures["a"]) == "address in use"
        assert (resources["a"].reason, len(fake.entered)) == ("address in use", 1)
        assert resources["a"].has_failed

    assert lines == [
        {
            "provider": "a",
            "reason": "address in use",
            "event": "failed for good",
            "log_level": "error",
        }
    ]


async def test_one_that_fails_for_good_later_leaves_the_others_running(clock: Clock) -> None:
    log: list[str] = []
    fake = Fake("a", log)
    fake.essential = True

    async with supervised(fake, Fake("b", log)) as (supervisor, resources):
        fake.break_down(Misconfigured("no longer allowed"))
        await clock.advance(60)

        assert list(supervisor.failures) == ["a"]
        assert [each.is_ready for each in resources.values()] == [False, True]


async def test_an_essential_one_that_fails_for_good_ends_the_start() -> None:
    log: list[str] = []
    essential = Fake("b", log, [Misconfigured("address in use")])
    essential.essential = True

    with pytest.raises(ExceptionGroup) as caught:
        async with supervised(Fake("a", log), essential, Fake("c", log)):
            pass

    [error] = caught.value.exceptions
    assert repr(error) == repr(EssentialFailed("b: address in use"))
    assert isinstance(error.__cause__, Misconfigured)
    assert log == ["open a", "close a"]


async def test_the_start_waits_for_an_essential_one_that_fails_at_first(clock: Clock) -> None:
    log: list[str] = []
    essential = Fake("a", log, [ValueError("no")] * 2)
    essential.essential = True

    async def wait() -> None:
        async with supervised(essential, Fake("b", log)):
            pass

    async with asyncio.TaskGroup() as group:
        task = group.create_task(wait())
        await turn()
        assert (log, task.done()) == ([], False)
        await clock.advance(1)
        await clock.advance(1)

    assert log == ["open a", "open b", "close b", "close a"]


async def test_one_that_does_not_close_is_cancelled(clock: Clock, lines: list[Any]) -> None:
    log: list[str] = []
    stuck = Fake("a", log)
    stuck.closing = lambda: asyncio.Event().wait()

    async def close() -> None:
        async with supervised(Fake("b", log), stuck):
            pass

    async with asyncio.TaskGroup() as group:
        task = group.create_task(close())
        await turn()
        assert (log, task.done()) == (["open b", "open a"], False)
        await clock.advance(CLOSING_S + stuck.drain_s + 0.1)

    assert log == ["open b", "open a", "close a", "close b"]
    assert [line["event"] for line in lines] == ["provider does not close, cancelling it"]


async def test_an_edge_has_its_drain_to_close(clock: Clock) -> None:
    class Edge(Fake):
        is_edge = True

    log: list[str] = []
    edge = Edge("a", log)
    edge.drain_s = 25.0
    edge.closing = lambda: asyncio.sleep(30)

    async def close() -> None:
        async with supervised(edge):
            pass

    async with asyncio.TaskGroup() as group:
        group.create_task(close())
        await turn()
        await clock.advance(29)
        assert log == ["open a"]
        await clock.advance(2)

    assert log == ["open a", "close a"]


async def test_closing_ends_a_pause(clock: Clock) -> None:
    fake = Fake("a", [], [Unavailable("down")])

    async with supervised(fake):
        pass

    assert len(fake.entered) == 1


async def test_one_whose_body_ends_by_itself_is_entered_again(clock: Clock) -> None:
    class Forgiving(Fake):
        @asynccontextmanager
        async def running(self) -> AsyncIterator[dict[str, Any]]:
            try:
                async with Fake.running(self) as brought:
                    yield brought
            except* Unavailable:
                self.log.append("forgiven")

    log: list[str] = []
    fake = Forgiving("a", log)

    async with supervised(fake) as (_, resources):
        fake.break_down(Unavailable("gone"))
        await turn()
        assert resources["a"].reason == "its provider ended"

        await clock.advance(1)
        assert resources["a"].is_ready

    assert log == ["open a", "close a", "forgiven", "open a", "close a"]


async def test_an_essential_one_that_fails_for_good_later_is_told(clock: Clock) -> None:
    told: list[str] = []
    essential, other = Fake("a", []), Fake("b", [])
    essential.essential = True
    supervisor = Supervisor([essential, other], {}, lambda: told.append("failed"))

    async with asyncio.TaskGroup() as group:
        await supervisor.start(group)
        other.break_down(Misconfigured("not needed"))
        await turn()
        assert told == []
        essential.break_down(Misconfigured("the port was taken"))
        await turn()
        await supervisor.stop()

    assert told == ["failed"]


async def test_edges_close_at_the_same_time_and_before_the_rest() -> None:
    log: list[str] = []
    gate = asyncio.Event()
    edges = [Edge("site a", log), Edge("site b", log)]
    for edge in edges:
        edge.closing = gate.wait
    supervisor = Supervisor([Fake("queue", log), *edges], {})

    async with asyncio.TaskGroup() as group:
        await supervisor.start(group)
        closing = group.create_task(supervisor.stop_edges())
        await turn()
        assert [life.closing.is_set() for life in supervisor.lives] == [False, True, True]
        gate.set()
        await closing
        assert set(log[-2:]) == {"close site a", "close site b"}
        await supervisor.stop()

    assert log[-1] == "close queue"


async def test_one_that_has_brought_nothing_yet_is_not_waited_for(
    clock: Clock, lines: list[Any]
) -> None:
    hanging = Hanging("a", [])
    supervisor = Supervisor([hanging], {})

    async with asyncio.TaskGroup() as group:
        starting = group.create_task(supervisor.start(group))
        await turn()
        await clock.advance(STILL_S + 1)
        assert [line["event"] for line in lines] == ["still starting"]
        await supervisor.stop()
        await starting

    assert hanging.log == ["gave up"]
