"""Jobs of a pool over NATS, from the document: `submit-work` at one front, done by any."""

from __future__ import annotations

from typing import Final

import pytest
from structlog.testing import capture_logs

from piped.app import Service
from piped.testing._fleet import Fleet, Member
from piped.testing._stage import until
from piped.workers.nats.jobs import StreamStore
from tests.workers.nats.conftest import Open, connection_of

pytestmark = pytest.mark.anyio

LATER: Final = (
    "pipelines.later:[{submit-work: "
    "{workers: math, pipeline: play, input_path: value, key: !path key}}]"
)
FAIL: Final = (
    "pipelines.number:[{map: {lambda: 'text: int(text)'}}]",
    "pipelines.wrong:[{submit-work: {workers: math, pipeline: number, key: !path key}}]",
    "workers.math.attempts:1",
)


async def joined(pool: Fleet) -> Member:
    """Start one more front."""
    return await pool._member("another", Service(pool._blueprint()))


async def test_a_job_is_stored_in_jetstream_and_done(fleet: Open) -> None:
    async with fleet(LATER) as pool:
        with capture_logs() as logs:
            for _ in range(2):
                baton = {"key": "order-1", "value": pool.stage.part("a")}
                assert (await pool.call("later", baton))["key"] == "order-1"
            counters = pool.front._jobs.counters
            await until(lambda: counters.done == 1)

    assert pool.stage.runs == [("a", "order-1")]
    assert counters.known == 1
    warned = [each["event"] for each in logs if each["log_level"] == "warning"]
    assert warned == ["sync_interval is not known: a power cut may lose what JetStream has stored"]


async def test_another_front_does_what_the_first_has_left(fleet: Open) -> None:
    async with fleet(LATER, workers=()) as pool:
        await pool.call("later", {"key": "order-1", "value": pool.stage.part("a")})
        await pool.close()
        await pool.open()
        assert pool.stage.runs == []

        await pool.add("one")
        await until(lambda: pool.front._jobs.counters.done == 1)

    assert pool.stage.runs == [("a", "order-1")]


async def test_two_fronts_share_the_jobs(fleet: Open) -> None:
    async with fleet(LATER, "workers.math.concurrency:4") as pool:
        another = await joined(pool)
        for number in range(40):
            key = f"order-{number}"
            await pool.call("later", {"key": key, "value": pool.stage.part(key)})
        fronts = [pool.front, another.service.resources["workers.math"].value]
        await until(lambda: sum(each._jobs.counters.done for each in fronts) == 40)
        await another.left()

    assert sorted(pool.stage.runs) == sorted((f"order-{n}", f"order-{n}") for n in range(40))


async def test_a_job_that_fails_for_the_last_time_is_a_letter(fleet: Open) -> None:
    async with fleet(*FAIL) as pool:
        await pool.call("wrong", {"key": "order-1"})
        await until(lambda: pool.front._jobs.counters.buried == 1)
        await until(lambda: pool.front._jobs.running == 0)

        [letter] = await StreamStore(connection_of(pool), "math").dead()

    assert (letter.job.key, letter.job.attempts, letter.kind) == ("order-1", 1, "job")
    assert letter.failure.type_name == "TypeError"
