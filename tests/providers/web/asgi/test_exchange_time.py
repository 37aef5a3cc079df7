"""What an application has time for: its deadline, and some seconds after its client has left."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from piped.providers.web.asgi.application import LEAVING_S
from tests.conftest import Clock, turn, until
from tests.providers.web.asgi.support import Receive, Scope, Send, http, mounting
from tests.providers.web.support import request_bytes
from tests.providers.web.websocket.support import closing

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend(movable_loop: tuple[str, dict[str, Any]]) -> tuple[str, dict[str, Any]]:
    return movable_loop


class Stubborn:
    """An application that never returns by itself, and tells what becomes of it."""

    def __init__(self, *messages: dict[str, Any]) -> None:
        self.messages = messages
        self.came, self.ended = asyncio.Event(), asyncio.Event()
        self.heard: list[dict[str, Any]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] != "lifespan"
        try:
            for message in self.messages:
                await send(message)
            self.came.set()
            while True:
                self.heard.append(await receive())
                if self.heard[-1]["type"].endswith(".disconnect"):
                    await asyncio.Event().wait()
        finally:
            self.ended.set()


async def test_an_application_that_never_answers_meets_the_deadline_of_its_route(
    clock: Clock,
) -> None:
    app = Stubborn()

    async with mounting(app, node={"deadline": "3s"}) as served:
        client = await served.connect()
        await client.send(request_bytes())
        await app.came.wait()
        await clock.advance(5)
        got = await client.answer()
        await app.ended.wait()
        client.close()

    assert (got.status, json.loads(got.body)["title"]) == (504, "Gateway Timeout")
    assert served.server.counters.deadlines_missed == 1


async def test_an_application_is_cancelled_some_seconds_after_its_client_has_left(
    clock: Clock,
) -> None:
    app = Stubborn()

    async with mounting(app) as served:
        client = await served.connect()
        await client.send(request_bytes())
        await app.came.wait()
        client.reset_when_closed()
        client.close()
        await until(lambda: app.heard[1:])
        await clock.advance(LEAVING_S - 1)
        early = app.ended.is_set()
        await clock.advance(2)
        await app.ended.wait()

    assert (app.heard[-1], early) == ({"type": "http.disconnect"}, False)


async def test_an_application_that_tidies_up_in_time_is_not_cancelled(clock: Clock) -> None:
    went: list[str] = []
    came = asyncio.Event()

    @http
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        came.set()
        await receive()
        await turn(3)
        went.append("tidied up")

    async with mounting(app) as served:
        client = await served.connect()
        await client.send(request_bytes())
        await came.wait()
        client.reset_when_closed()
        client.close()
        await until(lambda: went)
        await clock.advance(LEAVING_S + 1)

    assert went == ["tidied up"]


async def test_a_websocket_that_is_never_accepted_meets_the_deadline(clock: Clock) -> None:
    app = Stubborn()

    async with mounting(app, node={"deadline": "3s"}) as served:
        client = await served.connect()
        opening = asyncio.ensure_future(client.open())
        await app.came.wait()
        await clock.advance(5)
        got = await opening
        await app.ended.wait()
        client.close()

    assert got.status == 504


@pytest.mark.parametrize("is_polite", [True, False])
async def test_the_application_of_a_websocket_has_some_seconds_after_its_client_has_left(
    clock: Clock, is_polite: bool
) -> None:
    app = Stubborn({"type": "websocket.accept"})

    async with mounting(app) as served:
        client = await served.connect()
        await client.open()
        if is_polite:
            await client.send(closing(1000))
            await client.closed()
        client.close()
        await until(lambda: app.heard[1:])
        await clock.advance(LEAVING_S - 1)
        early = app.ended.is_set()
        await clock.advance(2)
        await app.ended.wait()

    code = 1000 if is_polite else 1006
    assert app.heard[-1] == {"type": "websocket.disconnect", "code": code, "reason": ""}
    assert early is False


async def test_a_client_that_does_not_answer_pings_is_disconnected(clock: Clock) -> None:
    app = Stubborn({"type": "websocket.accept"})

    async with mounting(app) as served:
        client = await served.connect()
        await client.open()
        await clock.advance(21)
        await clock.advance(2)
        await clock.advance(21)
        await until(lambda: app.heard[1:])
        await clock.advance(7)  # the client has no part in the end
        client.close()

    assert app.heard[-1] == {"type": "websocket.disconnect", "code": 1011, "reason": "no pong"}
