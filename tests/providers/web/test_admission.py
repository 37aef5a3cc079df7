from __future__ import annotations

import asyncio
from typing import Any

import pytest

from piped.providers.web import Request
from piped.providers.web.lag import EVERY_S, LagMeter
from tests.conftest import Clock, until
from tests.providers.web.support import request_bytes, serving


@pytest.mark.anyio
async def test_more_requests_than_may_be_in_flight_are_sent_away_at_once() -> None:
    go = asyncio.Event()

    async def pipeline(request: Request) -> None:
        await go.wait()
        request.answer(b"done")

    async with serving(pipeline, max_in_flight=2) as served:
        busy = [await served.connect() for _ in range(2)]
        for each in busy:
            await each.send(request_bytes())
        await until(lambda: len(served.pipeline.seen) == 2)
        late = await served.connect()
        refused = await late.get()
        go.set()
        answers = [await each.answer() for each in busy]
        again = await late.get()
        for each in (*busy, late):
            each.close()

    assert (refused.status, refused.headers.get("connection")) == (503, None)
    assert 1 <= int(refused.headers["retry-after"]) <= 3
    assert [each.body for each in (*answers, again)] == [b"done"] * 3
    assert served.site.counters.refused == {"too-many-in-flight": 1}


@pytest.mark.anyio
async def test_requests_that_wait_for_an_answer_from_elsewhere_are_in_flight() -> None:
    async with serving(lambda request: None, max_in_flight=1) as served:
        first, second = await served.connect(), await served.connect()
        await first.send(request_bytes())
        await until(lambda: served.pipeline.seen)
        refused = await second.get()
        served.pipeline.seen[0].answer(b"done")
        answer = await first.answer()
        in_flight = served.server.admission.in_flight
        first.close()
        second.close()

    assert (refused.status, answer.body, in_flight) == (503, b"done", 0)


@pytest.mark.anyio
async def test_a_client_that_leaves_is_in_flight_no_more() -> None:
    async with serving(lambda request: None, max_in_flight=1) as served:
        client = await served.connect()
        client.reset_when_closed()
        await client.send(request_bytes())
        await until(lambda: served.server.admission.in_flight)
        client.close()
        await until(lambda: not served.server.connections)

    assert served.server.admission.in_flight == 0


@pytest.mark.anyio
async def test_a_site_whose_loop_is_late_sends_requests_away() -> None:
    async with serving() as served:
        meter = served.server.admission._meter
        client = await served.connect()
        meter.is_late = True
        refused = await client.get()
        meter.is_late = False
        answer = await client.get()
        client.close()

    assert (refused.status, answer.status) == (503, 200)
    assert served.site.counters.refused == {"overloaded": 1}


@pytest.mark.anyio
async def test_a_site_has_one_look_at_a_time_how_late_its_loop_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    started: list[LagMeter] = []
    monkeypatch.setattr(LagMeter, "start", lambda meter: started.append(meter))
    async with serving():
        pass

    assert len(started) == 1


class TestLag:
    pytestmark = pytest.mark.anyio

    @pytest.fixture
    def anyio_backend(self, movable_loop: tuple[str, dict[str, Any]]) -> tuple[str, dict[str, Any]]:
        return movable_loop

    async def test_the_loop_is_late_when_it_was_so_twice_in_a_row(self, clock: Clock) -> None:
        found: list[bool] = []
        late_by = 0.0

        def now() -> float:
            return asyncio.get_running_loop().time() + late_by

        meter = LagMeter(0.5, now)
        meter.start()
        try:
            for lag_s in (0.8, 0.0, 0.9, 0.7, 0.6, 0.0):
                late_by += lag_s
                await clock.advance(EVERY_S)
                found.append(meter.is_late)
        finally:
            meter.stop()

        assert found == [False, False, False, True, True, False]
