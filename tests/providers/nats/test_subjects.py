from __future__ import annotations

import asyncio
import secrets
from typing import Any

import pytest
from structlog.testing import capture_logs

from piped.errors import Unavailable
from piped.providers.nats import Connection, NatsSubject
from tests.providers.conftest import bound
from tests.providers.nats.conftest import Recorder, Server, connected, running, until

pytestmark = pytest.mark.anyio


@pytest.fixture
def subject() -> str:
    return f"t{secrets.token_hex(4)}"


def listener(subject: str, pipeline: Any, **more: Any) -> NatsSubject:
    found = NatsSubject(subject=subject, processor=bound(pipeline), **more)
    found.named("jobs")
    return found


async def test_a_message_becomes_a_baton(connection: Connection, subject: str) -> None:
    pipeline = Recorder()
    async with running(listener(f"{subject}.*", pipeline), connection):
        await connection.publish(f"{subject}.a", b"\x00", headers={"Name": "Ada"})

        baton = await pipeline.next()

    assert baton == {"message": b"\x00", "subject": f"{subject}.a", "headers": {"Name": "Ada"}}


@pytest.mark.parametrize(
    ("format_", "data", "value"),
    [
        ("text", "é".encode(), "é"),
        ("json", b'{"a": 1}', {"a": 1}),
        ("msgpack", b"\x81\xa1a\x01", {"a": 1}),
    ],
)
async def test_a_message_is_read_in_its_format(
    connection: Connection, subject: str, format_: Any, data: bytes, value: Any
) -> None:
    pipeline = Recorder()
    async with running(listener(subject, pipeline, format=format_), connection):
        await connection.publish(subject, data)

        baton = await pipeline.next()

    assert baton["message"] == value


async def test_a_request_is_answered_with_the_last_result(
    connection: Connection, subject: str
) -> None:
    pipeline = Recorder(lambda baton: {"twice": baton["message"] * 2})
    async with running(listener(subject, pipeline, format="json"), connection):
        answer = await connection.request(subject, b"21", timeout_s=5)

    assert (answer.data, answer.headers) == (b'{"twice":42}', None)


@pytest.mark.parametrize(
    ("data", "result", "error"),
    [
        (b"{", 1, "InvalidBaton: expected JSON, got b'{'"),
        (b"1", object(), "BatonError: cannot say as JSON: "),
    ],
)
async def test_a_request_that_cannot_be_treated_is_answered_with_why(
    connection: Connection, subject: str, data: bytes, result: Any, error: str
) -> None:
    unit = listener(subject, Recorder(lambda baton: result), format="json")
    async with running(unit, connection):
        answer = await connection.request(subject, data, timeout_s=5)

    assert answer.data == b""
    assert answer.headers is not None
    assert answer.headers["Piped-Error"].startswith(error)


async def test_a_failure_is_counted_and_the_next_message_is_treated(
    connection: Connection, subject: str
) -> None:
    def treat(baton: Any) -> Any:
        if baton["message"] == b"bad":
            raise ValueError("no\r\ngood")
        return b"done"

    unit = listener(subject, Recorder(treat))
    async with running(unit, connection):
        bad = await connection.request(subject, b"bad", timeout_s=5)
        good = await connection.request(subject, b"good", timeout_s=5)

    assert bad.headers == {"Piped-Error": "ValueError: no good"}
    assert good.data == b"done"
    assert (unit.received, unit.failed) == (2, 1)


async def test_members_of_a_queue_share_the_messages(connection: Connection, subject: str) -> None:
    first, second = Recorder(), Recorder()
    async with (
        running(listener(subject, first, queue="all"), connection),
        running(listener(subject, second, queue="all"), connection),
    ):
        for _ in range(50):
            await connection.publish(subject, b"")
        await until(lambda: first.batons.qsize() + second.batons.qsize() == 50)

    assert first.batons.qsize() > 0
    assert second.batons.qsize() > 0


async def test_what_finds_the_line_full_is_dropped_counted_and_answered(
    connection: Connection, subject: str
) -> None:
    gate = asyncio.Event()
    unit = listener(subject, Recorder(lambda baton: gate.wait()), max_pending=1)
    async with running(unit, connection):
        await connection.publish(subject)
        await until(lambda: unit.received == 1)
        await connection.publish(subject)
        await until(lambda: unit.received == 2)

        with capture_logs() as logs:
            answer = await connection.request(subject, timeout_s=5)

        gate.set()

    assert answer.headers == {"Piped-Error": f"QueueFull: '{subject}' is full: 1 messages wait"}
    assert unit.dropped == 1
    assert [each["event"] for each in logs] == ["messages dropped"]


async def test_no_more_are_treated_at_once_than_it_may(
    connection: Connection, subject: str
) -> None:
    gate = asyncio.Event()
    pipeline = Recorder(lambda baton: gate.wait())
    unit = listener(subject, pipeline, concurrency=3)
    async with running(unit, connection):
        for _ in range(20):
            await connection.publish(subject)
        await until(lambda: unit.received == 20 and pipeline.batons.qsize() >= 3)
        at_once = pipeline.batons.qsize()
        gate.set()
        await until(lambda: pipeline.batons.qsize() == 20)

    assert at_once == 3


async def test_what_has_come_is_treated_before_it_closes(
    connection: Connection, subject: str
) -> None:
    pipeline = Recorder(lambda baton: asyncio.sleep(0.01))
    unit = listener(subject, pipeline)
    async with running(unit, connection):
        for _ in range(5):
            await connection.publish(subject)
        await until(lambda: unit.received == 5)

    assert pipeline.batons.qsize() == 5


async def test_what_takes_longer_than_the_drain_is_given_up(
    connection: Connection, subject: str
) -> None:
    pipeline = Recorder(lambda baton: asyncio.Event().wait())
    with capture_logs() as logs:
        async with running(listener(subject, pipeline), connection, drain_s=0.1):
            await connection.publish(subject)
            await pipeline.next()

    assert "messages given up" in [each["event"] for each in logs]


async def test_it_listens_again_when_the_server_is_back(own: Server, subject: str) -> None:
    pipeline = Recorder()
    async with connected(own) as connection, running(listener(subject, pipeline), connection):
        own.kill()
        own.start()
        await until(lambda: connection.reconnects == 1)
        await connection.publish(subject, b"again")

        baton = await pipeline.next()

    assert baton["message"] == b"again"


async def test_it_ends_to_begin_anew_when_its_connection_is_closed(
    shared: Server, subject: str
) -> None:
    unit = listener(subject, Recorder())

    with pytest.raises(ExceptionGroup) as raised:  # noqa: PT012 - it ends while it runs
        async with connected(shared) as connection, running(unit, connection):
            await connection.client.close()
            await asyncio.Event().wait()

    assert raised.group_contains(Unavailable, match="'nats.main' is closed")


def test_a_subject_and_a_queue_must_be_words() -> None:
    unit = listener("a..b", Recorder(), queue="a b")

    assert [each.what for each in unit.check()] == [
        "expected a subject such as orders.new, got 'a..b'",
        "expected a name without blanks, got 'a b'",
    ]
