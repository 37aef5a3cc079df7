"""The seven pitfalls of ZeroMQ sockets in an event loop: `limits.md`, section 3."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from time import perf_counter
from typing import Any

import pytest
import zmq
import zmq.asyncio

from piped.providers.zmq import Queue, QueueSocket
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


class Turns:
    """Counts the turns of the event loop."""

    def __init__(self) -> None:
        self.number = 0

    async def count(self) -> None:
        while True:
            await asyncio.sleep(0)
            self.number += 1


@asynccontextmanager
async def counted_turns() -> AsyncIterator[Turns]:
    turns = Turns()
    task = asyncio.create_task(turns.count())
    yield turns
    task.cancel()


async def test_pitfall_1_what_a_budget_leaves_is_read_without_another_sign(peer: Peer) -> None:
    pipeline = Recorder()
    queue = Queue(type="PULL", binds=[LOCAL], processor=bound(pipeline))
    async with running({"jobs": queue}, maximum_batch_size=1) as r:
        push = peer(zmq.PUSH, address(r["zmq.queue.jobs"]))
        for number in range(1000):
            await push.send(b"%d" % number)

        assert await pipeline.got(1000) == [b"%d" % number for number in range(1000)]


async def test_pitfall_2_a_queue_that_is_held_does_not_keep_the_loop_busy(
    peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns = 0
    turn = QueueSocket._turn

    def counted(self: QueueSocket) -> None:
        nonlocal turns
        turns += 1
        turn(self)

    monkeypatch.setattr(QueueSocket, "_turn", counted)
    queue = Queue(type="PULL", binds=[LOCAL], processor=bound(Recorder()))
    async with running({"jobs": queue}) as r:
        r["zmq.poller"].stop()
        await until(lambda: turns > 0)
        turns = 0
        await peer(zmq.PUSH, address(r["zmq.queue.jobs"])).send(b"1")
        await until(lambda: turns > 0)
        for _ in range(2000):
            await asyncio.sleep(0)

        assert turns < 20


async def test_pitfall_3_a_send_on_the_same_socket_swallows_no_arrival(peer: Peer) -> None:
    pipeline = Recorder()
    router = peer(zmq.ROUTER)
    queue = Queue(type="DEALER", connects=[place_of(router)], processor=bound(pipeline))
    async with running({"both": queue}) as r:
        both = r["zmq.queue.both"]
        both.send(b"hello")
        async with asyncio.timeout(10):
            identity, _ = await router.recv_multipart()
        for number in range(200):
            await router.send_multipart([identity, b"%d" % number])
            for _ in range(3):  # some of them while the message is arriving
                both.send(b"noise")
            await pipeline.got(number + 1)

        assert both.received == 200


@pytest.mark.parametrize("is_async", [False, True])
async def test_pitfall_4_a_flood_lets_the_loop_turn(peer: Peer, is_async: bool) -> None:
    async def treat(baton: Any) -> None:
        """Await nothing, so that nothing here lets the loop turn."""

    pipeline = Recorder(is_async=is_async)
    if is_async:
        pipeline.treat = treat
    queue = Queue(type="PULL", binds=[LOCAL], processor=bound(pipeline))
    async with running({"jobs": queue}) as r:
        r["zmq.poller"].stop()
        push = peer(zmq.PUSH, address(r["zmq.queue.jobs"]))
        for _ in range(1000):
            await push.send(b"x")
        async with counted_turns() as turns:
            r["zmq.poller"].start()
            await pipeline.got(1000)

            assert turns.number >= 1000 // 64


async def test_pitfall_5_a_publisher_drops_nothing_over_the_usual_mark(peer: Peer) -> None:
    async with running({"news": Queue(type="PUB", binds=[LOCAL])}) as r:
        news = r["zmq.queue.news"]
        sub = peer(zmq.SUB, address(news))
        probe = asyncio.ensure_future(sub.recv())
        await until(lambda: news.send(b"probe") or probe.done())

        for number in range(5000):
            news.send(b"%d" % number)
        came = [await read(sub)]
        while came[-1] != b"4999":
            came.append(await read(sub))

        assert [each for each in came if each != b"probe"] == [b"%d" % n for n in range(5000)]


async def test_pitfall_6_the_first_message_of_a_connecting_publisher_arrives(peer: Peer) -> None:
    sub = peer(zmq.SUB)
    async with running({"answers": Queue(type="PUB", connects=[place_of(sub)])}) as r:
        r["zmq.queue.answers"].send(b"first")

        assert await read(sub) == b"first"


async def test_pitfall_6_a_peer_that_hangs_does_not_hold_up_the_end(peer: Peer) -> None:
    pull = peer(zmq.PULL)
    queue = Queue(type="PUSH", connects=[place_of(pull)], sockopts={"LINGER": -1, "SNDHWM": 1000})
    async with running({"jobs": queue}) as r:
        jobs = r["zmq.queue.jobs"]
        jobs.send(b"hello")
        await read(pull)
        pull.rcvhwm = 1
        for _ in range(100):
            jobs.send(bytes(1 << 20))
        ended = perf_counter()

    assert perf_counter() - ended < 5


async def test_pitfall_7_heavy_pipelines_end_a_turn_by_time(peer: Peer) -> None:
    def work(baton: Any) -> None:
        end = perf_counter() + 0.0011
        while perf_counter() < end:
            pass

    pipeline = Recorder()
    pipeline.treat = work
    queue = Queue(type="PULL", binds=[LOCAL], processor=bound(pipeline))
    async with running({"jobs": queue}) as r:
        r["zmq.poller"].stop()
        push = peer(zmq.PUSH, address(r["zmq.queue.jobs"]))
        for _ in range(40):
            await push.send(b"x")
        async with counted_turns() as turns:
            r["zmq.poller"].start()
            await pipeline.got(40)

            assert turns.number >= 39
