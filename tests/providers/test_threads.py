from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Any, NoReturn

import pytest
from structlog.testing import capture_logs

from piped.errors import QueueFull, Unavailable
from piped.providers.threads import Executor, Threads
from tests.conftest import Clock, Gate, turn

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def running(**settings: Any) -> AsyncIterator[Executor]:
    async with Threads(**settings).running() as resources:
        yield resources["threads"]


async def test_a_function_runs_in_a_thread_and_gives_its_result() -> None:
    async with running() as threads:
        name = await threads.run(lambda prefix: prefix + threading.current_thread().name, "in ")

    assert name == "in code-1"


async def test_a_function_sees_the_context_variables_of_who_calls_it() -> None:
    journey = ContextVar("journey", default=0)
    journey.set(7)

    async with running() as threads:
        seen = await threads.run(journey.get)
        await threads.run(journey.set, 8)

    assert (seen, journey.get()) == (7, 7)


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(3)])
async def test_what_a_function_raises_is_raised_where_it_is_awaited(error: BaseException) -> None:
    def fail() -> NoReturn:
        raise error

    async with running() as threads:
        with pytest.raises(type(error)) as raised:
            await threads.run(fail)

    assert raised.value is error
    assert [each.name for each in raised.traceback][-1] == "fail"


async def test_an_iterator_at_its_end_is_an_error_and_no_endless_wait() -> None:
    async with running() as threads:
        with pytest.raises(RuntimeError) as raised:
            await threads.run(next, iter(()))

    assert str(raised.value) == "coroutine raised StopIteration"


async def test_functions_run_side_by_side_and_in_as_few_threads_as_they_need() -> None:
    gate = Gate()

    async with running(size=3) as threads:
        await threads.run(threading.get_ident)
        both = asyncio.gather(threads.run(gate.wait, "a"), threads.run(gate.wait, "b"))
        came = {await gate.came.get(), await gate.came.get()}
        count = threading.active_count()
        gate.open()
        names = list(await both)
        name = await threads.run(lambda: threading.current_thread().name)

    assert came == {"a", "b"}
    assert names == ["a", "b"]
    assert count >= 2
    assert name in ("code-1", "code-2")


async def test_one_more_than_may_wait_is_refused() -> None:
    gate = Gate()

    async with running(size=1, max_waiting=1) as threads:
        first = asyncio.ensure_future(threads.run(gate.wait, "first"))
        await gate.came.get()
        second = asyncio.ensure_future(threads.run(gate.wait, "second"))
        await turn()
        counts = (threads.running, threads.waiting)
        with pytest.raises(QueueFull) as raised:
            await threads.run(gate.wait, "third")
        gate.open()
        results = [await first, await second]

    assert counts == (1, 1)
    assert str(raised.value) == "1 threads are busy, and 1 steps wait for one"
    assert raised.value.http_status == 503
    assert results == ["first", "second"]


async def test_who_is_cancelled_while_it_waits_makes_room_at_once() -> None:
    gate = Gate()

    async with running(size=1, max_waiting=1) as threads:
        first = asyncio.ensure_future(threads.run(gate.wait, "first"))
        await gate.came.get()
        second = asyncio.ensure_future(threads.run(gate.wait, "second"))
        await turn()
        second.cancel()
        await turn()
        third = asyncio.ensure_future(threads.run(gate.wait, "third"))
        await turn()
        gate.open()
        results = [await first, await third]

    assert second.cancelled()
    assert results == ["first", "third"]
    assert gate.came.get_nowait() == "third"


async def test_who_is_cancelled_while_it_runs_leaves_its_thread_to_its_end() -> None:
    gate = Gate()

    async with running(size=1, max_waiting=0) as threads:
        first = asyncio.ensure_future(threads.run(gate.wait, "first"))
        await gate.came.get()
        first.cancel()
        await turn()
        counts = (threads.running, threads.stuck)
        with pytest.raises(QueueFull):
            await threads.run(gate.wait, "second")
        gate.open()

    assert first.cancelled()
    assert counts == (1, 1)
    assert (threads.running, threads.stuck) == (0, 0)


async def test_the_end_waits_for_what_runs_and_for_what_waits() -> None:
    gate = Gate()
    provider = Threads(size=1)

    async with provider.running() as resources:
        threads: Executor = resources["threads"]
        works = [asyncio.ensure_future(threads.run(gate.wait, name)) for name in "ab"]
        await gate.came.get()
        gate.open()

    assert [await each for each in works] == ["a", "b"]


async def test_nothing_begins_after_the_end() -> None:
    async with running() as threads:
        pass

    with pytest.raises(Unavailable) as raised:
        await threads.run(threading.get_ident)

    assert str(raised.value) == "the threads are closed"


async def test_a_thread_that_cannot_be_started_costs_no_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def start(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async with running(size=1, max_waiting=0) as threads:
        with monkeypatch.context() as patched:
            patched.setattr(threading.Thread, "start", start)
            with pytest.raises(Unavailable) as raised:
                await threads.run(threading.get_ident)
        found = await threads.run(threading.get_ident)

    assert str(raised.value) == "no thread can be started: can't start new thread"
    assert found != threading.get_ident()


async def test_an_end_at_once_waits_for_nobody() -> None:
    gate = Gate()
    provider = Threads(size=1)
    works: list[asyncio.Future[str]] = []

    async def live() -> None:
        async with provider.running() as resources:
            works.extend(asyncio.ensure_future(resources["threads"].run(gate.wait)) for _ in "ab")
            await asyncio.Event().wait()

    life = asyncio.ensure_future(live())
    await gate.came.get()
    life.cancel()
    with pytest.raises(asyncio.CancelledError):
        await life
    with pytest.raises(Unavailable):
        await works[1]
    gate.open()

    assert await works[0] == ""


def test_a_thread_outlives_its_loop_without_a_word() -> None:
    opened = threading.Event()
    begun = threading.Event()

    def keep() -> threading.Thread:
        begun.set()
        opened.wait(10)
        return threading.current_thread()

    async def live() -> threading.Thread:
        before = set(threading.enumerate())
        executor = Executor(1, 0)
        task = asyncio.ensure_future(executor.run(keep))
        await turn(2)
        begun.wait(10)
        task.cancel()
        executor.close()
        [thread] = set(threading.enumerate()) - before
        return thread

    thread = asyncio.run(live())
    opened.set()
    thread.join(10)

    assert thread.daemon
    assert not thread.is_alive()


class TestOnAClockThatMoves:
    @pytest.fixture
    def anyio_backend(self, movable_loop: tuple[str, dict[str, Any]]) -> tuple[str, dict[str, Any]]:
        return movable_loop

    async def test_what_takes_longer_than_the_drain_is_given_up(self, clock: Clock) -> None:
        gate = Gate()
        provider = Threads()
        provider.drain_s = 5.0

        works: list[asyncio.Future[str]] = []
        draining = asyncio.Event()

        async def live() -> None:
            async with provider.running() as resources:
                works.append(asyncio.ensure_future(resources["threads"].run(gate.wait, "late")))
                await gate.came.get()
                draining.set()

        with capture_logs() as logs:
            life = asyncio.ensure_future(live())
            await draining.wait()
            await clock.advance(5.0)
            await life
        gate.open()

        assert await works[0] == "late"
        assert logs == [
            {"event": "threads given up", "log_level": "warning", "threads": 1, "after_s": 5.0}
        ]
