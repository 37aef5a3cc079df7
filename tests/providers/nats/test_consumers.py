from __future__ import annotations

import asyncio
import secrets
import signal
from typing import Any

import pytest
from structlog.testing import capture_logs

from piped.errors import DeadlineExceeded, Misconfigured, Unavailable
from piped.providers.nats import Connection, NatsConsumer
from piped.spec import Duration
from tests.providers.conftest import bound
from tests.providers.nats.conftest import (
    Recorder,
    Server,
    connected,
    listening,
    running,
    until,
)

pytestmark = pytest.mark.anyio


async def stream_of(connection: Connection, storage: str = "memory") -> str:
    """Make a stream, and return its name, which is what its subjects begin with."""
    name = f"s{secrets.token_hex(4)}"
    await connection.jetstream.add_stream(name=name, subjects=[f"{name}.>"], storage=storage)
    return name


def consumer(stream: str, pipeline: Any, **more: Any) -> NatsConsumer:
    more.setdefault("backoff", [Duration(0.01)])
    found = NatsConsumer(
        stream=stream,
        subject=f"{stream}.in.>",
        durable="workers",
        processor=bound(pipeline),
        **more,
    )
    found.named("jobs")
    return found


async def pending(connection: Connection, stream: str) -> tuple[int, int]:
    """Return how many messages wait, and how many are not acknowledged."""
    info = await connection.jetstream.consumer_info(stream, "workers")
    return info.num_pending or 0, info.num_ack_pending or 0


async def until_pulled(connection: Connection, stream: str) -> None:
    """Wait until somebody waits for messages."""
    async with asyncio.timeout(10):
        while True:
            info = await connection.jetstream.consumer_info(stream, "workers")
            if info.num_waiting:
                return
            await asyncio.sleep(0.01)


async def test_a_message_is_acknowledged_when_the_pipeline_has_succeeded(
    connection: Connection,
) -> None:
    stream, pipeline = await stream_of(connection), Recorder()
    unit = consumer(stream, pipeline, format="json")
    await connection.store(f"{stream}.in.a", b'{"n": 1}', headers={"Name": "Ada"})

    async with running(unit, connection):
        baton = await pipeline.next()
        await until(lambda: unit.acked == 1)

    assert baton == {
        "message": {"n": 1},
        "subject": f"{stream}.in.a",
        "headers": {"Name": "Ada"},
        "attempt": 1,
        "sequence": 1,
    }
    assert await pending(connection, stream) == (0, 0)


async def test_a_message_that_fails_comes_again(connection: Connection) -> None:
    def treat(baton: Any) -> None:
        if baton["attempt"] < 3:
            raise ValueError("not yet")

    stream, pipeline = await stream_of(connection), Recorder(treat)
    unit = consumer(stream, pipeline)
    await connection.store(f"{stream}.in.a")

    async with running(unit, connection):
        attempts = [(await pipeline.next())["attempt"] for _ in range(3)]
        await until(lambda: unit.acked == 1)

    assert attempts == [1, 2, 3]
    assert (unit.acked, unit.failed, unit.set_aside) == (1, 2, 0)


async def test_a_message_that_fails_too_often_is_a_dead_letter(connection: Connection) -> None:
    def treat(baton: Any) -> None:
        raise ValueError("never")

    stream = await stream_of(connection)
    unit = consumer(stream, Recorder(treat), max_deliver=2, dead_letter=f"{stream}.dead")
    await connection.store(f"{stream}.in.a", b"x", message_id="7", headers={"Name": "Ada"})

    async with running(unit, connection):
        await until(lambda: unit.set_aside == 1)

    letter = await connection.jetstream.get_last_msg(stream, f"{stream}.dead")
    headers = dict(letter.headers or {})
    headers.pop("Nats-Msg-Id")
    assert letter.data == b"x"
    assert headers == {
        "Name": "Ada",
        "Piped-Cause": "ValueError: never",
        "Piped-Attempts": "2",
        "Piped-Subject": f"{stream}.in.a",
        "Piped-Stream": stream,
        "Piped-Consumer": "workers",
        "Piped-Sequence": "1",
    }
    assert await pending(connection, stream) == (0, 0)


async def test_garbage_is_a_dead_letter_at_once(connection: Connection) -> None:
    stream = await stream_of(connection)
    unit = consumer(stream, Recorder(), format="json", dead_letter=f"{stream}.dead")
    await connection.store(f"{stream}.in.a", b"{")

    async with running(unit, connection):
        await until(lambda: unit.set_aside == 1)

    letter = await connection.jetstream.get_last_msg(stream, f"{stream}.dead")
    assert letter.headers is not None
    assert letter.headers["Piped-Cause"] == "InvalidBaton: expected JSON, got b'{'"
    assert letter.headers["Piped-Attempts"] == "1"


