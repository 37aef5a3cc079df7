from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import zmq
import zmq.asyncio
from structlog.testing import capture_logs

from piped.errors import QueueFull, Unavailable
from piped.providers.zmq import Queue
from tests.conftest import Clock, until
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


@pytest.fixture
def anyio_backend(movable_loop: tuple[str, dict[str, Any]]) -> tuple[str, dict[str, Any]]:
    return movable_loop


async def test_a_message_that_waits_too_long_is_dropped_and_counted(clock: Clock) -> None:
    async with running({"jobs": Queue(type="PUSH", binds=[LOCAL])}) as r:
        jobs = r["zmq.queue.jobs"]
        jobs.send(b"1")
        await clock.advance(20)
        jobs.send(b"2")
        await clock.advance(11)
        after_31 = (jobs.dropped_stale, jobs.backlog)
        await clock.advance(20)

        assert after_31 == (1, 1)
        assert (jobs.dropped_stale, jobs.backlog) == (2, 0)


async def test_a_req_goes_on_when_an_answer_does_not_come_in_time(clock: Clock, peer: Peer) -> None:
    pipeline = Recorder()
    rep = peer(zmq.ROUTER)
    queue = Queue(type="REQ", connects=[place_of(rep)], processor=bound(pipeline))
    async with running({"ask": queue}) as r:
        ask = r["zmq.queue.ask"]
        ask.send(b"1")
        first = await rep.recv_multipart()
        await clock.advance(10)
        ask.send(b"2")
        await clock.advance(19)
        held = (ask.sent, ask.backlog)
        await clock.advance(2)
        second = await rep.recv_multipart()
        await rep.send_multipart([*first[:-1], b"late"])
        await rep.send_multipart([*second[:-1], b"answer"])

        assert held == (1, 1)
        assert (first[-1], second[-1]) == (b"1", b"2")
        assert await pipeline.got(1) == [b"answer"]


async def test_what_is_dropped_is_logged(clock: Clock) -> None:
    with capture_logs() as lines:
        async with running({"jobs": Queue(type="PUSH", binds=[LOCAL])}) as r:
            r["zmq.queue.jobs"].send(b"1")
            r["zmq.queue.jobs"].send(b"2")
            await clock.advance(31)

    assert lines[-1] == {
        "event": "messages dropped",
        "queue": "jobs",
        "count": 2,
        "log_level": "warning",
    }


async def test_a_stale_message_makes_room_for_a_new_one(clock: Clock) -> None:
    async with running({"jobs": Queue(type="PUSH", binds=[LOCAL], max_backlog=1)}) as r:
        jobs = r["zmq.queue.jobs"]
        jobs.send(b"1")
        await clock.advance(31, turns=0)
        jobs.send(b"2")

        assert (jobs.dropped_stale, jobs.backlog, jobs.refused) == (1, 1, 0)
        await clock.advance(31)


async def test_a_connecting_publisher_waits_a_second_for_a_subscription(clock: Clock) -> None:
    queue = Queue(type="PUB", connects=["tcp://127.0.0.1:9"])
    async with running({"answers": queue}) as r:
        answers = r["zmq.queue.answers"]
        answers.send(b"1")
        await clock.advance(0.9)
        before = (answers.backlog, answers.sent)
        await clock.advance(0.2)

        assert before == (1, 0)
        assert (answers.backlog, answers.sent) == (0, 1)


async def test_a_connecting_publisher_without_subscribers_never_refuses(clock: Clock) -> None:
    queue = Queue(type="PUB", connects=["tcp://127.0.0.1:9"], max_backlog=2)
    async with running({"answers": queue}) as r:
        answers = r["zmq.queue.answers"]
        for number in range(5):
            answers.send(b"%d" % number)

        assert (answers.backlog, answers.sent, answers.refused) == (2, 3, 0)
        await clock.advance(1.1)


async def test_a_publisher_that_binds_does_not_wait() -> None:
    async with running({"news": Queue(type="PUB", binds=[LOCAL])}) as r:
        r["zmq.queue.news"].send(b"1")

        assert (r["zmq.queue.news"].backlog, r["zmq.queue.news"].sent) == (0, 1)


async def test_a_connecting_publisher_waits_again_when_its_subscriber_restarts(peer: Peer) -> None:
    first = peer(zmq.SUB)
    place = place_of(first)
    async with running({"answers": Queue(type="PUB", connects=[place])}) as r:
        answers = r["zmq.queue.answers"]
        answers.send(b"1")
        came = [await read(first)]
        first.unbind(place)
        first.close(0)
        await until(lambda: answers.send(b"probe") or answers.backlog > 0)

        second = peer(zmq.SUB, bind=place)
        answers.send(b"2")
        while came[-1] != b"2":
            came.append(await read(second))

        assert came[0] == b"1"


async def test_a_worker_that_comes_late_gets_what_waited(clock: Clock, peer: Peer) -> None:
    async with running({"jobs": Queue(type="PUSH", binds=[LOCAL])}) as r:
        r["zmq.queue.jobs"].send(b"1")
        await clock.advance(29)

        assert await read(peer(zmq.PULL, address(r["zmq.queue.jobs"]))) == b"1"


async def test_closing_tells_after_a_second_what_it_could_not_send(clock: Clock) -> None:
    async def send_and_close() -> None:
        async with running({"jobs": Queue(type="PUSH", binds=[LOCAL])}) as r:
            r["zmq.queue.jobs"].send(b"1")

    with capture_logs() as lines:
        task = asyncio.create_task(send_and_close())
        await clock.advance(0)
        before = task.done()
        await clock.advance(1.1)
        await task

    assert not before
    assert lines[-1] == {
        "event": "messages not sent",
        "queue": "jobs",
        "count": 1,
        "log_level": "warning",
    }


async def test_a_peer_of_a_router_that_hangs_does_not_hold_up_the_others(peer: Peer) -> None:
    queue = Queue(type="ROUTER", binds=[LOCAL], sockopts={"SNDHWM": 10})
    async with running({"front": queue}) as r:
        front = r["zmq.queue.front"]
        for name in (b"hangs", b"reads"):
            dealer = peer(zmq.DEALER)
            dealer.setsockopt(zmq.ROUTING_ID, name)
            dealer.setsockopt(zmq.RCVHWM, 1)
            dealer.connect(address(front))
            await until(partial(reaches, front, name))
        with pytest.raises(QueueFull) as caught:
            flood(front, b"hangs")
        front.send([b"reads", b"hello"])

        assert str(caught.value) == "queue 'front': the peer takes no more messages"
        assert front.refused == 1
        while await read(dealer) != b"hello":
            pass


def flood(front: Any, name: bytes) -> None:
    for _ in range(1000):
        front.send([name, bytes(1 << 20)])


def reaches(front: Any, name: bytes) -> bool:
    """Tell whether a peer of a router is there, by sending to it."""
    try:
        front.send([name, b"probe"])
    except Unavailable:
        return False
    return True
