"""WebSockets of mounted applications."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.conftest import until
from tests.providers.web.asgi.support import Receive, Scope, Send, mounting
from tests.providers.web.support import request_bytes
from tests.providers.web.websocket.support import (
    BINARY,
    CLOSE,
    PROOF,
    PROPOSAL,
    TEXT,
    Talker,
    closing,
    frame,
)

pytestmark = pytest.mark.anyio

ACCEPT = {"type": "websocket.accept"}


def websocket(function: Any) -> Any:
    """Return an application that treats WebSockets only, after the first message."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "websocket"
        assert await receive() == {"type": "websocket.connect"}
        await function(scope, receive, send)

    return app


@websocket
async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    await send(ACCEPT)
    while (message := await receive())["type"] == "websocket.receive":
        await send({**message, "type": "websocket.send"})


async def test_a_websocket_is_proposed_with_all_that_is_known_of_it() -> None:
    scopes: list[Scope] = []

    @websocket
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scopes.append(scope)
        headers = [(b"X-Server", b"1"), (b"sec-websocket-extensions", b"x"), (b"date", b"x")]
        await send({**ACCEPT, "subprotocol": "chat", "headers": headers})

    async with mounting(app, at="ws") as served:
        client = await served.connect()
        got = await client.open("/ws/room?a=1", "sec-websocket-protocol: chat, game")
        await client.send(closing(1000))
        code = await client.closed()
        client.close()

    (scope,) = scopes
    assert scope["type"] == "websocket"
    assert scope["scheme"] == "ws"
    assert (scope["path"], scope["root_path"]) == ("/ws/room", "/ws")
    assert scope["query_string"] == b"a=1"
    assert scope["subprotocols"] == ["chat", "game"]
    assert scope["extensions"] == {"websocket.http.response": {}}
    assert (b"sec-websocket-version", b"13") in scope["headers"]
    assert "method" not in scope
    assert (got.status, got.headers["sec-websocket-accept"]) == (101, PROOF)
    assert (got.headers["sec-websocket-protocol"], got.headers["x-server"]) == ("chat", "1")
    assert "sec-websocket-extensions" not in got.headers
    assert code == (1000, "")


async def test_messages_go_in_both_directions() -> None:
    async with mounting(echo) as served:
        client = await served.connect()
        await client.open()
        said = []
        for opcode, payload in ((TEXT, "grüß".encode()), (BINARY, b"\0\1"), (TEXT, b"")):
            await client.send(frame(opcode, payload))
            said.append(await client.frame())
        counted = served.server.counters
        client.close()

    assert said == [(TEXT, "grüß".encode()), (BINARY, b"\0\1"), (TEXT, b"")]
    assert (counted.messages_in, counted.messages_out) == (3, 3)


async def test_the_end_of_the_client_has_its_code_and_its_reason() -> None:
    heard: list[dict[str, Any]] = []

    @websocket
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(ACCEPT)
        heard.append(await receive())
        heard.append(await receive())

    async with mounting(app) as served:
        client = await served.connect()
        await client.open()
        await client.send(closing(4001, "enough"))
        code = await client.closed()
        await until(lambda: heard[1:])
        client.close()

    end = {"type": "websocket.disconnect", "code": 4001, "reason": "enough"}
    assert heard == [end, end]
    assert code == (4001, "")


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ({}, (1000, "")),
        ({"code": 4002, "reason": "enough"}, (4002, "enough")),
        ({"code": 1013, "reason": None}, (1013, "")),
    ],
)
async def test_an_application_ends_it_with_a_code(
    message: dict[str, Any], code: tuple[int, str]
) -> None:
    errors: list[str] = []

    @websocket
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(ACCEPT)
        await send({"type": "websocket.close", **message})
        for kind in ("websocket.send", "websocket.close"):
            try:
                await send({"type": kind, "text": "more"})
            except Exception as error:
                errors.append(str(error))

    async with mounting(app) as served:
        client = await served.connect()
        await client.open()
        await client.send(closing(1000))
        got = await client.closed()
        await until(lambda: errors[1:])
        client.close()

    assert got == code
    assert errors == [
        f"expected nothing more from the application, got '{kind}'"
        for kind in ("websocket.send", "websocket.close")
    ]