async def test_a_slow_pipeline_keeps_its_message(connection: Connection) -> None:
    gate = asyncio.Event()
    stream, pipeline = await stream_of(connection), Recorder(lambda baton: gate.wait())
    unit = consumer(stream, pipeline, ack_wait=Duration(0.4), concurrency=2)
    told = await listening(connection, f"$JS.ACK.{stream}.>")
    await connection.store(f"{stream}.in.a")

    async with running(unit, connection):
        said = [(await told.get()).data for _ in range(6)]  # one for each third of ack_wait
        gate.set()
        await until(lambda: unit.acked == 1)

    assert said == [b"+WPI"] * 6
    assert pipeline.batons.qsize() == 1


async def test_it_pulls_no_more_than_it_can_treat(connection: Connection) -> None:
    gate = asyncio.Event()
    stream, pipeline = await stream_of(connection), Recorder(lambda baton: gate.wait())
    for i in range(10):
        await connection.store(f"{stream}.in.{i}")
    unit = consumer(stream, pipeline, concurrency=3)

    async with running(unit, connection):
        for _ in range(3):
            await pipeline.next()
        await connection.client.flush()
        held = await pending(connection, stream)
        gate.set()
        await until(lambda: unit.acked == 10)

    assert held == (7, 3)


async def test_what_is_not_done_within_the_drain_is_given_back(connection: Connection) -> None:
    stream, slow = await stream_of(connection), Recorder(lambda baton: asyncio.Event().wait())
    await connection.store(f"{stream}.in.a")
    with capture_logs():
        async with running(consumer(stream, slow), connection, drain_s=0.1):
            await slow.next()
    pipeline = Recorder()

    async with running(consumer(stream, pipeline), connection):
        baton = await pipeline.next()

    assert baton["attempt"] == 2


async def test_what_its_last_holder_never_spoke_of_is_set_aside(connection: Connection) -> None:
    stream, pipeline = await stream_of(connection), Recorder()
    unit = consumer(stream, pipeline, max_deliver=1, ack_wait=Duration(0.1))
    await connection.jetstream.add_consumer(
        stream, durable_name="workers", ack_wait=0.1, filter_subject=f"{stream}.in.>"
    )
    holder = await connection.jetstream.pull_subscribe_bind("workers", stream)
    await connection.store(f"{stream}.in.a")
    await holder.fetch()

    async with running(unit, connection):
        await until(lambda: unit.set_aside == 1)

    assert pipeline.batons.empty()


async def test_it_goes_on_when_the_server_was_killed(own: Server) -> None:
    async with connected(own) as connection:
        stream, pipeline = await stream_of(connection, "file"), Recorder()
        unit = consumer(stream, pipeline, ack_wait=Duration(0.5))
        async with running(unit, connection):
            await connection.store(f"{stream}.in.a")
            await pipeline.next()
            await until(lambda: unit.acked == 1)
            own.kill()
            await until(lambda: not connection.is_connected)
            own.start()
            await until(lambda: connection.reconnects == 1)
            await connection.store(f"{stream}.in.b")

            while (await pipeline.next())["subject"] != f"{stream}.in.b":
                pass  # the first one again: its ack may have been lost


async def test_a_frozen_server_loses_nothing(own: Server) -> None:
    async with connected(own) as connection:
        stream, pipeline = await stream_of(connection), Recorder()
        async with running(consumer(stream, pipeline), connection):
            await connection.store(f"{stream}.in.a")
            await pipeline.next()
            own.signal(signal.SIGSTOP)
            with pytest.raises(DeadlineExceeded):
                await connection.store(f"{stream}.in.b", timeout_s=0.2)
            own.signal(signal.SIGCONT)

            baton = await pipeline.next()

    assert baton["subject"] == f"{stream}.in.b"


async def test_a_consumer_that_somebody_deletes_is_made_again(
    connection: Connection,
) -> None:
    stream = await stream_of(connection)

    async def delete() -> None:
        await until_pulled(connection, stream)
        await connection.jetstream.delete_consumer(stream, "workers")

    with pytest.raises(ExceptionGroup) as raised:  # noqa: PT012 - it ends while it runs
        async with asyncio.TaskGroup() as group, running(consumer(stream, Recorder()), connection):
            group.create_task(delete())
            await asyncio.Event().wait()

    what = f"cannot pull from '{stream}.workers': Consumer Deleted"
    assert raised.group_contains(Unavailable, match=what)


async def test_a_stream_that_is_not_there_is_a_mistake(connection: Connection) -> None:
    with pytest.raises(Misconfigured) as raised:
        async with running(consumer("nothing", Recorder()), connection):
            pass

    assert str(raised.value) == "consumer 'workers' of 'nothing': stream not found"


async def test_dead_letters_that_no_stream_keeps_are_a_mistake(connection: Connection) -> None:
    stream = await stream_of(connection)

    with pytest.raises(Misconfigured) as raised:
        async with running(consumer(stream, Recorder(), dead_letter="dead.a"), connection):
            pass

    assert str(raised.value) == "no stream keeps 'dead.a', the dead letters of 'workers'"


def test_its_names_must_be_names() -> None:
    unit = consumer("a.b", Recorder(), dead_letter="dead.*")

    assert [each.what for each in unit.check()] == [
        "expected a subject without wildcards, got 'dead.*'",
        "expected a name without dots, blanks, '*', '>' and slashes, got 'a.b'",
    ]
