"""Sockets that are read in turns of the loop, whatever those who are told of it do."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from typing import Any

import pytest
import zmq

from piped.workers.frames import Ping
from piped.workers.sockets import LoopSocket

pytestmark = pytest.mark.anyio


@pytest.fixture
def context() -> Iterator[zmq.Context[zmq.Socket[bytes]]]:
    context = zmq.Context()
    yield context
    context.destroy(0)


async def test_a_mistake_of_who_is_told_leaves_no_message_unread(
    context: zmq.Context[zmq.Socket[bytes]],
) -> None:
    told: list[bytes] = []
    faults: list[Any] = []
    all_read = asyncio.Event()

    def on_message(frames: list[bytes]) -> None:
        told.append(frames[-1])
        if len(told) == 20:
            all_read.set()
        raise ValueError("a mistake")

    asyncio.get_running_loop().set_exception_handler(lambda _, fault: faults.append(fault))
    socket = LoopSocket(context, zmq.PULL, on_message, lambda _address, _is_gone: None)
    address = socket.bind("tcp://127.0.0.1:*")
    with context.socket(zmq.PUSH) as peer:
        peer.connect(address)
        for number in range(20):
            peer.send(b"%d" % number)

        socket.start()
        try:
            async with asyncio.timeout(5):
                await all_read.wait()
        finally:
            socket.close(0)

    assert told == [b"%d" % number for number in range(20)]
    assert {str(fault["exception"]) for fault in faults} == {"a mistake"}


class Wire:
    """Plays a ROUTER whose only peer has said much, and is gone."""

    def __init__(self) -> None:
        self._pipe = os.pipe()
        self.inbox = [b"%d" % number for number in range(400)]

    def socket(self, _kind: int) -> Wire:
        return self

    def setsockopt(self, _option: int, _value: int) -> None:
        pass

    def getsockopt(self, option: int) -> int:
        if option == zmq.EVENTS:
            return int(zmq.POLLIN) if self.inbox else 0
        return self._pipe[0]

    def recv(self, _flags: int, copy: bool = True) -> bytes | zmq.Frame:
        data = self.inbox.pop(0)
        return data if copy else zmq.Frame(data)

    def send(self, _frame: bytes, _flags: int) -> None:
        raise zmq.ZMQError(zmq.EHOSTUNREACH)

    def close(self, _linger_ms: int) -> None:
        for each in self._pipe:
            os.close(each)


async def test_that_one_is_gone_is_told_after_all_that_it_has_said() -> None:
    told: list[Any] = []
    is_told = asyncio.Event()

    def on_unsent(address: bytes, is_gone: bool) -> None:
        told.append((address, is_gone))
        is_told.set()

    socket = LoopSocket(Wire(), zmq.ROUTER, told.append, on_unsent)  # type: ignore[arg-type] # a fake

    socket.start()
    socket.send(Ping(), b"gone")
    async with asyncio.timeout(5):
        await is_told.wait()
    socket.close()

    said = [[b"%d" % number, b"%d" % (number + 1)] for number in range(0, 400, 2)]
    assert told == [*said, (b"gone", True)]
