"""The front's socket, with workers that are raw sockets of the test."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from typing import TypeVar

import pytest
import zmq

from piped.workers.dispatcher import Dispatcher
from piped.workers.frames import (
    SPOKEN,
    Answer,
    Beat,
    Hello,
    ToFront,
    Welcome,
    Who,
    Work,
    encoded,
    read_by_worker,
)
from piped.workers.zmq import RouterLink
from tests.workers.test_dispatcher import Rules, _take_results

pytestmark = pytest.mark.anyio

F = TypeVar("F")
Socket = zmq.Socket[bytes]


class Fleet:
    """A front, and the sockets of workers that the test plays."""

    def __init__(self) -> None:
        self._context = zmq.Context()
        self._sockets: list[Socket] = []
        self._link = RouterLink(self._context)
        acts = (_take_results, lambda _part, _error: None)
        self.dispatcher = Dispatcher("math", Rules(), self._link, *acts)
        self._link.open("tcp://127.0.0.1:*", self.dispatcher)

    def connected(self, identity: bytes) -> Socket:
        socket = self._context.socket(zmq.DEALER)
        socket.setsockopt(zmq.IDENTITY, identity)
        socket.connect(self._link.address)
        self._sockets.append(socket)
        return socket

    def close(self) -> None:
        self.dispatcher.close(RuntimeError("the test is over"))
        self._link.close()
        for each in self._sockets:
            each.close(0)
        self._context.destroy(0)


@pytest.fixture
async def fleet() -> AsyncIterator[Fleet]:
    fleet = Fleet()
    yield fleet
    fleet.close()


def say(socket: Socket, *said: ToFront) -> None:
    socket.send(encoded(said))


async def heard(socket: Socket, kind: type[F]) -> F:
    """Return the next thing of a kind that the front says."""
    async with asyncio.timeout(5):
        while True:
            if not socket.poll(0):
                await _soon()
                continue
            for each in read_by_worker(socket.recv()):
                if isinstance(each, kind):
                    return each


async def _soon() -> None:
    """Let the threads of ZeroMQ work a while: they tell the loop of the front, not that of ours."""
    await asyncio.to_thread(os.sched_yield)


async def test_a_part_goes_over_a_socket_and_its_answer_back(fleet: Fleet) -> None:
    one = fleet.connected(b"one")
    say(one, Hello(SPOKEN, "math"))
    await heard(one, Welcome)

    future = fleet.dispatcher.submit("sum", b"x", 5.0)
    work = await heard(one, Work)
    say(one, Answer(work.id, work.attempt, True, b"y"))

    assert await future == ["y"]


async def test_a_worker_whose_former_connection_has_not_ended_yet_is_heard(fleet: Fleet) -> None:
    former = fleet.connected(b"one")
    say(former, Hello(SPOKEN, "math"))
    await heard(former, Welcome)

    again = fleet.connected(b"one")
    say(again, Hello(SPOKEN, "math"))
    await heard(again, Welcome)
    future = fleet.dispatcher.submit("sum", b"x", 5.0)
    work = await heard(again, Work)
    say(again, Answer(work.id, work.attempt, True, b"y"))

    assert await future == ["y"]


async def test_the_part_of_a_worker_whose_connection_has_ended_goes_to_another_one(
    fleet: Fleet,
) -> None:
    one, two = fleet.connected(b"one"), fleet.connected(b"two")
    say(one, Hello(SPOKEN, "math"))
    await heard(one, Welcome)
    future = fleet.dispatcher.submit("sum", b"x", 5.0)
    await heard(one, Work)
    say(two, Hello(SPOKEN, "math"))
    await heard(two, Welcome)

    one.close(0)
    work = await heard(two, Work)
    say(two, Answer(work.id, work.attempt, True, b"y"))

    assert work.attempt == 2
    assert await future == ["y"]


@pytest.mark.parametrize(
    "frames",
    [
        [b""],
        [b"GET / HTTP/1.1"],
        [b"\x01\x91\x96\x01\x91\x01\xa4math\xa1\xff\x00\xa0\x01"],
        [encoded([Beat(())]), b"and more"],
        [],
    ],
)
async def test_what_is_no_frame_is_counted_and_harms_nobody(
    fleet: Fleet, frames: list[bytes]
) -> None:
    odd = fleet.connected(b"odd")
    odd.send_multipart(frames or [b"", b""])
    say(odd, Beat(()))

    await heard(odd, Who)

    assert fleet.dispatcher.counters.garbled == 1
