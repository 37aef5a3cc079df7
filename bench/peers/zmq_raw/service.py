"""The front: raw ASGI, and plain ZeroMQ sockets in the event loop.

GET /?n=1&n=2 asks a worker for the sum of squares and another one for the square of the sum, both
at the same time, joins their answers by number, and gives up after two seconds.
"""

from __future__ import annotations

import asyncio
import itertools
import os
from typing import Any
from urllib.parse import parse_qs

import msgspec.json
import zmq

FOLDER = os.environ["PEER_FOLDER"]  # of the ipc sockets
DEADLINE_S = 2.0
A_TURN = 64  # answers read before others get their turn
FALLBACK = b'{"success":false}'

encode, decode = msgspec.json.encode, msgspec.json.decode


class Bus:
    """Sends jobs to workers and joins what comes back: a future for each request."""

    def __init__(self) -> None:
        self.context = zmq.Context()
        self.jobs = [self.bound(zmq.PUSH, name) for name in ("sum", "square")]
        self.answers = self.bound(zmq.PULL, "answers")
        # An answer to a former life of this process must not be taken for one to this.
        self.numbers = itertools.count(int.from_bytes(os.urandom(6)) << 16)
        self.pending: dict[int, tuple[asyncio.Future[dict[str, int] | None], dict[str, int]]] = {}
        self.loop = asyncio.get_running_loop()
        self.loop.add_reader(self.answers.fileno(), self.read)
        self.loop.call_soon(self.read)

    def bound(self, kind: int, name: str) -> zmq.Socket[bytes]:
        socket = self.context.socket(kind)
        socket.linger = 0
        socket.set_hwm(10_000)
        socket.bind(f"ipc://{FOLDER}/{name}")
        return socket

    async def ask(self, numbers: list[int]) -> dict[str, int] | None:
        """Return {"sum": ..., "square": ...}, or None where a worker is away or late."""
        key = next(self.numbers)
        future: asyncio.Future[dict[str, int] | None] = self.loop.create_future()
        self.pending[key] = future, {}
        timer = self.loop.call_later(DEADLINE_S, self.expire, key)
        job = encode([key, numbers])
        try:
            for socket in self.jobs:
                socket.send(job, zmq.NOBLOCK)
            return await future
        except zmq.Again:  # nobody is connected, or nobody keeps up
            return None
        finally:
            timer.cancel()
            self.pending.pop(key, None)

    def expire(self, key: int) -> None:
        future, _ = self.pending[key]
        if not future.done():
            future.set_result(None)

    def read(self) -> None:
        """Take what is there; the descriptor tells only of what comes when there was nothing."""
        try:
            for _ in range(A_TURN):
                self.join(*decode(self.answers.recv(zmq.NOBLOCK)))
        except zmq.Again:
            return
        self.loop.call_soon(self.read)

    def join(self, key: int, name: str, result: int) -> None:
        if key not in self.pending:
            return
        future, results = self.pending[key]
        results[name] = result
        if len(results) == len(self.jobs) and not future.done():
            future.set_result(results)

    def close(self) -> None:
        self.loop.remove_reader(self.answers.fileno())
        self.context.destroy()


bus: Bus


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
        return
    try:
        numbers = [int(text) for text in parse_qs(scope["query_string"].decode())["n"]]
    except (KeyError, ValueError):
        await answer(send, 400, b'{"error":"expected numbers: ?n=1&n=2"}')
        return
    found = await bus.ask(numbers)
    await answer(send, 200, body_of(found["sum"], found["square"]) if found else FALLBACK)


def body_of(total: int, square: int) -> bytes:
    return encode({"sum": total, "square": square, "diff": square - total})


async def answer(send: Any, status: int, body: bytes) -> None:
    length = b"%d" % len(body)
    headers = [(b"content-type", b"application/json"), (b"content-length", length)]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def lifespan(receive: Any, send: Any) -> None:
    global bus
    await receive()
    bus = Bus()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    bus.close()
    await send({"type": "lifespan.shutdown.complete"})
