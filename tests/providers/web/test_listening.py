from __future__ import annotations

import asyncio
import socket
import stat
from pathlib import Path
from typing import Any

import pytest

from piped.errors import Misconfigured
from piped.providers.web.listening import Address, read_address
from tests.providers.web.support import (
    Client,
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
        ("unix:/run/site.sock", "unix:/run/site.sock"),
        ("unix:run/site.sock:mode=600", "unix:run/site.sock"),
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


@pytest.mark.anyio
async def test_a_site_may_listen_on_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "site.sock"
    async with serving(
        lambda request: request.answer(repr(request.client_ip).encode()),
        listen=[f"unix:{path}:mode=600", "127.0.0.1:0"],
    ) as served:
        mode = stat.S_IMODE(path.stat().st_mode)
        client = Client(*await asyncio.open_unix_connection(path))
        port = served.server.addresses[1].port
        other = Client(*await asyncio.open_connection("127.0.0.1", port))
        answers = [await client.get(), await other.get()]
        client.close()
        other.close()

    assert [each.body for each in answers] == [b"''", b"'127.0.0.1'"]
    assert mode == 0o600
    assert served.server.url == f"unix:{path}"
    assert not path.exists()


@pytest.mark.anyio
async def test_a_unix_socket_is_for_its_owner_and_group(tmp_path: Path) -> None:
    path = tmp_path / "site.sock"
    async with serving(listen=f"unix:{path}"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o660


@pytest.mark.anyio
async def test_the_socket_of_a_process_that_was_killed_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "site.sock"
    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind(str(path))
    async with serving(listen=f"unix:{path}"):
        client = Client(*await asyncio.open_unix_connection(path))
        answer = await client.get()
        client.close()

    assert answer.status == 200


@pytest.mark.anyio
async def test_a_unix_socket_on_which_somebody_listens_is_in_use(tmp_path: Path) -> None:
    path = tmp_path / "site.sock"
    with socket.socket(socket.AF_UNIX) as taken:
        taken.bind(str(path))
        taken.listen()
        with pytest.raises(Misconfigured) as caught:
            async with make_site({}, {}, listen=f"unix:{path}").running():
                pass

    assert str(caught.value) == f"cannot listen on unix:{path}: the address is in use"
    assert path.exists()


@pytest.mark.anyio
async def test_a_file_that_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "site.sock"
    path.write_text("precious")
    with pytest.raises(Misconfigured) as caught:
        async with make_site({}, {}, listen=f"unix:{path}").running():
            pass

    assert str(caught.value) == (f"cannot listen on unix:{path}: a file is there that is no socket")
    assert path.read_text() == "precious"


@pytest.mark.anyio
async def test_the_socket_of_a_successor_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "site.sock"
    async with serving(listen=f"unix:{path}"):
        path.rename(tmp_path / "old.sock")
        with socket.socket(socket.AF_UNIX) as successor:
            successor.bind(str(path))

    assert path.exists()


def test_a_mode_that_is_none_is_told() -> None:
    with pytest.raises(ValueError, match="expected a unix socket such as") as caught:
        read_address("unix:/run/site.sock:mode=rw")

    assert str(caught.value) == (
        "expected a unix socket such as unix:/run/site.sock or unix:/run/site.sock:mode=660,"
        " got 'unix:/run/site.sock:mode=rw'"
    )
