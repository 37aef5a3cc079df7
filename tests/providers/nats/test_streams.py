from __future__ import annotations

import asyncio
import secrets
from typing import Any

import pytest

from piped.errors import Misconfigured
from piped.providers.nats import Connection, NatsStream
from piped.spec import Size
from tests.providers.nats.conftest import running

pytestmark = pytest.mark.anyio


@pytest.fixture
def name() -> str:
    return f"s{secrets.token_hex(4)}"


def stream(name: str, **more: Any) -> NatsStream:
    found = NatsStream(**{"subjects": [f"{name}.>"], "storage": "memory", **more})
    found.named(name)
    return found


async def test_a_stream_is_made(connection: Connection, name: str) -> None:
    async with running(stream(name), connection) as resources:
        stored = await connection.store(f"{name}.a", b"x")

    assert resources == {f"nats.stream.{name}": name}
    assert stored.stream == name


async def test_a_stream_that_is_there_is_changed_and_keeps_its_messages(
    connection: Connection, name: str
) -> None:
    async with running(stream(name), connection):
        await connection.store(f"{name}.a", b"x")

    async with running(stream(name, max_bytes=Size(4096), discard="old"), connection):
        info = await connection.jetstream.stream_info(name)

    assert info.config.max_bytes == 4096
    assert info.config.discard == "old"
    assert info.state.messages == 1


async def test_a_stream_that_two_make_at_once_begins_where_one_of_them_says(
    connection: Connection, name: str
) -> None:
    wanted = stream(name)

    await asyncio.gather(*(wanted.make(connection, first_seq=each) for each in (10, 20)))
    stored = await connection.store(f"{name}.a", b"x")

    assert stored.seq in (10, 20)


async def test_a_stream_that_is_changed_goes_on_where_it_was(
    connection: Connection, name: str
) -> None:
    await stream(name).make(connection, first_seq=10)
    await stream(name, max_bytes=Size(4096)).make(connection, first_seq=20)

    stored = await connection.store(f"{name}.a", b"x")

    assert stored.seq == 10


async def test_a_stream_cannot_move(connection: Connection, name: str) -> None:
    async with running(stream(name), connection):
        pass

    with pytest.raises(Misconfigured) as raised:
        async with running(stream(name, storage="file"), connection):
            pass

    what = f"stream '{name}': stream configuration update can not change storage type"
    assert str(raised.value) == what


def test_its_subjects_must_be_subjects() -> None:
    problems = [*stream("a", subjects=["a", "b..c"]).check()]

    assert [(each.what, each.at) for each in problems] == [
        ("expected a subject such as orders.new, got 'b..c'", "subjects[1]")
    ]
