from __future__ import annotations

import tracemalloc
from typing import Any, cast
from urllib.parse import parse_qs

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from piped.errors import BatonError
from piped.providers.web import BadRequest, MissingArgument, Request
from piped.providers.web.arguments import read_fields
from piped.providers.web.limits import ANSWER_BYTES, Counters, Limits
from piped.providers.web.receiver import Receiver
from piped.spec import identify
from tests.providers.web.support import request_bytes

FORM = "content-type: application/x-www-form-urlencoded"


def make(target: str = "/", *headers: str, **more: str) -> Request:
    receiver = Receiver(Limits())
    receiver.feed(request_bytes(target, *headers, **more))
    (request,) = receiver.ready
    return request


class Way:
    """Takes answers, and keeps them."""

    def __init__(self) -> None:
        self.counters = Counters()
        self.answers: list[tuple[int, list[bytes], bytes]] = []

    def respond(self, request: Request, body: bytes) -> None:
        self.answers.append((request.status, [line for _, line in request.answer_lines], body))


def accepted() -> tuple[Request, Way]:
    request, way = make(), Way()
    request.accept(cast(Any, way))  # of which nothing else is asked here
    return request, way


@pytest.mark.parametrize(
    ("query", "args"),
    [
        ("n=1&n=2&m=3", {"n": ["1", "2"], "m": ["3"]}),
        ("n=&m", {"n": [""], "m": [""]}),
        ("a+b=%C3%A4%26", {"a b": ["ä&"]}),
        ("n=1?2=3", {"n": ["1?2=3"]}),
        ("n=%ff", {"n": ["�"]}),
        ("", {}),
    ],
)
def test_arguments_come_from_the_query(query: str, args: dict[str, list[str]]) -> None:
    request = make(f"/?{query}")

    assert request.args == args
    assert request.args is request.args


def test_fields_of_a_form_follow_those_of_the_query() -> None:
    request = make("/?n=1", FORM + "; charset=utf-8", method="POST", body="n=2&m=a+b")

    assert request.args == {"n": ["1", "2"], "m": ["a b"]}


def test_other_bodies_are_no_arguments() -> None:
    request = make("/", "content-type: text/plain", method="POST", body="n=2")

    assert request.args == {}


def test_a_missing_argument_is_the_clients_fault() -> None:
    request = make("/?m=1")

    with pytest.raises(MissingArgument) as caught:
        request.args["n"]

    assert isinstance(caught.value, KeyError)
    assert str(caught.value) == "the request has no argument 'n'"
    assert caught.value.http_status == 400
    assert request.args.get("n") is None
    assert "n" not in request.args


def test_more_than_a_thousand_fields_are_refused() -> None:
    request = make("/", FORM, method="POST", body="&".join("a=1" for _ in range(1001)))

    with pytest.raises(BadRequest, match=r"^expected at most 1000 fields in a query or form$"):
        _ = request.args


def test_headers_are_read_in_any_case() -> None:
    request = make("/", "X-A: 1", "x-a: 2", "Cookie: a=1", "cookie: b=2", "X-B: \xe4")

    assert request.headers["X-a"] == request.getHeader("x-A") == "1, 2"
    assert request.headers["cookie"] == "a=1; b=2"
    assert list(request.headers) == ["host", "x-a", "cookie", "x-b"]
    assert len(request.headers) == 4
    assert request.headers.get("missing") is request.getHeader("missing") is None


def test_path_and_uri() -> None:
    request = make("/a%20b/%C3%A4?n=%20")

    assert request.path == "/a b/ä"
    assert request.uri == "/a%20b/%C3%A4?n=%20"
    assert repr(request) == f"<Request {request.id} GET /a b/ä>"


def test_a_request_has_a_number_that_no_other_had() -> None:
    first, second = make(), make()

    assert first.id != second.id
    assert identify(first) == first.__baton_id__ == first.id
    assert 0 < first.id < 1 << 63


def test_bodies_are_bytes_text_or_json() -> None:
    request = make(method="POST", body='{"n": 123456789012345678901234567890}')

    assert request.body() == request.text().encode()
    assert request.json() == {"n": 123456789012345678901234567890}
    assert make().body() == b""


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("", "the body is not JSON: Input data was truncated"),
        ("{", "the body is not JSON: Input data was truncated"),
        ("NaN", "the body is not JSON: JSON is malformed: invalid character (byte 0)"),
    ],
)
def test_what_is_no_json_is_the_clients_fault(body: str, message: str) -> None:
    with pytest.raises(BadRequest) as caught:
        make(method="POST", body=body).json()

    assert str(caught.value) == message
    assert caught.value.http_status == 400


