from __future__ import annotations

import asyncio
from typing import Any

import pytest
from structlog.testing import capture_logs

from piped.errors import BatonError
from piped.providers.web.websocket.session import WebSocketClosed
from tests.conftest import until
from tests.providers.web.websocket.support import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    TEXT,
    Talker,
    closing,
    echo,
    frame,
    talking,
)

pytestmark = pytest.mark.anyio


async def test_messages_go_both_ways_as_they_are() -> None:
    async with talking() as served:
        client = await served.talk()
        sent = [(TEXT, "grün".encode()), (BINARY, b"\0\xff"), (TEXT, b""), (BINARY, b"x" * 70_000)]
        for opcode, payload in sent:
            await client.send(frame(opcode, payload))
        got = [await client.frame() for _ in sent]
        client.close()

    assert got == sent
    counters = served.site.counters
    assert (counters.messages_in, counters.messages_out) == (4, 4)


async def test_bytes_may_come_one_by_one() -> None:
    async with talking() as served:
        client = await served.talk()
        for byte in frame(TEXT, "grün".encode()) + frame(PING, b"p"):
            await client.send(bytes([byte]))
        got = [await client.frame(), await client.frame()]
        client.close()

    assert sorted(got) == [(TEXT, "grün".encode()), (PONG, b"p")]


async def test_pings_are_answered_with_their_payload() -> None:
    async with talking() as served:
        client = await served.talk()
        await client.send(frame(PING, b"1") + frame(PONG, b"unasked") + frame(PING))
        got = [await client.frame(), await client.frame()]
        client.close()

    assert got == [(PONG, b"1"), (PONG, b"")]


@pytest.mark.parametrize(
    ("sent", "code", "reason"),
    [
        (closing(1000, "bye"), 1000, ""),
        (closing(4999), 4999, ""),
        (frame(CLOSE), 1005, ""),
        (b"\x81\x01a", 1002, "not WebSocket"),
        (frame(0x3), 1002, "not WebSocket"),
        (closing(1005), 1002, "not WebSocket"),
        (frame(TEXT, b"\xff"), 1007, "not UTF-8"),
        (frame(BINARY, b"x" * 11), 1009, "more than 10 bytes"),
        (frame(BINARY, b"x" * 100_000), 1009, "more than 10 bytes"),
    ],
)
async def test_the_end_is_answered_and_then_the_server_closes(
    sent: bytes, code: int, reason: str
) -> None:
    over = asyncio.Event()
    ends: list[tuple[int, str]] = []

    def on_close(baton: Any) -> None:
        ends.append((baton["code"], baton["reason"]))
        over.set()

    async with talking(on_close=on_close, max_message=10) as served:
        client = await served.talk()
        await client.send(sent)
        closed = await client.closed()
        client.close()
        await over.wait()

    assert closed == (code, reason)
    assert ends == [(code, "bye" if code == 1000 else reason)]
    assert served.site.counters.websockets == 0


async def test_what_broke_a_rule_is_counted_and_logged() -> None:
    with capture_logs() as logs:
        async with talking(max_message=10) as served:
            for sent in (frame(0x3), frame(TEXT, b"\xff"), frame(TEXT, b"x" * 11)):
                client = await served.talk()
                await client.send(sent)
                await client.closed()
                client.close()

    refused = [each for each in logs if each["event"] == "websocket refused"]
    assert [(each["rule"], each["code"], each["reason"]) for each in refused] == [
        ("websocket-protocol", 1002, "not WebSocket"),
        ("websocket-text", 1007, "not UTF-8"),
        ("websocket-too-large", 1009, "more than 10 bytes"),
    ]
    assert served.site.counters.refused == {
        "websocket-protocol": 1,
        "websocket-text": 1,
        "websocket-too-large": 1,
    }


async def test_a_flood_after_a_broken_rule_is_read_and_forgotten() -> None:
    async with talking(max_message=10) as served:
        client = await served.talk()
        await client.send(frame(BINARY, b"x" * 4_000_000))
        closed = await client.closed()
        client.close()

    assert closed == (1009, "more than 10 bytes")


async def test_frames_after_a_close_are_ignored() -> None:
    seen = []

    async with talking(lambda baton: seen.append(baton["message"])) as served:
        client = await served.talk()
        await client.send(closing(1000) + frame(TEXT, b"late") + frame(PING))
        closed = await client.closed()
        client.close()

    assert closed == (1000, "")
    assert seen == []


