from __future__ import annotations

import asyncio
import logging
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme

from piped.app import Service as App
from piped.document import parse
from piped.errors import DeadlineExceeded, Misconfigured, RequestFailed, Unavailable
from piped.providers.http_client import Client, HttpClient
from piped.spec import Decoder, spec_of
from tests.processors.http_service import Service, answer, serving

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def client_of(**given: Any) -> AsyncIterator[Client]:
    async with HttpClient(**given).running() as resources:
        client = resources["http_client"]
        assert isinstance(client, Client)
        yield client


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    async with serving() as service:
        yield service


async def ask(client: Client, url: str, method: str = "GET") -> bytes:
    async with asyncio.timeout(10), client.exchange(method, url, {}, None, 5.0) as found:
        return b"".join([chunk async for chunk in found.chunks()])


async def test_a_client_gives_the_head_of_an_answer_and_then_its_body(service: Service) -> None:
    service.says(answer(b"hello", 201, X_Kind="a"))

    async with client_of() as client, client.exchange("PUT", service.url, {}, b"hi", 5.0) as found:
        chunks = [chunk async for chunk in found.chunks()]

    assert (found.status, found.headers["x-kind"], chunks) == (201, "a", [b"hello"])
    assert (service.asked[0].method, service.asked[0].body) == ("PUT", b"hi")


async def test_a_connection_is_used_again(service: Service) -> None:
    service.says(answer(b"hello"))

    async with client_of() as client:
        for _ in range(3):
            await ask(client, service.url)

    assert service.connections == 1


async def test_what_a_service_sends_too_much_is_never_the_answer_to_the_next_request(
    service: Service,
) -> None:
    service.says(answer(b"one") + answer(b"evil"), answer(b"two"))

    async with client_of(max_connections=1) as client:
        answers = [await ask(client, service.url) for _ in range(2)]

    assert answers == [b"one", b"two"]
    assert service.connections == 2


async def test_no_cookie_is_kept_and_no_redirect_followed(service: Service) -> None:
    away = answer(b"", 302, Location="com.shop:callback", Set_Cookie="session=1; Path=/")
    service.says(away)

    async with client_of() as client:
        await ask(client, service.url)
        await ask(client, service.url)

    assert [each.target for each in service.asked] == ["/", "/"]
    assert "cookie" not in service.asked[1].headers