async def test_one_that_is_refused_is_403() -> None:
    heard: list[dict[str, Any]] = []

    @websocket
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "websocket.close"})
        heard.append(await receive())

    async with mounting(app) as served:
        client = await served.connect()
        got = await client.open()
        await until(lambda: heard)
        client.close()

    assert (got.status, json.loads(got.body)["title"]) == (403, "Forbidden")
    assert heard == [{"type": "websocket.disconnect", "code": 1006, "reason": ""}]


async def test_one_may_be_refused_with_an_answer_of_its_own() -> None:
    @websocket
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        kind = "websocket.http.response"
        headers = [(b"content-type", b"text/plain")]
        await send({"type": f"{kind}.start", "status": 401, "headers": headers})
        await send({"type": f"{kind}.body", "body": b"who ", "more_body": True})
        await send({"type": f"{kind}.body", "body": b"are you?"})

    async with mounting(app) as served:
        client = await served.connect()
        await client.send(request_bytes("/", *PROPOSAL))
        said = await client.rest()
        client.close()

    head, _, body = said.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 401 Unauthorized\r\n")
    assert body == b"4\r\nwho \r\n8\r\nare you?\r\n0\r\n\r\n"


FAULTS: list[tuple[list[dict[str, Any]], str]] = [
    ([], "the application returned without an answer"),
    (
        [{"type": "websocket.send", "text": "a"}],
        "expected 'websocket.accept' from the application, got 'websocket.send'",
    ),
    (
        [{**ACCEPT, "subprotocol": "a\r\nb"}],
        "expected a subprotocol that the client has proposed, got 'a\\r\\nb'",
    ),
    (
        [{**ACCEPT, "subprotocol": "chat"}],
        "expected a subprotocol that the client has proposed, got 'chat'",
    ),
    (
        [{**ACCEPT, "headers": [(b"x", b"a\r\nb: c")]}],
        "the header 'x' must not have control signs, got 'a\\r\\nb: c'",
    ),
]


@pytest.mark.parametrize(("messages", "fault"), FAULTS)
async def test_an_application_that_breaks_the_rules_is_500(
    messages: list[dict[str, Any]], fault: str
) -> None:
    @websocket
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for message in messages:
            await send(message)

    with capture_logs() as logs:
        async with mounting(app) as served:
            client = await served.connect()
            got = await client.open()
            client.close()

    (line,) = [each for each in logs if each["event"] == "request failed"]
    assert got.status == 500
    assert line["error"].partition(": ")[2] == fault


@pytest.mark.parametrize(
    ("message", "fault"),
    [
        (
            {"type": "websocket.accept"},
            "ApplicationError: expected 'websocket.send' from the application,"
            " got 'websocket.accept'",
        ),
        (
            {"type": "websocket.send"},
            "ApplicationError: expected text or bytes to send, got NoneType",
        ),
        (
            {"type": "websocket.close", "code": 1005},
            "BatonError: expected a code such as 1000, or from 3000 to 4999, got 1005",
        ),
    ],
)
async def test_an_error_ends_it_and_tells_the_client_only_a_number(
    message: dict[str, Any], fault: str
) -> None:
    @websocket
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(ACCEPT)
        await send(message)

    with capture_logs() as logs:
        async with mounting(app) as served:
            client = await served.connect()
            await client.open()
            await client.send(closing(1011))
            code, reason = await client.closed()
            client.close()

    (line,) = [each for each in logs if each["event"] == "application failed"]
    assert (code, reason) == (1011, f"error {line['session']}")
    assert line["error"] == fault


