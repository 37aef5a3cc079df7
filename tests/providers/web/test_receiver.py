from __future__ import annotations

import asyncio
import contextvars
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from piped.providers.web import Request
from piped.providers.web.connection import Connection
from piped.providers.web.limits import Counters, Limits
from piped.providers.web.receiver import Receiver
from tests.providers.web.support import request_bytes, serving

HOST = b"Host: x\r\n"

REFUSED = {
    "no host": (b"GET / HTTP/1.1\r\n\r\n", 400, "host"),
    "two hosts": (b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400, "host"),
    "two hosts in 1.0": (b"GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n", 400, "host"),
    "a host that is none": (b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400, "host"),
    "another host in the target": (b"GET http://y/ HTTP/1.1\r\n" + HOST + b"\r\n", 400, "host"),
    "no HTTP in the target": (b"GET ftp://x/ HTTP/1.1\r\n" + HOST + b"\r\n", 400, "target"),
    "length and coding": (
        b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
        400,
        "malformed",
    ),
    "coding and length": (
        b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n",
        400,
        "malformed",
    ),
    "two lengths": (
        b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
        400,
        "malformed",
    ),
    "a list of lengths": (
        b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 3, 3\r\n\r\nabc",
        400,
        "malformed",
    ),
    "a length of many zeros": (
        b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: " + b"0" * 5000 + b"3\r\n\r\nabc",
        400,
        "framing",
    ),
    "another coding": (
        b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: gzip, chunked\r\n\r\n",
        400,
        "framing",
    ),
    "chunked twice": (
        b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n" * 2 + b"\r\n",
        400,
        "malformed",
    ),
    "chunked in 1.0": (
        b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
        400,
        "framing",
    ),
    "a folded field": (b"GET / HTTP/1.1\r\n" + HOST + b"X: a\r\n b\r\n\r\n", 400, "malformed"),
    "a blank before the colon": (
        b"GET / HTTP/1.1\r\n" + HOST + b"X : a\r\n\r\n",
        400,
        "malformed",
    ),
    "a control sign": (b"GET / HTTP/1.1\r\n" + HOST + b"X: a\x01\r\n\r\n", 400, "malformed"),
    "bare line feeds": (b"GET / HTTP/1.1\nHost: x\n\n", 400, "malformed"),
    "another language": (b"\x16\x03\x01\x02\x00\x01\x00", 400, "malformed"),
    "a chunk size that is none": (
        b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n0x3\r\nabc\r\n",
        400,
        "malformed",
    ),
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
    "many trailers": (
        b"POST / HTTP/1.1\r\n"
        + HOST
        + b"Transfer-Encoding: chunked\r\n\r\n0\r\n"
        + b"X: a\r\n" * 100,
        431,
        "header-too-large",
    ),
    "a large body, as announced": (
        b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 1048577\r\n\r\n",
        413,
        "body-too-large",
    ),
    "a large body, as counted": (
        b"POST / HTTP/1.1\r\n"
        + HOST
        + b"Transfer-Encoding: chunked\r\n\r\n"
        + b"80000\r\n%b\r\n" % bytes(0x80000) * 3,
        413,
        "body-too-large",
    ),
    "chunks that are all extension": (
        b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n1;" + b"a" * (9 << 20),
        413,
        "body-too-large",
    ),
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
    async def pipeline(request: Request) -> None:
        await asyncio.sleep(0.01)
        request.answer(b"first")

    async with serving(pipeline) as served:
        client = await served.connect()
        await client.send(request_bytes() + b"nonsense\r\n\r\n")
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


def received(data: bytes) -> list[Request]:
    receiver = Receiver(Limits())
    receiver.feed(data)
    assert receiver.refused is None
    return receiver.ready


UPGRADE = ("Connection: Upgrade", "Upgrade: h2c")


def test_what_follows_a_last_request_with_an_upgrade_is_ignored() -> None:
    sent = request_bytes("/", "Connection: Upgrade, close", "Upgrade: h2c") + request_bytes("/2")

    assert [each.uri for each in received(sent)] == ["/"]


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


def test_a_long_run_of_small_requests_does_not_count_as_one_head() -> None:
    receiver = Receiver(Limits())
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
        self.open: list[Request] = []

    def opened(self, connection: Connection) -> int:
        return 1

    def closed(self, connection: Connection) -> None:
        self.is_draining = True

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
        assert connection.is_closed
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