async def test_the_environment_says_nothing_about_proxies(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    service.says(answer(b"direct"))

    async with client_of() as client:
        body = await ask(client, service.url)

    assert body == b"direct"


async def test_a_proxy_is_asked_for_the_whole_url(service: Service) -> None:
    service.says(answer(b"by proxy"))

    async with client_of(proxy=service.url) as client:
        body = await ask(client, "http://users.test/a")

    assert body == b"by proxy"
    assert service.asked[0].target == "http://users.test/a"


async def test_no_url_is_logged(service: Service, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("", "httpx", "httpcore"):  # which a service quietens
        caplog.set_level(logging.DEBUG, name)
    service.says(answer(b"hello"))

    async with client_of() as client:
        await ask(client, f"{service.url}/x?key=secret")

    assert any(each.name.startswith("httpcore") for each in caplog.records)
    assert "secret" not in caplog.text


async def test_a_port_that_nobody_listens_to_is_unavailable(free_port: int) -> None:
    async with client_of() as client:
        with pytest.raises(Unavailable) as raised:
            await ask(client, f"http://127.0.0.1:{free_port}")

    assert str(raised.value) == "cannot connect: connection refused"


async def test_a_proxy_that_is_away_is_unavailable(free_port: int) -> None:
    async with client_of(proxy=f"http://127.0.0.1:{free_port}") as client:
        with pytest.raises(Unavailable) as raised:
            await ask(client, "http://users.test")

    assert str(raised.value) == "cannot connect: connection refused"


async def test_tls_with_a_service_that_has_none_is_unavailable() -> None:
    async def talk(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.test ready\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(talk, "127.0.0.1", 0) as server, client_of() as client:
        host, port = server.sockets[0].getsockname()
        with pytest.raises(Unavailable) as raised:
            await ask(client, f"https://{host}:{port}")

    assert str(raised.value) == "cannot connect: no TLS: wrong version number"


async def test_connecting_takes_no_longer_than_it_may(service: Service) -> None:
    silent = service.url.replace("http:", "https:")

    async with client_of() as client:
        with pytest.raises(DeadlineExceeded) as raised:
            async with client.exchange("GET", silent, {}, None, 0.01):
                pass

    assert str(raised.value) == "no connection within 0.01 s"


@pytest.mark.parametrize(
    ("reply", "what"),
    [
        (answer(b"abc", length=9), "received 3 bytes, expected 9"),
        (b"", "server disconnected without sending a response"),
        (b"SMTP ready\r\n\r\n", "illegal status line"),
    ],
)
async def test_what_is_no_http_is_a_failed_request(
    service: Service, reply: bytes, what: str
) -> None:
    async def say_and_leave(_asked: Any, writer: asyncio.StreamWriter) -> None:
        writer.write(reply)
        await writer.drain()
        raise EOFError

    service.says(say_and_leave)

    async with client_of() as client:
        with pytest.raises(RequestFailed) as raised:
            await ask(client, service.url)

    assert what in str(raised.value)
    assert str(raised.value)[0].islower()


async def test_a_connection_that_is_reset_is_a_failed_request(service: Service) -> None:
    async def reset(_asked: Any, writer: asyncio.StreamWriter) -> None:
        writer.write(answer(b"abc", length=9))
        await writer.drain()
        writer.transport.abort()
        raise EOFError

    service.says(reset)

    async with client_of() as client:
        with pytest.raises(RequestFailed):
            await ask(client, service.url)


async def test_a_request_that_is_cancelled_frees_its_connection(service: Service) -> None:
    async def hang(_asked: Any, _writer: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    service.says(hang, answer(b"hello"))

    async with client_of(max_connections=1) as client:
        task = asyncio.create_task(ask(client, service.url))
        await service.waiting.wait()
        waiting = asyncio.create_task(ask(client, service.url))
        await asyncio.sleep(0)
        task.cancel()
        body = await waiting

    assert body == b"hello"
    assert task.cancelled()


async def test_bundles_of_certificates_must_be_there(tmp_path: Path) -> None:
    empty = tmp_path / "empty.pem"
    empty.write_text("")

    for name, reason in ((empty, "it holds none"), ("/no/such", "no such file or directory")):
        with pytest.raises(Misconfigured) as raised:
            async with client_of(verify=str(name)):
                pass
        assert str(raised.value) == f"cannot read the certificates in '{name}': {reason}"


async def test_certificates_are_checked_unless_they_need_not_be(
    service: Service, tmp_path: Path
) -> None:
    authority, bundle = trustme.CA(), tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(str(bundle))
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    service.says(answer(b"hello"))

    async with await asyncio.start_server(service.serve, "127.0.0.1", 0, ssl=tls) as server:
        host, port = server.sockets[0].getsockname()
        for verify in (False, str(bundle)):
            async with client_of(verify=verify) as client:
                assert await ask(client, f"https://{host}:{port}") == b"hello"
        async with client_of() as client:
            with pytest.raises(Unavailable) as raised:
                await ask(client, f"https://{host}:{port}")

    assert str(raised.value) == (
        "cannot connect: its certificate is not trusted: unable to get local issuer certificate"
    )


async def test_headers_of_the_section_are_joined_by_our_name() -> None:
    given = HttpClient(headers={"X-Key": "1"})
    named = HttpClient(headers={"user-agent": "shop"})

    assert given.headers["User-Agent"].startswith("piped/")
    assert given.headers["X-Key"] == "1"
    assert named.headers == {"user-agent": "shop"}
    async with client_of(headers={"X-Key": "1", "User-Agent": "shop"}) as client:
        assert client.headers == {"x-key": "1", "user-agent": "shop"}


def problems_of(text: str) -> list[str]:
    spec, decoder = spec_of(HttpClient), Decoder()
    assert spec is not None
    decoder.section(spec, parse(text, "service.yaml")[0], "http_client")
    return [f"{each.at.removeprefix('http_client.')}: {each.what}" for each in decoder.problems]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("{timeout: 0}", "timeout: expected a timeout above 0, got 0.0"),
        ("{headers: {'a b': c}}", "headers.a b: expected the name of a header, got 'a b'"),
        (
            '{headers: {a: "b\\r\\nc: d"}}',
            "headers.a: expected one line of ASCII for the header 'a'",
        ),
        ("{proxy: 'socks5://p'}", "proxy: expected the URL of a proxy, such as http://proxy:3128"),
        ("{headers: {Host: a}}", "headers.Host: the header 'Host' is made by the client itself"),
        ("{max_connections: 0}", "max_connections: expected int >= 1, got 0"),
    ],
)
async def test_a_wrong_section_is_a_problem(text: str, what: str) -> None:
    assert problems_of(text) == [what]


async def test_a_right_section_has_no_problem() -> None:
    text = "{max_connections: 10, timeout: 2s, verify: ca.pem, proxy: 'http://proxy:3128'}"

    assert problems_of(text) == []


@pytest.fixture
async def free_port() -> int:
    server = await asyncio.start_server(lambda _r, _w: None, "127.0.0.1", 0)
    port: int = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    return port


async def test_httpx_is_imported_by_a_client_that_runs_only() -> None:
    code = (
        "import sys; from piped.providers.http_client import HttpClient; HttpClient();"
        "from piped.processors.http_client import HttpRequest; print('httpx' in sys.modules)"
    )

    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE
    )
    said, _ = await process.communicate()

    assert said == b"False\n"


async def test_all_steps_share_one_client_without_a_section_and_it_is_closed_at_the_end(
    service: Service, tmp_path: Path
) -> None:
    request = f'{{http-request: {{url: "{service.url}", output: text, output_path: ""}}}}'
    file = tmp_path / "service.yaml"
    file.write_text(f"pipelines:\n  a: [{request}]\n  b: [{request}, {request}]\n")
    service.says(answer(b"hello"))

    async with App.load(str(file)) as app:
        results = [await app.call(name, {}) for name in ("a", "b")]
        assert not service.gone.is_set()
    await service.gone.wait()

    assert results == [["hello"], ["hello"]]
    assert (len(service.asked), service.connections) == (3, 1)