@pytest.mark.parametrize("error", [asyncio.CancelledError(), SystemExit(3)])
async def test_an_application_that_gives_up_leaves_no_session_open(error: BaseException) -> None:
    @websocket
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(ACCEPT)
        raise error

    with capture_logs() as logs:
        async with mounting(app) as served:
            client = await served.connect()
            await client.open()
            await client.send(closing(1011))
            code, _ = await client.closed()
            client.close()

    (line,) = [each for each in logs if each["event"] == "application failed"]
    fault = f"GaveUp: the application gave up: {type(error).__name__}"
    assert (code, line["error"]) == (1011, fault)


async def test_what_is_sent_to_a_client_that_has_left_fails() -> None:
    errors: list[OSError] = []

    @websocket
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(ACCEPT)
        await receive()
        for message in ({"type": "websocket.send", "text": "a"}, {"type": "websocket.close"}):
            try:
                await send(message)
            except OSError as error:
                errors.append(error)

    async with mounting(app) as served:
        client = await served.connect()
        await client.open()
        client.close()
        await until(lambda: errors[1:])

    assert [str(each).partition(" (")[2] for each in errors] == ["code 1006)", "code 1006)"]


async def test_a_client_that_leaves_before_it_is_accepted_is_told_of() -> None:
    heard: list[dict[str, Any]] = []
    came = asyncio.Event()

    @websocket
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        came.set()
        heard.append(await receive())

    async with mounting(app) as served:
        client = await served.connect()
        await client.send(request_bytes("/", *PROPOSAL))
        await came.wait()
        client.reset_when_closed()
        client.close()
        await until(lambda: heard)

    assert heard == [{"type": "websocket.disconnect", "code": 1006, "reason": ""}]


async def test_a_message_is_no_larger_than_the_mount_takes() -> None:
    async with mounting(echo, asgi={"app": "shop:app", "max_message": "10"}) as served:
        client = await served.connect()
        await client.open()
        await client.send(frame(TEXT, b"12345678901"))
        code = await client.closed()
        client.close()

    assert code == (1009, "more than 10 bytes")


async def test_a_proposal_that_is_malformed_does_not_reach_the_application() -> None:
    async with mounting(echo) as served:
        client = await served.connect()
        fields = [each for each in PROPOSAL if "key" not in each]
        await client.send(request_bytes("/", *fields))
        got = await client.answer()
        client.close()

    assert got.status == 400


async def test_who_may_open_one_is_said_by_the_route() -> None:
    async with mounting(echo, node={"auth": {"bearer": "s3cret"}}) as served:
        stranger, friend = await served.connect(), await served.connect()
        refused = await stranger.open()
        opened = await friend.open("/", "authorization: Bearer s3cret")
        stranger.close()
        friend.close()

    assert (refused.status, opened.status) == (401, 101)


async def test_open_websockets_are_no_requests_in_flight() -> None:
    async with mounting(echo, site={"max_in_flight": 2}) as served:
        clients = [await served.connect() for _ in range(4)]
        statuses = [(await each.open()).status for each in clients]
        for each in clients:
            await each.send(closing(1000))
            await each.closed()
            each.close()

    assert statuses == [101] * 4


async def hang_up(client: Talker, ending: asyncio.Future[tuple[int, bytes]]) -> None:
    await ending
    await client.send(closing(1001))
    await client.rest()


async def test_the_end_of_the_site_is_told_to_both_sides() -> None:
    heard: list[dict[str, Any]] = []

    @websocket
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(ACCEPT)
        heard.append(await receive())

    async with mounting(app) as served:
        client = await served.connect()
        await client.open()
        ending = asyncio.ensure_future(client.frame())
        hanging_up = asyncio.ensure_future(hang_up(client, ending))
    end = await ending
    await hanging_up
    client.close()

    assert end == (CLOSE, b"\x03\xe9")
    assert heard == [{"type": "websocket.disconnect", "code": 1001, "reason": ""}]
