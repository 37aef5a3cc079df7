from __future__ import annotations

import asyncio
import gc
import weakref
from time import perf_counter

import httpx
import pytest

from piped.engine.journey import journey
from piped.providers.web import Request
from piped.providers.web.connection import Connection
from tests.conftest import until
from tests.providers.web.support import Pipeline, request_bytes, serving

pytestmark = pytest.mark.anyio


async def test_a_synchronous_pipeline_answers_without_a_task() -> None:
    tasks: list[int] = []

    def pipeline(request: Request) -> None:
        tasks.append(len(asyncio.all_tasks()))
        request.answer(b"hello", content_type="text/plain")

    async with serving(pipeline) as served:
        client = await served.connect()
        before = len(asyncio.all_tasks())
        answer = await client.get()
        client.close()

    assert (answer.status, answer.body) == (200, b"hello")
    assert answer.headers["content-type"] == "text/plain"
    assert answer.headers["content-length"] == "5"
    assert "connection" not in answer.headers
    assert tasks == [before]


async def test_an_asynchronous_pipeline_answers() -> None:
    async def pipeline(request: Request) -> None:
        await asyncio.sleep(0)
        request.answer(str(journey.get() == request.id).encode())

    async with serving(pipeline) as served, httpx.AsyncClient() as client:
        answer = await client.get(served.server.url)

    assert (answer.status_code, answer.text) == (200, "True")


async def test_a_connection_is_kept_for_the_next_request() -> None:
    async with serving() as served:
        client = await served.connect()
        answers = [await client.get() for _ in range(3)]
        client.close()

    assert [each.status for each in answers] == [200, 200, 200]
    assert served.site.counters.accepted == 1
    assert served.site.counters.requests == 3
    assert served.site.counters.answered == {1: 0, 2: 3, 3: 0, 4: 0, 5: 0}


async def test_bytes_may_come_one_by_one() -> None:
    async with serving(lambda request: request.answer(request.body())) as served:
        client = await served.connect()
        for byte in request_bytes(method="POST", body="abc") * 2:
            await client.send(bytes([byte]))
        answers = [await client.answer(), await client.answer()]
        client.close()

    assert [each.body for each in answers] == [b"abc", b"abc"]


async def test_pipelined_requests_are_answered_in_order() -> None:
    async def pipeline(request: Request) -> None:
        for _ in range(9 if request.args["n"] == ["0"] else 1):
            await asyncio.sleep(0)
        request.answer(request.args["n"][0].encode())

    async with serving(pipeline) as served:
        client = await served.connect()
        await client.send(b"".join(request_bytes(f"/?n={n}") for n in range(40)))
        answers = [await client.answer() for _ in range(40)]
        client.close()

    assert [int(each.body) for each in answers] == list(range(40))


async def test_a_connection_stops_reading_when_many_requests_wait() -> None:
    go = asyncio.Event()

    async def pipeline(request: Request) -> None:
        await go.wait()
        request.answer(b"x")

    async with serving(pipeline, max_pipelined=4) as served:
        client = await served.connect()
        await client.send(request_bytes() * 1000)
        await until(lambda: served.pipeline.seen)
        (connection,) = served.server.connections
        waiting, is_reading = len(connection.queue), connection.is_reading
        go.set()
        answers = [await client.answer() for _ in range(1000)]
        client.close()

    assert waiting < 100  # the limit, and what came in the same two KiB
    assert not is_reading
    assert {each.status for each in answers} == {200}


async def test_requests_sent_ahead_leave_the_loop_to_other_clients() -> None:
    def pipeline(request: Request) -> None:
        until = perf_counter() + (0.002 if request.postpath else 0)
        while perf_counter() < until:
            pass
        request.answer(b"x")

    routing = {"__config__": {"no_resource_processor": "pipeline.root"}}
    async with serving(pipeline, routing) as served:
        greedy, other = await served.connect(), await served.connect()
        await until(lambda: len(served.server.connections) == 2)
        greedy.writer.write(request_bytes("/burn") * 500)
        await until(lambda: served.pipeline.seen)
        await other.get()
        before = len(served.pipeline.seen)
        answers = [await greedy.answer() for _ in range(500)]
        greedy.close()
        other.close()

    assert before < 50
    assert {each.status for each in answers} == {200}


async def test_any_method_reaches_the_pipeline() -> None:
    async with serving(lambda request: request.answer(request.method.encode())) as served:
        client = await served.connect()
        methods = ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND"]
        bodies = []
        for method in methods:
            await client.send(request_bytes(method=method))
            bodies.append((await client.answer()).body.decode())
        client.close()

    assert bodies == methods


