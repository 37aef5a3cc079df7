from __future__ import annotations

import asyncio
import gzip
import zlib
from typing import Any

import pytest

from piped.errors import RequestFailed
from piped.processors import _http_reply
from tests.processors.http_fakes import FakeAnswer, FakeClient, failure, send
from tests.processors.http_service import Asked, Service, answer

pytestmark = pytest.mark.anyio


async def test_a_response_says_all(service: Service, client: Any) -> None:
    service.says(answer(b'{"a": 1}', 201, Content_Type="application/problem+json", X_A="1"))

    baton = await send(f"{{url: '{service.url}/x', query: {{q: 1}}}}", {"n": 1}, client)

    response = baton["response"]
    seconds = response.pop("elapsed_s")
    assert baton["n"] == 1
    assert 0 < seconds < 10
    assert response == {
        "status": 201,
        "headers": {
            "content-length": "8",
            "content-type": "application/problem+json",
            "x-a": "1",
        },
        "json": {"a": 1},
        "url": f"{service.url}/x?q=1",
    }


@pytest.mark.parametrize(
    ("kind", "body", "key", "value"),
    [
        ("text/html; charset=latin-1", b"\xe9", "text", "é"),
        ("text/plain; charset=nonsense", "é".encode(), "text", "é"),
        ("text/plain; charset=base64", b"abc", "text", "abc"),
        ("text/plain; charset=punycode", b"caf-dma", "text", "caf-dma"),
        ("text/plain; charset=unicode_escape", b"\\u0041", "text", "\\u0041"),
        ("text/plain", b"a\xff", "text", "a\ufffd"),
        ("application/xml", b"<a/>", "text", "<a/>"),
        ("image/png", b"\x89PNG", "bytes", b"\x89PNG"),
        ("", b"abc", "bytes", b"abc"),
        ("application/json", b"", "text", ""),
    ],
)
async def test_a_response_is_read_as_what_it_is(
    kind: str, body: bytes, key: str, value: Any
) -> None:
    client = FakeClient(FakeAnswer(body, content_type=kind))

    baton = await send("{url: 'http://a.test'}", {}, client)

    assert baton["response"][key] == value


@pytest.mark.parametrize(
    ("output", "value"),
    [("json", {"a": 1}), ("text", '{"a": 1}'), ("bytes", b'{"a": 1}')],
)
async def test_outputs_and_their_paths(output: str, value: Any) -> None:
    client = FakeClient(FakeAnswer(b'{"a": 1}'))

    placed = await send(f"{{url: 'http://a.test', output: {output}, output_path: x}}", {}, client)
    whole = await send(f"{{url: 'http://a.test', output: {output}, output_path: ''}}", {}, client)
    none = await send(f"{{url: 'http://a.test', output: {output}, output_path: null}}", {}, client)

    assert (placed, whole, none) == ({"x": value}, value, {})


async def test_json_that_is_none_is_told_with_its_type() -> None:
    client = FakeClient(FakeAnswer(b"<html>", content_type="text/html"))

    error = await failure("{url: 'http://a.test/x?key=1', output: json}", {}, client)

    assert isinstance(error, RequestFailed)
    assert str(error) == (
        "GET http://a.test/x: the answer is not JSON: invalid character at line 1, column 1"
        " (content-type 'text/html')"
    )


async def test_no_content_is_null_as_json() -> None:
    client = FakeClient(FakeAnswer(b"", 204))

    baton = await send("{url: 'http://a.test', output: json}", {}, client)

    assert baton == {"response": None}


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        ("gzip", gzip.compress(b"hello", mtime=0)),
        ("gzip", gzip.compress(b"hel", mtime=0) + gzip.compress(b"lo", mtime=0) + b"\0\0"),
        ("x-gzip", gzip.compress(b"hello", mtime=0)),
        ("deflate", zlib.compress(b"hello")),
        ("deflate", zlib.compress(b"hello")[2:-4]),
        ("identity", b"hello"),
    ],
)
async def test_answers_are_decompressed(
    service: Service, client: Any, coding: str, body: bytes
) -> None:
    service.says(answer(body, Content_Encoding=coding))

    baton = await send(f"{{url: '{service.url}', output: text}}", {}, client)

    assert baton == {"response": "hello"}
    assert service.asked[0].headers["accept-encoding"] == "gzip, deflate"


@pytest.mark.parametrize(
    ("reply", "what"),
    [
        (answer(b"x" * 101), "expected an answer of up to 100 bytes, got 101"),
        (
            answer(gzip.compress(b"x" * 10_000_000, mtime=0), Content_Encoding="gzip"),
            "expected an answer of up to 100 bytes, got more",
        ),
        (
            answer(gzip.compress(b"", mtime=0) * 10_000, Content_Encoding="gzip"),
            "expected an answer of up to 100 bytes, got more",
        ),
        (answer(b"no", Content_Encoding="gzip"), "the answer is no gzip"),
        (
            answer(gzip.compress(b"hello", mtime=0)[:-3], Content_Encoding="gzip"),
            "the gzip of the answer ends too early",
        ),
        (
            answer(b"x", Content_Encoding="br"),
            "expected an answer in gzip or deflate, got 'br'",
        ),
    ],
)
async def test_answers_that_are_too_large_or_broken_are_refused(
    service: Service, client: Any, reply: bytes, what: str
) -> None:
    service.says(reply)

    error = await failure(f"{{url: '{service.url}', max_size: 100}}", {}, client)

    assert str(error) == f"GET {service.url}/: {what}"


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 304)])
async def test_an_answer_without_a_body_may_tell_of_any(
    service: Service, client: Any, method: str, status: int
) -> None:
    service.says(answer(b"", status, length=99_999_999_999, Content_Encoding="br"))

    baton = await send(f"{{url: '{service.url}', method: {method}}}", {}, client)

    assert (baton["response"]["status"], baton["response"]["text"]) == (status, "")
    assert baton["response"]["headers"]["content-length"] == "99999999999"


async def test_the_status_of_a_failure_is_told_though_its_body_never_ends(
    service: Service, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_http_reply, "EXCERPT_S", 0.05)
    service.says(answer(b"too many", 503, length=9))

    error = await failure(f"{{url: '{service.url}'}}", {}, client)
    await service.gone.wait()

    assert str(error) == f"GET {service.url}/: 503: 'too many'"


async def test_an_answer_as_long_as_it_may_be_is_read(service: Service, client: Any) -> None:
    service.says(answer(gzip.compress(b"x" * 100), Content_Encoding="gzip"))

    baton = await send(f"{{url: '{service.url}', max_size: 100, output: bytes}}", {}, client)

    assert baton["response"] == b"x" * 100


async def test_an_endless_answer_is_read_no_further_than_it_may_be(
    service: Service, client: Any
) -> None:
    async def endless(_asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        while True:
            writer.write(b"400\r\n" + b"x" * 1024 + b"\r\n")
            await writer.drain()

    service.says(endless)

    error = await failure(f"{{url: '{service.url}', max_size: 1MiB}}", {}, client)
    await service.gone.wait()

    assert str(error) == (
        f"GET {service.url}/: expected an answer of up to 1048576 bytes, got more"
    )
