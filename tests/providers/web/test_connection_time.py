from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs

from piped.engine.journey import journey_text
from piped.observe.logs import add_journey
from piped.providers.web import Request
from piped.providers.web.connection import Connection
from tests.conftest import Clock, until
from tests.providers.web.support import request_bytes, serving

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend(movable_loop: tuple[str, dict[str, Any]]) -> tuple[str, dict[str, Any]]:
    return movable_loop


async def test_half_a_head_is_given_ten_seconds(clock: Clock) -> None:
    async with serving() as served:
        client = await served.connect()
        await client.send(b"GET / HTT")
        await until(lambda: any(each.receiver.phase for each in served.server.connections))
        await clock.advance(8)
        await client.send(b"P/1.1\r\nx")
        still_open = len(served.server.connections)
        await clock.advance(4)
        answer = await client.answer()
        rest = await client.rest()
        client.close()

    assert still_open == 1
    assert (answer.status, answer.headers["connection"], rest) == (408, "close", b"")
    assert served.site.counters.refused == {"slow-header": 1}


async def test_a_silent_connection_is_closed_without_a_word(clock: Clock) -> None:
    async with serving() as served:
        client = await served.connect()
        await until(lambda: served.server.connections)
        await clock.advance(12)
        rest = await client.rest()
        client.close()

    assert rest == b""


async def test_a_new_connection_may_be_silent_for_five_seconds(clock: Clock) -> None:
    async with serving() as served:
        client = await served.connect()
        await until(lambda: served.server.connections)
        await clock.advance(4)
        early = len(served.server.connections)
        await clock.advance(3)
        rest = await client.rest()
        client.close()

    assert (early, rest) == (1, b"")


async def test_a_body_is_given_five_seconds_and_more_for_what_it_brings(clock: Clock) -> None:
    async with serving() as served:
        client = await served.connect()
        await client.send(request_bytes("/", "content-length: 9000", method="POST") + b"abc")
        await until(lambda: any(each.receiver.phase == 2 for each in served.server.connections))
        await clock.advance(4)
        await client.send(bytes(5000))
        await until(lambda: any(each.receiver.unparsed for each in served.server.connections))
        await clock.advance(8)
        early = len(served.server.connections)
        await clock.advance(6)
        answer = await client.answer()
        rest = await client.rest()
        client.close()

    assert (early, answer.status, rest) == (1, 408, b"")
    assert served.pipeline.seen == []
    assert served.site.counters.refused == {"slow-body": 1}


async def test_a_body_is_given_thirty_seconds_however_fast_it_is(clock: Clock) -> None:
    async with serving() as served:
        client = await served.connect()
        await client.send(request_bytes("/", "content-length: 90000", method="POST") + b"abc")
        await until(lambda: any(each.receiver.phase == 2 for each in served.server.connections))
        await client.send(bytes(60_000))
        await until(
            lambda: any(each.receiver.unparsed >= 60_000 for each in served.server.connections)
        )
        await clock.advance(6)
        await clock.advance(20)
        early = len(served.server.connections)
        await clock.advance(6)
        answer = await client.answer()
        client.close()

    assert (early, answer.status) == (1, 408)


async def test_a_body_that_may_take_two_seconds_is_not_given_five(clock: Clock) -> None:
    async with serving(body_timeout=2.0) as served:
        client = await served.connect()
        await client.send(request_bytes("/", "content-length: 9000", method="POST") + b"abc")
        await until(lambda: any(each.receiver.phase == 2 for each in served.server.connections))
        await clock.advance(1)
        early = len(served.server.connections)
        await clock.advance(3)
        answer = await client.answer()
        client.close()

    assert (early, answer.status) == (1, 408)


async def test_a_connection_is_closed_after_so_many_requests() -> None:
    async with serving(max_requests=3) as served:
        client = await served.connect()
        answers = [await client.get() for _ in range(3)]
        rest = await client.rest()
        client.close()

    assert [each.headers.get("connection") for each in answers] == [None, None, "close"]
    assert rest == b""


async def test_an_idle_connection_is_closed(clock: Clock) -> None:
    async with serving() as served:
        client = await served.connect()
        await client.get()
        await clock.advance(3)
        await client.get()
        await clock.advance(3)
        again = await client.get()
        await clock.advance(6)
        rest = await client.rest()
        client.close()

    assert (again.status, rest) == (200, b"")