async def test_head_gets_the_length_and_no_body() -> None:
    async with serving() as served:
        client = await served.connect()
        await client.send(request_bytes(method="HEAD"))
        head = await client.answer(is_head=True)
        after = await client.get()
        client.close()

    assert (head.status, head.headers["content-length"]) == (200, "5")
    assert after.body == b"hello"


@pytest.mark.parametrize("status", [204, 304])
async def test_answers_without_a_body_have_no_length(status: int) -> None:
    async with serving(lambda request: request.answer(b"ignored", status)) as served:
        client = await served.connect()
        answer = await client.get()
        after = await client.get()
        client.close()

    assert answer.status == after.status == status
    assert "content-length" not in answer.headers


async def test_an_empty_answer_says_so() -> None:
    async with serving(lambda request: request.finish()) as served:
        client = await served.connect()
        answer = await client.get()
        client.close()

    assert (answer.status, answer.headers["content-length"]) == (200, "0")
    assert "content-type" not in answer.headers


async def test_there_is_one_date() -> None:
    async with serving() as served:
        client = await served.connect()
        answer = await client.get()
        client.close()

    assert answer.head.lower().count(b"\r\ndate: ") == 1


async def test_connection_close_is_heeded_and_what_follows_ignored() -> None:
    async with serving() as served:
        client = await served.connect()
        await client.send(request_bytes("/", "connection: close") + request_bytes() + b"junk\0")
        answer = await client.answer()
        rest = await client.rest()
        client.close()

    assert (answer.status, answer.headers["connection"], rest) == (200, "close", b"")
    assert served.site.counters.requests == 1


@pytest.mark.parametrize(
    ("header", "connection"), [(b"", "close"), (b"Connection: keep-alive\r\n", "keep-alive")]
)
async def test_http_1_0_is_kept_only_when_asked(header: bytes, connection: str) -> None:
    async with serving() as served:
        client = await served.connect()
        await client.send(b"GET / HTTP/1.0\r\n" + header + b"\r\n")
        answer = await client.answer()
        if connection == "close":
            assert await client.rest() == b""
        client.close()

    assert (answer.body, answer.headers["connection"]) == (b"hello", connection)


async def test_chunked_bodies_are_joined_and_trailers_dropped() -> None:
    def pipeline(request: Request) -> None:
        request.answer(request.body() + str("x-t" in request.headers).encode())

    async with serving(pipeline) as served:
        client = await served.connect()
        await client.send(
            request_bytes("/", "transfer-encoding: chunked", method="POST")
            + b"3;ext=1\r\nabc\r\n2\r\nde\r\n0\r\nX-T: 1\r\n\r\n"
            + request_bytes()
        )
        answers = [await client.answer(), await client.answer()]
        client.close()

    assert [each.body for each in answers] == [b"abcdeFalse", b"False"]


async def test_a_client_that_expects_a_word_gets_it_before_the_body() -> None:
    async with serving(lambda request: request.answer(request.body())) as served:
        client = await served.connect()
        await client.send(
            request_bytes("/", "expect: 100-continue", "content-length: 3", method="POST")
        )
        word = await client.reader.readuntil(b"\r\n\r\n")
        await client.send(b"abc")
        answer = await client.answer()
        client.close()

    assert word == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert answer.body == b"abc"


async def test_the_word_to_go_on_waits_for_the_answers_before_it() -> None:
    go = asyncio.Event()

    async def pipeline(request: Request) -> None:
        await go.wait()
        request.answer(b"first" + request.body())

    async with serving(pipeline) as served:
        client = await served.connect()
        expecting = request_bytes("/", "expect: 100-continue", "content-length: 1", method="PUT")
        await client.send(request_bytes() + expecting)
        await until(lambda: served.pipeline.seen)
        go.set()
        first = await client.answer()
        word = await client.reader.readuntil(b"\r\n\r\n")
        await client.send(b"!")
        second = await client.answer()
        client.close()

    assert (first.body, word[:12], second.body) == (b"first", b"HTTP/1.1 100", b"first!")


@pytest.mark.parametrize("body", ["", "n=1&n=2"])
async def test_a_proposed_upgrade_is_ignored(body: str) -> None:
    async with serving(lambda request: request.answer(request.body())) as served:
        client = await served.connect()
        upgrade = ["Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: A"]
        await client.send(request_bytes("/", *upgrade, method="POST", body=body))
        first = await client.answer()
        chunked = [*upgrade, "transfer-encoding: chunked"]
        await client.send(
            request_bytes("/", *chunked, method="POST") + b"2\r\nab\r\n0\r\n\r\n" + request_bytes()
        )
        others = [await client.answer(), await client.answer()]
        client.close()

    assert first.body == body.encode()
    assert [each.body for each in others] == [b"ab", b""]


