from __future__ import annotations

from typing import Any

import pytest

from piped.providers.web.hosts import Hosts
from tests.providers.web.support import problems_of, serving


async def status_for(host: str, **parameters: Any) -> int:
    async with serving(**parameters) as served:
        client = await served.connect()
        await client.send(f"GET / HTTP/1.1\r\nhost: {host}\r\n\r\n".encode())
        answer = await client.answer()
        client.close()
    return answer.status


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("example.org", 200),
        ("EXAMPLE.ORG:80", 200),
        ("shop.example.com", 200),
        ("other.org:444", 200),
        ("other.org", 421),
        ("a.shop.example.com", 421),
        ("example.com", 421),
        ("*.example.com", 421),
        ("evil.example", 421),
        ("example.org.evil.example", 421),
        ("", 421),
    ],
)
async def test_a_site_may_have_hosts_and_no_others(host: str, status: int) -> None:
    hosts = ["example.org", "*.example.com", "other.org:444"]

    assert await status_for(host, hosts=hosts) == status


@pytest.mark.anyio
async def test_a_site_without_hosts_takes_any() -> None:
    assert await status_for("whatever.example") == 200


def test_this_machine_may_always_be_named_with_the_port() -> None:
    hosts = Hosts([8080], ["example.org"])

    assert "localhost:8080" in hosts
    assert "[::1]:8080" in hosts
    assert "example.org:8080" in hosts
    assert "localhost:81" not in hosts


def test_the_usual_port_is_that_of_the_scheme() -> None:
    assert "example.org:443" in Hosts([8443], ["example.org"], usual_port=443)
    assert "example.org:80" not in Hosts([8443], ["example.org"], usual_port=443)


def test_what_is_no_host_is_a_problem() -> None:
    assert problems_of(routing={}, hosts=["example.org", "http://example.org/"]) == [
        "web.site.hosts: wrong-value: expected a host such as example.org or example.org:443,"
        " got 'http://example.org/'"
    ]
