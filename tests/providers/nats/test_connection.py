from __future__ import annotations

import asyncio
import secrets
import signal
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from structlog.testing import capture_logs

from piped.errors import BatonError, DeadlineExceeded, Misconfigured, QueueFull, Unavailable
from piped.providers.nats import Connection, NatsConnection
from piped.providers.nats.ends import heed_cancellation
from piped.providers.nats.errors import NoResponders
from tests.providers.nats.conftest import Server, connected, listening, until

pytestmark = pytest.mark.anyio


async def test_a_message_reaches_those_who_listen(connection: Connection) -> None:
    messages = await listening(connection, "greetings.*")

    await connection.publish("greetings.a", b"hello", headers={"Name": "Ada"})

    message = await messages.get()
    assert (message.subject, message.data, message.headers) == (
        "greetings.a",
        b"hello",
        {"Name": "Ada"},
    )
    assert connection.published == 1


async def test_a_request_gets_the_answer(connection: Connection) -> None:
    async def answer(message: Any) -> None:
        await message.respond(message.data * 2)

    await connection.client.subscribe("double", cb=answer)

    message = await connection.request("double", b"a", timeout_s=5)

    assert message.data == b"aa"


async def test_a_request_that_nobody_answers_fails_at_once(connection: Connection) -> None:
    with pytest.raises(NoResponders) as raised:
        await connection.request("nobody", timeout_s=60)

    assert str(raised.value) == "nobody answers requests to 'nobody'"
    assert raised.value.http_status == 503


async def test_a_request_has_a_deadline(connection: Connection) -> None:
    await listening(connection, "silent")

    with pytest.raises(DeadlineExceeded) as raised:
        await connection.request("silent", timeout_s=0.05)

    assert str(raised.value) == "no answer from 'silent' within 0.05 s"


async def test_what_no_stream_keeps_is_not_stored(connection: Connection) -> None:
    with pytest.raises(NoResponders) as raised:
        await connection.store("nowhere", b"a")

    what = "'nowhere' was not stored: no stream keeps it, or JetStream is away"
    assert str(raised.value) == what


async def test_the_same_message_id_is_stored_once(connection: Connection) -> None:
    name = f"s{secrets.token_hex(4)}"
    await connection.jetstream.add_stream(name=name, subjects=[name], storage="memory")

    first = await connection.store(name, b"a", message_id="7")
    second = await connection.store(name, b"a", message_id="7")

    assert (first.seq, first.duplicate) == (1, None)
    assert (second.seq, second.duplicate) == (1, True)


async def test_a_full_stream_says_so(connection: Connection) -> None:
    name = f"s{secrets.token_hex(4)}"
    await connection.jetstream.add_stream(
        name=name, subjects=[name], storage="memory", max_bytes=300, discard="new"
    )

    with pytest.raises(QueueFull) as raised:
        await connection.store(name, bytes(400))

    assert str(raised.value) == f"'{name}' was not stored: maximum bytes exceeded"


@pytest.mark.parametrize(
    ("subject", "data", "headers", "reason"),
    [
        ("", b"", {}, "expected a subject such as orders.new, got ''"),
        ("a b", b"", {}, "expected a subject such as orders.new, got 'a b'"),
        ("a\r\nPUB b 0", b"", {}, "expected a subject such as orders.new, got 'a\\r\\nPUB b 0'"),
        ("a.*", b"", {}, "expected a subject without wildcards, got 'a.*'"),
        ("a", bytes(1 << 21), {}, "expected at most 1048576 bytes for 'a', got 2097152"),
        ("a", b"", {"a b": "c"}, "expected the name of a header, got 'a b'"),
        ("a", b"", {"a": "b\r\nc"}, "expected one line in the header 'a', got 'b\\r\\nc'"),
        ("a", b"", {"a": 1}, "expected text in the header 'a', got int"),
    ],
)
async def test_what_is_no_message_is_refused(
    connection: Connection, subject: str, data: bytes, headers: dict[str, Any], reason: str
) -> None:
    with pytest.raises(BatonError) as raised:
        await connection.publish(subject, data, headers=headers)

    assert str(raised.value) == reason
    assert connection.is_connected


async def test_a_payload_counts_with_its_headers(connection: Connection) -> None:
    size = connection.client.max_payload - 10

    with pytest.raises(BatonError) as raised:
        await connection.publish("a", bytes(size), headers={"Name": "Ada"})

    assert str(raised.value) == f"expected at most {size + 10} bytes for 'a', got {size + 23}"


async def test_more_than_the_buffer_is_sent_while_the_server_takes_it(
    connection: Connection,
) -> None:
    messages = await listening(connection, "flood")

    for _ in range(40):
        await connection.publish("flood", bytes(100_000))

    await until(lambda: messages.qsize() == 40)
    assert connection.refused == 0


@pytest.mark.parametrize("is_url", [True, False])
async def test_wrong_credentials_fail_for_good(serve: Callable[..., Server], is_url: bool) -> None:
    server = serve("authorization { user: ada, password: right }")
    url = server.url.replace("//", "//ada:wrong@")
    told: dict[str, Any] = {"servers": url}
    if not is_url:
        told = {"servers": server.url, "user": "ada", "password": "wrong"}
    settings = NatsConnection(**told)
    settings.named("main")

    with pytest.raises(Misconfigured) as raised:
        async with settings.running():
            pass

    who = "user or token in 'servers'" if is_url else "'user' and 'password'"
    assert str(raised.value) == (
        f"'nats.main' cannot connect: the server refuses its {who}: authorization violation"
    )


