"""The front of a pool over NATS, whose server is killed, frozen, full, or without JetStream."""

from __future__ import annotations

import asyncio
import signal
from typing import Any

import pytest

from piped.errors import BatonError, DeadlineExceeded, QueueFull
from piped.testing._stage import until
from tests.providers.nats.conftest import Server
from tests.workers.nats.conftest import Open, connection_of, until_stored

pytestmark = pytest.mark.anyio


async def test_a_part_that_was_lost_with_the_server_is_stored_again(
    fleet: Open, own: Server
) -> None:
    async with fleet(workers=()) as pool:
        asked = pool.asked("echo", 1)
        await until_stored(pool, 1)
        own.kill()
        own.start()
        await until(lambda: connection_of(pool).reconnects)
        await until_stored(pool, 1)
        await pool.add("one")

        assert await asked == 1


async def test_a_part_that_runs_when_the_server_is_lost_is_answered(
    fleet: Open, own: Server
) -> None:
    async with fleet() as pool:
        asked = pool.asked("play", pool.stage.part("a", is_held=True))
        await until(lambda: pool.stage.runs)
        own.kill()
        own.start()
        await until(lambda: connection_of(pool).reconnects)
        pool.stage.gate.set()
        answer = await asked

        assert answer["nonce"] == "a"
        assert pool.front.counters.set_aside == 0


@pytest.mark.parametrize("is_durable", ["false", "true"])
async def test_500_parts_survive_the_death_of_the_server(
    fleet: Open, own: Server, is_durable: str
) -> None:
    async with fleet(f"workers.math.durable:{is_durable}") as pool:
        nonces = [str(i) for i in range(500)]
        asked = [pool.asked("play", pool.stage.part(each)) for each in nonces]
        await until(lambda: pool.front.counters.answered > 50)
        own.kill()
        own.start()
        answers = await asyncio.gather(*asked)

        assert [each["nonce"] for each in answers] == nonces


async def test_a_stream_that_somebody_removes_is_made_again(fleet: Open) -> None:
    async with fleet(workers=()) as pool:
        first = pool.asked("echo", 1)
        await until_stored(pool, 1)
        await connection_of(pool).jetstream.delete_stream("PIPED_math")
        second = pool.asked("echo", 2)
        await until_stored(pool, 2)
        await pool.add("one")

        assert [await first, await second] == [1, 2]


async def test_an_ack_for_a_stream_that_was_lost_takes_no_part_out_of_the_next(
    fleet: Open,
) -> None:
    async with fleet(workers=()) as pool:
        first = pool.asked("echo", 1)
        await until_stored(pool, 1)
        jetstream = connection_of(pool).jetstream
        puller = await jetstream.pull_subscribe_bind("workers", "PIPED_math")
        [old] = await puller.fetch(1)
        await jetstream.delete_stream("PIPED_math")
        second = pool.asked("echo", 2)
        await until_stored(pool, 2)
        new = await puller.fetch(2)
        await old.ack()
        for each in new:
            await each.nak()
        await pool.add("one")

        assert [await first, await second] == [1, 2]


async def test_workers_go_on_when_somebody_removes_the_stream(fleet: Open) -> None:
    async with fleet() as pool:
        held = pool.asked("play", pool.stage.part("held", is_held=True))
        await until(lambda: pool.stage.runs)
        await connection_of(pool).jetstream.delete_stream("PIPED_math")
        after = await pool.ask("echo", 1)
        pool.stage.gate.set()

        assert after == 1
        assert (await held)["nonce"] == "held"


async def test_a_server_that_freezes_for_a_while_loses_nothing(fleet: Open, own: Server) -> None:
    async with fleet() as pool:
        own.signal(signal.SIGSTOP)
        asked = [pool.asked("play", pool.stage.part(str(i))) for i in range(100)]
        await asyncio.wait(asked, timeout=1.5)  # longer than a part waits to be stored again
        own.signal(signal.SIGCONT)
        answers = await asyncio.gather(*asked)

        assert len(answers) == 100
        assert len(pool.stage.runs) == 100


async def test_a_part_fails_in_time_while_the_server_is_away(fleet: Open, own: Server) -> None:
    async with fleet("workers.math.deadline:300ms") as pool:
        own.kill()
        await until(lambda: not connection_of(pool).is_connected)
        with pytest.raises(DeadlineExceeded):
            await pool.ask("echo", 1)
        own.start()
        await until(lambda: connection_of(pool).is_connected)

        assert pool.front.counters.expired == 1


async def test_a_stream_that_is_full_refuses(fleet: Open) -> None:
    async with fleet(workers=()) as pool:
        work = connection_of(pool)
        await work.jetstream.update_stream(
            (await work.jetstream.stream_info("PIPED_math")).config, max_msgs=1
        )
        first = pool.asked("echo", 1)
        await until_stored(pool, 1)
        with pytest.raises(QueueFull) as caught:
            await pool.ask("echo", 2)
        await pool.add("one")

        assert str(caught.value) == "pool 'math' is full: maximum messages exceeded"
        assert await first == 1
        assert (pool.front.counters.submitted, pool.front.counters.refused) == (1, 1)


async def test_parts_that_nobody_waits_for_leave_the_stream(fleet: Open) -> None:
    async with fleet(workers=()) as pool:
        cancelled = pool.asked("echo", 1)
        await until_stored(pool, 1)
        cancelled.cancel()
        await until_stored(pool, 0)
        with pytest.raises(DeadlineExceeded):
            await pool.call("hurry", 1)
        await until_stored(pool, 0)

        assert (pool.front.counters.cancelled, pool.front.counters.expired) == (1, 1)


async def test_a_part_that_is_larger_than_a_message_is_refused(fleet: Open) -> None:
    async with fleet() as pool:
        with pytest.raises(BatonError) as caught:
            await pool.ask("echo", "x" * (1 << 20))

        assert str(caught.value).startswith("expected at most 1048576 bytes for 'piped.math.work'")
        assert await pool.ask("echo", 1) == 1


async def test_a_pool_that_fails_when_empty_knows_its_workers_from_the_start(fleet: Open) -> None:
    async with fleet("workers.math.when_empty:fail") as pool:
        await pool.close()
        await pool.open()

        assert pool.front.is_served
        assert await pool.ask("echo", 1) == 1


async def test_two_fronts_share_the_workers(fleet: Open) -> None:
    async with fleet() as pool, fleet(workers=()) as other:
        mine = [pool.asked("play", pool.stage.part(f"a{i}")) for i in range(100)]
        theirs = [other.asked("play", other.stage.part(f"b{i}")) for i in range(100)]
        answers: list[Any] = await asyncio.gather(*mine, *theirs)

        expected = [f"{front}{i}" for front in "ab" for i in range(100)]
        assert [each["nonce"] for each in answers] == expected
        assert (pool.front.counters.answered, other.front.counters.answered) == (100, 100)
