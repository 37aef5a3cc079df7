from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

import pytest
import zmq
import zmq.asyncio
from structlog.testing import capture_logs

from piped.errors import BatonError, PipelineError, QueueFull, Unavailable
from piped.providers.zmq import Queue
from tests.conftest import until
from tests.providers.zmq.conftest import (
    LOCAL,
    Recorder,
    address,
    bound,
    place_of,
    read,
    running,
)

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("faults")]
Peer = Callable[..., zmq.asyncio.Socket]


async def test_a_message_is_a_baton_of_bytes(peer: Peer) -> None:
    pipeline = Recorder()
    async with running({"jobs": Queue(type="PULL", binds=[LOCAL], processor=bound(pipeline))}) as r:
        jobs = r["zmq.queue.jobs"]
        await peer(zmq.PUSH, address(jobs)).send(b"one")

        assert await pipeline.got(1) == [b"one"]
        assert jobs.received == 1


async def test_a_message_of_several_frames_is_one_baton(peer: Peer) -> None:
    pipeline = Recorder()
    async with running({"jobs": Queue(type="PULL", binds=[LOCAL], processor=bound(pipeline))}) as r:
        push = peer(zmq.PUSH, address(r["zmq.queue.jobs"]))
        await push.send_multipart([b"a", b"b", b"c"])
        await push.send(b"d")

        assert await pipeline.got(2) == [[b"a", b"b", b"c"], b"d"]


async def test_what_is_sent_before_a_peer_is_there_arrives_in_order(peer: Peer) -> None:
    async with running({"jobs": Queue(type="PUSH", binds=[LOCAL])}) as r:
        jobs = r["zmq.queue.jobs"]
        for number in range(10):
            jobs.send(f"ø{number}")
        waiting = jobs.backlog

        pull = peer(zmq.PULL, address(jobs))
        came = [await read(pull) for _ in range(10)]

        assert waiting == 10
        assert came == [f"ø{number}".encode() for number in range(10)]
        assert (jobs.backlog, jobs.sent) == (0, 10)


async def test_a_list_is_sent_as_frames(peer: Peer) -> None:
    async with running({"jobs": Queue(type="PUSH", binds=[LOCAL])}) as r:
        r["zmq.queue.jobs"].send([b"a", "b"])

        pull = peer(zmq.PULL, address(r["zmq.queue.jobs"]))

        async with asyncio.timeout(10):
            assert await pull.recv_multipart() == [b"a", b"b"]


@pytest.mark.parametrize(
    ("message", "kind"),
    [({}, "dict"), (None, "NoneType"), ([], "an empty list"), ([b"", 1], "int")],
)
async def test_other_batons_cannot_be_sent(message: object, kind: str) -> None:
    async with running({"jobs": Queue(type="PUSH", binds=[LOCAL])}) as r:
        with pytest.raises(BatonError) as caught:
            r["zmq.queue.jobs"].send(message)

        assert str(caught.value) == f"expected bytes, text or a list of them to send, got {kind}"


async def test_a_full_backlog_refuses(peer: Peer) -> None:
    async with running({"jobs": Queue(type="PUSH", binds=[LOCAL], max_backlog=2)}) as r:
        jobs = r["zmq.queue.jobs"]
        jobs.send(b"1")
        jobs.send(b"2")

        with pytest.raises(QueueFull) as caught:
            jobs.send(b"3")

        assert str(caught.value) == (
            "queue 'jobs' is full: 2 of 2 messages and 2 of 16777216 bytes wait for a peer"
        )
        assert (jobs.backlog, jobs.refused) == (2, 1)
        await read(peer(zmq.PULL, address(jobs)))


async def test_a_worker_that_died_is_replaced_and_nothing_kept_is_lost(peer: Peer) -> None:
    async with running({"jobs": Queue(type="PUSH", binds=[LOCAL])}) as r:
        jobs = r["zmq.queue.jobs"]
        first = peer(zmq.PULL, address(jobs))
        jobs.send(b"1")
        await read(first)
        first.close(0)
        # What ZeroMQ gives to a peer that is just leaving is lost: at most once.
        await until(lambda: jobs.send(b"probe") or jobs.backlog > 0)

        second = peer(zmq.PULL, address(jobs))
        came = b""
        while came != b"2":
            jobs.send(b"2")  # again: one more may go to the peer that is leaving
            with suppress(TimeoutError):
                came = await asyncio.wait_for(read(second), 1)

        assert jobs.backlog == 0


async def test_an_error_in_the_pipeline_is_counted_and_the_next_message_goes_on(peer: Peer) -> None:
    def fail(baton: bytes) -> None:
        raise ValueError(baton)

    pipeline = Recorder()
    pipeline.treat = fail
    async with running({"jobs": Queue(type="PULL", binds=[LOCAL], processor=bound(pipeline))}) as r:
        push = peer(zmq.PUSH, address(r["zmq.queue.jobs"]))
        await push.send(b"1")
        await push.send(b"2")
        await pipeline.got(2)

        assert r["zmq.queue.jobs"].failed == 2


