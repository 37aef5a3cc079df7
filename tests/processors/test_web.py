from __future__ import annotations

from typing import Any

import pytest

from piped.errors import BatonError
from piped.processors.web import BadArgument
from tests.processors.conftest import FakeRequest, Problems, Run

HTML, JSON = "text/html; charset=utf-8", "application/json"


@pytest.mark.parametrize(
    ("content", "body", "kind"),
    [
        ("héllo", "héllo".encode(), HTML),
        (b"hello", b"hello", HTML),
        ("", b"", HTML),
        ({"a": 1}, b'{"a":1}', JSON),
        ([1, 2], b"[1,2]", JSON),
        ((1, 2), b"[1,2]", JSON),
        ('{"success": false}', b'{"success": false}', JSON),
        (" [1, 2]\n", b" [1, 2]\n", JSON),
        (b'{"a": 1}', b'{"a": 1}', JSON),
        ("{oops}", b"{oops}", HTML),
        ("[1, 2] and more", b"[1, 2] and more", HTML),
        ("5", b"5", HTML),
    ],
)
def test_write_web_response_knows_what_it_sends(
    run: Run, request_: FakeRequest, content: Any, body: bytes, kind: str
) -> None:
    baton = {"request": request_, "content": content}

    result = run("write-web-response: {}", baton)

    assert result is baton
    assert request_.is_finished
    assert (request_.status, request_.body) == (200, body)
    assert request_.headers == [("content-type", kind)]


@pytest.mark.parametrize(("content", "kind"), [(5, "int"), (None, "NoneType"), (1.5, "float")])
def test_write_web_response_refuses_what_is_no_content(
    run: Run, request_: FakeRequest, content: Any, kind: str
) -> None:
    text = "write-web-response: {response_code: 404}"

    with pytest.raises(BatonError) as raised:
        run(text, {"request": request_, "content": content})

    assert str(raised.value) == f"expected text, bytes, dict or list, got {kind}"
    assert (request_.is_finished, request_.status, request_.headers) == (False, 200, [])


@pytest.mark.parametrize("code", ["404", "NOT_FOUND"])
def test_write_web_response_takes_status_type_and_paths(
    run: Run, request_: FakeRequest, code: str
) -> None:
    text = f"""
        write-web-response:
          request_path: web.request
          content_path: web.page
          content_type: text/plain
          response_code: {code}
          encoding: latin-1
    """

    run(text, {"web": {"request": request_, "page": "é"}})

    assert (request_.status, request_.body) == (404, b"\xe9")
    assert request_.headers == [("content-type", "text/plain")]


def test_write_web_response_tells_the_encoding_of_text(run: Run, request_: FakeRequest) -> None:
    run("write-web-response: {encoding: latin1}", {"request": request_, "content": "{}"})

    assert request_.headers == [("content-type", "text/html; charset=iso8859-1")]


def test_write_web_response_tells_what_cannot_be_encoded(run: Run, request_: FakeRequest) -> None:
    with pytest.raises(BatonError) as raised:
        run("write-web-response: {encoding: latin1}", {"request": request_, "content": "1 €"})

    assert str(raised.value) == "cannot encode '€' at position 2 in 'latin1'"


def test_write_web_response_leaves_a_type_that_was_set(run: Run, request_: FakeRequest) -> None:
    request_.set_header("Content-Type", "text/csv")

    run("write-web-response: {}", {"request": request_, "content": "a,b"})

    assert request_.headers == [("content-type", "text/csv")]


def test_write_web_response_sends_the_fallback_where_there_is_nothing(
    run: Run, request_: FakeRequest
) -> None:
    run("write-web-response: {fallback_content: '{\"success\": false}'}", {"request": request_})

    assert request_.body == b'{"success": false}'
    assert request_.headers == [("content-type", JSON)]


def test_write_web_response_prefers_the_content(run: Run, request_: FakeRequest) -> None:
    text = "write-web-response: {fallback_content: {a: 1}}"

    run(text, {"request": request_, "content": "here"})

    assert request_.body == b"here"


def test_write_web_response_without_anything_only_finishes(run: Run, request_: FakeRequest) -> None:
    run("write-web-response: {}", {"request": request_})

    assert request_.is_finished
    assert (request_.body, request_.headers) == (None, [])


def test_write_web_response_may_go_on(run: Run, request_: FakeRequest) -> None:
    run("write-web-response: {finish: false}", {"request": request_, "content": "a"})
    run("write-web-response: {}", {"request": request_, "content": "b"})

    assert request_.is_finished
    assert request_.body == b"ab"


