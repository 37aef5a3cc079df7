"""Peers that do not keep to the rules: raw DEALER sockets at the address of a pool."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import msgspec
import zmq
import zmq.asyncio

from piped.workers.frames import (
    SPOKEN,
    Answer,
    Beat,
    Go,
    Hello,
    Started,
    ToFront,
    Welcome,
    Work,
    encoded,
    read_by_worker,
)


class Stranger:
    """A worker of our own making; what it does with the parts it gets, ``on_work`` says."""

    def __init__(
        self, socket: zmq.asyncio.Socket, on_work: Callable[[Stranger, Work], None]
    ) -> None:
        self.socket = socket
        self.got: list[Work] = []
        self._on_work = on_work
        self.is_welcome = asyncio.Event()

    def say(self, *said: ToFront) -> None:
        self.socket.send(encoded(said))

    def answer(self, work: Work, *, attempt: int = 0) -> None:
        """Answer a part as the workers of the tested service do."""
        nonce = msgspec.json.decode(work.payload)["nonce"]
        payload = msgspec.json.encode([{"nonce": nonce, "pid": 0}])
        self.say(Answer(work.id, attempt or work.attempt, True, payload, 8))

    def forge(self, id_: bytes) -> None:
        """Answer what it was never asked."""
        self.say(Answer(id_, 1, True, msgspec.json.encode([{"nonce": "forged"}]), 8))

    async def listen(self) -> None:
        """Say Hello, and hear what the front says."""
        self.say(Hello(SPOKEN, "math", "stranger", 1, "nowhere", 8))
        while True:
            for frame in read_by_worker((await self.socket.recv_multipart())[-1]):
                if isinstance(frame, Welcome):
                    self.is_welcome.set()
                elif isinstance(frame, Work):
                    self.got.append(frame)
                    self._on_work(self, frame)
                elif isinstance(frame, Go):
                    self._on_work(self, next(each for each in self.got if each.id == frame.id))

    async def beat(self) -> None:
        """Say every now and then that it lives, and has nothing."""
        while True:
            self.say(Beat((), 8))
            await asyncio.sleep(0.5)


def answers_twice(stranger: Stranger, work: Work) -> None:
    """Do a part, and answer it twice."""
    stranger.say(Started(((work.id, work.attempt),)))
    stranger.answer(work)
    stranger.answer(work)


def keeps(_stranger: Stranger, _work: Work) -> None:
    """Take a part, and never say anything about it."""


def forges(stranger: Stranger, work: Work) -> None:
    """Answer a part under ids that it was not given, and then as it should."""
    stranger.forge(secrets.token_bytes(16))
    stranger.answer(work, attempt=work.attempt + 7)
    stranger.answer(work)


@asynccontextmanager
async def stranger(
    address: str, on_work: Callable[[Stranger, Work], None]
) -> AsyncIterator[Stranger]:
    """Be a worker that the front takes for one of its own."""
    async with dealer(address) as socket:
        made = Stranger(socket, on_work)
        tasks = [asyncio.ensure_future(each) for each in (made.listen(), made.beat())]
        try:
            await asyncio.wait_for(made.is_welcome.wait(), 5)
            yield made
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def dealer(address: str) -> AsyncIterator[zmq.asyncio.Socket]:
    """Connect a socket."""
    context = zmq.asyncio.Context()
    socket = context.socket(zmq.DEALER)
    try:
        socket.connect(address)
        yield socket
    finally:
        context.destroy(linger=0)
