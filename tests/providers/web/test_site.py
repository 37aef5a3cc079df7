from __future__ import annotations

import asyncio
from typing import Any

import pytest
from structlog.testing import capture_logs

from piped.providers.web import Request, Web
from piped.spec import Decoder, spec_of
from tests.providers.web.support import (
    Client,
    make_site,
    node_of,
    problems_of,
    serving,
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
    ("site", "problem"),
    [
        (
            {},
            "web.site: missing-parameter: site needs the parameter 'routing'"
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
            "web.site.errors.Nope: unknown-exception: errors: no module 'Nope'",
        ),
        (
            {"routing": {}, "log_exceptions": "loud"},
            "web.site.log_exceptions: wrong-value: expected 'debug', 'info', 'warning',"
            " 'error', 'critical' or null, got 'loud'",
        ),
    ],
)
def test_what_is_wrong_with_a_site_is_said(site: dict[str, Any], problem: str) -> None:
    assert problems_of(**site) == [problem]


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
@pytest.mark.parametrize(
    ("limit", "status"),
    [
        ({"max_header": 12}, 431),
        ({"max_fields": 1}, 431),
        ({"hosts": ["example.org"]}, 421),
    ],
)
async def test_other_limits_hold_on_connections_that_are_open(
    limit: dict[str, Any], status: int
) -> None:
    async with serving() as served:
        client = await served.connect()
        before = await client.get("/", "a: 1")
        successor = make_site(ROUTING, {"a": served.pipeline}, **limit)
        is_taken_over = successor.take_over(served.site)
        after = await client.get("/", "a: 1")
        client.close()

    assert is_taken_over
    assert (before.status, after.status) == (200, status)


@pytest.mark.anyio
async def test_a_limit_of_open_files_that_bites_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resource.getrlimit", lambda _: (256, 4096))

    with capture_logs() as logs:
        async with serving() as served:
            limits = served.server.limits

    (line,) = [each for each in logs if each["log_level"] == "warning"]
    assert limits.connections == 128
    assert line == {
        "event": "the limit of open files allows fewer connections",
        "log_level": "warning",
        "site": "web.site",
        "connections": 128,
    }


@pytest.mark.anyio
async def test_who_is_trusted_no_more_is_not_believed_on_connections_that_are_open() -> None:
    said = "x-forwarded-for: 192.0.2.7"

    def tell(request: Request) -> None:
        request.answer(request.client_ip.encode())

    async with serving(tell, trusted_proxies=["127.0.0.1"]) as served:
        client = await served.connect()
        before = await client.get("/", said)
        successor = make_site(ROUTING, {"a": served.pipeline})
        is_taken_over = successor.take_over(served.site)
        after = await client.get("/", said)
        client.close()

    assert is_taken_over
    assert (before.body, after.body) == (b"192.0.2.7", b"127.0.0.1")


@pytest.mark.anyio
async def test_another_time_to_read_holds_on_connections_that_are_open() -> None:
    async with serving(write_timeout=30.0, min_rate=500) as served:
        client = await served.connect()
        await client.get()
        (connection,) = served.server.connections
        before = (connection.outlet.limit_s, connection.outlet.rate)
        successor = make_site(ROUTING, {"a": served.pipeline}, write_timeout=10.0, min_rate=9)
        successor.take_over(served.site)
        after = (connection.outlet.limit_s, connection.outlet.rate)
        client.close()

    assert (before, after) == ((30.0, 500), (10.0, 9))
