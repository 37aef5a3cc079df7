from __future__ import annotations

from typing import Any

import pytest

from piped.providers.web import Request
from piped.providers.web.proxies import Proxies
from tests.providers.web.support import problems_of, serving


def tell(request: Request) -> None:
    request.answer(f"{request.scheme} {request.client_ip}".encode())


async def told(*headers: str, **parameters: Any) -> str:
    async with serving(tell, **parameters) as served:
        client = await served.connect()
        answer = await client.get("/", *headers)
        client.close()
    return answer.body.decode()


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("headers", "client"),
    [
        ([], "http 127.0.0.1"),
        (["x-forwarded-for: 192.0.2.7"], "http 192.0.2.7"),
        (["x-forwarded-for: 203.0.113.9, 192.0.2.7"], "http 192.0.2.7"),
        (["x-forwarded-for: 203.0.113.9, 192.0.2.7, 10.1.1.1"], "http 192.0.2.7"),
        (["x-forwarded-for: 203.0.113.9", "x-forwarded-for: 192.0.2.7"], "http 192.0.2.7"),
        (["x-forwarded-for: 10.0.0.1, 10.0.0.2"], "http 10.0.0.1"),
        (["x-forwarded-for: 192.0.2.7, nonsense"], "http 127.0.0.1"),
        (["x-forwarded-for: 192.0.2.7, unknown, 10.0.0.2"], "http 10.0.0.2"),
        (["x-forwarded-for: 192.0.2.7:4711"], "http 192.0.2.7"),
        (['x-forwarded-for: "[2001:db8::1]:4711"'], "http 2001:db8::1"),
        (["x-forwarded-proto: https"], "https 127.0.0.1"),
        (["x-forwarded-proto: http, HTTPS"], "https 127.0.0.1"),
        (["x-forwarded-proto: javascript"], "http 127.0.0.1"),
    ],
)
async def test_a_trusted_proxy_tells_who_asks_and_how(headers: list[str], client: str) -> None:
    trusted = ["127.0.0.1", "10.0.0.0/8"]

    assert await told(*headers, trusted_proxies=trusted) == client


@pytest.mark.anyio
async def test_nobody_is_believed_unless_it_is_said() -> None:
    headers = ["x-forwarded-for: 192.0.2.7", "x-forwarded-proto: https"]

    assert await told(*headers) == "http 127.0.0.1"
    assert await told(*headers, trusted_proxies=["10.0.0.0/8"]) == "http 127.0.0.1"


def test_those_who_come_by_a_unix_socket_may_be_trusted() -> None:
    assert "" in Proxies(["unix"])
    assert "" not in Proxies(["0.0.0.0/0"])


def test_what_is_no_network_is_a_problem() -> None:
    assert problems_of(routing={}, trusted_proxies=["10.0.0.0/8", "proxy"]) == [
        "web.site.trusted_proxies: wrong-value: expected an address or network such as 10.0.0.0/8,"
        " or 'unix', got 'proxy'"
    ]
