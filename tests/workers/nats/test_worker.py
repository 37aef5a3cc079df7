"""A worker over NATS, whose front is away, or is played by the test."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
from nats.aio.msg import Msg

from piped.errors import BatonError
from piped.testing._fleet import Fleet
from piped.testing._stage import until
from piped.workers.frames import (
    Answer,
    Go,
    Hello,
    Ping,
    Started,
    ToFront,
    ToWorker,
    Work,
    encoded,
    read_by_front,
)
from tests.providers.nats.conftest import Server, connected
from tests.workers.nats.conftest import Open, connection_of, until_stored

pytestmark = pytest.mark.anyio

ID = b"i" * 16


class Front:
    """Plays a front: it is there from ``open`` on."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._inbox = connection.client.new_inbox()
        self.said: list[ToFront] = []
        self.worker = ""

    async def open(self) -> None:
        await self._connection.client.subscribe(self._inbox, cb=self._on_message)

    async def _on_message(self, message: Msg) -> None:
        self.worker = message.reply
        self.said.extend(read_by_front(message.data))

    async def store(self, pipeline: str = "echo", payload: bytes = b"1") -> None:
        """Put a part into the work queue."""
        until_ = time.time() + 20
        work = Work(ID, 1, pipeline, payload, 20, key="k", until=until_, reply=self._inbox)
        await self._connection.store("piped.math.work", encoded([work]))

    async def send(self, frame: ToWorker) -> None:
        await self._connection.publish(self.worker, encoded([frame]), reply=self._inbox)

    async def heard(self, kind: type[Any]) -> Any:
        """Wait until a worker says something of a kind, and return the first of it."""
        await until(lambda: any(isinstance(each, kind) for each in self.said))
        return next(each for each in self.said if isinstance(each, kind))


@asynccontextmanager
async def front_at(server: Server) -> AsyncIterator[Front]:
    async with connected(server) as connection:
        yield Front(connection)


async def until_redelivered(pool: Fleet) -> None:
    """Wait until a part has been given to a worker once more."""
    look = partial(connection_of(pool).jetstream.consumer_info, "PIPED_math", "workers")
    async with asyncio.timeout(5):
        while not (await look()).num_redelivered:  # noqa: ASYNC110 - it has no event
            await asyncio.sleep(0.01)


async def test_a_worker_is_not_stuck_on_the_question_to_a_front_that_is_dead(
    fleet: Open, own: Server
) -> None:
    once = ("workers.math.attempts:1", "workers.math.concurrency:1")
    async with fleet(*once, workers=("one",)) as pool, front_at(own) as dead:
        await dead.store()
        async with asyncio.timeout(5):
            answers = [await pool.ask("echo", i) for i in range(20)]

        assert answers == list(range(20))


async def test_a_worker_that_was_cut_off_asks_again(fleet: Open, own: Server) -> None:
    once = ("workers.math.attempts:1", "workers.math.lease:10s")
    async with fleet(*once, workers=("one",)) as pool, front_at(own) as front:
        await front.open()
        await front.store()
        asked = await front.heard(Started)
        front.said.clear()
        worker = pool.workers["one"].service.resources["nats.main"].value
        worker.client._transport._io_writer.transport.abort()
        again = await front.heard(Started)
        await front.send(Go(ID, 1))
        answer = await front.heard(Answer)

        assert asked == again == Started(((ID, 1),))
        assert (answer.id, answer.attempt, answer.payload) == (ID, 1, b"[1]")


async def test_a_sole_worker_gets_at_last_what_it_has_given_back(fleet: Open, own: Server) -> None:
    once = "workers.math.attempts:1"
    async with fleet(once, workers=("one",)) as pool, front_at(own) as front:
        await front.store()
        await until_redelivered(pool)  # it has asked nobody, and given the part back
        await front.open()
        [(id_, attempt)] = (await front.heard(Started)).parts
        await front.send(Go(id_, attempt))
        answer = await front.heard(Answer)

        assert attempt > 1
        assert (answer.id, answer.attempt, answer.payload) == (ID, attempt, b"[1]")


async def test_a_worker_says_who_it_is_to_a_front_that_it_has_not_heard_of(
    fleet: Open, own: Server
) -> None:
    async with fleet(workers=("one",)), front_at(own) as front:
        await front.open()
        await front.store()
        await front.heard(Answer)

        assert isinstance(front.said[0], Hello)
        assert front.said[0].name == "one"


async def test_parts_for_a_front_that_is_dead_leave_the_stream(fleet: Open, own: Server) -> None:
    async with fleet(workers=("one",)) as pool, front_at(own) as dead:
        await dead.store()
        await until_stored(pool, 0, within_s=5)

        assert await pool.ask("echo", 1) == 1


async def test_results_that_do_not_fit_into_a_message_are_an_error(fleet: Open) -> None:
    bomb = """pipelines.echo:[{map: {lambda: "value: value * 'x'"}}]"""
    async with fleet(bomb) as pool:
        with pytest.raises(BatonError) as caught:
            await pool.ask("echo", 2 << 20)

        assert str(caught.value) == (
            "the results do not fit into a message: expected at most 1048576 bytes"
        )
        assert pool.front.counters.failed == 1


async def test_what_is_no_part_is_dropped_from_the_stream(fleet: Open, own: Server) -> None:
    async with fleet() as pool, connected(own) as connection:
        await connection.store("piped.math.work", b"nonsense")
        await connection.store("piped.math.work", encoded([Ping()]))
        await until_stored(pool, 0, within_s=5)

        assert await pool.ask("echo", 1) == 1