async def test_no_answer_by_the_deadline_is_504(clock: Clock) -> None:
    cancelled = asyncio.Event()

    async def pipeline(request: Request) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    async with serving(pipeline) as served:
        client = await served.connect()
        with capture_logs() as logs:
            structlog.get_config()["processors"].insert(0, add_journey)
            await client.send(request_bytes("/?n=1"))
            await until(lambda: served.pipeline.seen)
            await clock.advance(25)
            early = served.pipeline.seen[0].is_finished
            await clock.advance(7)
            answer = await client.answer()
            await cancelled.wait()
        late = served.pipeline.seen[0].answer(b"late")
        client.close()

    (line,) = [each for each in logs if each["event"] == "deadline missed"]
    assert (answer.status, early, late) == (504, False, False)
    assert line["log_level"] == "warning"
    number = journey_text(served.pipeline.seen[0].id)
    assert (line["journey"], line["deadline_s"]) == (number, 30.0)
    assert json.loads(answer.body) == {"status": 504, "title": "Gateway Timeout", "id": number}
    assert served.site.counters.deadlines_missed == 1
    assert served.site.counters.second_answers == 1


async def test_a_request_that_nobody_answers_is_504_too(clock: Clock) -> None:
    async with serving(lambda request: None, deadline="250ms") as served:
        client = await served.connect()
        await client.send(request_bytes() * 2)
        await until(lambda: served.pipeline.seen)
        await clock.advance(0.5)
        first = await client.answer()
        await until(lambda: len(served.pipeline.seen) == 2)
        await clock.advance(0.5)
        second = await client.answer()
        client.close()

    assert (first.status, second.status) == (504, 504)


async def test_a_route_may_have_its_own_deadline(clock: Clock) -> None:
    routing = {
        "__config__": {"processor": "pipeline.root"},
        "fast": {
            "__config__": {"deadline": "2s"},
            "a": {"__config__": {"processor": "pipeline.root"}},
        },
    }
    async with serving(lambda request: None, routing) as served:
        fast, slow = await served.connect(), await served.connect()
        await fast.send(request_bytes("/fast/a"))
        await slow.send(request_bytes())
        await until(lambda: len(served.pipeline.seen) == 2)
        await clock.advance(3)
        answer = await fast.answer()
        slow_is_finished = [each.is_finished for each in served.pipeline.seen if each.path == "/"]
        served.pipeline.seen[0].finish()
        served.pipeline.seen[1].finish()
        fast.close()
        slow.close()

    assert (answer.status, slow_is_finished) == (504, [False])


async def test_a_reader_that_stalls_is_reset(clock: Clock) -> None:
    async with serving(lambda request: request.answer(bytes(8 << 20))) as served:
        client = await served.connect(limit=1024)
        await client.send(request_bytes())
        await until(lambda: any(each.is_stalled for each in served.server.connections))
        await clock.advance(32)  # the system took some of it
        await clock.advance(32)
        await until(lambda: not served.server.connections)
        client.writer.transport.abort()

    assert served.site.counters.refused == {"slow-reader": 1}


async def test_a_slow_reader_that_makes_progress_is_kept(clock: Clock) -> None:
    async with serving(lambda request: request.answer(bytes(32 << 20))) as served:
        client = await served.connect(limit=1 << 16)
        await client.send(request_bytes())
        await until(lambda: any(each.is_stalled for each in served.server.connections))
        await clock.advance(20)
        await client.reader.readexactly(16 << 20)
        await clock.advance(12)
        await clock.advance(20)
        kept = len(served.server.connections)
        client.writer.transport.abort()

    assert kept == 1


async def test_a_reader_that_stalls_on_its_last_answer_is_reset(clock: Clock) -> None:
    async with serving(lambda request: request.answer(bytes(8 << 20))) as served:
        client = await served.connect(limit=1024)
        await client.send(request_bytes("/", "connection: close"))
        await until(lambda: served.pipeline.seen)
        await clock.advance(32)  # the system took some of it
        await clock.advance(32)
        await until(lambda: not served.server.connections)
        client.writer.transport.abort()

    assert served.site.counters.refused == {"slow-reader": 1}


async def test_a_refused_client_that_goes_on_sending_is_cut_off(clock: Clock) -> None:
    async with serving() as served:
        client = await served.connect()
        await client.send(b"nonsense\r\n\r\n")
        answer = await client.answer()
        await client.send(bytes(1 << 16))
        lingering = len(served.server.connections)
        await clock.advance(4)
        await until(lambda: not served.server.connections)
        client.close()

    assert (answer.status, lingering) == (400, 1)


async def test_a_slow_head_behind_an_open_request_waits_for_its_turn(clock: Clock) -> None:
    async with serving(lambda request: None) as served:
        client = await served.connect()
        await client.send(request_bytes() + b"GET / HTTP/1.1\r\nhos")
        await until(lambda: served.pipeline.seen)
        await clock.advance(12)
        served.pipeline.seen[0].answer(b"first")
        first = await client.answer()
        second = await client.answer()
        client.close()

    assert (first.body, second.status) == (b"first", 408)


