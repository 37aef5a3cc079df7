from __future__ import annotations

import asyncio
import socket
import ssl
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import trustme
from structlog.testing import capture_logs

from piped.errors import Misconfigured
from tests.conftest import Clock, until
from tests.providers.web.support import (
    Client,
    Served,
    make_site,
    problems_of,
    request_bytes,
    serving,
)


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def tls(authority: trustme.CA, tmp_path: Path) -> dict[str, str]:
    write_certificate(authority, tmp_path, "first.example")
    return {"certificate": str(tmp_path / "site.pem"), "key": str(tmp_path / "site.key")}


def write_certificate(authority: trustme.CA, folder: Path, *names: str) -> None:
    issued = authority.issue_cert(*names)
    (folder / "site.pem").write_bytes(b"".join(each.bytes() for each in issued.cert_chain_pems))
    issued.private_key_pem.write_to_path(str(folder / "site.key"))


def client_context(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    context.set_alpn_protocols(["h2", "http/1.1"])
    return context


async def connect(served: Served, context: ssl.SSLContext, name: str = "first.example") -> Client:
    return await served.connect(ssl=context, server_hostname=name)


@pytest.mark.anyio
async def test_a_site_speaks_tls(authority: trustme.CA, tls: dict[str, str]) -> None:
    async with serving(lambda request: request.answer(request.scheme.encode()), tls=tls) as served:
        client = await connect(served, client_context(authority))
        answer = await client.get()
        socket = client.writer.get_extra_info("ssl_object")
        version, protocol = socket.version(), socket.selected_alpn_protocol()
        client.close()

    assert (answer.status, answer.body) == (200, b"https")
    assert (version, protocol) == ("TLSv1.3", "http/1.1")
    assert served.server.url == f"https://127.0.0.1:{served.server.port}/"


@pytest.mark.anyio
async def test_old_versions_of_tls_are_refused(authority: trustme.CA, tls: dict[str, str]) -> None:
    old = client_context(authority)
    old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_2
    async with serving(tls={**tls, "minimum": "1.3"}) as served:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await connect(served, old)
        await until(lambda: served.site.counters.refused)
        client = await connect(served, client_context(authority))
        answer = await client.get()
        client.close()

    assert answer.status == 200
    assert served.site.counters.refused == {"tls-handshake": 1}


@pytest.mark.anyio
async def test_clients_may_need_a_certificate(
    authority: trustme.CA, tls: dict[str, str], tmp_path: Path
) -> None:
    authority.cert_pem.write_to_path(str(tmp_path / "clients.pem"))
    known = client_context(authority)
    authority.issue_cert("client@first.example").configure_cert(known)
    async with serving(tls={**tls, "client_authorities": str(tmp_path / "clients.pem")}) as served:
        client = await connect(served, known)
        answer = await client.get()
        client.close()
        stranger = await connect(served, client_context(authority))
        with pytest.raises((OSError, asyncio.IncompleteReadError)):
            await stranger.get()
        stranger.writer.transport.abort()

    assert answer.status == 200


@pytest.mark.anyio
async def test_answers_are_whole_through_tls(authority: trustme.CA, tls: dict[str, str]) -> None:
    async with serving(lambda request: request.answer(bytes(5 << 20)), tls=tls) as served:
        client = await connect(served, client_context(authority))
        answers = [await client.get("/", *more) for more in ([], ["connection: close"])]
        rest = await client.rest()
        client.close()

    assert [len(each.body) for each in answers] == [5 << 20] * 2
    assert rest == b""


class TestInTime:
    pytestmark = pytest.mark.anyio

    @pytest.fixture
    def anyio_backend(self, movable_loop: tuple[str, dict[str, Any]]) -> tuple[str, dict[str, Any]]:
        return movable_loop

    async def test_a_new_certificate_is_used_and_connections_go_on(
        self, clock: Clock, authority: trustme.CA, tls: dict[str, str], tmp_path: Path
    ) -> None:
        context = client_context(authority)
        async with serving(tls=tls, idle_timeout="1h") as served:
            before = await connect(served, context)
            await before.get()
            write_certificate(authority, tmp_path, "second.example")
            await clock.advance(6)
            after = await connect(served, context, "second.example")
            answers = [await before.get(), await after.get()]
            before.close()
            after.close()

        assert [each.status for each in answers] == [200, 200]

    async def test_a_wrong_certificate_is_told_and_the_old_one_kept(
        self, clock: Clock, authority: trustme.CA, tls: dict[str, str], tmp_path: Path
    ) -> None:
        with capture_logs() as logs:
            async with serving(tls=tls) as served:
                (tmp_path / "site.key").write_text("nonsense")
                await clock.advance(6)
                await clock.advance(6)
                client = await connect(served, client_context(authority))
                answer = await client.get()
                client.close()

        assert answer.status == 200
        (line,) = [each for each in logs if each["log_level"] == "error"]
        assert (line["event"], line["site"]) == ("certificate not renewed", "web.site")
        assert line["error"].startswith(f"cannot use '{tls['certificate']}' for TLS: ")

    async def test_a_handshake_is_given_ten_seconds(
        self, clock: Clock, tls: dict[str, str]
    ) -> None:
        async with serving(tls=tls) as served:
            client = await served.connect()
            await until(lambda: len(served.server._acceptor))
            await clock.advance(8)
            early = len(served.server._acceptor)
            await clock.advance(4)
            rest = await client.rest()
            client.close()

        assert (early, rest) == (1, b"")
        assert served.site.counters.refused == {"tls-handshake": 1}


@pytest.mark.anyio
async def test_a_certificate_that_is_missing_is_a_mistake(tls: dict[str, str]) -> None:
    site = make_site({}, {}, tls={**tls, "certificate": "/no/such.pem"})

    with pytest.raises(Misconfigured) as caught:
        async with site.running():
            pass

    assert str(caught.value) == ("cannot use '/no/such.pem' for TLS: no such file or directory")


@pytest.mark.anyio
async def test_a_key_of_another_certificate_is_a_mistake(
    authority: trustme.CA, tls: dict[str, str], tmp_path: Path
) -> None:
    authority.issue_cert("other.example").private_key_pem.write_to_path(str(tmp_path / "site.key"))
    site = make_site({}, {}, tls=tls)

    with pytest.raises(Misconfigured) as caught:
        async with site.running():
            pass

    assert str(caught.value) == f"cannot use '{tls['certificate']}' for TLS: key values mismatch"


def test_tls_needs_a_certificate() -> None:
    assert problems_of(routing={}, tls={}) == [
        "web.site.tls: missing-parameter: tls needs the parameter 'certificate'"
        " (add certificate: str)"
    ]


@pytest.mark.anyio
async def test_a_client_that_ends_tls_before_its_answer_has_left(
    authority: trustme.CA, tls: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(lambda _request: None, tls=tls) as served:

        def ask_and_end() -> None:
            address = ("127.0.0.1", served.server.port)
            with (
                socket.create_connection(address, timeout=8) as plain,
                client_context(authority).wrap_socket(plain, server_hostname="first.example") as it,
            ):
                it.sendall(request_bytes())
                with suppress(OSError):  # the other side may have closed first
                    it.unwrap()

        await asyncio.to_thread(ask_and_end)
        await until(lambda: not served.server.connections)

    assert [each.getMessage() for each in caplog.records if each.name == "asyncio"] == []
    assert served.site.counters.clients_left == 1
