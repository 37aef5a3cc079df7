from __future__ import annotations

from typing import Any

import pytest

from tests.providers.web.support import Answer, problems_of, request_bytes, serving

pytestmark = pytest.mark.anyio


async def ask(routing: dict[str, Any], target: str, method: str = "GET") -> Answer:
    async with serving(routing=routing) as served:
        client = await served.connect()
        await client.send(request_bytes(target, method=method))
        answer = await client.answer(is_head=method == "HEAD")
        client.close()
    return answer


def node(redirect: Any) -> dict[str, Any]:
    return {"__config__": {"redirect": redirect}}


TREE = {
    "old": node("/new"),
    "away": node({"to": "https://example.org/x?a=1#end", "status": 301}),
    "bare": node({"to": "/new", "status": 303, "keep_query": False}),
    "orders": {"{id:int}": node("/v2/orders/{id}")},
    "tree": {"{rest:path}": node({"to": "https://example.org/{rest}", "status": 308})},
    "search": {"{word}": node("/find?word={word}")},
    "{name}": {"home": node("/{name}")},
    "all": {"{rest:path}": node("/{rest}")},
}


@pytest.mark.parametrize(
    ("target", "status", "location"),
    [
        ("/old", 307, "/new"),
        ("/old/", 307, "/new"),
        ("/old?a=1&b=%20", 307, "/new?a=1&b=%20"),
        ("/old?a=<b>", 307, "/new?a=%3Cb%3E"),
        ("/old?https://evil.example", 307, "/new?https://evil.example"),
        ("/away", 301, "https://example.org/x?a=1#end"),
        ("/away?b=2", 301, "https://example.org/x?a=1&b=2#end"),
        ("/bare?a=1", 303, "/new"),
        ("/orders/7", 307, "/v2/orders/7"),
        ("/tree/a/b%20c", 308, "https://example.org/a/b%20c"),
        ("/tree/@evil.example", 308, "https://example.org/%40evil.example"),
        ("/search/a&b=c%23d", 307, "/find?word=a%26b%3Dc%23d"),
        ("/evil.example/home", 307, "/evil.example"),
        ("/%5Cevil.example/home", 307, "/%5Cevil.example"),
        ("/a%0D%0Ax:y/home", 307, "/a%0D%0Ax%3Ay"),
        ("/all/evil.example/x", 307, "/evil.example/x"),
    ],
)
async def test_a_client_is_sent_to_another_place(target: str, status: int, location: str) -> None:
    answer = await ask(TREE, target)

    assert (answer.status, answer.headers["location"]) == (status, location)
    assert answer.headers["content-length"] == "0"


@pytest.mark.parametrize(
    "target", ["/all//evil.example", "/all/%2Fevil.example", "//home", "/orders/x"]
)
async def test_nobody_is_led_to_a_host_that_a_stranger_named(target: str) -> None:
    answer = await ask(TREE, target)

    assert answer.status == 404


@pytest.mark.parametrize("method", ["POST", "HEAD", "DELETE"])
async def test_other_methods_are_sent_there_too(method: str) -> None:
    answer = await ask(TREE, "/old", method)

    assert (answer.status, answer.headers["location"]) == (307, "/new")


async def test_a_redirect_may_take_some_methods_only() -> None:
    answer = await ask({"__config__": {"redirect": "/new", "methods": ["GET"]}}, "/", "POST")

    assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD, OPTIONS")


CONFIG = "web.site.routing.{id}.__config__.redirect"


@pytest.mark.parametrize(
    ("redirect", "problem"),
    [
        (
            "new",
            f"{CONFIG}: wrong-value: redirect: expected a path such as /new, or a URL, got 'new'",
        ),
        (
            "//example.org",
            f"{CONFIG}: wrong-value:"
            " redirect: expected a path such as /new, or a URL, got '//example.org'",
        ),
        (
            "/\\example.org",
            f"{CONFIG}: wrong-value: redirect: expected a URL in ASCII without blanks and"
            " backslashes, got '/\\\\example.org'",
        ),
        (
            "/a b",
            f"{CONFIG}: wrong-value: redirect: expected a URL in ASCII without blanks and"
            " backslashes, got '/a b'",
        ),
        (
            "ftp://example.org/",
            f"{CONFIG}: wrong-value: redirect: expected an http or https URL,"
            " got 'ftp://example.org/'",
        ),
        (
            "https://{id}.example.org/",
            f"{CONFIG}: wrong-value: redirect: expected a host that is no parameter,"
            " got 'https://{id}.example.org/'",
        ),
        (
            "/new/{name}",
            f"{CONFIG}: wrong-value: redirect: the path has no parameter 'name' (known: id)",
        ),
        (
            {"to": "/new", "status": 200},
            f"{CONFIG}.status: wrong-value: redirect: expected one of"
            " 301, 302, 303, 307, 308, got 200",
        ),
        (
            {"to": "/new", "satus": 301},
            f"{CONFIG}.satus: unknown-parameter: redirect has no parameter 'satus'"
            " (did you mean 'status'? known: keep_query, status, to)",
        ),
    ],
)
async def test_what_is_wrong_with_a_redirect_is_said(redirect: Any, problem: str) -> None:
    assert problems_of(routing={"{id}": node(redirect)}) == [problem]


async def test_a_redirect_of_a_path_without_parameters_has_none() -> None:
    (problem,) = problems_of(routing={"a": node("/{id}")})

    assert problem == (
        "web.site.routing.a.__config__.redirect: wrong-value: redirect:"
        " the path has no parameter 'id' (the path has no parameters)"
    )