async def test_the_date_follows_the_clock(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving() as served:
        client = await served.connect()
        monkeypatch.setattr(
            "piped.providers.web.server.date_line", lambda: b"date: some other day\r\n"
        )
        await clock.advance(2)
        answer = await client.get()
        client.close()

    assert answer.headers["date"] == "some other day"


async def test_a_client_that_ends_its_half_and_does_not_read_is_reset(clock: Clock) -> None:
    async with serving(lambda request: request.answer(bytes(8 << 20))) as served:
        client = await served.connect(limit=1024)
        await client.send(request_bytes())
        client.writer.write_eof()
        await until(lambda: served.pipeline.seen)
        await clock.advance(32)
        await clock.advance(32)
        await until(lambda: not served.server.connections)
        client.writer.transport.abort()

    assert served.site.counters.refused == {"slow-reader": 1}


async def test_a_client_that_left_cancels_the_pipeline_a_little_later(clock: Clock) -> None:
    cancelled = asyncio.Event()

    async def pipeline(request: Request) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    async with serving(pipeline) as served:
        client = await served.connect()
        await client.send(request_bytes())
        await until(lambda: served.pipeline.seen)
        client.close()
        await until(lambda: all(each.is_ending for each in served.server.connections))
        was_cancelled = cancelled.is_set()
        await clock.advance(6)
        await asyncio.wait_for(cancelled.wait(), 5)

    (request,) = served.pipeline.seen
    assert not was_cancelled
    assert request.is_disconnected
    assert served.site.counters.clients_left == 1


@pytest.mark.parametrize(("requests", "pause_s"), [(0, 6), (1, 18)])
async def test_empty_lines_do_not_keep_a_connection(
    clock: Clock, requests: int, pause_s: int
) -> None:
    async with serving() as served:
        client = await served.connect()
        for _ in range(requests):
            await client.get()
        await until(lambda: served.server.connections)
        for _ in range(2):
            await client.send(b"\r\n")
            await clock.advance(pause_s)
        await until(lambda: not served.server.connections)
        rest = await client.rest()
        client.close()

    assert rest == b""


async def test_a_request_that_came_while_we_were_suspended_is_answered(clock: Clock) -> None:
    async with serving() as served:
        client = await served.connect()
        await client.get()
        await clock.advance(40, turns=0)
        client.writer.write(request_bytes())
        served.server._tick()  # as uvloop does: timers first, what came meanwhile after them
        answer = await client.answer()
        client.close()

    assert answer.status == 200


async def test_the_clock_goes_on_after_an_error(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    errors: list[Any] = []
    expire = Connection.expire

    def fail_once(connection: Connection, now: float) -> None:
        monkeypatch.setattr(Connection, "expire", expire)
        raise RuntimeError("a bug")

    async with serving() as served:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: errors.append(context["exception"]))
        client = await served.connect()
        await until(lambda: served.server.connections)
        monkeypatch.setattr(Connection, "expire", fail_once)
        await clock.advance(2)
        await until(lambda: errors)
        await clock.advance(12)
        rest = await client.rest()
        client.close()

    assert [str(each) for each in errors] == ["a bug"]
    assert rest == b""


async def test_an_idle_connection_is_closed_a_second_after_the_site(clock: Clock) -> None:
    async with serving() as served:
        client = await served.connect()
        await client.get()
        drain = asyncio.ensure_future(served.server.drain(30))
        await until(lambda: served.server.is_draining)
        kept = len(served.server.connections)
        await clock.advance(1.1)
        rest = await client.rest()
        await drain
        client.close()

    assert (kept, rest) == (1, b"")


async def test_a_client_that_ended_its_half_is_let_go_after_its_pieces() -> None:
    is_ended = asyncio.Event()

    async def halfway(request: Request) -> None:
        request.start()
        await request.send(b"half")
        await is_ended.wait()
        request.finish()

    async with serving(halfway) as served:
        served.server.limits = replace(served.server.limits, owed_s=3600.0)
        client = await served.connect()
        await client.send(request_bytes())
        await client.reader.readuntil(b"half\r\n")
        client.writer.write_eof()
        await until(lambda: all(each.is_ending for each in served.server.connections))
        is_ended.set()
        rest = await client.rest()
        client.close()

    assert rest == b"0\r\n\r\n"


async def test_a_slow_reader_may_ask_again_when_it_has_read(clock: Clock) -> None:
    async with serving(lambda request: request.answer(bytes(32 << 20))) as served:
        client = await served.connect(limit=1 << 16)
        await client.send(request_bytes())
        await until(lambda: any(each.is_stalled for each in served.server.connections))
        await clock.advance(8)
        first = await client.answer()
        second = await client.get()
        client.close()

    assert (len(first.body), len(second.body)) == (32 << 20, 32 << 20)
