from __future__ import annotations

import socket
from typing import Any

import pytest

from piped.errors import Misconfigured
from piped.providers.web.listening import Address, read_address
from tests.providers.web.support import (
    make_site,
    serving,
)


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
