from __future__ import annotations

import json
from typing import Any

import pytest

from piped.errors import BatonError
from tests.processors.conftest import Problems
from tests.processors.http_fakes import OK, FakeClient, failure, outcome, sent

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("url", "baton", "asked"),
    [
        ("http://a.test", {}, "http://a.test/"),
        ("HTTPS://A.test:443/x", {}, "https://a.test/x"),
        ("http://a.test:8080/x?y=1", {}, "http://a.test:8080/x?y=1"),
        ("http://[::1]:80/x", {}, "http://[::1]/x"),
        ("http://bücher.test/ü b", {}, "http://xn--bcher-kva.test/%C3%BC%20b"),
        ("http://a.test/{id}", {"id": 7}, "http://a.test/7"),
        ("http://a.test/x{a.b}-{c}/y", {"a": {"b": "1"}, "c": 2.5}, "http://a.test/x1-2.5/y"),
        ("http://a.test/{id}", {"id": "../b"}, "http://a.test/..%2Fb"),
        ("http://a.test/{id}", {"id": "a/b@c:d?e#f"}, "http://a.test/a%2Fb%40c%3Ad%3Fe%23f"),
        ("http://a.test/{id}", {"id": "a\r\nHost: b"}, "http://a.test/a%0D%0AHost%3A%20b"),
        ("http://a.test/{id}", {"id": "ü€😀"}, "http://a.test/%C3%BC%E2%82%AC%F0%9F%98%80"),
        ("http://a.test/{id}", {"id": "%2e%2e"}, "http://a.test/%252e%252e"),
        ("http://a.test/{id}", {"id": True}, "http://a.test/true"),
        ("http://a.test/{id}", {"id": "{x}"}, "http://a.test/%7Bx%7D"),
        ("http://a.test/x?q={q}&r={r}", {"q": "a&b=c", "r": ""}, "http://a.test/x?q=a%26b%3Dc&r="),
        ("http://a.test?q={q}", {"q": "é +"}, "http://a.test/?q=%C3%A9%20%2B"),
        ("http://a.test/{{x}}/{id}", {"id": 1}, "http://a.test/%7Bx%7D/1"),
        ("http://a.test/{id}", {"id": 10**30}, f"http://a.test/{10**30}"),
    ],
)
async def test_a_value_stays_in_its_place_of_the_url(url: str, baton: Any, asked: str) -> None:
    _, found, _, _ = await sent(f"{{url: {json.dumps(url, ensure_ascii=False)}}}", baton)

    assert found == asked


@pytest.mark.parametrize(
    ("value", "what"),
    [
        ("..", "expected a segment of a path at 'id', got '..'"),
        (".", "expected a segment of a path at 'id', got '.'"),
        ("", "expected a segment of a path at 'id', got ''"),
        (None, "expected text or a number at 'id', got NoneType"),
        ([1], "expected text or a number at 'id', got list"),
        (float("nan"), "expected text or a number at 'id', got nan"),
        ("\ud800", "expected Unicode in a url, got '\\ud800'"),
    ],
)
async def test_a_value_that_is_no_segment_is_refused(value: Any, what: str) -> None:
    error = await failure("{url: 'http://a.test/{id}'}", {"id": value}, FakeClient(OK))

    assert isinstance(error, BatonError)
    assert str(error) == what


async def test_a_number_of_too_many_digits_is_refused() -> None:
    error = await failure("{url: 'http://a.test/{a}'}", {"a": 10**4300}, FakeClient(OK))

    assert str(error) == "expected text or a number at 'a', got <int>"


async def test_a_missing_value_is_named() -> None:
    error = await failure("{url: 'http://a.test/{user.id}'}", {"user": {}}, FakeClient(OK))

    assert str(error) == "there is nothing at 'user.id'"


