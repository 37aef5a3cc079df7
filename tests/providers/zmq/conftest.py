"""What the tests of the queues share: a pipeline that remembers, and peers on plain sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import zmq
import zmq.asyncio

from piped.providers.zmq import Queue, QueueSocket, Zmq
from piped.resources import Resource
from piped.spec import Dependency

LOCAL = "tcp://127.0.0.1:*"


class Recorder:
    """A pipeline that keeps what it is given; ``treat`` may do more."""

    def __init__(self, *, is_async: bool = False) -> None:
        self.name = "recorder"
        self.is_ready = True
        self.is_async = is_async
        self.batons: list[Any] = []
        self.treat: Callable[[Any], Any] = lambda baton: None
        self._changed = asyncio.Event()

    def now(self, baton: Any) -> list[Any]:
        assert not self.is_async
        self._keep(baton)
        return [self.treat(baton)]

    async def __call__(self, baton: Any) -> list[Any]:
        self._keep(baton)
        return [await self.treat(baton)]

    async def got(self, number: int) -> list[Any]:
        """Wait for so many batons."""
        async with asyncio.timeout(10):
            while len(self.batons) < number:
                self._changed.clear()
                await self._changed.wait()
        return self.batons

    def _keep(self, baton: Any) -> None:
        self.batons.append(baton)
        self._changed.set()


def bound(target: Any) -> Dependency[Any]:
    """Return a dependency on something that is ready."""
    resource = Resource("pipeline.recorder")
    resource.ready(target)
    return Dependency("pipeline.recorder", resource=resource)


@asynccontextmanager
async def running(
    queues: dict[str, Queue], *, drain_s: float = 25.0, **more: Any
) -> AsyncIterator[dict[str, Any]]:
    """Run a provider whose queues are all needed, and yield its resources."""
    provider = Zmq(queues=queues, **more)
    provider.needed = frozenset(provider.offers())
    provider.is_feeding = True
    provider.drain_s = drain_s
    async with provider.running() as resources:
        yield dict(resources)


@pytest.fixture
async def faults(anyio_backend: Any) -> AsyncIterator[None]:
    """Fail where the event loop had to report an error that nobody caught."""
    found: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, fault: found.append(fault))

    yield

    assert found == []


def address(queue: QueueSocket) -> str:
    return queue.endpoints[0]


@pytest.fixture
async def peer(anyio_backend: Any) -> AsyncIterator[Callable[..., zmq.asyncio.Socket]]:
    """Make sockets that are connected to an address; without one they are bound."""
    context = zmq.asyncio.Context()
    sockets: list[zmq.asyncio.Socket] = []

    def make(kind: int, address: str = "", bind: str = LOCAL) -> zmq.asyncio.Socket:
        socket = context.socket(kind)
        sockets.append(socket)
        if kind == zmq.SUB:
            socket.subscribe(b"")
        if address:
            socket.connect(address)
        else:
            socket.bind(bind)
        return socket

    yield make
    for socket in sockets:
        socket.close(0)
    context.term()


async def read(socket: zmq.asyncio.Socket) -> bytes:
    """Receive one frame, within reason."""
    async with asyncio.timeout(10):
        return await socket.recv()


def place_of(socket: zmq.asyncio.Socket) -> str:
    """Return where a socket is bound."""
    return socket.getsockopt_string(zmq.LAST_ENDPOINT)
