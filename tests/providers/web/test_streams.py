"""Bodies in pieces, in both directions."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from piped.errors import BatonError
from piped.providers.web import Request
from piped.providers.web.streams import ClientLeft
from tests.conftest import until
from tests.providers.web.support import request_bytes, serving

pytestmark = pytest.mark.anyio

STREAMING = {"__config__": {"processor": "pipeline.root", "stream_body": True}}


async def in_three(request: Request) -> None:
    request.start(content_type="text/plain")
    for piece in (b"one", b"", b"two", b"three"):
        await request.send(piece)
    request.finish()


async def test_an_answer_in_pieces_is_chunked_and_keeps_the_connection() -> None:
    async with serving(in_three) as served:
        client = await served.connect()
        for _ in range(2):
            await client.send(request_bytes())
            head = await client.reader.readuntil(b"\r\n\r\n")
            body = await client.reader.readuntil(b"0\r\n\r\n")

            assert b"transfer-encoding: chunked\r\n" in head
            assert b"content-length" not in head
            assert body == b"3\r\none\r\n3\r\ntwo\r\n5\r\nthree\r\n0\r\n\r\n"
        client.close()


async def test_a_client_of_1_0_gets_the_pieces_and_the_end_of_the_connection() -> None:
    async with serving(in_three) as served:
        client = await served.connect()
        await client.send(b"GET / HTTP/1.0\r\n\r\n")
        head, _, body = (await client.rest()).partition(b"\r\n\r\n")
        client.close()

    assert (body, b"chunked" in head) == (b"onetwothree", False)


async def test_head_gets_no_piece() -> None:
    async with serving(in_three) as served:
        client = await served.connect()
        await client.send(request_bytes(method="HEAD"))
        first = await client.answer(is_head=True)
        await client.send(request_bytes(method="HEAD"))
        second = await client.answer(is_head=True)
        client.close()

    assert (first.status, second.status) == (200, 200)


async def test_an_answer_that_nobody_ends_is_cut_off() -> None:
    async def halfway(request: Request) -> None:
        request.start()
        await request.send(b"half")

    async with serving(halfway) as served:
        client = await served.connect()
        await client.send(request_bytes())
        _, _, body = (await client.rest()).partition(b"\r\n\r\n")
        client.close()

    assert body == b"4\r\nhalf\r\n"


async def test_an_answer_keeps_to_its_length() -> None:
    errors: list[BatonError] = []

    async def longer(request: Request) -> None:
        request.start(length=4)
        try:
            await request.send(b"fives")
        except BatonError as error:
            errors.append(error)
        await request.send(b"four")
        request.finish()

    async with serving(longer) as served:
        client = await served.connect()
        answer = await client.get()
        client.close()

    assert answer.body == b"four"
    assert str(errors[0]) == "the answer is longer than its 'content-length'"


async def test_a_client_that_does_not_read_is_waited_for_and_its_leaving_cancels() -> None:
    sent: list[int] = []
    left: asyncio.Event = asyncio.Event()

    async def endless(request: Request) -> None:
        request.start()
        try:
            while True:
                await request.send(bytes(64 << 10))
                sent.append(1)
        except (asyncio.CancelledError, ClientLeft):
            left.set()
            raise

    async with serving(endless) as served:
        client = await served.connect(limit=1 << 10)
        await client.send(request_bytes())
        await client.reader.readuntil(b"\r\n\r\n")
        (connection,) = served.server.connections
        async with asyncio.timeout(20):
            await until(lambda: connection.is_stalled)
            client.reset_when_closed()
            client.close()
            await left.wait()

    assert len(sent) < 2000


async def test_a_body_is_read_while_it_arrives() -> None:
    came: asyncio.Queue[bytes] = asyncio.Queue()

    async def take(request: Request) -> None:
        async for piece in request.stream():
            came.put_nowait(piece)
        request.answer(b"all")

    async with serving(take, routing=STREAMING) as served:
        client = await served.connect()
        await client.send(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 6\r\n\r\n")
        for piece in (b"abc", b"def"):
            await client.send(piece)
            assert await came.get() == piece
        answer = await client.answer()
        again = await client.get()
        client.close()

    assert (answer.body, again.body) == (b"all", b"all")


async def test_a_large_body_waits_for_who_takes_it() -> None:
    sizes: list[int] = []

    async def take(request: Request) -> None:
        async for piece in request.stream():
            sizes.append(len(piece))
            await asyncio.sleep(0)
        request.answer(b"%d" % sum(sizes))

    async with serving(take, routing=STREAMING, max_body=16 << 20) as served:
        client = await served.connect()
        size = 10 << 20
        await client.send(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % size)
        await client.send(bytes(size))
        answer = await client.answer()
        client.close()

    assert answer.body == b"%d" % size
    assert max(sizes) <= 128 << 10


async def test_a_body_in_pieces_is_not_to_be_had_as_a_whole() -> None:
    errors: list[Any] = []

    async def take(request: Request) -> None:
        try:
            request.body()
        except BatonError as error:
            errors.append(error)
        request.answer(b"no")

    async with serving(take, routing=STREAMING) as served:
        client = await served.connect()
        await client.send(request_bytes(method="POST", body="abc"))
        answer = await client.answer()
        client.close()

    assert answer.body == b"no"
    assert str(errors[0]) == "the body of this request comes in pieces: read request.stream()"


async def test_a_body_that_breaks_a_rule_ends_the_request() -> None:
    async def take(request: Request) -> None:
        async for _ in request.stream():
            pass

    async with serving(take, routing=STREAMING) as served:
        client = await served.connect()
        await client.send(b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
        await until(lambda: served.pipeline.seen)
        await client.send(b"zz\r\n")
        answer = await client.answer()
        client.close()

    assert answer.status == 400
    assert served.pipeline.seen[0].is_disconnected


@pytest.mark.parametrize("in_pieces", [False, True])
async def test_what_follows_of_a_body_after_its_answer_is_no_request(in_pieces: bool) -> None:
    async def answer_at_once(request: Request) -> None:
        if in_pieces:
            request.start(length=3)
            await request.send(b"yes")
            request.finish()
        else:
            request.answer(b"yes")

    async with serving(answer_at_once, routing=STREAMING) as served:
        client = await served.connect()
        await client.send(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 300000\r\n\r\nbegun")
        answer = await client.answer()
        await client.send(request_bytes("/second"))
        rest = await client.rest()
        client.close()

    assert (answer.body, rest) == (b"yes", b"")
    assert served.server.counters.requests == 1


async def test_an_answer_that_a_synchronous_pipeline_does_not_end_is_cut_off() -> None:
    async with serving(lambda request: request.start(content_type="text/plain")) as served:
        client = await served.connect()
        await client.send(request_bytes())
        _, _, body = (await client.rest()).partition(b"\r\n\r\n")
        in_flight = served.server.admission.in_flight
        client.close()

    assert (body, in_flight) == (b"", 0)


async def test_a_synchronous_pipeline_may_end_what_it_begins() -> None:
    def at_once(request: Request) -> None:
        request.write(b"all")
        request.start(content_type="text/plain")
        request.finish()

    async with serving(at_once) as served:
        client = await served.connect()
        for _ in range(2):
            await client.send(request_bytes())
            await client.reader.readuntil(b"\r\n\r\n")
            body = await client.reader.readuntil(b"0\r\n\r\n")

            assert body == b"3\r\nall\r\n0\r\n\r\n"
        client.close()


async def test_what_was_sent_ahead_of_an_answer_in_pieces_is_owed_too() -> None:
    async with serving(in_three) as served:
        client = await served.connect()
        await client.send(b"".join(request_bytes() for _ in range(3)))
        client.writer.write_eof()
        answers = (await client.rest()).split(b"0\r\n\r\n")
        client.close()

    assert [b"connection: close\r\n" in each for each in answers] == [False, False, True, False]
    assert answers[-1] == b""


async def test_who_still_sends_when_an_answer_has_ended_is_told() -> None:
    errors: list[str] = []

    async def flood(request: Request) -> None:
        try:
            while True:
                await request.send(bytes(1 << 20))
        except BatonError as error:
            errors.append(str(error))

    async def end_amid(request: Request) -> None:
        request.start()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(flood(request))
            await until(lambda: any(each.is_stalled for each in served.server.connections))
            request.finish()

    async with serving(end_amid) as served:
        client = await served.connect(limit=1 << 16)
        await client.send(request_bytes("/", "connection: close"))
        await until(lambda: errors)
        rest = await client.rest()
        client.close()

    assert errors == ["the answer has ended"]
    assert rest.endswith(b"\r\n0\r\n\r\n")
    assert rest.count(b"0\r\n\r\n") == 1


@pytest.mark.parametrize("is_async", [False, True])
async def test_an_answer_that_is_too_long_from_the_first_is_cut_off(is_async: bool) -> None:
    def too_long(request: Request) -> None:
        request.write(b"four")
        request.start(length=3)

    async def later(request: Request) -> None:
        too_long(request)

    async with serving(later if is_async else too_long) as served:
        client = await served.connect()
        await client.send(request_bytes())
        _, _, body = (await client.rest()).partition(b"\r\n\r\n")
        client.close()

    assert body == b""


@pytest.mark.parametrize("length", [-1, 2.5])
async def test_a_length_is_a_number_of_bytes(length: Any) -> None:
    errors: list[str] = []

    def wrong(request: Request) -> None:
        try:
            request.start(length=length)
        except BatonError as error:
            errors.append(str(error))
            raise

    async with serving(wrong) as served:
        client = await served.connect()
        answer = await client.get()
        client.close()

    assert errors == [f"expected a length of at least 0, got {length}"]
    assert answer.status == 500
