"""Jobs in JetStream: many fronts, those that are given up for dead, and a server that ends."""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, TypeAlias

import msgspec
import pytest
from nats.aio.msg import Msg
from structlog.testing import capture_logs

from piped.errors import BatonError, QueueFull
from piped.providers.nats import Connection
from piped.workers.failures import Failure
from piped.workers.nats.job_messages import Dead, encoded
from piped.workers.nats.job_streams import stream_of
from piped.workers.nats.jobs import StreamStore
from piped.workers.nats.letters import LIMITS
from piped.workers.store import Job, Limits, NotStored
from tests.providers.nats.conftest import Server, connected, shared, until
from tests.workers.conftest import until_taken

__all__ = ["shared"]

pytestmark = pytest.mark.anyio

BOOM = Failure("ValueError", "boom")
SMALL = Limits(size_bytes=1 << 20)

Open: TypeAlias = Callable[..., Awaitable[StreamStore]]


@pytest.fixture
def pool() -> str:
    return f"test-{secrets.token_hex(6)}"


@pytest.fixture
async def opened(connection: Connection, pool: str, shared: Server) -> AsyncIterator[Open]:
    """Open what keeps the jobs of a pool, for one front more."""
    async with AsyncExitStack() as stack:

        async def opened(limits: Limits = SMALL) -> StreamStore:
            own = await stack.enter_async_context(connected(shared))
            return StreamStore(own, pool, 1, limits)

        yield opened


@pytest.fixture
async def connection(shared: Server, anyio_backend: Any) -> AsyncIterator[Connection]:
    async with connected(shared) as connection:
        yield connection


async def coming(store: StreamStore, count: int = 1) -> list[tuple[str, int]]:
    """Take jobs until there are so many; return their keys and attempts."""
    return sorted((each.key, each.attempts) for each in await until_taken(store, count))


async def silent(store: StreamStore, key: str) -> None:
    """Have JetStream give a job to another front, as it does when one has been silent for long."""
    await again(store._held[key].message)


async def again(message: Msg) -> None:
    await message._client.publish(message.reply, b"-NAK")  # so that the message may be used again


async def left(connection: Connection, pool: str, kind: Any = "jobs") -> int:
    info = await connection.jetstream.stream_info(stream_of(pool, kind))
    return info.state.messages