async def test_the_second_answer_is_ignored_and_counted() -> None:
    answers: list[bool] = []

    def pipeline(request: Request) -> None:
        answers.append(request.answer(b"first"))
        answers.append(request.answer(b"second", 500))

    async with serving(pipeline) as served:
        client = await served.connect()
        answer = await client.get()
        client.close()

    assert (answer.status, answer.body, answers) == (200, b"first", [True, False])
    assert served.site.counters.second_answers == 1


async def test_a_request_may_be_answered_long_after_its_pipeline_ended() -> None:
    async with serving(lambda request: None) as served:
        client = await served.connect()
        await client.send(request_bytes() + request_bytes())
        await until(lambda: served.pipeline.seen)
        served.pipeline.seen[0].answer(b"one")
        first = await client.answer()
        await until(lambda: len(served.pipeline.seen) == 2)
        served.pipeline.seen[1].answer(b"two")
        second = await client.answer()
        client.close()

    assert (first.body, second.body) == (b"one", b"two")


async def test_a_client_that_reset_its_connection_cancels_the_pipeline() -> None:
    cancelled = asyncio.Event()

    async def pipeline(request: Request) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    async with serving(pipeline) as served:
        client = await served.connect()
        client.reset_when_closed()
        await client.send(request_bytes())
        await until(lambda: served.pipeline.seen)
        client.close()
        await asyncio.wait_for(cancelled.wait(), 5)

    (request,) = served.pipeline.seen
    assert request.is_finished
    assert request.is_disconnected
    assert not request.answer(b"too late")
    assert served.site.counters.clients_left == 1
    assert served.site.counters.second_answers == 0


async def test_a_client_that_ended_its_half_gets_what_it_is_owed() -> None:
    async def pipeline(request: Request) -> None:
        await asyncio.sleep(0)
        request.answer(request.uri.encode())

    async with serving(pipeline) as served:
        client = await served.connect()
        await client.send(b"".join(request_bytes(f"/?{n}") for n in range(50)))
        client.writer.write_eof()
        answers = [await client.answer() for _ in range(50)]
        rest = await client.rest()
        client.close()

    assert [each.body for each in answers] == [b"/?%d" % n for n in range(50)]
    assert [each.headers.get("connection") for each in answers] == [None] * 49 + ["close"]
    assert rest == b""


async def test_a_pipeline_goes_on_after_its_answer() -> None:
    done: list[bool] = []
    go = asyncio.Event()

    async def pipeline(request: Request) -> None:
        request.answer(b"soon")
        await go.wait()
        done.append(True)

    async with serving(pipeline) as served:
        client = await served.connect()
        await client.get()
        go.set()
        client.close()

    assert done == [True]


async def test_batons_are_freed_without_the_garbage_collector() -> None:
    class Marker:
        pass

    refs: list[weakref.ref[object]] = []

    def sync(request: Request) -> None:
        marker = Marker()
        refs.extend([weakref.ref(marker), weakref.ref(request)])
        request.answer_lines.append(("x", b""))
        request.answer(b"")

    async def later(request: Request) -> None:
        refs.append(weakref.ref(request))
        await asyncio.sleep(0)
        request.answer(b"")

    routing = {
        "__config__": {"processor": "pipeline.sync"},
        "later": {"__config__": {"processor": "pipeline.later"}},
    }
    pipelines = {"sync": Pipeline(sync), "later": Pipeline(later)}
    gc.disable()
    try:
        async with serving(routing=routing, pipelines=pipelines) as served:
            client = await served.connect()
            for target in ("/", "/later"):
                await client.get(target)
                for pipeline in pipelines.values():
                    pipeline.seen.clear()
            await until(lambda: not any(each() for each in refs))
            client.close()
    finally:
        gc.enable()

    assert len(refs) == 3


async def test_connections_are_freed_without_the_garbage_collector() -> None:
    def count() -> int:
        return sum(type(each) is Connection for each in gc.get_objects())

    gc.collect()
    before = count()
    gc.disable()
    try:
        async with serving() as served:
            client = await served.connect()
            await client.get()
            during = count()
            client.close()
            await until(lambda: not served.server.connections)
            await until(lambda: count() == before)
    finally:
        gc.enable()

    assert during == before + 1


async def test_a_client_that_does_not_read_is_not_written_to_nor_read_from() -> None:
    async with serving(lambda request: request.answer(bytes(1 << 20))) as served:
        client = await served.connect(limit=1024)
        client.writer.write(request_bytes() * 30)
        await until(lambda: any(not each.is_reading for each in served.server.connections))
        (connection,) = served.server.connections
        unsent = connection.transport.get_write_buffer_size()
        answered = served.site.counters.requests
        for _ in range(30):
            await client.answer()
        client.close()

    assert unsent < 3 << 20
    assert answered < 30
    assert served.site.counters.requests == 30
