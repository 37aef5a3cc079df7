from __future__ import annotations

import pytest

from piped.document.nodes import Secret
from piped.errors import RequestFailed, Unavailable
from piped.processors.http_client import HttpRequest
from piped.spec import Input
from tests.processors.http_fakes import OK, FakeClient, bound, failure, sent

pytestmark = pytest.mark.anyio


async def test_a_query_repeats_lists_and_leaves_out_null() -> None:
    text = "{url: 'http://a.test/?a=1', query: {b: [1, 'x y'], c: null, d: !path d, 'e&': true}}"

    _, url, _, _ = await sent(text, {"d": [2, 3]})

    assert url == "http://a.test/?a=1&b=1&b=x%20y&d=2&d=3&e%26=true"


async def test_a_missing_argument_is_named() -> None:
    text = "{url: 'http://a.test', query: {a: !path x.y}}"

    error = await failure(text, {}, FakeClient(OK))

    assert str(error) == "nothing at 'x.y' for 'query.a'"


@pytest.mark.parametrize(
    ("parameters", "kind", "body"),
    [
        ("json: {a: !path n, b: [!path n, 2]}", "application/json", b'{"a":7,"b":[7,2]}'),
        ("json: !path ''", "application/json", b'{"n":7,"t":"h\xc3\xa9","b":"AA=="}'),
        (
            "form: {a: !path n, b: [x, y z], c: null}",
            "application/x-www-form-urlencoded",
            b"a=7&b=x&b=y+z",
        ),
        ("body: !path t", "text/plain; charset=utf-8", "hé".encode()),
        ("body: '', headers: {Content-Type: text/csv}", "text/csv", b""),
    ],
)
async def test_bodies_say_what_they_are(parameters: str, kind: str, body: bytes) -> None:
    text = f"{{url: 'http://a.test', method: post, {parameters}}}"

    method, _, headers, content = await sent(text, {"n": 7, "t": "hé", "b": "AA=="})

    assert (method, headers["content-type"], content) == ("POST", kind, body)


async def test_a_body_is_text_or_bytes() -> None:
    text = "{url: 'http://a.test', method: POST, body: !path n}"

    _, _, headers, content = await sent(text, {"n": b"\0"})
    error = await failure(text, {"n": 7}, FakeClient(OK))

    assert (headers["content-type"], content) == ("application/octet-stream", b"\0")
    assert str(error) == "expected text or bytes as the body, got int"


async def test_headers_come_from_the_section_the_document_and_the_baton() -> None:
    text = "{url: 'http://a.test', headers: {X-A: b, x-c: !path n, user-agent: shop}}"

    _, _, headers, _ = await sent(text, {"n": 7})

    assert headers == {"user-agent": "shop", "x-a": "b", "x-c": "7"}


@pytest.mark.parametrize("value", ["a\r\nb: c", "a\nb", "a\0", "é"])
async def test_a_header_of_the_baton_is_one_line(value: str) -> None:
    text = "{url: 'http://a.test', headers: {x-a: !path v}}"

    error = await failure(text, {"v": value}, FakeClient(OK))

    assert str(error) == "expected one line of ASCII for the header 'x-a'"


@pytest.mark.parametrize(
    ("auth", "header"),
    [
        ("{basic: {username: ada, password: !path p}}", "Basic YWRhOnDDqQ=="),
        ("{bearer: !path p2}", "Bearer abc"),
    ],
)
async def test_auth_is_a_header(auth: str, header: str) -> None:
    text = f"{{url: 'http://a.test', auth: {auth}}}"

    _, _, headers, _ = await sent(text, {"p": "pé", "p2": "abc"})

    assert headers["authorization"] == header


async def test_secrets_are_neither_in_reprs_nor_in_errors() -> None:
    made = HttpRequest(
        url=Input(Secret("http://a.test/hooks/T0P")),
        headers={"x-key": Input(Secret("S3CRET"))},
        query={"token": Input(Secret("T0KEN"))},
    )

    with pytest.raises(RequestFailed) as raised:
        await bound(made, FakeClient(Unavailable("no"))).step()({})

    assert str(raised.value) == "GET http://a.test/***: no"
    assert not any(each in repr(made) for each in ("T0P", "S3CRET", "T0KEN"))
