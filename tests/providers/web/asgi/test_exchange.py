"""Requests and answers of mounted applications."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.conftest import until
from tests.providers.web.asgi.support import (
    START,
    TEXT,
    Receive,
    Scope,
    Send,
    http,
    mounting,
)
from tests.providers.web.support import request_bytes
from tests.providers.web.websocket.support import Talker

pytestmark = pytest.mark.anyio


async def answer(send: Send, *pieces: bytes, headers: Any = (TEXT,), status: int = 200) -> None:
    await send({"type": "http.response.start", "status": status, "headers": [*headers]})
    for piece in pieces[:-1]:
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": pieces[-1]})


async def body_of(receive: Receive) -> bytes:
    body, more = b"", True
    while more:
        message = await receive()
        assert message["type"] == "http.request"
        body += message["body"]
        more = message["more_body"]
    return body


async def chunks(client: Talker) -> bytes:
    """Return the head and the body of an answer in chunks."""
    head = await client.reader.readuntil(b"\r\n\r\n")
    return head + await client.reader.readuntil(b"0\r\n\r\n")


async def test_the_scope_says_all_that_is_known_of_a_request() -> None:
    scopes: list[Scope] = []

    @http
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scopes.append(scope)
        await answer(send, b"")

    async with mounting(app, at="api") as served:
        client = await served.connect()
        await client.get("/api/a%20b?x=%20y", "X-Id: 7", "x-id: 8")
        own = client.writer.get_extra_info("sockname")
        port = served.server.port
        client.close()

    assert scopes == [
        {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "method": "GET",
            "scheme": "http",
            "path": "/api/a b",
            "raw_path": b"/api/a%20b",
            "query_string": b"x=%20y",
            "root_path": "/api",
            "headers": [(b"host", b"x"), (b"x-id", b"7"), (b"x-id", b"8")],
            "client": own,
            "server": ("127.0.0.1", port),
            "state": {},
            "extensions": {},
        }
    ]


@pytest.mark.parametrize(
    ("at", "target", "root_path"),
    [("", "/", ""), ("", "/a/b/", ""), ("api", "/api", "/api"), ("api", "/api/", "/api")],
)
async def test_all_methods_and_all_paths_below_the_route_are_the_applications(
    at: str, target: str, root_path: str
) -> None:
    @http
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        told = [scope["method"], scope["path"], scope["root_path"]]
        await answer(send, json.dumps(told).encode())

    async with mounting(app, at=at) as served:
        client = await served.connect()
        said = []
        for method in ("GET", "DELETE", "OPTIONS", "PROPFIND"):
            await client.send(request_bytes(target, method=method))
            said.append(json.loads((await client.answer()).body))
        client.close()

    methods = ["GET", "DELETE", "OPTIONS", "PROPFIND"]
    assert said == [[method, target, root_path] for method in methods]


async def test_a_proxy_that_is_trusted_says_who_asks_and_how() -> None:
    scopes: list[Scope] = []

    @http
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scopes.append(scope)
        await answer(send, b"")

    async with mounting(app, site={"trusted_proxies": ["127.0.0.1"]}) as served:
        client = await served.connect()
        await client.get("/", "x-forwarded-for: 192.0.2.7", "x-forwarded-proto: https")
        client.close()

    assert [(each["client"], each["scheme"]) for each in scopes] == [(("192.0.2.7", 0), "https")]


async def test_a_whole_answer_has_its_length_and_goes_out_in_one_write() -> None:
    @http
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await answer(send, b"hello", headers=[TEXT, (b"X-One", b"1"), (b"X-One", b"2")])

    async with mounting(app) as served:
        client = await served.connect()
        await client.send(request_bytes())
        head = await client.reader.readuntil(b"\r\n\r\n")
        body = await client.reader.readexactly(5)
        client.close()

    lines = head.decode().split("\r\n")
    assert lines[0] == "HTTP/1.1 200 OK"
    assert lines[2:] == [
        *("content-type: text/plain", "x-one: 1", "x-one: 2", "content-length: 5", "", "")
    ]
    assert body == b"hello"


async def test_no_content_type_is_made_up() -> None:
    @http
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await answer(send, b"hello", headers=())

    async with mounting(app) as served:
        client = await served.connect()
        first, second = await client.get(), await client.get()
        client.close()

    assert first.headers.keys() == {"date", "content-length"}
    assert (first.body, second.body) == (b"hello", b"hello")


async def test_pieces_are_chunked_unless_their_length_is_told() -> None:
    @http
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        told = [(b"content-length", b"6")] if scope["path"] == "/told" else []
        await answer(send, b"one", b"two", headers=[TEXT, *told])

    async with mounting(app) as served:
        client = await served.connect()
        await client.send(request_bytes())
        pieces = await chunks(client)
        told = await client.get("/told")
        client.close()

    assert b"\r\ntransfer-encoding: chunked\r\n" in pieces
    assert pieces.endswith(b"\r\n\r\n3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n")
    assert (told.headers["content-length"], told.body) == ("6", b"onetwo")


async def test_the_head_does_not_wait_for_the_first_piece() -> None:
    go_on = asyncio.Event()

    @http
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(START)
        await go_on.wait()
        await send({"type": "http.response.body", "body": b"late"})

    async with mounting(app) as served:
        client = await served.connect()
        await client.send(request_bytes())
        head = await client.reader.readuntil(b"\r\n\r\n")
        go_on.set()
        body = await client.reader.readuntil(b"0\r\n\r\n")
        client.close()

    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert body == b"4\r\nlate\r\n0\r\n\r\n"


@pytest.mark.parametrize(
    ("method", "status", "headers", "length"),
    [
        ("HEAD", 200, [TEXT, (b"content-length", b"5")], "5"),
        ("HEAD", 200, [TEXT], "5"),
        ("GET", 204, [], None),
        ("GET", 304, [(b"etag", b'"1"')], None),
    ],
)
async def test_answers_without_a_body_have_none(
    method: str, status: int, headers: Any, length: str | None
) -> None:
    @http
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await answer(send, b"hello" if method == "HEAD" else b"", headers=headers, status=status)

    async with mounting(app) as served:
        client = await served.connect()
        for _ in range(2):  # the connection goes on
            await client.send(request_bytes(method=method))
            got = await client.answer(is_head=True)

            assert (got.status, got.headers.get("content-length")) == (status, length)
        client.close()


async def test_what_is_for_the_next_hop_only_is_the_servers_own() -> None:
    hops = [
        *((b"Connection", b"keep-alive, x"), (b"Keep-Alive", b"timeout=9")),
        *((b"Transfer-Encoding", b"chunked"), (b"Upgrade", b"h2c"), (b"Date", b"never")),
        *((b"Trailer", b"x"), (b"Server", b"mine")),
    ]

    @http
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await answer(send, b"hello", headers=[TEXT, *hops])

    async with mounting(app) as served:
        client = await served.connect()
        got = await client.get()
        client.close()

    assert got.headers.keys() == {"date", "content-type", "server", "content-length"}
    assert got.headers["date"] != "never"


async def test_an_application_may_close_the_connection() -> None:
    @http
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await answer(send, b"bye", headers=[TEXT, (b"connection", b"Close")])

    async with mounting(app) as served:
        client = await served.connect()
        got = await client.get()
        rest = await client.rest()
        client.close()

    assert (got.headers["connection"], got.body, rest) == ("close", b"bye", b"")


FAULTS: list[tuple[list[dict[str, Any]], str]] = [
    ([], "the application returned without an answer"),
    ([START], "the application returned before its answer was complete"),
    (
        [{"type": "http.response.body"}],
        "expected 'http.response.start' from the application, got 'http.response.body'",
    ),
    (
        [START, START],
        "expected 'http.response.body' from the application, got 'http.response.start'",
    ),
    ([START, {"type": "http.response.body", "body": "text"}], "expected a body of bytes, got str"),
    (
        [{**START, "headers": [("x", b"y")]}],
        "expected header fields of bytes, got 'x': b'y'",
    ),
    (
        [{**START, "headers": [(b"x", b"a\r\nset-cookie: b")]}],
        "the header 'x' must not have control signs, got 'a\\r\\nset-cookie: b'",
    ),
    ([{**START, "headers": [(b"a b", b"c")]}], "expected the name of a header, got 'a b'"),
    ([{**START, "status": 99}], "expected a status from 200 to 599, got 99"),
    (
        [{**START, "headers": [(b"content-length", b"+5")]}],
        "expected a number as 'content-length', got '+5'",
    ),
    (
        [{**START, "headers": [(b"content-length", b"5"), (b"content-length", b"6")]}],
        "two lengths: 5 and 6",
    ),
    (
        [
            {**START, "headers": [(b"content-length", b"5")]},
            {"type": "http.response.body", "body": b"abc"},
        ],
        "the body has 3 bytes, its 'content-length' is 5",
    ),
]


@pytest.mark.parametrize(("messages", "fault"), FAULTS)
async def test_an_application_that_breaks_the_rules_is_answered_for(
    messages: list[dict[str, Any]], fault: str
) -> None:
    errors: list[str] = []

    @http
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            for message in messages:
                await send(message)
        except Exception as error:
            errors.append(str(error))
            raise

    async with mounting(app) as served:
        client = await served.connect()
        for _ in range(2):
            got = await client.get()

            assert (got.status, json.loads(got.body)["title"]) == (500, "Internal Server Error")
            assert fault not in got.body.decode()
        client.close()

    assert errors in ([fault] * 2, [])


async def test_an_error_before_the_answer_is_a_page_with_the_number_of_the_log() -> None:
    @http
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise KeyError("secret")

    async with mounting(app) as served:
        client = await served.connect()
        got = await client.get()
        client.close()

    page = json.loads(got.body)
    assert (got.status, page["title"], "secret" in got.body.decode()) == (
        500,
        "Internal Server Error",
        False,
    )
    assert page["id"]


@pytest.mark.parametrize("error", [asyncio.CancelledError(), SystemExit(3)])
async def test_an_application_that_gives_up_is_answered_for(error: BaseException) -> None:
    @http
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise error

    with capture_logs() as logs:
        async with mounting(app) as served:
            client = await served.connect()
            got = await client.get()
            client.close()

    (line,) = [each for each in logs if each["event"] == "request failed"]
    fault = f"GaveUp: the application gave up: {type(error).__name__}"
    assert (got.status, line["error"]) == (500, fault)


async def test_errors_of_an_application_are_mapped_as_those_of_a_pipeline() -> None:
    @http
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise ValueError("no number")

    async with mounting(app, node={"errors": {"ValueError": 422}}) as served:
        client = await served.connect()
        got = await client.get()
        client.close()

    assert got.status == 422


async def test_an_error_amid_the_answer_cuts_it_off() -> None:
    @http
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({**START, "headers": [(b"content-length", b"9")]})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        raise KeyError("gone")

    async with mounting(app) as served:
        client = await served.connect()
        await client.send(request_bytes())
        said = await client.rest()
        client.close()

    assert said.endswith(b"\r\n\r\nhalf")


async def test_nothing_can_follow_on_a_complete_answer() -> None:
    errors: list[str] = []

    @http
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await answer(send, b"all")
        try:
            await send({"type": "http.response.body", "body": b"more"})
        except Exception as error:
            errors.append(str(error))

    async with mounting(app) as served:
        client = await served.connect()
        got = await client.get()
        await until(lambda: errors)
        client.close()

    assert got.body == b"all"
    assert errors == ["expected nothing more from the application, got 'http.response.body'"]


async def test_a_body_comes_in_pieces_and_then_the_news_that_all_is_over() -> None:
    seen: list[dict[str, Any]] = []
    over = asyncio.Event()

    @http
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        while not seen or seen[-1]["more_body"]:
            seen.append(await receive())
        await answer(send, b"got it")
        seen.append(await receive())
        over.set()

    async with mounting(app) as served:
        client = await served.connect()
        await client.send(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 6\r\n\r\n")
        await client.send(b"abc")
        await until(lambda: seen)
        await client.send(b"def")
        got = await client.answer()
        await over.wait()
        client.close()

    assert got.body == b"got it"
    assert b"".join(each.get("body", b"") for each in seen) == b"abcdef"
    assert seen[-1] == {"type": "http.disconnect"}


async def test_a_client_that_waits_for_a_word_gets_it_when_the_body_is_asked_for() -> None:
    asked = asyncio.Event()

    @http
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await asked.wait()
        await answer(send, await body_of(receive))

    async with mounting(app) as served:
        client = await served.connect()
        head = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\nexpect: 100-continue\r\n\r\n"
        await client.send(head)
        await until(lambda: served.server.counters.requests)
        assert not client.reader._buffer  # type: ignore[attr-defined] # nothing was said yet
        asked.set()
        word = await client.reader.readuntil(b"\r\n\r\n")
        await client.send(b"abc")
        got = await client.answer()
        client.close()

    assert (word, got.body) == (b"HTTP/1.1 100 Continue\r\n\r\n", b"abc")


async def test_an_answer_before_the_body_needs_no_body() -> None:
    @http
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await answer(send, b"no, thanks", status=403)

    async with mounting(app) as served:
        client = await served.connect()
        await client.send(
            b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\nexpect: 100-continue\r\n\r\n"
        )
        got = await client.answer()
        client.close()

    assert (got.status, got.body) == (403, b"no, thanks")


async def test_what_an_application_does_not_read_of_a_body_is_not_taken_for_a_request() -> None:
    @http
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await answer(send, scope["path"].encode())

    async with mounting(app) as served:
        client = await served.connect()
        body = bytes(300_000)
        head = b"POST /first HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body)
        await client.send(head + body)
        first = await client.answer()
        try:
            await client.send(request_bytes("/second"))
            second = await client.rest()
        except ConnectionError:
            second = b""
        client.close()

    assert first.body == b"/first"
    assert second == b"" or second.endswith(b"/second")


async def test_ten_mebibytes_go_up_and_down() -> None:
    @http
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        body = await body_of(receive)
        size = 100_000
        pieces = [body[at : at + size] for at in range(0, len(body), size)]
        await answer(send, *pieces, headers=[TEXT, (b"content-length", b"%d" % len(body))])

    async with mounting(app, node={"max_body": "10MiB"}) as served:
        client = await served.connect()
        body = bytes(range(256)) * (40 << 10)
        head = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body)
        await client.send(head + body)
        got = await client.answer()
        client.close()

    assert got.body == body


async def test_more_than_the_route_takes_is_refused() -> None:
    @http
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await answer(send, b"%d" % len(await body_of(receive)))

    async with mounting(app, node={"max_body": "10"}) as served:
        client = await served.connect()
        await client.send(request_bytes(method="POST", body="12345678901"))
        got = await client.answer()
        client.close()

    assert got.status == 413


async def test_who_may_ask_and_how_is_said_by_the_route() -> None:
    @http
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await answer(send, b"hello")

    node = {"auth": {"bearer": "s3cret"}, "methods": ["GET"]}
    async with mounting(app, node=node) as served:
        client = await served.connect()
        stranger = await client.get("/below")
        friend = await client.get("/below", "authorization: Bearer s3cret")
        await client.send(
            request_bytes("/", "authorization: Bearer s3cret", method="DELETE"),
        )
        deleting = await client.answer()
        client.close()

    assert [each.status for each in (stranger, friend, deleting)] == [401, 200, 405]
    assert deleting.headers["allow"] == "GET, HEAD, OPTIONS"


async def test_a_client_that_reads_slowly_is_waited_for() -> None:
    sent: list[int] = []

    @http
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(START)
        for _ in range(640):
            await send({"type": "http.response.body", "body": bytes(64 << 10), "more_body": True})
            sent.append(1)
        await send({"type": "http.response.body"})

    async with mounting(app) as served:
        client = await served.connect(limit=1 << 10)
        await client.send(request_bytes())
        await client.reader.readuntil(b"\r\n\r\n")
        (connection,) = served.server.connections
        await until(lambda: connection.is_stalled)
        before = len(sent)
        rest = 0
        while rest < 40 << 20:
            rest += len(await client.reader.read(1 << 20))
        client.close()

    assert before < 640


async def test_a_client_that_leaves_is_told_of_and_what_is_sent_to_it_fails() -> None:
    told: list[dict[str, Any]] = []
    came, failed = asyncio.Event(), asyncio.Event()

    @http
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        came.set()
        told.append(await receive())
        try:
            await send(START)
        except OSError:
            failed.set()

    async with mounting(app) as served:
        client = await served.connect()
        await client.send(request_bytes())
        await came.wait()
        client.reset_when_closed()
        client.close()
        await failed.wait()

    assert told == [{"type": "http.disconnect"}]


async def test_a_client_that_leaves_amid_its_body_is_told_of() -> None:
    told: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    @http
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        while True:
            told.put_nowait(message := await receive())
            if message["type"] == "http.disconnect":
                return

    async with mounting(app) as served:
        client = await served.connect()
        await client.send(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 6\r\n\r\nabc")
        first = await told.get()
        client.reset_when_closed()
        client.close()
        second = await told.get()

    assert first == {"type": "http.request", "body": b"abc", "more_body": True}
    assert second == {"type": "http.disconnect"}
