from __future__ import annotations

import asyncio
import contextvars
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from piped.providers.web import Request, Route
from piped.providers.web.access.log import AccessLog
from piped.providers.web.admission import Admission
from piped.providers.web.connection import Connection
from piped.providers.web.limits import Counters, Limits
from piped.providers.web.proxies import Proxies
from piped.providers.web.receiver import Receiver
from piped.providers.web.routing import Router
from tests.conftest import until
from tests.providers.web.support import request_bytes, serving

HOST = b"Host: x\r\n"
UPGRADE = ("Connection: Upgrade", "Upgrade: h2c")
CHUNKED = b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n"


def field(line: bytes) -> bytes:
    """Return a request that has one more field."""
    return b"POST / HTTP/1.1\r\n" + HOST + line + b"\r\n\r\n"


def trailer(line: bytes) -> bytes:
    """Return a request that has a field after its body."""
    return CHUNKED + b"0\r\n" + line + b"\r\n\r\n"


REFUSED = {
    "no host": (b"GET / HTTP/1.1\r\n\r\n", 400, "host"),
    "two hosts": (b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400, "host"),
    "two hosts in 1.0": (b"GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n", 400, "host"),
    "a host that is none": (b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400, "host"),
    "another host in the target": (b"GET http://y/ HTTP/1.1\r\n" + HOST + b"\r\n", 400, "host"),
    "no HTTP in the target": (b"GET ftp://x/ HTTP/1.1\r\n" + HOST + b"\r\n", 400, "target"),
    "length and coding": (
        field(b"Content-Length: 3\r\nTransfer-Encoding: chunked"),
        400,
        "malformed",
    ),
    "coding and length": (
        field(b"Transfer-Encoding: chunked\r\nContent-Length: 3"),
        400,
        "malformed",
    ),
    "two lengths": (field(b"Content-Length: 3\r\nContent-Length: 3") + b"abc", 400, "malformed"),
    "a list of lengths": (field(b"Content-Length: 3, 3") + b"abc", 400, "malformed"),
    "a length of many zeros": (
        b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: " + b"0" * 5000 + b"3\r\n\r\nabc",
        400,
        "framing",
    ),
    "another coding": (field(b"Transfer-Encoding: gzip, chunked"), 400, "framing"),
    "chunked twice": (
        b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n" * 2 + b"\r\n",
        400,
        "malformed",
    ),
    "chunked in 1.0": (b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400, "framing"),
    "a folded field": (b"GET / HTTP/1.1\r\n" + HOST + b"X: a\r\n b\r\n\r\n", 400, "malformed"),
    "a blank before the colon": (b"GET / HTTP/1.1\r\n" + HOST + b"X : a\r\n\r\n", 400, "malformed"),
    "a control sign": (b"GET / HTTP/1.1\r\n" + HOST + b"X: a\x01\r\n\r\n", 400, "malformed"),
    "bare line feeds": (b"GET / HTTP/1.1\nHost: x\n\n", 400, "malformed"),
    "another language": (b"\x16\x03\x01\x02\x00\x01\x00", 400, "malformed"),
    "a chunk size that is none": (CHUNKED + b"0x3\r\nabc\r\n", 400, "malformed"),
    "no version": (b"GET /\r\n\r\n", 505, "version"),
    "an unknown version": (b"GET / HTTP/2.0\r\n" + HOST + b"\r\n", 505, "version"),
    "a tunnel": (b"CONNECT x:80 HTTP/1.1\r\n" + HOST + b"\r\n", 405, "method"),
    "an unknown expectation": (
        b"GET / HTTP/1.1\r\n" + HOST + b"Expect: tea\r\n\r\n",
        417,
        "expectation",
    ),
    "a long target": (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n", 414, "target-too-long"),
    "a large field": (
        b"GET / HTTP/1.1\r\n" + HOST + b"X: " + b"a" * 40_000 + b"\r\n\r\n",
        431,
        "header-too-large",
    ),
    "large fields": (
        b"GET / HTTP/1.1\r\n" + HOST + b"".join(b"X: %b\r\n" % (b"a" * 1000) for _ in range(40)),
        431,
        "header-too-large",
    ),
    "a field without end": (b"GET / HTTP/1.1\r\nX: " + b"a" * 70_000, 431, "header-too-large"),
    "a name without end": (b"GET / HTTP/1.1\r\n" + b"a" * 70_000, 431, "header-too-large"),
    "many fields": (
        b"GET / HTTP/1.1\r\n" + HOST + b"X: a\r\n" * 100 + b"\r\n",
        431,
        "header-too-large",
    ),
    "many trailers": (CHUNKED + b"0\r\n" + b"X: a\r\n" * 100, 431, "header-too-large"),
    "a large body, as announced": (field(b"Content-Length: 1048577"), 413, "body-too-large"),
    "a large body, as counted": (
        CHUNKED + b"80000\r\n%b\r\n" % bytes(0x80000) * 3,
        413,
        "body-too-large",
    ),
    "a chunk that is all extension": (CHUNKED + b"1;" + b"a" * 40_000, 400, "chunk-extensions"),
    "chunks that are mostly extensions": (
        CHUNKED + b"1;abcdefghijklmnopqrstuvwxyz\r\na\r\n" * 3000,
        400,
        "chunk-extensions",
    ),
    "a blank before the first field": (
        b"GET / HTTP/1.1\r\n X: a\r\n" + HOST + b"\r\n",
        400,
        "malformed",
    ),
    "a blank before the method": (b" GET / HTTP/1.1\r\n" + HOST + b"\r\n", 400, "malformed"),
    "a tab in the first line": (b"GET\t/ HTTP/1.1\r\n" + HOST + b"\r\n", 400, "malformed"),
    "more in the first line": (b"GET / HTTP/1.1 x\r\n" + HOST + b"\r\n", 400, "malformed"),
    "a control sign in the target": (b"GET /\x01 HTTP/1.1\r\n" + HOST + b"\r\n", 400, "malformed"),
    "a zero byte in the target": (b"GET /\0 HTTP/1.1\r\n" + HOST + b"\r\n", 400, "malformed"),
    "no ASCII in the target": (b"GET /\xe4 HTTP/1.1\r\n" + HOST + b"\r\n", 400, "malformed"),
    "an unknown method": (b"BREW / HTTP/1.1\r\n" + HOST + b"\r\n", 400, "malformed"),
    "a method in small letters": (b"get / HTTP/1.1\r\n" + HOST + b"\r\n", 400, "malformed"),
    "a protocol in small letters": (b"GET / http/1.1\r\n" + HOST + b"\r\n", 400, "malformed"),
    "a method of RTSP": (b"DESCRIBE / RTSP/1.0\r\n" + HOST + b"\r\n", 400, "malformed"),
    "a name that is empty": (field(b": a"), 400, "malformed"),
    "a name with a sign that none has": (field(b"a(b: c"), 400, "malformed"),
    "a name that is not ASCII": (field(b"\xe4: c"), 400, "malformed"),
    "no colon": (field(b"abc"), 400, "malformed"),
    "a zero byte in a value": (field(b"X: a\0b"), 400, "malformed"),
    "a delete sign in a value": (field(b"X: a\x7fb"), 400, "malformed"),
    "a bare carriage return": (field(b"X: a\rY: b"), 400, "malformed"),
    "a bare line feed": (field(b"X: a\nY: b"), 400, "malformed"),
    "a length with a sign": (field(b"Content-Length: +3"), 400, "malformed"),
    "a length below zero": (field(b"Content-Length: -3"), 400, "malformed"),
    "a length that is empty": (field(b"Content-Length: "), 400, "malformed"),
    "a length in sixteens": (field(b"Content-Length: 0x3"), 400, "malformed"),
    "a length of two words": (field(b"Content-Length: 3 3"), 400, "malformed"),
    "a length too large for a number": (
        field(b"Content-Length: 18446744073709551617"),
        400,
        "malformed",
    ),
    "a blank before the colon of a coding": (
        field(b"Transfer-Encoding : chunked"),
        400,
        "malformed",
    ),
    "no coding": (field(b"Transfer-Encoding: identity"), 400, "framing"),
    "a coding in quotes": (field(b'Transfer-Encoding: "chunked"'), 400, "framing"),
    "a coding with a parameter": (field(b"Transfer-Encoding: chunked;q=1"), 400, "framing"),
    "a coding that is almost chunked": (field(b"Transfer-Encoding: xchunked"), 400, "framing"),
    "a coding that is empty": (field(b"Transfer-Encoding: "), 400, "malformed"),
    "a host with a user": (b"GET / HTTP/1.1\r\nHost: a@b\r\n\r\n", 400, "host"),
    "a host with a blank": (b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400, "host"),
    "hosts in a list": (b"GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", 400, "host"),
    "a host with half a bracket": (b"GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", 400, "host"),
    "a port that is no number": (b"GET / HTTP/1.1\r\nHost: a:b\r\n\r\n", 400, "host"),
    "a port that is too large": (b"GET / HTTP/1.1\r\nHost: a:65536\r\n\r\n", 400, "host"),
    "no host in the target": (b"GET http:///a HTTP/1.1\r\nHost:\r\n\r\n", 400, "host"),
    "a user in the target": (b"GET http://a@x/ HTTP/1.1\r\n" + HOST + b"\r\n", 400, "host"),
    "a star for a GET": (b"GET * HTTP/1.1\r\n" + HOST + b"\r\n", 400, "target"),
    "a version between ours and the next": (b"GET / HTTP/1.2\r\n" + HOST, 505, "version"),
    "the first words of HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "version"),
    "two expectations": (field(b"Expect: 100-continue\r\nExpect: tea"), 417, "expectation"),
    "a length after a body": (trailer(b"Content-Length: 3"), 400, "malformed"),
    "a coding after a body": (trailer(b"Transfer-Encoding: chunked"), 400, "malformed"),
    "a host after a body": (trailer(b"Host: y"), 400, "trailer"),
    "a password after a body": (trailer(b"Authorization: y"), 400, "trailer"),
    "the end of a connection after a body": (trailer(b"Connection: close"), 400, "trailer"),
    "a folded field after a body": (trailer(b"X: a\r\n b"), 400, "malformed"),
    "a chunk without a size": (CHUNKED + b"\r\nabc\r\n", 400, "malformed"),
    "a chunk size below zero": (CHUNKED + b"-3\r\nabc\r\n", 400, "malformed"),
    "a chunk size too large for a number": (CHUNKED + b"1" + b"0" * 16 + b"\r\n", 400, "malformed"),
    "a blank after a chunk size": (CHUNKED + b"3 \r\nabc\r\n", 400, "malformed"),
    "a chunk longer than its size": (CHUNKED + b"3\r\nabcd\r\n", 400, "malformed"),
    "a bare line feed after a chunk size": (CHUNKED + b"3\nabc\r\n", 400, "malformed"),
    "a bare line feed after a chunk": (CHUNKED + b"3\r\nabc\n0\r\n", 400, "malformed"),
    "a bare line feed in an extension": (CHUNKED + b"3;a\nabc\r\n", 400, "malformed"),
}


@pytest.mark.anyio
@pytest.mark.parametrize("case", REFUSED)
async def test_what_breaks_a_rule_is_refused_and_the_connection_closed(case: str) -> None:
    sent, status, rule = REFUSED[case]
    async with serving() as served:
        client = await served.connect()
        client.writer.write(sent)
        answer = await client.answer()
        rest = await client.rest()
        client.writer.transport.abort()

    assert (answer.status, answer.headers["connection"], rest) == (status, "close", b"")
    assert answer.headers["content-type"] == "application/problem+json"
    assert served.site.counters.refused == {rule: 1}
    assert served.pipeline.seen == []


@pytest.mark.parametrize("case", REFUSED)
def test_what_breaks_a_rule_is_refused_in_pieces_of_any_size(case: str) -> None:
    sent, status, rule = REFUSED[case]
    size = 1 if len(sent) < 10_000 else 1000
    receiver = Receiver(Limits())

    for at in range(0, len(sent), size):
        receiver.feed(sent[at : at + size])
        if receiver.refused:
            break

    assert receiver.refused is not None
    assert receiver.refused.status == status
    assert (receiver.ready, str(receiver.refused)) == ([], rule)


@pytest.mark.anyio
async def test_what_came_before_a_broken_request_is_answered() -> None:
    async with serving() as served:
        client = await served.connect()
        await client.send(request_bytes() * 2 + b"nonsense\r\n\r\n")
        answers = [await client.answer() for _ in range(3)]
        rest = await client.rest()
        client.close()

    assert [each.status for each in answers] == [200, 200, 400]
    assert rest == b""


@pytest.mark.anyio
async def test_a_broken_request_waits_for_the_answers_before_it() -> None:
    async with serving(lambda request: None) as served:
        client = await served.connect()
        await client.send(request_bytes() + b"nonsense\r\n\r\n")
        await until(lambda: served.pipeline.seen)
        served.pipeline.seen[0].answer(b"first")
        answers = [await client.answer(), await client.answer()]
        client.close()

    assert [each.status for each in answers] == [200, 400]


@pytest.mark.anyio
async def test_the_limits_are_parameters() -> None:
    async with serving(max_body=3, max_fields=2, max_header=100) as served:
        answers = []
        for sent in (
            request_bytes(method="POST", body="abc"),
            request_bytes(method="POST", body="abcd"),
            request_bytes("/", "a: 1", "b: 2"),
            request_bytes("/", "a: " + "a" * 90),
        ):
            client = await served.connect()
            await client.send(sent)
            answers.append(await client.answer())
            client.close()

    assert [each.status for each in answers] == [200, 413, 431, 431]


def received(data: bytes, **limits: Any) -> list[Request]:
    receiver = Receiver(Limits(**limits))
    receiver.feed(data)
    assert receiver.refused is None
    return receiver.ready


def test_what_follows_a_last_request_with_an_upgrade_is_ignored() -> None:
    sent = request_bytes("/", "Connection: Upgrade, close", "Upgrade: h2c") + request_bytes("/2")

    assert [each.uri for each in received(sent)] == ["/"]


def test_what_follows_a_last_request_is_ignored_however_it_comes() -> None:
    receiver = Receiver(Limits())
    receiver.feed(request_bytes("/", "connection: close"))
    for byte in b"GET / HTTP/1.1\r\n\r\n\0junk":
        receiver.feed(bytes([byte]))

    assert (len(receiver.ready), receiver.refused) == (1, None)


def test_what_is_refused_after_an_upgrade_is_refused() -> None:
    receiver = Receiver(Limits())
    receiver.feed(request_bytes("/", *UPGRADE) + b"GET / HTTP/1.1\r\n\r\n")

    assert len(receiver.ready) == 1
    assert receiver.refused is not None
    assert (receiver.refused.status, receiver.refused.rule) == (400, "host")


def test_an_upgrade_counts_no_field_twice() -> None:
    more = [f"x{n}: 1" for n in range(96)]
    (request,) = received(request_bytes("/", *UPGRADE, *more, method="POST", body="abc"))

    assert (len(request.headers), request.body()) == (100, b"abc")


@pytest.mark.anyio
async def test_a_refusal_is_a_line_of_information() -> None:
    with capture_logs() as logs:
        async with serving() as served:
            client = await served.connect()
            await client.send(b"nonsense\r\n\r\n")
            answer = await client.answer()
            client.close()

    (line,) = [each for each in logs if each["event"] == "request refused"]
    assert line == {
        "event": "request refused",
        "log_level": "info",
        "rule": "malformed",
        "status": 400,
        "client": "127.0.0.1",
        "journey": json.loads(answer.body)["id"],
    }


@pytest.mark.parametrize(
    ("target", "uri"),
    [
        ("http://x/a?b=1", "/a?b=1"),
        ("HTTP://X", "/"),
        ("http://x?b=1", "/?b=1"),
        ("/a#part", "/a"),
        ("*", "*"),
    ],
)
def test_targets_are_brought_into_their_usual_form(target: str, uri: str) -> None:
    (request,) = received(request_bytes(target, method="OPTIONS"))

    assert request.uri == uri


def test_empty_lines_before_a_request_are_overlooked() -> None:
    (request,) = received(b"\r\n\r\n" + request_bytes())

    assert request.uri == "/"


@pytest.mark.parametrize("name", ["Content_Length", "transfer_encoding", "x_real_ip"])
def test_fields_whose_names_could_be_taken_for_others_are_dropped(name: str) -> None:
    first, second = received(request_bytes("/", f"{name}: 3", "a-b: c") + request_bytes("/2"))

    assert dict(first.headers) == {"host": "x", "a-b": "c"}
    assert second.uri == "/2"


def test_trailers_that_harm_nobody_are_dropped() -> None:
    (request,) = received(CHUNKED + b"3\r\nabc\r\n0\r\nX-Checksum: 1\r\n\r\n")

    assert (request.body(), dict(request.headers)) == (
        b"abc",
        {"host": "x", "transfer-encoding": "chunked"},
    )


def test_small_chunks_are_no_attack() -> None:
    (request,) = received(CHUNKED + b"1\r\na\r\n" * 60_000 + b"0\r\n\r\n")

    assert request.body() == b"a" * 60_000


def test_the_last_request_that_a_connection_may_have_is_its_last() -> None:
    requests = received(request_bytes() * 5, requests=3)

    assert [each.is_kept_alive for each in requests] == [True, True, False]


@settings(deadline=None, database=None)
@given(st.lists(st.integers(1, 400), max_size=12))
def test_however_bytes_are_split_the_requests_are_the_same(cuts: list[int]) -> None:
    sent = (
        request_bytes("/?a=1", "x: y", method="POST", body="abc")
        + CHUNKED
        + b"3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nX: a\r\n\r\n"
        + request_bytes("/", *UPGRADE, method="PUT", body="ok")
        + b"\r\n"
        + request_bytes("/last", "connection: close")
    )
    receiver, at = Receiver(Limits()), 0
    for size in [*cuts, len(sent)]:
        receiver.feed(sent[at : at + size])
        at += size

    assert receiver.refused is None
    assert [(each.method, each.uri, each.body()) for each in receiver.ready] == [
        ("POST", "/?a=1", b"abc"),
        ("POST", "/", b"abcde"),
        ("PUT", "/", b"ok"),
        ("GET", "/last", b""),
    ]


@settings(max_examples=200, deadline=None, database=None)
@given(st.lists(st.one_of(st.binary(max_size=200), st.sampled_from(list(REFUSED))), max_size=20))
def test_a_receiver_keeps_no_more_than_its_limits(pieces: list[bytes | str]) -> None:
    limits = Limits(header_bytes=256, fields=8, body_bytes=64)
    receiver = Receiver(limits)
    for piece in pieces:
        receiver.feed(REFUSED[piece][0] if isinstance(piece, str) else piece)
        if receiver.refused is not None:
            break

        request = receiver.request
        held = len(request._target) + len(request._body) if request else 0
        assert held <= 8192 + limits.body_bytes
        assert sum(len(name) + len(value) for name, value in receiver.fields) <= 256


def test_a_long_run_of_small_requests_does_not_count_as_one_head() -> None:
    receiver = Receiver(Limits(requests=10_000))
    sent = request_bytes() * 3000

    for at in range(0, len(sent), 1023):
        receiver.feed(sent[at : at + 1023])

    assert receiver.refused is None
    assert len(receiver.ready) == 3000


class FakeTransport(asyncio.Transport):
    """A transport whose client reads everything at once."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 1)})
        self.sent = bytearray()
        self.is_closed = False
        self.is_at_end = False

    def write(self, data: Any) -> None:
        assert not self.is_closed
        assert not self.is_at_end
        self.sent += data

    def close(self) -> None:
        self.is_closed = True

    def abort(self) -> None:
        self.is_closed = True

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.is_at_end = True

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None:
        """Nothing to do: a test may send all the same."""

    def resume_reading(self) -> None:
        """Nothing to do."""


class FakeHost:
    def __init__(self) -> None:
        self.counters = Counters()
        self.limits = Limits(header_bytes=256, fields=8, body_bytes=64, pipelined=2)
        self.date = b"date: now\r\n"
        self.is_draining = False
        self.context = contextvars.copy_context()
        self.dispatcher: Any = self
        self.admission = Admission(self.limits, self.counters, ())
        self.proxies = Proxies()
        self.access: AccessLog | None = None
        self.router = Router(Route(), {}, 30.0)
        self.open: list[Request] = []

    def opened(self, connection: Connection) -> None:
        """Nothing to do."""

    def closed(self, connection: Connection) -> None:
        self.is_draining = True

    def handed_over(self, connection: Connection, heir: Any) -> None:
        """Nothing to do: there is no other protocol."""

    def dispatch(self, request: Request) -> None:
        if request.method == "GET":
            request.answer(b"x")
        else:
            self.open.append(request)

    def miss_deadline(self, request: Request) -> None:
        request.answer(b"", 504)


PIECES = st.one_of(
    st.binary(max_size=40),
    st.sampled_from(
        [
            request_bytes(),
            request_bytes(method="POST", body="abc"),
            request_bytes("/", "transfer-encoding: chunked", method="PUT"),
            b"3\r\nabc\r\n",
            b"0\r\n\r\n",
            b"X: a\r\n",
            request_bytes("/", "connection: upgrade", "upgrade: h2c"),
            request_bytes("/", "connection: close"),
            request_bytes("/", "expect: 100-continue", "content-length: 2", method="POST"),
            b"GET / HTTP/1.1\r\n",
            b"Host: x\r\n\r\n",
        ]
    ),
)


@settings(max_examples=300, deadline=None, database=None)
@given(st.lists(PIECES, max_size=12), st.integers(1, 50), st.booleans())
def test_no_bytes_break_a_connection(pieces: list[bytes], size: int, is_late: bool) -> None:
    loop = asyncio.new_event_loop()
    try:
        host, transport = FakeHost(), FakeTransport()
        connection = Connection(host, loop)
        connection.connection_made(transport)
        sent = b"".join(pieces)
        for at in range(0, len(sent), size):
            connection.data_received(sent[at : at + size])
            if is_late and host.open:
                host.open.pop().answer(b"late")
            loop.run_until_complete(asyncio.sleep(0))
        for _ in range(len(pieces) + len(sent) + 5):  # whatever waits comes to its turn
            while host.open:
                host.open.pop().answer(b"late")
            loop.run_until_complete(asyncio.sleep(0))
        connection.expire(loop.time() + 1000)
        connection.expire(loop.time() + 2000)

        assert transport.is_closed
        assert connection.current is None
        assert not connection.queue
        connection.connection_lost(None)
        assert host.is_draining  # it was told
    finally:
        loop.close()


def test_bytes_that_come_while_nothing_is_read_are_kept() -> None:
    loop = asyncio.new_event_loop()
    try:
        host, transport = FakeHost(), FakeTransport()
        connection = Connection(host, loop)
        connection.connection_made(transport)
        for _ in range(5):
            connection.data_received(request_bytes(method="PUT"))
        waiting = len(connection.queue)
        while host.open:
            host.open.pop().answer(b"x")
            loop.run_until_complete(asyncio.sleep(0))

        assert waiting == 2
        assert host.counters.requests == 5
        assert transport.sent.count(b"HTTP/1.1 200 OK") == 5
    finally:
        loop.close()


def test_large_bodies_that_wait_stop_the_reading_too() -> None:
    loop = asyncio.new_event_loop()
    try:
        host = FakeHost()
        host.limits = Limits(body_bytes=64)
        connection = Connection(host, loop)
        connection.connection_made(FakeTransport())
        for _ in range(5):
            connection.data_received(request_bytes(method="PUT", body="x" * 40))

        assert len(connection.queue) == 2
        assert not connection.is_reading
    finally:
        loop.close()


def test_time_that_a_client_loses_by_our_not_reading_is_not_its_own() -> None:
    loop = asyncio.new_event_loop()
    try:
        host, transport = FakeHost(), FakeTransport()
        connection = Connection(host, loop)
        connection.connection_made(transport)
        connection.data_received(request_bytes(method="PUT") * 3 + b"PUT / HT")
        now = loop.time()
        connection.answer_by = now + 1000
        connection.expire(now + 100)
        early = bytes(transport.sent)
        while host.open:
            host.open.pop().answer(b"x")
            loop.run_until_complete(asyncio.sleep(0))
        connection.expire(now + 200)

        assert early == b""
        assert transport.sent.count(b"HTTP/1.1 200 OK") == 3
        assert transport.sent.count(b"HTTP/1.1 408 Request Timeout") == 1
    finally:
        loop.close()


def test_a_transport_that_cannot_end_its_half_is_closed_after_a_refusal() -> None:
    class Whole(FakeTransport):
        def can_write_eof(self) -> bool:
            return False

    loop = asyncio.new_event_loop()
    try:
        transport = Whole()
        connection = Connection(FakeHost(), loop)
        connection.connection_made(transport)
        connection.data_received(b"nonsense\r\n\r\n")

        assert transport.sent.startswith(b"HTTP/1.1 400 Bad Request\r\n")
        assert transport.is_closed
    finally:
        loop.close()
