"""ZeroMQ queues: ``zmq`` in a document."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Set
from contextlib import asynccontextmanager
from dataclasses import field
from typing import Annotated, Any, Final

import structlog
import zmq

from piped.errors import Misconfigured
from piped.providers.zmq import endpoints, options
from piped.providers.zmq.poller import Poller
from piped.providers.zmq.queue import Queue
from piped.providers.zmq.socket import QueueSocket
from piped.spec import Meta, Provider, provider

__all__ = ["Poller", "Queue", "QueueSocket", "Zmq"]

FLUSH_S: Final = 1.0
"""How long the queues may go on sending what they have kept when they close."""

log = structlog.get_logger("piped.zmq")


@provider("zmq")
class Zmq(Provider):
    """Send and receive messages over ZeroMQ, without a broker.

    A queue is made when a pipeline sends to it, or when it has a processor; so processes can share
    one file of queues. Delivery is at most once: what a dead peer had taken is lost.
    """

    queues: Annotated[
        dict[str, Queue], Meta(description="The queues, by the names that pipelines use.")
    ] = field(default_factory=dict)
    maximum_batch_size: Annotated[
        int, Meta(ge=1, description="How many messages of a queue are treated in one turn.")
    ] = 64
    poll_timeout: Annotated[
        float, Meta(ge=0, description="Has no effect: nothing is polled any more.")
    ] = 100
    essential: Annotated[
        bool, Meta(description="Whether the process fails when this has failed for good.")
    ] = True

    def offers(self) -> Iterable[str]:
        for name in self.queues:
            yield from _names(name)
        yield "zmq.poller"
        yield "zmq.context"

    def feeds(self) -> bool:
        return any(queue.processor is not None for queue in self.queues.values())

    def listens(self, needed: Set[str]) -> Iterator[tuple[str, str]]:
        for name, queue in self.queues.items():
            if queue.processor is not None or not needed.isdisjoint(_names(name)):
                for address in queue.binds:
                    if not address.endswith((":*", ":0")):
                        yield address.removeprefix("tcp://"), f"queues.{name}"

    def unused(self, needed: Set[str]) -> Iterator[str]:
        for name, queue in self.queues.items():
            if queue.processor is None and needed.isdisjoint(_names(name)):
                yield f"queues.{name}"

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Mapping[str, Any]]:
        context = zmq.Context()
        context.linger = options.LINGER_MS  # of sockets that others make from it
        sockets: list[QueueSocket] = []
        poller = Poller()
        try:
            self._open(context, sockets)
            async with asyncio.TaskGroup() as group:
                if self.is_feeding:
                    for socket in sockets:
                        socket.read(poller, group, self.maximum_batch_size)
                for socket in sockets:
                    socket.start()
                try:
                    yield {**_resources(sockets), "zmq.poller": poller, "zmq.context": context}
                finally:
                    for socket in sockets:
                        socket.stop_reading()
                await self._drain(sockets)
            await _flush(sockets)
        finally:
            for socket in sockets:
                socket.close()
            # It waits until the last messages are sent, and for all sockets to be closed.
            await asyncio.to_thread(context.destroy, options.LINGER_MS)

    def _open(self, context: zmq.Context[zmq.Socket[bytes]], sockets: list[QueueSocket]) -> None:
        for name, queue in self.queues.items():
            if self._is_wanted(name, queue):
                sockets.append(QueueSocket(name, queue, context))
                sockets[-1].configure()
        for socket in tuple(sockets):
            try:
                socket.bind()
            except Misconfigured as error:
                if self.queues[socket.name].essential:
                    raise
                log.warning("queue lost", queue=socket.name, reason=str(error))
                sockets.remove(socket)
                socket.close()
        _warn_of_open(sockets)
        for socket in sockets:
            socket.connect()

    async def _drain(self, sockets: Iterable[QueueSocket]) -> None:
        try:
            async with asyncio.timeout(self.drain_s):
                for socket in sockets:
                    await socket.treated()
        except TimeoutError:
            for socket in sockets:
                socket.cancel()

    def _is_wanted(self, name: str, queue: Queue) -> bool:
        if not self.needed.isdisjoint(_names(name)):
            return True
        return self.is_feeding and queue.processor is not None


def _names(queue: str) -> tuple[str, str]:
    """Return the names of the resources that a queue is."""
    return f"zmq.queue.{queue}", f"zmq.socket.{queue}"


def _resources(sockets: Iterable[QueueSocket]) -> dict[str, Any]:
    return {name: socket for socket in sockets for name in _names(socket.name)}


def _warn_of_open(sockets: Iterable[QueueSocket]) -> None:
    found = [each for socket in sockets if socket.is_raw for each in socket.endpoints]
    if found := [each for each in found if endpoints.is_open(each)]:
        log.warning("unauthenticated: other machines can reach these queues", addresses=found)


async def _flush(sockets: Iterable[QueueSocket]) -> None:
    try:
        async with asyncio.timeout(FLUSH_S):
            for socket in sockets:
                await socket.flushed()
    except TimeoutError:
        pass  # each socket says what it could not send
