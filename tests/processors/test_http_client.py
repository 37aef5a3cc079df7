from __future__ import annotations

from typing import Any

import pytest

from piped.document.nodes import Secret
from piped.errors import RequestFailed, Unavailable
from piped.processors.http_client import WebClientGetPage
from piped.spec import Input
from tests.processors.conftest import Problems
from tests.processors.http_fakes import OK, FakeAnswer, FakeClient, bound, failure, send, sent

pytestmark = pytest.mark.anyio


HINT = (
    "the baton says which host is asked, and may say any"
    " (name those that may be asked, as in allow_hosts: ['*.example.com'])"
)


@pytest.mark.parametrize(
    ("parameters", "found"),
    [
        ("{url: !path to}", [HINT]),
        ("{url: !path to, allow_hosts: [a.test]}", []),
        ("{url: !path to, base_url: 'http://a.test/api'}", []),
        ("{url: 'http://a.test', allow_hosts: [b.test]}", ["'a.test' is none of the allow_hosts"]),
        ("{url: 'http://a.test', allow_hosts: ['*.test']}", []),
        ("{url: !path to, allow_hosts: ['*']}", ["expected a host, such as a.b or *.b, got '*'"]),
        ("{url: 'http://a.test', method: get}", []),
        ("{url: 'http://a.test', method: PROPFIND}", []),
        (
            "{url: 'http://a.test', method: 'GE T'}",
            ["expected a method such as GET, got 'GE T'"],
        ),
        (
            "{url: 'http://a.test', method: CONNECT}",
            ["expected a method such as GET, got 'CONNECT'"],
        ),
        (
            "{url: 'http://a.test', json: {a: 1}}",
            ["a GET has no body: services may refuse or overlook it"],
        ),
        (
            "{url: 'http://a.test', method: POST, json: 1, body: a}",
            ["expected at most one of 'json', 'form' and 'body', got 'json' and 'body'"],
        ),
        (
            "{url: 'http://a.test', headers: {'a b': c}}",
            ["expected the name of a header, got 'a b'"],
        ),
        (
            "{url: 'http://a.test', headers: {Content-Length: '3'}}",
            ["the header 'Content-Length' is made by the client itself"],
        ),
        (
            '{url: "http://a.test", headers: {a: "b\\r\\nc: d"}}',
            ["expected one line of ASCII for the header 'a'"],
        ),
        (
            "{url: 'http://a.test', auth: {}}",
            ["expected exactly one of 'basic' and 'bearer', got neither"],
        ),
        (
            "{url: 'http://a.test', auth: {bearer: a}, headers: {authorization: b}}",
            ["expected exactly one of 'auth' and the header 'authorization', got both"],
        ),
        (
            "{url: 'http://a.test', expect: [2xx, 404, 600]}",
            ["expected a status such as 200 or 2xx, got 600"],
        ),
        ("{url: 'http://a.test', timeout: 0}", ["expected a timeout above 0, got 0.0"]),
    ],
)
async def test_wrong_parameters_are_problems(
    problems: Problems, parameters: str, found: list[str]
) -> None:
    assert problems(f"http-request: {parameters}") == found


async def get_page(text: str, baton: Any, client: Any) -> Any:
    return await send(text, baton, client, "web-client-get-page")


async def test_get_page_takes_the_url_of_the_baton() -> None:
    client = FakeClient(OK)

    baton = await get_page("{}", {"url": "http://a.test/x"}, client)

    assert baton == {"url": "http://a.test/x", "page": "ok"}
    assert client.asked[0][:2] == ("GET", "http://a.test/x")


@pytest.mark.parametrize(
    ("parameters", "asked"),
    [
        ("url: ['http://a.test', b, !path id]", "http://a.test/b/x%2Fy"),
        ("url: !path all", "http://a.test/x%2Fy"),
        ("base_url: 'http://a.test/b/', url: ['{c}', !path id]", "http://a.test/b/%7Bc%7D/x%2Fy"),
        ("base_url: 'http://a.test', url: !path id", "http://a.test/x/y"),
        ("url: [!path host, b, !path id]", "http://a.test/b/x%2Fy"),
        ("url: 'http://a.test/{c}'", "http://a.test/%7Bc%7D"),
    ],
)
async def test_get_page_joins_lists(parameters: str, asked: str) -> None:
    baton = {"id": "x/y", "host": "http://a.test", "all": ["http://a.test", "x/y"]}

    _, url, _, _ = await sent(f"{{{parameters}}}", baton, "web-client-get-page")

    assert url == asked


@pytest.mark.parametrize(
    "parameters",
    [
        {"url": Input(Secret("http://a.test/hooks/T0P"))},
        {"url": Input(Secret("http://a.test/hooks/{T0P}"))},
        {"url": Input(["http://a.test", Secret("T0P")])},
        {"url": Input("/x"), "base_url": Secret("http://a.test/hooks/T0P")},
    ],
)
async def test_get_page_keeps_secrets(parameters: Any) -> None:
    made = bound(WebClientGetPage(**parameters), FakeClient(Unavailable("no")))

    with pytest.raises(RequestFailed) as raised:
        await made.step()({})

    assert str(raised.value) == "GET http://a.test/***: no"


class File:
    def read(self) -> bytes:
        return b"content"


async def test_get_page_sends_what_the_ancestor_sent() -> None:
    text = (
        "{url: 'http://a.test', method: POST, agent: !path a, cookies: {b: c, d: !path e},"
        " headers: {x-y: z}, postdata: !path file, timeout: 3s}"
    )

    method, _, headers, body = await sent(
        text, {"a": "me", "e": 1, "file": File()}, "web-client-get-page"
    )

    assert (method, body) == ("POST", b"content")
    assert headers == {
        "user-agent": "me",
        "cookie": "b=c; d=1",
        "x-y": "z",
        "content-type": "application/octet-stream",
    }


@pytest.mark.parametrize(("flag", "then"), [("true", "GET"), ("false", "POST")])
async def test_get_page_repeats_a_post_unless_told_not_to(flag: str, then: str) -> None:
    client = FakeClient(FakeAnswer(b"", 302, location="/b"), OK)
    text = f"{{url: 'http://a.test', method: POST, postdata: x, after_found_get: {flag}}}"

    await get_page(text, {}, client)

    assert client.asked[1][0] == then


async def test_get_page_follows_no_redirect_where_it_shall_not() -> None:
    client = FakeClient(FakeAnswer(b"here", 302, location="/b"))

    baton = await get_page("{url: 'http://a.test', follow_redirect: false}", {}, client)

    assert baton == {"page": "here"}


async def test_get_page_tells_of_its_own_parameters(problems: Problems) -> None:
    assert problems("web-client-get-page: {postdata: x, url: 'ftp://a.test'}") == [
        "a GET has no body: services may refuse or overlook it",
        "the url is wrong: it begins neither with http:// nor with https://",
    ]
    assert problems("web-client-get-page: {}") == []


async def test_a_cookie_is_one_cookie() -> None:
    text = "{url: 'http://a.test', cookies: {a: !path v}}"

    error = await failure(text, {"v": "b; c=d"}, FakeClient(OK), "web-client-get-page")

    assert str(error) == "expected a cookie without ';' at 'v', got 'b; c=d'"