async def test_a_rep_answers_each_request_once(peer: Peer) -> None:
    pipeline = Recorder()
    async with running({"ask": Queue(type="REP", binds=[LOCAL], processor=bound(pipeline))}) as r:
        ask = r["zmq.queue.ask"]
        pipeline.treat = lambda baton: ask.send(baton.upper())
        req = peer(zmq.REQ, address(ask))
        for word in (b"a", b"b"):
            await req.send(word)
            assert await read(req) == word.upper()

        with pytest.raises(PipelineError) as caught:
            ask.send(b"again")

        assert str(caught.value) == (
            "queue 'ask' cannot send now: it is a REP queue, and can answer each request once,"
            " after it has received it"
        )


async def test_a_rep_goes_on_after_a_failure_which_is_an_empty_answer(peer: Peer) -> None:
    pipeline = Recorder()
    async with running({"ask": Queue(type="REP", binds=[LOCAL], processor=bound(pipeline))}) as r:
        ask = r["zmq.queue.ask"]

        def answer(baton: bytes) -> None:
            if baton == b"late":
                ask.send(b"answered")
            if baton in (b"bad", b"late"):
                raise ValueError(baton)
            ask.send(baton.upper())

        pipeline.treat = answer
        req = peer(zmq.REQ, address(ask))
        came = []
        for word in (b"a", b"bad", b"late", b"b"):
            await req.send(word)
            came.append(await read(req))

        assert came == [b"A", b"", b"answered", b"B"]
        assert (ask.sent, ask.failed) == (4, 2)


async def test_a_req_sends_each_message_after_the_answer_to_the_last(peer: Peer) -> None:
    pipeline = Recorder()
    rep = peer(zmq.REP)
    queue = Queue(type="REQ", connects=[place_of(rep)], processor=bound(pipeline))
    async with running({"ask": queue}) as r:
        ask = r["zmq.queue.ask"]
        ask.send(b"1")
        ask.send(b"2")
        for _ in range(2):
            await rep.send(await read(rep))

        assert await pipeline.got(2) == [b"1", b"2"]


async def test_a_req_that_waits_for_an_answer_says_so(peer: Peer) -> None:
    rep = peer(zmq.REP)
    async with running({"ask": Queue(type="REQ", connects=[place_of(rep)])}) as r:
        ask = r["zmq.queue.ask"]
        ask.send(b"1")
        await read(rep)

        with pytest.raises(PipelineError) as caught:
            ask.send(b"2")

        assert str(caught.value) == (
            "queue 'ask' cannot send now: it is a REQ queue, and must receive the answer to its"
            " last message before it sends another (without a 'processor' nobody receives it)"
        )


async def test_a_router_answers_the_peer_by_its_identity(peer: Peer) -> None:
    pipeline = Recorder()
    queue = Queue(type="ROUTER", binds=[LOCAL], processor=bound(pipeline))
    async with running({"front": queue}) as r:
        front = r["zmq.queue.front"]
        pipeline.treat = lambda baton: front.send([*baton, b"!"])
        dealer = peer(zmq.DEALER, address(front))
        await dealer.send(b"hello")

        async with asyncio.timeout(10):
            assert await dealer.recv_multipart() == [b"hello", b"!"]


async def test_a_router_says_when_a_peer_has_gone() -> None:
    async with running({"front": Queue(type="ROUTER", binds=[LOCAL])}) as r:
        with pytest.raises(Unavailable) as caught:
            r["zmq.queue.front"].send([b"bob", b"hello"])

        assert str(caught.value) == "queue 'front' has no peer b'bob'"


async def test_a_router_needs_an_identity() -> None:
    async with running({"front": Queue(type="ROUTER", binds=[LOCAL])}) as r:
        with pytest.raises(BatonError) as caught:
            r["zmq.queue.front"].send(b"hello")

        assert str(caught.value) == (
            "expected the identity of a peer and the frames for it, as a list,"
            " for the ROUTER queue 'front', got b'hello'"
        )


async def test_a_pull_cannot_send() -> None:
    async with running({"jobs": Queue(type="PULL", binds=[LOCAL])}) as r:
        with pytest.raises(PipelineError) as caught:
            r["zmq.queue.jobs"].send(b"1")

        assert str(caught.value) == "queue 'jobs' cannot send: it is a PULL queue"


async def test_a_closed_queue_sends_nothing() -> None:
    async with running({"jobs": Queue(type="PUSH", binds=[LOCAL])}) as r:
        pass

    with pytest.raises(Unavailable) as caught:
        r["zmq.queue.jobs"].send(b"1")

    assert str(caught.value) == "queue 'jobs' is closed"


async def test_closing_sends_what_was_kept_if_a_peer_comes(peer: Peer) -> None:
    pull = peer(zmq.PULL)
    async with running({"jobs": Queue(type="PUSH", connects=[place_of(pull)])}) as r:
        r["zmq.queue.jobs"].send(b"last words")

    assert await read(pull) == b"last words"


async def test_closing_tells_that_received_messages_were_not_treated(peer: Peer) -> None:
    pipeline = Recorder()
    queue = Queue(type="PULL", binds=[LOCAL], processor=bound(pipeline))
    with capture_logs() as lines:
        async with running({"jobs": queue}) as r:
            pipeline.treat = lambda baton: r["zmq.poller"].stop()
            push = peer(zmq.PUSH, address(r["zmq.queue.jobs"]))
            for word in (b"1", b"2"):
                await push.send(word)
            await pipeline.got(1)
            await until(lambda: bool(r["zmq.queue.jobs"]._socket.poll(0)))

    assert lines[-1] == {
        "event": "received messages not treated",
        "queue": "jobs",
        "log_level": "warning",
    }
