"""Who is to blame for what, when JetStream gives the parts of a pool to its workers."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from piped.errors import QueueFull
from piped.workers.frames import Answer, Cancel, Drain, Go, Hello, Started
from piped.workers.nats.ledger import NatsLedger
from piped.workers.parts import Part

pytestmark = pytest.mark.anyio

RULES: Any = SimpleNamespace(
    deadline=2.0,
    lease=0.2,
    attempts=3,
    max_pending=100,
    max_pending_bytes=10_000,
    when_empty="wait",
    format="json",
)


class Link:
    """Keeps what is stored and sent; ``dead`` are the workers that are no more."""

    is_busy = False

    def __init__(self, group: asyncio.TaskGroup) -> None:
        self.group = group
        self.unstored: dict[bytes, Part] = {}
        self.stored: list[Part] = []
        self.sent: list[tuple[bytes, Any]] = []
        self.dead: set[bytes] = set()

    def store(self, part: Part) -> None:
        part.sent_at = asyncio.get_running_loop().time()
        self.unstored[part.id] = part
        self.stored.append(part)

    def taken(self, part: Part) -> None:
        self.unstored.pop(part.id, None)

    def forget(self, part: Part) -> None:
        self.unstored.pop(part.id, None)

    def send(self, address: bytes, frame: Any) -> None:
        self.sent.append((address, frame))

    async def is_dead(self, address: bytes, _patience_s: float) -> bool:
        return address in self.dead

    def frames(self, kind: type[Any]) -> list[tuple[bytes, Any]]:
        return [each for each in self.sent if isinstance(each[1], kind)]


class Pool:
    """A dispatcher with workers ``a``, ``b``, ``c``; ``rules`` differ from the usual ones."""

    def __init__(self, group: asyncio.TaskGroup, **rules: Any) -> None:
        self.link = Link(group)
        self._futures: list[asyncio.Future[list[Any]]] = []
        told: Any = SimpleNamespace(**{**vars(RULES), **rules})
        acts = (lambda answer, _: [answer.payload], lambda _part, _error: None)
        self.front = NatsLedger("math", told, self.link, *acts)
        for name in "abc":
            self.front.receive(name.encode(), Hello((1,), "math", name, 1, "host", 64))

    def submit(self) -> tuple[bytes, asyncio.Future[list[Any]]]:
        future = self.front.submit("echo", b"1", 2.0)
        self._futures.append(future)
        return self.link.stored[-1].id, future

    async def started(self, who: bytes, *parts: tuple[bytes, int]) -> None:
        """Have a worker say that it has begun, and the front decide what of that."""
        self.front.receive(who, Started(parts))
        while tasks := set(self.front._asking):
            await asyncio.wait(tasks)

    def close(self) -> None:
        for future in self._futures:
            future.cancel()  # nobody waits for it
        self.front.close(QueueFull("the end"))


async def test_a_death_is_counted_for_the_part_that_ran_and_not_for_those_in_its_line() -> None:
    async with asyncio.TaskGroup() as group:
        pool = Pool(group)
        (one, _), (two, _) = pool.submit(), pool.submit()
        first, second = pool.link.stored
        await pool.started(b"a", (one, 1), (two, 1))
        pool.link.dead.add(b"a")
        await pool.started(b"b", (two, 2))
        await pool.started(b"b", (one, 2))
        deaths = (first.deaths, second.deaths)
        starts = (first.starts, second.starts)
        pool.close()

    assert deaths == (1, 0)
    assert starts == (2, 1)


async def test_a_worker_that_asks_twice_is_told_twice_and_has_begun_once() -> None:
    async with asyncio.TaskGroup() as group:
        pool = Pool(group, attempts=1)
        id_, _ = pool.submit()
        await pool.started(b"a", (id_, 1))
        await pool.started(b"a", (id_, 1))
        [part] = pool.link.stored
        starts, waits = part.starts, pool.front.counters.waits
        told = [each for each in pool.link.sent if isinstance(each[1], Go | Cancel)]
        pool.close()

    assert told == [(b"a", Go(id_, 1))] * 2
    assert (starts, waits) == (1, 1)


async def test_a_part_whose_workers_are_frozen_is_not_poison() -> None:
    async with asyncio.TaskGroup() as group:
        pool = Pool(group)
        id_, future = pool.submit()
        await pool.started(b"a", (id_, 1))
        await pool.started(b"b", (id_, 2))
        await pool.started(b"c", (id_, 3))
        pool.front.receive(b"a", Answer(id_, 1, True, b"late but first"))
        results = await future
        pool.front.receive(b"b", Answer(id_, 2, True, b"too late"))
        counters = pool.front.counters
        pool.close()

    assert results == [b"late but first"]
    assert [frame for _, frame in pool.link.frames(Go)] == [Go(id_, 2), Go(id_, 3)]
    assert (counters.redelivered, counters.double, counters.set_aside) == (2, 1, 0)


async def test_who_begins_with_a_part_that_is_over_is_told_and_its_answer_is_late() -> None:
    async with asyncio.TaskGroup() as group:
        pool = Pool(group)
        id_, future = pool.submit()
        future.cancel()
        await pool.started(b"a", (id_, 1))
        pool.front.receive(b"a", Answer(id_, 1, True, b"1"))
        counters = pool.front.counters
        pool.close()

    assert pool.link.frames(Cancel) == [(b"a", Cancel(id_, 1))]
    assert (counters.cancelled, counters.late, counters.forged) == (1, 1, 0)


async def test_a_worker_that_nobody_knows_is_not_believed() -> None:
    async with asyncio.TaskGroup() as group:
        pool = Pool(group)
        id_, future = pool.submit()
        await pool.started(b"a", (id_, 1))
        pool.front.receive(b"x", Answer(id_, 1, True, b"forged"))
        is_answered = future.done()
        pool.close()

    assert not is_answered
    assert pool.front.counters.forged == 1


async def test_a_worker_is_believed_whose_word_that_it_has_begun_was_lost() -> None:
    async with asyncio.TaskGroup() as group:
        pool = Pool(group)
        id_, future = pool.submit()
        pool.front.receive(b"a", Answer(id_, 1, True, b"1"))
        pool.front.receive(b"b", Answer(id_, 2, True, b"2"))
        counters = pool.front.counters
        pool.close()

    assert await future == [b"1"]
    assert (counters.answered, counters.double, counters.forged) == (1, 1, 0)


async def test_a_part_that_was_refused_was_never_taken() -> None:
    async with asyncio.TaskGroup() as group:
        pool = Pool(group)
        _, future = pool.submit()
        pool.front.refuse(pool.link.stored[0], QueueFull("full"))
        counters = pool.front.counters
        pool.close()

    assert isinstance(future.exception(), QueueFull)
    assert (counters.submitted, counters.refused, counters.failed) == (0, 1, 0)


async def test_in_a_new_stream_what_runs_is_stored_after_the_others() -> None:
    async with asyncio.TaskGroup() as group:
        pool = Pool(group)
        (running, _), (waiting, _) = pool.submit(), pool.submit()
        await pool.started(b"a", (running, 1))
        before = len(pool.link.stored)
        pool.front.store_again()
        at_once = [part.id for part in pool.link.stored[before:]]
        pool.front.sweep(asyncio.get_running_loop().time() + 0.6)
        later = [part.id for part in pool.link.stored[before + 1 :]]
        pool.close()

    assert at_once == [waiting]
    assert set(later) >= {running}


async def test_a_worker_that_leaves_serves_no_more() -> None:
    async with asyncio.TaskGroup() as group:
        pool = Pool(group)
        for name in (b"a", b"b", b"c"):
            pool.front.receive(name, Drain())
        is_served = pool.front.is_served
        pool.close()

    assert not is_served
