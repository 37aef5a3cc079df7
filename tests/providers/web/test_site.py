from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest
from structlog.testing import capture_logs

from piped.errors import Misconfigured
from piped.providers.web import Request, Web
from piped.providers.web.listening import Address, read_address
from piped.spec import Decoder, spec_of
from tests.providers.web.support import (
    Client,
    make_site,
    node_of,
    problems_of,
    request_bytes,
    serving,
    until,
)

ROUTING = {"__config__": {"processor": "pipeline.a"}}


def test_sites_that_are_enabled_are_units_with_their_names() -> None:
    spec = spec_of(Web)
    assert spec is not None
    sites = {
        "one": {"routing": ROUTING},
        "off": {"routing": ROUTING, "enabled": False},
        "two": {"routing": ROUTING, "port": 8081},
    }

    web = Decoder().section(spec, node_of(sites), "web")

    units = list(web.units())
    assert [each.label for each in units] == ["web.one", "web.two"]
    assert [list(each.offers()) for each in units] == [["web.one"], ["web.two"]]
    assert all(each.feeds() and each.is_edge and each.essential for each in units)
    assert not web.sites["off"].feeds()


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("0.0.0.0:8080", "0.0.0.0:8080"),
        ("[::1]:80", "[::1]:80"),
        ("example.org:80", "example.org:80"),
        ("tcp:8080:interface=127.0.0.1", "127.0.0.1:8080"),
        ("tcp:8080", "0.0.0.0:8080"),
        ("tcp6:8080", "[::]:8080"),
        ("tcp6:8080:interface=\\:\\:1", "[::1]:8080"),
    ],
)
def test_addresses_are_written_in_several_ways(text: str, address: str) -> None:
    assert [str(each) for each in read_address(text)] == [address]


def test_localhost_is_both_kinds_of_loopback() -> None:
    assert read_address("localhost:80") == [
        Address("127.0.0.1", 80),
        Address("::1", 80, is_optional=True),
    ]


@pytest.mark.parametrize(
    ("site", "problem"),
    [
        (
            {},
            "web.site: missing-parameter: Site needs the parameter 'routing'"
            " (add routing: mapping)",
        ),
        (
            {"routing": {}, "listen": ":8080"},
            "web.site: wrong-value: listen: expected a host before the port, got ':8080':"
            " all are 0.0.0.0:8080",
        ),
        (
            {"routing": {}, "listen": ["ssl:8080:x"]},
            "web.site: wrong-value: listen: expected an address such as 0.0.0.0:8080 or"
            " [::1]:8080, got 'ssl:8080:x'",
        ),
        (
            {"routing": {}, "listen": "a:99999"},
            "web.site: wrong-value: listen: expected a port up to 65535, got 'a:99999'",
        ),
        (
            {"routing": {}, "port": 65536},
            "web.site.port: wrong-value: expected int <= 65535, got 65536",
        ),
        (
            {"routing": {}, "errors": {"Nope": 400}},
            "web.site: unknown-exception: errors: no module 'Nope'",
        ),
        (
            {"routing": {}, "log_exceptions": "loud"},
            "web.site.log_exceptions: wrong-value: expected 'debug' or 'info' or 'warning' or"
            " 'warn' or 'error' or 'critical' or null, got 'loud'",
        ),
    ],
)
def test_what_is_wrong_with_a_site_is_said(site: dict[str, Any], problem: str) -> None:
    assert problems_of(**site) == [problem]


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
async def test_a_machine_without_ipv6_is_served_in_ipv4(monkeypatch: pytest.MonkeyPatch) -> None:
    real = socket.getaddrinfo

    def only_four(host: str, *more: Any, **options: Any) -> Any:
        if host == "::1":
            raise OSError(97, "Address family not supported by protocol")
        return real(host, *more, **options)

    monkeypatch.setattr(socket, "getaddrinfo", only_four)
    async with serving() as served:
        addresses = [each.host for each in served.server.addresses]

    assert addresses == ["127.0.0.1"]


@pytest.mark.anyio
async def test_an_address_in_use_is_a_mistake() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        site = make_site({}, {}, port=port)

        with pytest.raises(Misconfigured) as caught:
            async with site.running():
                pass

    assert str(caught.value) == f"cannot listen on 127.0.0.1:{port}: the address is in use"


@pytest.mark.anyio
async def test_an_address_that_is_not_of_this_machine_is_a_mistake() -> None:
    site = make_site({}, {}, listen=["127.0.0.1:0", "192.0.2.1:80"])

    with pytest.raises(Misconfigured) as caught:
        async with site.running():
            pass

    assert str(caught.value) == "cannot listen on 192.0.2.1:80: cannot assign requested address"


@pytest.mark.anyio
async def test_listening_beyond_this_machine_is_warned_of() -> None:
    with capture_logs() as logs:
        async with serving(listen=["0.0.0.0:0", "127.0.0.1:0"]) as served:
            pass

    (line,) = [each for each in logs if each["log_level"] == "warning"]
    assert line["event"] == "listening beyond this machine"
    assert line["address"] == f"0.0.0.0:{served.server.port}"


@pytest.mark.anyio
async def test_a_site_that_does_not_feed_does_not_listen() -> None:
    site = make_site({}, {})
    site.is_feeding = False

    async with site.running() as resources:
        server = resources["web.site"]

    assert (server.url, server.port) == ("", 0)


@pytest.mark.anyio
async def test_a_site_may_run_again() -> None:
    site = make_site({}, {})
    site.is_feeding = True

    for _ in range(2):
        async with site.running() as resources:
            client = Client(*await asyncio.open_connection("127.0.0.1", resources["web.site"].port))
            answer = await client.get()
            client.close()
            assert answer.status == 404

    assert site.counters.requests == 2


@pytest.mark.anyio
async def test_leaving_waits_for_open_requests_and_closes_idle_connections() -> None:
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
    rest = await idle.rest()
    with pytest.raises(OSError, match=r"refused|failed|Connect"):
        await served.connect()
    fresh = await unheard.get()
    is_waiting = not task.done()
    go.set()
    answer = await busy.answer()
    await task
    for each in (idle, busy, unheard):
        each.close()

    assert (rest, is_waiting) == (b"", True)
    assert (fresh.status, fresh.headers["connection"]) == (200, "close")
    assert (answer.body, answer.headers["connection"]) == (b"done", "close")


@pytest.mark.anyio
async def test_requests_that_wait_on_a_connection_are_answered_before_the_end() -> None:
    async def pipeline(request: Request) -> None:
        await asyncio.sleep(0.01)
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
