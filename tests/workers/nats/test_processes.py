"""Workers over NATS as processes of their own: killed, frozen, blocked, and asked to end."""

from __future__ import annotations

import asyncio
import signal

import pytest

from piped.testing._stage import until
from piped.workers.errors import AttemptsUsed, PartSetAside
from tests.providers.nats.conftest import Server
from tests.workers.nats.conftest import Hire

pytestmark = pytest.mark.anyio


async def test_what_a_killed_worker_ran_is_run_by_another(hire: Hire) -> None:
    async with hire() as crew:
        asked = crew.asked("wait", 0.5)
        killed = await crew.holder()
        killed.kill()
        pid = await asked

        assert pid in crew.workers.keys() - {killed.pid}
        assert crew.pool.front.counters.redelivered == 1


async def test_a_part_that_kills_its_workers_is_set_aside_and_leaves_the_stream(
    hire: Hire,
) -> None:
    async with hire(workers=4) as crew:
        with pytest.raises(PartSetAside) as caught:
            await crew.asked("die")
        pid = await crew.asked("tell")

        assert str(caught.value) == (
            "a part for 'play' was set aside by pool 'math': 2 workers died of it"
        )
        assert pid in crew.workers
        assert crew.pool.front.counters.set_aside == 1


async def test_what_may_be_tried_once_is_run_by_no_other_worker(hire: Hire) -> None:
    async with hire("workers.math.attempts:1") as crew:
        asked = crew.asked("die")
        with pytest.raises(AttemptsUsed) as caught:
            await asked
        pid = await crew.asked("tell")

        assert str(caught.value) == (
            "pool 'math' has tried 'play' once, and no worker came to its end"
        )
        assert pid in crew.workers


async def test_the_answer_of_a_worker_that_was_frozen_is_counted_as_double(hire: Hire) -> None:
    async with hire() as crew:
        asked = crew.asked("wait", 0.2)
        frozen = await crew.holder()
        frozen.freeze()
        pid = await asked
        frozen.thaw()
        counters = crew.pool.front.counters
        await until(lambda: counters.double)

        assert pid in crew.workers.keys() - {frozen.pid}
        assert (counters.answered, counters.redelivered, counters.forged) == (1, 1, 0)


async def test_a_worker_that_is_frozen_for_long_is_welcome_again(hire: Hire) -> None:
    async with hire(workers=1) as crew:
        [worker] = crew.workers.values()
        worker.freeze()
        asked = crew.asked("tell")
        await until(lambda: not crew.pool.front.workers())
        worker.thaw()

        assert await asked == worker.pid


async def test_a_part_that_waits_longer_than_its_lease_is_run_once(hire: Hire) -> None:
    async with hire() as crew:
        await crew.asked("wait", 1.5)

        assert crew.pool.front.counters.redelivered == 0


async def test_a_part_that_holds_the_loop_longer_than_its_lease_is_answered(hire: Hire) -> None:
    async with hire(workers=1) as crew:
        [worker] = crew.workers
        pid = await crew.asked("block", 1.0)
        again = await crew.asked("tell")

        assert (pid, again) == (worker, worker)
        assert crew.pool.front.counters.answered == 2


async def test_a_worker_that_is_asked_to_end_ends_what_it_has(hire: Hire) -> None:
    async with hire(workers=1) as crew:
        [leaving] = crew.workers.values()
        asked = crew.asked("wait", 1.0)
        await crew.holder()
        leaving.send(signal.SIGTERM)
        await until(lambda: not crew.pool.front.is_served)
        await crew.add()
        other = await crew.asked("tell")
        pid = await asked

        assert pid == leaving.pid
        assert other != leaving.pid
        assert await asyncio.to_thread(leaving.ended) == 0
        assert crew.pool.front.counters.redelivered == 0


async def test_all_is_answered_when_a_worker_and_the_server_die(hire: Hire, own: Server) -> None:
    async with hire() as crew:
        asked = [crew.asked("wait", 0.05) for _ in range(300)]
        await until(lambda: crew.pool.front.counters.answered > 20)
        next(iter(crew.workers.values())).kill()
        own.kill()
        own.start()
        pids = await asyncio.gather(*asked)

        assert len(pids) == 300