async def test_a_session_is_closed_with_a_code_and_a_reason() -> None:
    async with talking(lambda baton: baton["websocket"].close(4001, "enough")) as served:
        client = await served.talk()
        await client.send(frame(TEXT, b"a") + frame(TEXT, b"b"))
        opcode, payload = await client.frame()
        await client.send(frame(PING) + frame(TEXT, b"late") + closing(4001))
        rest = await client.rest()
        client.close()

    assert (opcode, payload) == (CLOSE, b"\x0f\xa1enough")
    assert rest == b""
    assert served.site.counters.messages_in == 2


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 2000, 5000])
async def test_codes_that_must_not_be_sent_are_refused(code: int) -> None:
    errors: list[str] = []

    def close(baton: Any) -> None:
        for arguments in ((code, ""), (1000, "ü" * 62)):
            with pytest.raises(BatonError) as caught:
                baton["websocket"].close(*arguments)
            errors.append(str(caught.value))

    async with talking(on_open=close) as served:
        client = await served.talk()
        await client.send(closing(1000))
        await client.closed()
        client.close()

    assert errors == [
        f"expected a code such as 1000, or from 3000 to 4999, got {code}",
        "a reason must not be longer than 123 bytes",
    ]


async def test_nothing_is_sent_after_the_end() -> None:
    errors: list[str] = []
    over = asyncio.Event()

    async def on_close(baton: Any) -> None:
        session = baton["websocket"]
        with pytest.raises(WebSocketClosed) as caught:
            await session.send("late")
        errors.append(str(caught.value).replace(str(session.id), "N"))
        session.close()
        over.set()

    async with talking(on_close=on_close) as served:
        client = await served.talk()
        await client.send(closing(1001))
        await client.closed()
        client.close()
        await over.wait()

    assert errors == ["the session N is over (code 1001)"]


async def test_text_that_is_no_unicode_is_not_sent() -> None:
    errors: list[str] = []

    async def broken(baton: Any) -> None:
        with pytest.raises(BatonError) as caught:
            await baton["websocket"].send("\ud800")
        errors.append(str(caught.value))
        await echo(baton)

    async with talking(broken) as served:
        client = await served.talk()
        await client.send(frame(TEXT, b"a"))
        echoed = await client.frame()
        client.close()

    assert errors == ["expected text that is Unicode"]
    assert echoed == (TEXT, b"a")


async def test_a_client_that_is_gone_has_the_code_1006() -> None:
    ends: list[int] = []
    over = asyncio.Event()

    def on_close(baton: Any) -> None:
        ends.append(baton["code"])
        assert baton["request"].is_disconnected
        over.set()

    async with talking(on_close=on_close) as served:
        client = await served.talk()
        client.reset_when_closed()
        client.close()
        await over.wait()

    assert ends == [1006]
    assert served.server.connections == set()


async def test_no_more_messages_are_read_than_may_wait() -> None:
    gate = asyncio.Event()
    seen: list[str] = []

    async def wait(baton: Any) -> None:
        seen.append(baton["message"])
        await gate.wait()

    async with talking(wait, max_queued=4) as served:
        client = await served.talk()
        await client.send(b"".join(frame(TEXT, b"%d" % n) for n in range(100)))
        counters = served.site.counters
        await until(lambda: counters.messages_in == 5)
        (session,) = served.server.connections
        before = len(session.messages), counters.messages_in
        gate.set()
        await until(lambda: len(seen) == 100)
        client.close()

    assert before == (4, 5)
    assert seen == [str(n) for n in range(100)]


async def test_a_flood_of_pings_leaves_others_their_turn() -> None:
    async with talking() as served:
        client, other = await served.talk(), await served.talk()
        pings = 20_000

        async def take() -> int:
            return len(await client.reader.readexactly(2 * pings))

        async with asyncio.TaskGroup() as tasks:
            taken = tasks.create_task(take())
            await client.send(frame(PING) * pings)
            await other.send(frame(TEXT, b"a"))
            echoed = await other.frame()
        client.close()
        other.close()

    assert taken.result() == 40_000
    assert echoed == (TEXT, b"a")


async def test_who_sends_waits_for_a_client_that_does_not_read() -> None:
    sent: list[int] = []
    size = 1 << 20

    async def send(baton: Any) -> None:
        for number in range(40):
            await baton["websocket"].send(b"x" * size)
            sent.append(number)

    async with talking(on_open=send) as served:
        client: Talker = await served.talk()
        (session,) = served.server.connections
        await until(lambda: session.outbox.is_stalled)
        before = len(sent)
        got = [await client.frame() for _ in range(40)]
        client.close()

    assert before < 40
    assert [len(payload) for _, payload in got] == [size] * 40