def test_write_web_response_skips_a_finished_request(run: Run, request_: FakeRequest) -> None:
    request_.is_finished = True

    run("write-web-response: {response_code: 500}", {"request": request_, "content": 5})

    assert (request_.status, request_.body) == (200, None)


def test_write_web_response_leaves_it_to_the_request_if_it_must_not_skip(
    run: Run, request_: FakeRequest
) -> None:
    request_.is_finished = True
    text = "write-web-response: {skip_if_request_stopped: false}"

    run(text, {"request": request_, "content": "a"})

    assert request_.body == b"a"


@pytest.mark.parametrize(("baton", "got"), [({}, "nothing"), ({"request": 5}, "int")])
@pytest.mark.parametrize(
    "text",
    [
        "write-web-response: {}",
        "set-http-headers: {headers: {a: b}}",
        "extract-web-request-arguments: {mapping: [a]}",
    ],
)
def test_web_processors_need_a_request(run: Run, text: str, baton: Any, got: str) -> None:
    with pytest.raises(BatonError) as raised:
        run(text, baton)

    assert str(raised.value) == f"expected a request at 'request', got {got}"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("response_code: 99", "expected a status from 200 to 599, got 99"),
        (
            "response_code: NOT_FOUNT",
            "expected a status such as NOT_FOUND, got 'NOT_FOUNT' (did you mean 'NOT_FOUND'?)",
        ),
        ("encoding: utf9", "expected an encoding such as utf8, got 'utf9'"),
        (
            "fallback_content: 5",
            "wrong 'fallback_content': expected text, bytes, dict or list, got int",
        ),
        (
            'content_type: "a\\r\\nb: c"',
            "the header 'content-type' must not have control signs, got 'a\\r\\nb: c'",
        ),
        ("content_type: text/€", "the header 'content-type' must be latin-1, got 'text/€'"),
    ],
)
def test_write_web_response_is_checked(problems: Problems, options: str, message: str) -> None:
    assert problems(f"write-web-response: {{{options}}}") == [message]


def test_set_http_headers_sets_and_overwrites(run: Run, request_: FakeRequest) -> None:
    request_.set_header("x-count", "1")
    baton = {"request": request_}

    result = run("set-http-headers: {headers: {X-Count: 2, set-cookie: [a=1, b=2]}}", baton)

    assert result is baton
    assert request_.headers == [("x-count", "2"), ("set-cookie", "a=1"), ("set-cookie", "b=2")]


def test_set_http_headers_skips_a_finished_request(run: Run, request_: FakeRequest) -> None:
    request_.is_finished = True

    run("set-http-headers: {headers: {a: b}}", {"request": request_})

    assert request_.headers == []


def test_set_http_headers_refuses_what_a_site_would_refuse(problems: Problems) -> None:
    text = 'set-http-headers: {headers: {a: "b\\nc: d", "a:": b, c: [é, €], Content-Length: 3}}'

    assert problems(text) == [
        "the header 'a' must not have control signs, got 'b\\nc: d'",
        "expected the name of a header, got 'a:'",
        "the header 'c' must be latin-1, got '€'",
        "the header 'content-length' is set by the site itself",
    ]


def test_extract_web_request_arguments_copies_arguments(run: Run) -> None:
    text = """
        extract-web-request-arguments:
          mapping:
            - name
            - missing
            - {user.id: id}
            - {n: {output_path: numbers, only_first: false, load_json: true}}
            - {input_path: n, output_path: first, load_json: true}
            - {n: {output_path: texts, only_first: false}}
    """
    request = FakeRequest(**{"name": ["Ada", "Bob"], "user.id": ["7"], "n": ["1", "2"]})

    baton = run(text, {"request": request})

    del baton["request"]
    assert baton == {"name": "Ada", "id": "7", "numbers": [1, 2], "first": 1, "texts": ["1", "2"]}


def test_extract_web_request_arguments_has_a_fallback(run: Run, request_: FakeRequest) -> None:
    text = """
        extract-web-request-arguments:
          request_path: r
          skip_if_nonexistent: false
          input_fallback: []
          mapping: {n: numbers}
    """

    assert run(text, {"r": request_}) == {"r": request_, "numbers": []}


def test_extract_web_request_arguments_refuses_what_is_no_json(run: Run) -> None:
    text = "extract-web-request-arguments: {mapping: {n: {load_json: true}}}"

    with pytest.raises(BadArgument) as raised:
        run(text, {"request": FakeRequest(n=["x"])})

    assert str(raised.value) == (
        "the argument 'n' is not JSON: invalid character at line 1, column 1"
    )
    assert raised.value.http_status == 400
