"""An application of a framework that many build on: routing, middleware, sessions, streams."""

from __future__ import annotations

import asyncio
import contextlib
import json
import zlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import (
    FileResponse,
    JSONResponse,
    PlainTextResponse,
    Response,
    StreamingResponse,
)
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.websockets import WebSocket
from structlog.testing import capture_logs

from tests.conftest import until
from tests.providers.web.asgi.support import mounting
from tests.providers.web.support import request_bytes
from tests.providers.web.websocket.support import PROPOSAL, TEXT, closing, frame

pytestmark = pytest.mark.anyio


class Log(list[str]):
    """What an application has noted."""


class Signature(BaseHTTPMiddleware):
    async def dispatch(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
        response = await call_next(request)
        response.headers["x-signed"] = "yes"
        return response


@contextlib.asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[dict[str, Any]]:
    app.state.log.append("up")
    yield {"stock": 7}
    app.state.log.append("down")


async def where(request: Request) -> Response:
    names = [request.url.path, request.scope["root_path"], str(request.url_for("item", number=3))]
    return JSONResponse([*names, request.path_params, request.state.stock])


async def upload(request: Request) -> Response:
    size = 0
    try:
        async for piece in request.stream():
            size += len(piece)
    except ClientDisconnect:
        request.app.state.log.append("left amid its body")
        raise
    return PlainTextResponse(f"{size}")


async def download(request: Request) -> Response:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(160):
            yield bytes(64 << 10)

    return StreamingResponse(pieces(), media_type="application/octet-stream")


async def later(request: Request) -> Response:
    task = BackgroundTask(request.app.state.log.append, "later")
    return PlainTextResponse("soon", background=task)


async def long(request: Request) -> Response:
    return PlainTextResponse("long " * 1000)


async def broken(request: Request) -> Response:
    raise ValueError("the secret is 42")


async def page(request: Request) -> Response:
    return FileResponse(Path(__file__), media_type="text/x-python")


async def shout(session: WebSocket) -> None:
    await session.accept()
    async for text in session.iter_text():
        await session.send_text(text.upper())
    session.app.state.log.append("session over")


async def locked(session: WebSocket) -> None:
    await session.send_denial_response(PlainTextResponse("locked", status_code=423))


def shop(*middleware: Middleware) -> Starlette:
    app = Starlette(
        routes=[
            Route("/where", where),
            Mount("/items", routes=[Route("/{number:int}", where, name="item")]),
            Route("/upload", upload, methods=["POST"]),
            Route("/download", download),
            Route("/later", later),
            Route("/long", long),
            Route("/broken", broken),
            Route("/page", page),
            Route("/folder/", where),
            WebSocketRoute("/shout", shout),
            WebSocketRoute("/locked", locked),
        ],
        middleware=[*middleware],
        lifespan=lifespan,
    )
    app.state.log = Log()
    return app


@pytest.mark.parametrize(("at", "root"), [("", ""), ("api", "/api")])
async def test_it_finds_its_routes_and_knows_its_own_address(at: str, root: str) -> None:
    app = shop()
    async with mounting(app, at=at) as served:
        client = await served.connect()
        first = json.loads((await client.get(f"{root}/where")).body)
        inner = json.loads((await client.get(f"{root}/items/5?a=1")).body)
        missing = await client.get(f"{root}/nowhere")
        await client.send(request_bytes(f"{root}/where", method="PUT"))
        other = await client.answer()
        folder = await client.get(f"{root}/folder")
        client.close()

    url = f"http://x{root}/items/3"
    assert first == [f"{root}/where", root, url, {}, 7]
    assert inner[0] == f"{root}/items/5"
    assert inner[3:] == [{"number": 5}, 7]
    assert (missing.status, missing.body) == (404, b"Not Found")
    assert (other.status, sorted(other.headers["allow"].split(", "))) == (405, ["GET", "HEAD"])
    assert (folder.status, folder.headers["location"]) == (307, f"http://x{root}/folder/")
    assert app.state.log == ["up", "down"]


async def test_its_middleware_signs_compresses_and_answers_other_origins() -> None:
    cors = Middleware(CORSMiddleware, allow_origins=["https://a.example"])
    app = shop(Middleware(Signature), cors, Middleware(GZipMiddleware))
    async with mounting(app, at="api") as served:
        client = await served.connect()
        got = await client.get("/api/long", "accept-encoding: gzip", "origin: https://a.example")
        asks = ("origin: https://a.example", "access-control-request-method: GET")
        await client.send(request_bytes("/api/long", *asks, method="OPTIONS"))
        asked = await client.answer()
        client.close()

    assert zlib.decompress(got.body, wbits=31) == b"long " * 1000
    assert got.headers["x-signed"] == "yes"
    assert got.headers["access-control-allow-origin"] == "https://a.example"
    assert (asked.status, asked.headers["access-control-allow-methods"]) == (200, "GET")


@pytest.mark.parametrize("middleware", [[], [Middleware(Signature)]])
async def test_ten_mebibytes_go_up_and_down(middleware: list[Middleware]) -> None:
    app = shop(*middleware)
    async with mounting(app, node={"max_body": "10MiB"}) as served:
        client = await served.connect(limit=1 << 20)
        head = b"POST /upload HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
        await client.send(head + (b"10000\r\n" + bytes(1 << 16) + b"\r\n") * 160 + b"0\r\n\r\n")
        up = await client.answer()
        await client.send(request_bytes("/download", "connection: close"))
        down = await client.rest()
        client.close()

    _, _, body = down.partition(b"\r\n\r\n")
    assert up.body == b"%d" % (10 << 20)
    assert body.count(b"\0") == 10 << 20
    assert body.endswith(b"\r\n0\r\n\r\n")


async def test_a_background_task_runs_after_the_answer() -> None:
    app = shop()
    async with mounting(app) as served:
        client = await served.connect()
        got = await client.get("/later")
        client.close()

    assert got.body == b"soon"
    assert app.state.log == ["up", "later", "down"]


async def test_its_own_page_for_an_error_is_sent_and_the_error_is_logged() -> None:
    with capture_logs() as logs:
        async with mounting(shop()) as served:
            client = await served.connect()
            got = await client.get("/broken")
            client.close()

    (line,) = [each for each in logs if each["log_level"] == "error"]
    assert (got.status, got.body) == (500, b"Internal Server Error")
    assert line["error"] == "ValueError: the secret is 42"


async def test_a_file_is_sent_and_found_unchanged_in_part_too() -> None:
    async with mounting(shop()) as served:
        client = await served.connect()
        got = await client.get("/page")
        part = await client.get("/page", "range: bytes=3-7")
        await client.send(request_bytes("/page", method="HEAD"))
        head = await client.answer(is_head=True)
        client.close()

    whole = await asyncio.to_thread(Path(__file__).read_bytes)
    assert (got.status, got.body) == (200, whole)
    assert (part.status, part.body) == (206, whole[3:8])
    assert head.headers["content-length"] == f"{len(whole)}"


async def test_its_websockets_talk_and_end() -> None:
    app = shop()
    async with mounting(app, at="api") as served:
        client = await served.connect()
        opened = await client.open("/api/shout")
        await client.send(frame(TEXT, b"hello"))
        said = await client.frame()
        await client.send(closing(1000))
        code = await client.closed()
        client.close()

    assert (opened.status, said, code) == (101, (TEXT, b"HELLO"), (1000, ""))
    assert app.state.log == ["up", "session over", "down"]


async def test_a_websocket_that_it_knows_not_is_refused() -> None:
    async with mounting(shop()) as served:
        stranger, visitor = await served.connect(), await served.connect()
        unknown = await stranger.open("/nowhere")
        await visitor.send(request_bytes("/locked", *PROPOSAL))
        denied = await visitor.answer()
        stranger.close()
        visitor.close()

    assert unknown.status == 403
    assert (denied.status, denied.body) == (423, b"locked")


@pytest.mark.parametrize("middleware", [[], [Middleware(Signature)]])
async def test_a_client_that_leaves_ends_its_download(middleware: list[Middleware]) -> None:
    with capture_logs() as logs:
        async with mounting(shop(*middleware)) as served:
            client = await served.connect(limit=1 << 10)
            await client.send(request_bytes("/download"))
            await client.reader.readuntil(b"\r\n\r\n")
            (connection,) = served.server.connections
            await until(lambda: connection.is_stalled)
            client.reset_when_closed()
            client.close()
            event = "application failed after its client left"
            await until(lambda: any(each["event"] == event for each in logs))

    assert [each for each in logs if each["log_level"] in ("warning", "error")] == []


async def test_a_client_that_leaves_amid_its_upload_is_noticed() -> None:
    app = shop()
    with capture_logs() as logs:
        async with mounting(app) as served:
            client = await served.connect()
            await client.send(b"POST /upload HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\nabc")
            await until(lambda: served.server.counters.requests)
            client.reset_when_closed()
            client.close()
            await until(lambda: app.state.log[1:])

    assert app.state.log == ["up", "left amid its body", "down"]
    assert [each for each in logs if each["log_level"] in ("warning", "error")] == []
