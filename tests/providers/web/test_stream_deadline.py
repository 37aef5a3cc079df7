from __future__ import annotations

import asyncio
from typing import Any

import pytest
from structlog.testing import capture_logs

from piped.engine.journey import journey_text
from piped.providers.web import Request
from tests.conftest import Clock, until
from tests.providers.web.support import request_bytes, serving

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend(movable_loop: tuple[str, dict[str, Any]]) -> tuple[str, dict[str, Any]]:
    return movable_loop


async def begin_and_wait(request: Request) -> None:
    """Answer with a piece, and never end."""
    request.start(200)
    await request.send(b"abc")
    await asyncio.Event().wait()


PIECE = b"\r\n\r\n3\r\nabc\r\n"


async def test_an_answer_in_pieces_is_cut_off_at_its_deadline(clock: Clock) -> None:
    with capture_logs() as logs:
        async with serving(begin_and_wait, deadline="2s", stream_deadline="10s") as served:
            client = await served.connect()
            await client.send(request_bytes())
            await client.reader.readuntil(PIECE)
            await clock.advance(8)
            early = served.server.admission.in_flight
            await clock.advance(4)
            rest = await client.rest()
            await until(lambda: not served.server._open_tasks)
            client.close()

    [request] = served.pipeline.seen
    assert (early, rest) == (1, b"")
    assert served.site.counters.deadlines_missed == 1
    assert [each for each in logs if each["log_level"] == "warning"] == [
        {
            "event": "stream deadline missed",
            "log_level": "warning",
            "site": "web.site",
            "method": "GET",
            "path": "/",
            "journey": journey_text(request.id),
            "stream_deadline_s": 10.0,
        }
    ]


async def test_without_one_it_may_last_as_long_as_its_client_reads(clock: Clock) -> None:
    async with serving(begin_and_wait, deadline="2s") as served:
        client = await served.connect()
        await client.send(request_bytes())
        await client.reader.readuntil(PIECE)
        await clock.advance(3600)
        is_open = served.server.admission.in_flight
        client.close()
        await until(lambda: not served.server._open_tasks)

    assert is_open == 1
    assert served.site.counters.deadlines_missed == 0


async def test_that_of_a_route_holds_below_it_in_place_of_that_of_the_site(clock: Clock) -> None:
    routing = {
        "__config__": {"no_resource_processor": "pipeline.root"},
        "feeds": {
            "__config__": {"stream_deadline": "100s"},
            "news": {"__config__": {"processor": "pipeline.root"}},
        },
    }

    async with serving(begin_and_wait, routing, stream_deadline="10s") as served:
        clients = [await served.connect() for _ in range(2)]
        for client, target in zip(clients, ("/feeds/news", "/other"), strict=True):
            await client.send(request_bytes(target))
            await client.reader.readuntil(PIECE)
        in_flight: list[int] = []
        for seconds in (12, 90):
            await clock.advance(seconds)
            await until(lambda: served.site.counters.deadlines_missed > len(in_flight))
            in_flight.append(served.server.admission.in_flight)
        for client in clients:
            client.close()

    assert in_flight == [1, 0]


async def test_it_does_not_concern_an_answer_that_has_not_begun(clock: Clock) -> None:
    async with serving(lambda request: None, deadline="20s", stream_deadline="1s") as served:
        client = await served.connect()
        await client.send(request_bytes())
        await until(lambda: served.pipeline.seen)
        await clock.advance(10)
        early = served.site.counters.deadlines_missed
        await clock.advance(12)
        answer = await client.answer()
        client.close()

    assert (early, answer.status) == (0, 504)


async def test_a_client_of_http_1_0_sees_that_the_answer_is_not_whole(clock: Clock) -> None:
    async with serving(begin_and_wait, stream_deadline="1s") as served:
        client = await served.connect()
        await client.send(b"GET / HTTP/1.0\r\n\r\n")
        await client.reader.readuntil(b"\r\n\r\nabc")
        await clock.advance(3)
        with pytest.raises(ConnectionResetError):
            await client.rest()
        client.close()