async def test_the_right_credentials_let_in(serve: Callable[..., Server]) -> None:
    server = serve("authorization { token: secret }")

    async with connected(server, token="secret") as connection:
        assert connection.is_connected


async def test_a_server_without_tls_is_told_nothing_where_tls_is_wanted(shared: Server) -> None:
    settings = NatsConnection(servers=shared.url.replace("nats:", "tls:"))
    settings.named("main")

    with pytest.raises(Misconfigured) as raised:
        async with settings.running():
            pass

    assert str(raised.value) == "'nats.main' cannot connect: the server offers no TLS"


async def test_no_server_is_unavailable_at_once() -> None:
    settings = NatsConnection(servers=["127.0.0.1:1", "127.0.0.1:2"])
    settings.named("main")

    with pytest.raises(Unavailable) as raised:
        async with settings.running():
            pass

    assert "'nats.main' cannot connect: " in str(raised.value)


async def test_a_server_that_is_killed_gets_what_was_published_meanwhile(own: Server) -> None:
    async with connected(own) as connection:
        messages = await listening(connection, "a")
        own.kill()
        await until(lambda: not connection.is_connected)

        await connection.publish("a", b"kept")
        own.start()
        message = await asyncio.wait_for(messages.get(), 10)

        assert message.data == b"kept"
        assert connection.reconnects == 1


async def test_the_buffer_of_what_waits_for_a_server_is_bounded(own: Server) -> None:
    async with connected(own, max_pending=4096) as connection:
        own.kill()
        await until(lambda: not connection.is_connected)
        await connection.publish("a", bytes(4000))

        with pytest.raises(QueueFull) as raised:
            await connection.publish("a", bytes(4000))

        assert str(raised.value).startswith("'nats.main' is away: ")
        assert connection.refused == 1


async def test_a_frozen_server_does_not_let_the_buffer_grow(own: Server) -> None:
    async with connected(own, max_pending=65536) as connection:
        own.signal(signal.SIGSTOP)
        try:
            with pytest.raises(QueueFull):  # noqa: PT012 - the kernel takes some of them
                while True:
                    await connection.publish("a", bytes(60_000))
            assert connection.pending_bytes <= 65536
        finally:
            own.signal(signal.SIGCONT)


async def test_an_answer_to_a_ping_that_nobody_waits_for_does_no_harm(own: Server) -> None:
    async with connected(own) as connection:
        own.signal(signal.SIGSTOP)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await connection.client.flush()
        own.signal(signal.SIGCONT)

        with pytest.raises(NoResponders):
            await connection.request("nobody", timeout_s=5)


async def test_a_request_while_the_server_is_away_says_so(own: Server) -> None:
    async with connected(own) as connection:
        own.kill()
        await until(lambda: not connection.is_connected)

        with pytest.raises(DeadlineExceeded) as raised:
            await connection.request("a", timeout_s=0.05)

        assert "no answer from 'a' within 0.05 s: 'nats.main' is away (" in str(raised.value)


async def test_a_server_whose_sync_is_not_known_is_warned_of_once(connection: Connection) -> None:
    with capture_logs() as logs:
        await connection.warn_if_lazy()
        await connection.warn_if_lazy()

    what = "sync_interval is not known: a power cut may lose what JetStream has stored"
    assert [each["event"] for each in logs] == [what]


async def test_a_server_that_is_known_to_sync_is_not_warned_of(shared: Server) -> None:
    async with connected(shared, is_synced=True) as connection:
        with capture_logs() as logs:
            await connection.warn_if_lazy()

    assert [each for each in logs if each["log_level"] == "warning"] == []


@pytest.mark.parametrize(
    ("sync", "expected"),
    [("", "sync_interval is lazy: a power cut may lose what JetStream has stored"), ("always", "")],
)
async def test_the_system_account_is_told_the_sync(
    serve: Callable[..., Server], sync: str, expected: str
) -> None:
    accounts = "accounts { SYS: {users: [{user: a, password: b}]} }\nsystem_account: SYS"
    server = serve(accounts, f", sync_interval: {sync}" if sync else "")

    async with connected(server, user="a", password="b") as connection:
        with capture_logs() as logs:
            await connection.warn_if_lazy()

    warned = [each["event"] for each in logs if each["log_level"] == "warning"]
    assert warned == ([expected] if expected else [])


async def test_a_swallowed_cancellation_is_heeded_at_last() -> None:
    turns = 0

    async def go_on() -> None:
        nonlocal turns
        while True:
            turns += 1
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                pass  # as a library may do
            heed_cancellation()

    async with asyncio.TaskGroup() as group:
        task = group.create_task(go_on())
        await asyncio.sleep(0)
        task.cancel()

    assert (turns, task.cancelled()) == (1, True)


async def test_one_that_is_closed_while_it_connects_again_stays_closed(own: Server) -> None:
    async with connected(own) as connection:
        client, is_trying = connection.client, asyncio.Event()
        connect: Any = client._connect_to_server

        async def connect_anyway(s: Any) -> None:
            is_trying.set()
            with suppress(asyncio.CancelledError):  # as asyncio.wait_for of Python 3.11 may do
                await asyncio.Event().wait()
            await connect(s)

        client._connect_to_server = connect_anyway  # type: ignore[method-assign] # played here
        client._transport._io_writer.transport.abort()  # type: ignore[union-attr] # it is there
        await is_trying.wait()
    assert client._reconnection_task is not None
    await asyncio.wait([client._reconnection_task])

    assert client.is_closed
    assert connection.reconnects == 0
