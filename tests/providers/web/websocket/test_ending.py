"""How sessions end that nobody has asked to end: errors, silence, slow clients, the site's end."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from structlog.testing import capture_logs

from piped.engine.journey import journey, journey_text
from piped.errors import Unavailable
from tests.conftest import Clock, until
from tests.providers.web.websocket.support import (
    CLOSE,
    PING,
    PONG,
    TEXT,
    closing,
    echo,
    frame,
    talking,
)

pytestmark = pytest.mark.anyio


async def test_an_error_ends_the_session_and_tells_the_client_only_a_number() -> None:
    def fail(baton: Any) -> None:
        raise ValueError("the secret is 42")

    with capture_logs() as logs:
        async with talking(fail) as served:
            client = await served.talk()
            await client.send(frame(TEXT, b"a"))
            opcode, payload = await client.frame()
            await client.send(closing(1011))
            rest = await client.rest()
            client.close()

    (line,) = [each for each in logs if each["event"] == "message failed"]
    assert (opcode, payload[:2], rest) == (CLOSE, b"\x03\xf3", b"")
    assert payload[2:].startswith(b"error ")
    assert b"secret" not in payload
    assert line["log_level"] == "error"
    assert line["error"] == "ValueError: the secret is 42"


async def test_the_number_that_the_client_is_told_is_that_of_the_log_line() -> None:
    numbers: list[int] = []

    def fail(baton: Any) -> None:
        numbers.append(journey.get())
        raise ValueError

    async with talking(on_open=fail) as served:
        client = await served.talk()
        _, payload = await client.frame()
        client.close()

    assert payload[2:].decode() == f"error {journey_text(numbers[0])}"


async def test_what_is_not_available_lets_the_client_try_later() -> None:
    def fail(baton: Any) -> None:
        raise Unavailable("the database of 10.0.0.1 is away")

    async with talking(fail) as served:
        client = await served.talk()
        await client.send(frame(TEXT, b"a"))
        opcode, payload = await client.frame()
        client.close()

    assert (opcode, payload) == (CLOSE, b"\x03\xf5try again later")


async def test_a_session_is_not_hurt_by_an_error_of_another() -> None:
    async def fail(baton: Any) -> None:
        if baton["message"] == "bad":
            raise ValueError
        await echo(baton)

    async with talking(fail) as served:
        bad, good = await served.talk(), await served.talk()
        await bad.send(frame(TEXT, b"bad"))
        opcode, _ = await bad.frame()
        await good.send(frame(TEXT, b"good"))
        echoed = await good.frame()
        bad.close()
        good.close()

    assert opcode == CLOSE
    assert echoed == (TEXT, b"good")


async def test_a_site_that_ends_treats_what_waits_and_says_that_it_goes_away() -> None:
    gate = asyncio.Event()
    treated: list[str] = []
    ends: list[int] = []

    async def wait(baton: Any) -> None:
        await gate.wait()
        treated.append(baton["message"])
        await echo(baton)

    async with talking(wait, on_close=lambda baton: ends.append(baton["code"])) as served:
        client, idle = await served.talk(), await served.talk()
        await client.send(frame(TEXT, b"1") + frame(TEXT, b"2"))
        await until(lambda: served.site.counters.messages_in == 2)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(served.server.drain(10))
            idle_end = await idle.frame()
            gate.set()
            got = [await client.frame() for _ in range(3)]
            for each in (client, idle):
                await each.send(closing(1001))
                assert await each.rest() == b""
                each.close()

    away = (CLOSE, b"\x03\xe9")
    assert idle_end == away
    assert got == [(TEXT, b"1"), (TEXT, b"2"), away]
    assert treated == ["1", "2"]
    assert ends == [1001, 1001]


async def test_a_treatment_that_takes_longer_than_the_drain_is_cut_off() -> None:
    ends: list[str] = []

    async def hang(baton: Any) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ends.append("cancelled")

    async with talking(hang) as served:
        client = await served.talk()
        await client.send(frame(TEXT, b"1"))
        await until(lambda: served.site.counters.messages_in == 1)
        await served.server.drain(0.01)
        closed = await client.closed()
        client.close()
        await until(lambda: ends)

    assert closed == (1001, "")
    assert ends == ["cancelled"]


class TestTime:
    @pytest.fixture
    def anyio_backend(self, movable_loop: tuple[str, dict[str, Any]]) -> tuple[str, dict[str, Any]]:
        return movable_loop

    async def test_a_silent_client_is_pinged_and_one_without_a_pong_is_closed(
        self, clock: Clock
    ) -> None:
        ends: list[int] = []
        async with talking(on_close=lambda baton: ends.append(baton["code"])) as served:
            client = await served.talk()
            await clock.advance(24)
            asked = await client.frame()
            await clock.advance(24)
            opcode, payload = await client.frame()
            await clock.advance(10)
            rest = await client.rest()
            client.close()
            await until(lambda: ends)

        assert asked == (PING, b"")
        assert (opcode, payload) == (CLOSE, b"\x03\xf3no pong")
        assert rest == b""
        assert ends == [1011]

    async def test_a_client_that_answers_pings_is_kept(self, clock: Clock) -> None:
        async with talking() as served:
            client = await served.talk()
            (session,) = served.server.connections
            for _ in range(4):
                await clock.advance(24)
                assert await client.frame() == (PING, b"")
                await client.send(frame(PONG))
                await until(lambda: session._pinged is None)
            await client.send(frame(TEXT, b"a"))
            echoed = await client.frame()
            client.close()

        assert echoed == (TEXT, b"a")

    async def test_pongs_do_not_keep_a_session_that_says_nothing(self, clock: Clock) -> None:
        async with talking(idle_timeout="10s") as served:
            client = await served.talk()
            await clock.advance(14)
            opcode, payload = await client.frame()
            client.close()

        assert (opcode, payload) == (CLOSE, b"\x03\xe9idle")

    async def test_a_message_that_never_becomes_whole_is_given_up(self, clock: Clock) -> None:
        async with talking() as served:
            client = await served.talk()
            await client.send(frame(TEXT, b"a", fin=False))
            (session,) = served.server.connections
            await until(lambda: session._wire.is_amid)
            for _ in range(3):
                await clock.advance(9)
                await client.send(frame(TEXT, b"b", fin=False).replace(b"\x01", b"\0", 1))
            await clock.advance(9)
            frames = [await client.frame()]
            client.close()

        assert frames == [(CLOSE, b"\x03\xf0the message took too long")]
        assert served.site.counters.refused == {"websocket-slow-message": 1}

    async def test_a_message_that_is_not_treated_in_time_ends_the_session(
        self, clock: Clock
    ) -> None:
        came = asyncio.Event()

        async def hang(baton: Any) -> None:
            came.set()
            await asyncio.Event().wait()

        with capture_logs() as logs:
            async with talking(hang, site={"deadline": "3s"}) as served:
                client = await served.talk()
                await client.send(frame(TEXT, b"a"))
                await came.wait()
                await clock.advance(4)
                opcode, payload = await client.frame()
                client.close()

        assert (opcode, payload) == (CLOSE, b"\x03\xf3deadline missed")
        assert served.site.counters.deadlines_missed == 1
        assert [each["event"] for each in logs if each["log_level"] == "warning"] == [
            "deadline missed"
        ]


async def test_a_client_too_slow_for_what_is_sent_to_all_is_closed_and_others_are_not() -> None:
    ends: list[int] = []
    size = 1 << 20
    news = json.dumps({"news": "x" * size})

    async with talking(
        on_open=lambda baton: baton["websocket"].join("all"),
        on_close=lambda baton: ends.append(baton["code"]),
        max_queued=2,
    ) as served:
        slow, quick = await served.talk(), await served.talk()
        await until(lambda: len(served.server.sockets) == 2)
        for _ in range(60):
            served.server.sockets.broadcast(news, "all")
            assert await quick.frame() == (TEXT, news.encode())
        counters = served.site.counters
        before = counters.websockets, dict(counters.refused)
        slow.reset_when_closed()
        slow.close()
        quick.close()

    assert before == (1, {"websocket-slow-reader": 1})
    assert 1013 in ends


async def test_a_client_too_slow_for_what_it_has_sent_to_all_is_closed_as_others_are() -> None:
    ends: list[int] = []
    told: list[int] = []
    size = 1 << 20

    def tell(baton: Any) -> None:
        sockets = baton["websocket"].sockets
        told.extend(sockets.broadcast(b"x" * size) for _ in range(60))

    with capture_logs() as logs:
        async with talking(
            tell, on_close=lambda baton: ends.append(baton["code"]), max_queued=2
        ) as served:
            client = await served.talk()
            await client.send(frame(TEXT, b"a"))
            await until(lambda: served.site.counters.refused)
            client.reset_when_closed()
            client.close()
            await until(lambda: ends)

    assert (told[0], told[-1], len(told)) == (1, 0, 60)
    assert ends == [1013]
    assert "message failed" not in [each["event"] for each in logs]
