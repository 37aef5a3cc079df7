"""Pools over ZeroMQ: the processes of one machine, without a broker.

The front is a ROUTER and listens; each worker is a DEALER with a random identity and connects. A
worker that hears nothing of its front says Hello again, until it is welcome.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from typing import Final

import structlog
import zmq

from piped.workers.frames import (
    BadFrame,
    Drain,
    Drained,
    Ping,
    Refusal,
    ToFront,
    ToWorker,
    Welcome,
    Who,
    read_by_front,
    read_by_worker,
)
from piped.workers.ledger import Ledger
from piped.workers.slate import new_slate
from piped.workers.sockets import LoopSocket, monitored
from piped.workers.worker import Worker

FIRST_HELLO_S: Final = 0.01
LAST_HELLO_S: Final = 0.5
"""How long a worker waits before it says Hello again, at first and at last."""

PROBES_S: Final = (0.0, 0.01, 0.05, 0.2)
"""When a front asks who has gone, after a connection has ended: ZeroMQ needs a moment."""

log = structlog.get_logger("piped.workers")


class RouterLink:
    """The front's socket: sends frames to workers by their identities."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]]) -> None:
        self._socket = LoopSocket(context, zmq.ROUTER, self._on_message, self._on_unsent)
        self._socket.socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
        # A worker that comes again before the end of its former connection is known here; else what
        # it says would be dropped.
        self._socket.socket.setsockopt(zmq.ROUTER_HANDOVER, 1)
        self._loop = asyncio.get_running_loop()
        self._ledger: Ledger | None = None
        self._stop_monitor: Callable[[], None] | None = None
        self._probes: list[asyncio.TimerHandle] = []
        self.address = ""

    def open(self, address: str, ledger: Ledger) -> None:
        """Listen, and give what comes to the ledger.

        Raises:
            Misconfigured: The address is in use.
        """
        self._ledger = ledger
        self._stop_monitor = monitored(self._socket.socket, self._on_lost)
        self.address = self._socket.bind(address)
        self._socket.start()

    def send(self, address: bytes, frame: ToWorker) -> None:
        self._socket.send(frame, address)

    def close(self) -> None:
        for probe in self._probes:
            probe.cancel()
        if self._stop_monitor is not None:
            self._stop_monitor()
        self._socket.close()

    def _on_message(self, frames: list[bytes]) -> None:
        assert self._ledger is not None
        address = frames[0]
        try:
            if len(frames) != 2:
                raise BadFrame(f"expected one frame, got {len(frames) - 1}")
            said = read_by_front(frames[1])
        except BadFrame as error:
            self._ledger.garbled(address, error)
            return
        self._ledger.receive(address, *said)

    def _on_unsent(self, address: bytes, is_gone: bool) -> None:
        assert self._ledger is not None
        if is_gone:  # else it reads nothing any more, and its leases will end
            self._ledger.lost(address, "it is not there any more")

    def _on_lost(self) -> None:
        for probe in self._probes:
            probe.cancel()
        self._probes = [self._loop.call_later(delay_s, self._probe) for delay_s in PROBES_S]

    def _probe(self) -> None:
        assert self._ledger is not None
        for address in self._ledger.peers:
            self.send(address, Ping())


class DealerLink:
    """A worker's socket, and its acquaintance with the front."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], pool: str, name: str) -> None:
        self._socket = LoopSocket(context, zmq.DEALER, self._on_message, self._on_unsent)
        address = b"\x01" + secrets.token_bytes(16)
        self._socket.socket.setsockopt(zmq.IDENTITY, address)
        self._slate = new_slate(address)
        self._loop = asyncio.get_running_loop()
        self._pool, self._name = pool, name
        self._worker: Worker | None = None
        self._life = b""  # of the front; nothing until it has said Welcome
        self._hello_s = FIRST_HELLO_S
        self._timer: asyncio.TimerHandle | None = None
        self._is_draining = False
        self._is_drained = asyncio.Event()
        self._refusal = ""

    def open(self, address: str, worker: Worker) -> None:
        """Connect, and say Hello until an answer comes."""
        self._worker = worker
        self._socket.socket.connect(address)
        self._socket.start()
        self._hello()

    def send(self, frame: ToFront) -> None:
        self._socket.send(frame)

    def flush(self) -> None:
        self._socket.flush()

    async def drained(self, limit_s: float) -> None:
        """Say that this worker ends, and wait until nothing more is under way to it."""
        self._is_draining = True
        if not self._life:
            return
        self.send(Drain())
        try:
            async with asyncio.timeout(limit_s):
                await self._is_drained.wait()
        except TimeoutError:
            log.warning("the front does not answer", pool=self._pool)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._socket.close()
        if self._slate is not None:
            self._slate.close()

    def _hello(self) -> None:
        assert self._worker is not None
        slate = -1 if self._slate is None else self._slate.fd
        self.send(self._worker.hello(self._name, slate))
        self._timer = self._loop.call_later(self._hello_s, self._hello)
        self._hello_s = min(2 * self._hello_s, LAST_HELLO_S)

    def _on_unsent(self, _address: bytes, _is_gone: bool) -> None:
        """The front is away: what it does not hear, it has done again."""

    def _on_message(self, frames: list[bytes]) -> None:
        try:
            said = read_by_worker(frames[-1])
        except BadFrame as error:
            log.warning("bad frame dropped", pool=self._pool, reason=str(error))
            return
        for each in said:
            self._receive(each)

    def _receive(self, frame: ToWorker) -> None:
        assert self._worker is not None
        if isinstance(frame, Welcome):
            self._on_welcome(frame)
        elif isinstance(frame, Who):
            self._on_unknown()
        elif isinstance(frame, Refusal):
            self._on_refusal(frame.reason)
        elif isinstance(frame, Drained):
            self._is_drained.set()
        elif not isinstance(frame, Ping):
            self._worker.receive(frame)

    def _on_welcome(self, welcome: Welcome) -> None:
        assert self._worker is not None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._hello_s = FIRST_HELLO_S
        if self._life and welcome.life != self._life:
            self._worker.abandon()
        self._life = welcome.life
        self._worker.lease_s = welcome.lease_s
        self._worker.show(self._slate if welcome.sees_slate else None)
        log.info("joined", pool=self._pool, worker=self._name)

    def _on_unknown(self) -> None:
        """The front has begun a new life, or has given us up."""
        if self._timer is None and not self._is_draining:
            self._hello()

    def _on_refusal(self, reason: str) -> None:
        if reason != self._refusal:
            self._refusal = reason
            log.error("refused by the front", pool=self._pool, reason=reason)
