from __future__ import annotations

import asyncio
from typing import Any

import pytest
from structlog.testing import capture_logs

from piped.providers.web import Request
from tests.conftest import until
from tests.providers.web.support import (
    Client,
    request_bytes,
    serving,
)


@pytest.mark.anyio
async def test_a_port_is_open_on_this_machine_in_both_families() -> None:
    with capture_logs() as logs:
        async with serving() as served:
            port = served.server.port
            answers = []
            for host in ("127.0.0.1", "::1"):
                client = Client(*await asyncio.open_connection(host, port))
                answers.append(await client.get())
                client.close()

    assert [each.status for each in answers] == [200, 200]
    assert served.server.url == f"http://127.0.0.1:{port}/"
    assert repr(served.server) == f"<Server web.site http://127.0.0.1:{port}/>"
    assert [(each["event"], each["url"]) for each in logs if each["log_level"] == "info"] == [
        ("listening", served.server.url)
    ]
    assert not [each for each in logs if each["log_level"] == "warning"]


@pytest.mark.anyio
async def test_listening_beyond_this_machine_is_warned_of() -> None:
    with capture_logs() as logs:
        async with serving(listen=["0.0.0.0:0", "127.0.0.1:0"]) as served:
            pass

    (line,) = [each for each in logs if each["log_level"] == "warning"]
    assert line["event"] == "listening beyond this machine"
    assert line["address"] == f"0.0.0.0:{served.server.port}"


@pytest.mark.anyio
async def test_leaving_waits_for_open_requests_and_those_on_their_way() -> None:
    go = asyncio.Event()
    left = asyncio.Event()

    async def pipeline(request: Request) -> None:
        if request.path == "/slow":
            await go.wait()
        request.answer(b"done")

    async def run(started: asyncio.Future[Any]) -> None:
        async with serving(
            pipeline, {"__config__": {"no_resource_processor": "pipeline.root"}}
        ) as served:
            started.set_result(served)
            await left.wait()

    started: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(run(started))
    served = await started
    idle, busy, unheard = [await served.connect() for _ in range(3)]
    await idle.get()
    await busy.send(request_bytes("/slow"))
    await until(lambda: len(served.pipeline.seen) == 2)

    left.set()
    await until(lambda: served.server.is_draining)
    with pytest.raises(OSError, match=r"refused|failed|Connect"):
        await served.connect()
    last = [await idle.get(), await unheard.get()]
    is_waiting = not task.done()
    go.set()
    answer = await busy.answer()
    await task
    for each in (idle, busy, unheard):
        each.close()

    assert is_waiting
    assert [(each.status, each.headers["connection"]) for each in last] == [(200, "close")] * 2
    assert (answer.body, answer.headers["connection"]) == (b"done", "close")


@pytest.mark.anyio
async def test_requests_that_wait_on_a_connection_are_answered_before_the_end() -> None:
    async def pipeline(request: Request) -> None:
        await until(lambda: served.server.is_draining)
        request.answer(b"x")

    async with serving(pipeline) as served:
        client = await served.connect()
        await client.send(request_bytes() * 3)
        await until(lambda: served.pipeline.seen)
    answers = [await client.answer() for _ in range(3)]
    rest = await client.rest()
    client.close()

    assert [each.headers.get("connection") for each in answers] == [None, None, "close"]
    assert rest == b""


@pytest.mark.anyio
async def test_what_is_open_when_the_drain_is_over_gets_503() -> None:
    cancelled: list[str] = []

    async def pipeline(request: Request) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.append(request.path)

    with capture_logs() as logs:
        async with serving(pipeline, drain_s=0.05) as served:
            client, half = await served.connect(), await served.connect()
            await client.send(request_bytes())
            await half.send(b"GET / HT")
            await until(lambda: served.pipeline.seen)
    answer = await client.answer()
    rests = [await client.rest(), await half.rest()]
    client.close()
    half.close()

    assert (answer.status, rests) == (503, [b"", b""])
    assert cancelled == ["/"]
    assert "drain took too long" in [each["event"] for each in logs]
    assert not served.server.connections


@pytest.mark.anyio
async def test_a_site_that_is_cancelled_ends_at_once() -> None:
    cancelled: list[bool] = []

    async def pipeline(request: Request) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.append(True)

    async def run(started: asyncio.Future[Any]) -> None:
        async with serving(pipeline) as served:
            started.set_result(served)
            await asyncio.Event().wait()

    started: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(run(started))
    served = await started
    client = await served.connect()
    await client.send(request_bytes())
    await until(lambda: served.pipeline.seen)

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    client.writer.transport.abort()

    assert cancelled == [True]