async def test_two_values_do_not_make_dots_together() -> None:
    text = "{url: 'http://a.test/{a}{b}/x'}"

    error = await failure(text, {"a": ".", "b": "."}, FakeClient(OK))

    assert str(error) == "expected a segment of a path at 'a', got '..'"


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("ftp://a.test", "it begins neither with http:// nor with https://"),
        ("/x", "it begins neither with http:// nor with https://"),
        ("http://", "it has no host that there can be: ''"),
        ("http://a b.test", "it has no host that there can be: 'a b.test'"),
        ("http://u:p@a.test/", "it carries a name or a password, which belong to 'auth'"),
        ("http://a.test:99999/", "it is no URL"),
        ("http://a.test\\@b.test/", "it has signs that no URL has"),
        ("http://a.test/\r\nX: y", "it has signs that no URL has"),
    ],
)
async def test_a_wrong_url_is_found_in_the_document_and_in_the_baton(
    problems: Problems, url: str, what: str
) -> None:
    error = await failure("{url: !path to}", {"to": url}, FakeClient(OK))

    assert str(error) == f"the url at 'to' is wrong: {what}"
    assert problems(f"http-request: {{url: {json.dumps(url)}}}") == [f"the url is wrong: {what}"]


@pytest.mark.parametrize(
    ("parameters", "found"),
    [
        ("url: 'http://{host}/x'", ["it has no host that there can be: ''"]),
        ("url: 'http://a.{host}/x'", ["it has a value of the baton in its host"]),
        ("url: 'http://a.test{x}'", ["it has a value of the baton in its host"]),
        ("url: 'http://a.test/{}'", ["expected a path into the baton in braces, got '{}'"]),
        ("url: 'http://a.test/{a!r}'", ["expected a path into the baton in braces, got '{a!r}'"]),
        ("url: 'http://a.test/{a..b}'", ["expected a path into the baton in braces, got '{a..b}'"]),
        ("url: 'http://a.test/{a'", ["it has a '{' alone (for the sign itself, write it twice)"]),
        ("url: 'http://a.test/a}'", ["it has a '}' alone (for the sign itself, write it twice)"]),
        ("url: 'http://a.test/{a}#b'", ["it has a value of the baton and a fragment"]),
        ("{base_url: 'http://a.test?x', url: /b}", ["a base_url has no query"]),
        (
            "{base_url: 'http://a.test/{a}', url: /b}",
            ["a base_url has no values of the baton"],
        ),
        ("{base_url: 'http://a.test', url: b}", ["below a base_url it begins with '/'"]),
    ],
)
async def test_wrong_templates_are_problems(
    problems: Problems, parameters: str, found: list[str]
) -> None:
    text = parameters if parameters.startswith("{") else f"{{{parameters}}}"

    assert problems(f"http-request: {text}") == [f"the url is wrong: {each}" for each in found]


@pytest.mark.parametrize(
    ("path", "asked"),
    [("/x?y=1", "http://a.test/api/x?y=1"), ("//b.test/x", "http://a.test/api//b.test/x")],
)
async def test_a_path_of_the_baton_stays_below_its_base(path: str, asked: str) -> None:
    text = "{base_url: 'http://a.test/api/', url: !path to}"

    _, url, _, _ = await sent(text, {"to": path})

    assert url == asked


@pytest.mark.parametrize(
    ("path", "what"),
    [
        ("/../x", "the url at 'to' is wrong: it leads upwards"),
        ("/a/%2e%2E/x", "the url at 'to' is wrong: it leads upwards"),
        ("@b.test/x", "the url at 'to' is wrong: below a base_url it begins with '/'"),
        (7, "expected a url at 'to', got int"),
    ],
)
async def test_a_path_of_the_baton_does_not_leave_its_base(path: Any, what: str) -> None:
    text = "{base_url: 'http://a.test/api', url: !path to}"

    error = await failure(text, {"to": path}, FakeClient(OK))

    assert str(error) == what


@pytest.mark.parametrize(
    ("url", "is_allowed"),
    [
        ("http://a.test", True),
        ("http://A.TEST.:81", True),
        ("http://x.y.b.test", True),
        ("http://b.test", False),
        ("http://evilb.test", False),
        ("http://a.test.evil.test", False),
        ("http://127.0.0.1", False),
        ("http://xn--bcher-kva.test", True),
    ],
)
async def test_only_allowed_hosts_are_asked(url: str, is_allowed: bool) -> None:
    text = "{url: !path to, allow_hosts: [a.test, '*.b.test', bücher.test]}"
    client = FakeClient(OK)

    found = await outcome(text, {"to": url}, client)

    refused = isinstance(found, BatonError) and "is none of the allow_hosts" in str(found)
    assert (bool(client.asked), refused) == (is_allowed, not is_allowed)