@pytest.mark.parametrize("body", ["[" * 100_000, "1" * 5000])
def test_json_that_is_too_much_is_the_clients_fault(body: str) -> None:
    with pytest.raises(BadRequest, match=r"^the body is not JSON: "):
        make(method="POST", body=body).json()


def test_text_that_is_not_utf_8_is_the_clients_fault() -> None:
    receiver = Receiver(Limits())
    receiver.feed(request_bytes("/", "content-length: 1", method="POST") + b"\xff")

    with pytest.raises(BadRequest, match=r"^the body is not UTF-8: 'utf-8' codec can't decode"):
        receiver.ready[0].text()


def test_an_answer_is_collected_until_it_is_finished() -> None:
    request, way = accepted()

    request.status = 201
    request.set_header("x-a", "1")
    request.setHeader("X-A", "2")
    request.add_header("set-cookie", "a=1")
    request.add_header("set-cookie", "b=2")
    request.write(b"a")
    request.write(bytearray(b"b"))
    before = request.finished
    first, second = request.finish(), request.finish()

    lines = [b"X-A: 2\r\n", b"set-cookie: a=1\r\n", b"set-cookie: b=2\r\n"]
    assert way.answers == [(201, lines, b"ab")]
    assert (before, first, second, request.finished) == (False, True, False, True)
    assert way.counters.second_answers == 1


def test_a_whole_answer_follows_on_what_was_written() -> None:
    request, way = accepted()

    request.write(b"a")
    is_first = request.answer(b"b", 404, "text/plain", [("x-a", "1")])

    assert is_first
    assert way.answers == [(404, [b"content-type: text/plain\r\n", b"x-a: 1\r\n"], b"ab")]


def test_nothing_is_set_or_written_after_the_end() -> None:
    request, way = accepted()

    request.finish()
    request.write(b"a")
    request.answer(b"b", 500)

    assert way.answers == [(200, [], b"")]
    assert request.status == 200


def test_a_redirection() -> None:
    request, way = accepted()

    request.redirect("/elsewhere")
    request.finish()

    assert way.answers == [(302, [b"location: /elsewhere\r\n"], b"")]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("x", "a\r\nb: c", "the header 'x' must not have control signs, got 'a\\r\\nb: c'"),
        ("x", "a\0", "the header 'x' must not have control signs, got 'a\\x00'"),
        ("x", "€", "the header 'x' must be latin-1, got '€'"),
        ("x: y", "a", "expected the name of a header, got 'x: y'"),
        ("", "a", "expected the name of a header, got ''"),
        ("x\n", "a", "expected the name of a header, got 'x\\n'"),
        ("Content-Length", "1", "the header 'content-length' is set by the site itself"),
    ],
)
def test_headers_that_break_out_are_refused(name: str, value: str, message: str) -> None:
    request, _ = accepted()

    for method in (request.set_header, request.add_header):
        with pytest.raises(BatonError) as caught:
            method(name, value)
        assert str(caught.value) == message

    assert request.answer_lines == []


@pytest.mark.parametrize("status", [100, 199, 600, "200", None])
def test_a_status_is_a_number_of_an_answer(status: Any) -> None:
    request, _ = accepted()

    with pytest.raises(BatonError) as caught:
        request.setResponseCode(status)

    assert str(caught.value) == f"expected a status from 200 to 599, got {status!r}"


def test_only_bytes_are_written_and_not_too_many() -> None:
    request, _ = accepted()

    with pytest.raises(BatonError, match=r"^expected bytes, got str$"):
        request.write("text")  # type: ignore[arg-type] # that is the point
    with pytest.raises(BatonError, match=r"^an answer must not be longer than 67108864 bytes$"):
        request.write(bytes(ANSWER_BYTES + 1))


@given(st.text(st.sampled_from("ab=&+%2 ä;?0F"), max_size=30))
@settings(deadline=None, database=None)
def test_a_query_is_read_as_the_standard_library_reads_it(query: str) -> None:
    assert read_fields(query.encode()) == parse_qs(query, keep_blank_values=True)


def test_an_answer_keeps_the_status_that_was_set() -> None:
    (kept, way), (given, other) = accepted(), accepted()
    kept.status = given.status = 404

    kept.answer(b"x")
    given.answer(b"x", 200)

    assert [way.answers[0][0], other.answers[0][0]] == [404, 200]


def test_fields_that_are_too_many_are_not_kept_to_be_counted() -> None:
    form = b"&" * (4 << 20)

    tracemalloc.start()
    with pytest.raises(BadRequest):
        read_fields(form)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert most < 16 << 20