def cut_in_half(folder: Path) -> None:
    """Take from the file of a queue what was written last."""
    [file] = folder.rglob(f"{stream_of('math', 'jobs')}/msgs/*.blk")
    os.truncate(file, file.stat().st_size // 2)


async def until_left(connection: Connection, pool: str, count: int, *, by: StreamStore) -> None:
    """Wait until so many jobs are left in the queue, though a front finds none to begin."""
    async with asyncio.timeout(10):
        while await left(connection, pool) != count:
            assert await by.take(9) == []


async def test_each_job_is_taken_by_one_front(opened: Open) -> None:
    first, second = await opened(), await opened()
    for number in range(20):
        await first.submit(Job(f"{number}", "sum"))

    found = await asyncio.gather(first.take(10), second.take(10))

    assert sorted(int(each.key) for some in found for each in some) == list(range(20))
    assert [await each.take(9) for each in (first, second)] == [[], []]


async def test_a_key_that_two_fronts_submit_at_once_is_one_job(opened: Open) -> None:
    fronts = [await opened() for _ in range(4)]

    new = await asyncio.gather(*(each.submit(Job("a", "sum")) for each in fronts))

    assert sorted(new) == [False, False, False, True]
    assert await coming(fronts[0]) == [("a", 1)]


async def test_a_front_that_was_given_up_for_dead_changes_nothing(
    opened: Open, connection: Connection, pool: str
) -> None:
    dead, alive = await opened(), await opened()
    for key in ("a", "b"):
        await dead.submit(Job(key, "sum"))
    taken = await dead.take(2)
    for each in taken:
        await silent(dead, each.key)
    assert await coming(alive, 2) == [("a", 2), ("b", 2)]

    await dead.later("a", 3600.0)
    await dead.bury(taken[1], BOOM)
    await silent(alive, "a")

    assert await alive.dead() == []
    assert await coming(dead) == [("a", 3)]


async def test_an_attempt_is_begun_by_one_front_only(opened: Open) -> None:
    slow, quick = await opened(), await opened()
    await slow.submit(Job("a", "sum"))
    messages = await slow._streams.pull(1)
    assert messages
    find, begun = slow._streams.find, []

    async def find_slowly(kind: Any, key: str) -> Any:
        found = await find(kind, key)
        if kind == "done":  # the last thing that is asked before the job is begun
            await again(messages[0])
            begun.extend(await coming(quick))
        return found

    slow._streams.find = find_slowly  # type: ignore[method-assign] # to stop it in its midst

    assert await slow._begun(messages[0]) is None
    assert begun == [("a", 1)]
    assert slow._held == {}


async def test_a_job_of_which_we_were_silent_is_not_begun_beside_itself(opened: Open) -> None:
    store = await opened()
    await store.submit(Job("a", "sum"))
    await store.take(1)

    await silent(store, "a")
    first = store._held["a"].message
    async with asyncio.timeout(10):
        while store._held["a"].message is first:
            assert await store.take(1) == []
    await store.done("a")

    assert not await store.submit(Job("a", "sum"))


@pytest.mark.parametrize("how", ["done", "dead"])
async def test_what_a_front_that_died_has_written_is_true(
    opened: Open, connection: Connection, pool: str, how: str
) -> None:
    died, alive = await opened(), await opened()
    await died.submit(Job("a", "sum"))
    [job] = await died.take(1)
    if how == "done":
        await died._write(died._streams.subject("done", "a"), b"")
    else:
        letter = encoded(Dead(job, "job", BOOM, 1.0, 2.0))
        await died._write(died._streams.subject("dead", "a", "job"), letter)
    await silent(died, "a")

    await until_left(connection, pool, 0, by=alive)

    assert await left(connection, pool, "tried") == 0
    assert [each.job.key for each in await alive.dead()] == (["a"] if how == "dead" else [])


async def test_a_letter_whose_job_is_still_in_the_queue_can_be_requeued(opened: Open) -> None:
    died, alive = await opened(), await opened()
    await died.submit(Job("a", "sum"))
    [job] = await died.take(1)
    letter = encoded(Dead(job, "job", BOOM, 1.0, 2.0))
    await died._write(died._streams.subject("dead", "a", "job"), letter)

    assert await alive.requeue(["a"]) == 1

    assert await coming(alive) == [("a", 1)]
    assert await alive.dead() == []


async def test_who_requeues_a_letter_may_die_in_the_midst(opened: Open) -> None:
    store = await opened()
    await store.submit(Job("a", "sum"))
    [job] = await store.take(1)
    await store.bury(job, BOOM)

    async def dies(found: Any) -> None:
        raise NotStored("the end")

    drop, store._drop = store._drop, dies  # type: ignore[method-assign] # it is done last
    with pytest.raises(NotStored):
        await store.requeue(["a"])
    store._drop = drop  # type: ignore[method-assign] # as it was
    assert await store.requeue(["a"]) == 1

    assert await coming(store) == [("a", 1)]
    assert await store.dead() == []


async def test_what_is_taken_is_kept_from_others_as_long_as_it_runs(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("piped.workers.nats.jobs.LEASE_S", 0.0)
    store, said = await opened(), asyncio.Event()
    await store.submit(Job("a", "sum"))
    await store.take(1)

    async def in_progress() -> None:
        said.set()

    monkeypatch.setattr(store._held["a"].message, "in_progress", in_progress)
    renewing = asyncio.ensure_future(store.renew())
    async with asyncio.timeout(10):
        await said.wait()
    renewing.cancel()


async def test_a_job_that_does_not_fit_is_refused(opened: Open) -> None:
    store = await opened(LIMITS)

    with pytest.raises(BatonError) as caught:
        await store.submit(Job("a", "sum", payload=bytes(1 << 20)))
    assert await store.submit(Job("b", "sum", payload=bytes(900_000)))

    assert str(caught.value).startswith("expected a job of at most 983040 bytes over NATS, got 10")


async def test_a_letter_fits_whatever_is_said_of_its_end(opened: Open) -> None:
    store = await opened(LIMITS)
    await store.submit(Job("a", "sum", payload=bytes(980_000)))
    [job] = await store.take(1)

    failure = Failure("ValueError", "é" * 4096, notes=("é" * 4096,) * 20, cause=BOOM)
    await store.bury(job, failure)

    letter = await store.show("a")
    assert letter.failure == Failure("ValueError", "é" * 4096)
    assert len(letter.job.payload) == 980_000


async def test_where_the_bytes_are_used_up_a_job_is_refused(opened: Open) -> None:
    store = await opened(Limits(size_bytes=4096))

    jobs = [Job(f"{number}", "sum", payload=bytes(500)) for number in range(100)]
    stored: list[Job] = []

    async def fill() -> None:
        for each in jobs:
            await store.submit(each)
            stored.append(each)

    with pytest.raises(QueueFull) as caught:
        await fill()

    assert str(caught.value).endswith(" was not stored: maximum bytes exceeded")
    assert len(await store.take(100)) == len(stored) > 1


async def test_what_is_no_job_is_dropped_and_told(
    opened: Open, connection: Connection, pool: str
) -> None:
    store = await opened()
    await store.submit(Job("a", "sum"))
    await connection.store(f"piped.{pool}.jobs.strange", msgspec.msgpack.encode("what"))

    with capture_logs() as logs:
        assert await coming(store) == [("a", 1)]
    await until_left(connection, pool, 1, by=store)

    assert [each["event"] for each in logs] == ["bad job dropped"]


async def test_what_the_server_has_acknowledged_outlives_it(own: Server) -> None:
    async with connected(own) as connection:
        store = StreamStore(connection, "math", 1, SMALL)
        for key in ("a", "b", "c"):
            await store.submit(Job(key, "sum"))
        found = await store.take(1)
        await store.done(found[0].key)
        own.kill()
        await until(lambda: not connection.is_connected)
        with pytest.raises(NotStored) as caught:
            await store.take(9)

        await asyncio.to_thread(own.start)
        await until(lambda: connection.is_connected)

        assert str(caught.value).startswith("'nats.main' is away (")
        assert await coming(store, 2) == [("b", 1), ("c", 1)]
        assert not await store.submit(Job("a", "sum"))


@pytest.mark.parametrize("is_cut", [False, True])
async def test_what_the_server_has_lost_is_told(
    own: Server, tmp_path: Path, *, is_cut: bool
) -> None:
    async with connected(own) as connection:
        store = StreamStore(connection, "math", 1, SMALL)
        connection.on_reconnect(store.doubt)
        for number in range(9):
            await store.submit(Job(f"{number}", "sum"))
        if not is_cut:
            for each in await store.take(9):
                await store.done(each.key)
        own.kill()
        await until(lambda: not connection.is_connected)
        if is_cut:
            cut_in_half(tmp_path)
        await asyncio.to_thread(own.start)
        await until(lambda: store._is_doubtful)

        with capture_logs() as logs:
            found = await store.take(9)

    lost = "its queue ends at 4, and had come to 9"
    told = [each["reason"] for each in logs if each["event"] == "JetStream has lost jobs"]
    assert (len(found), told) == ((4, [lost]) if is_cut else (0, []))


async def test_streams_that_somebody_has_removed_are_made_again(
    opened: Open, connection: Connection, pool: str
) -> None:
    store = await opened()
    await store.submit(Job("a", "sum"))
    await connection.jetstream.delete_consumer(stream_of(pool, "jobs"), "fronts")

    assert await coming(store) == [("a", 1)]


async def test_no_pool_can_be_named_so_that_its_parts_are_among_jobs() -> None:
    assert stream_of("math", "jobs") == "PIPED-JOBS-math"
