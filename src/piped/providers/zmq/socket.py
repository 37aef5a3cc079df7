"""A queue that is open: one plain ZeroMQ socket in the event loop, shared by all its users."""

from __future__ import annotations

import asyncio
import contextvars
import os

import structlog
import zmq

from piped.errors import BatonError, Misconfigured, Unavailable
from piped.providers.zmq import endpoints, ipc, options
from piped.providers.zmq.backlog import Backlog
from piped.providers.zmq.inbound import Inbound, Subscriptions
from piped.providers.zmq.messages import encoded, events_of
from piped.providers.zmq.outbound import Outbound
from piped.providers.zmq.poller import Poller
from piped.providers.zmq.queue import Queue
from piped.providers.zmq.slots import Slots

log = structlog.get_logger("piped.zmq")


class QueueSocket:
    """A queue to send to; where it has a processor, what it receives goes there.

    ZeroMQ tells of news by a file descriptor. It says once that *something* happened, and any use
    of the socket may take that sign away. So every turn begins with a look at the events, which
    clears the sign, and works until nothing is left or a budget is spent; and whoever may have
    taken a sign away asks for another turn.
    """

    def __init__(self, name: str, queue: Queue, context: zmq.Context[zmq.Socket[bytes]]) -> None:
        self.name = name
        self.endpoints: list[str] = []
        self._files: list[str] = []
        self._queue = queue
        self._loop = asyncio.get_running_loop()
        self._context = contextvars.copy_context()
        self._is_open = True
        self._fd: int | None = None  # known once the socket is watched
        self._is_scheduled = False
        self._slots: Slots | None = None
        self._inbound: Inbound | Subscriptions | None = None
        self._socket = context.socket(options.TYPES[queue.type])
        backlog = Backlog(name, queue.max_backlog, queue.max_backlog_bytes, queue.max_age)
        self._outbound = Outbound(name, queue.type, self._socket, backlog, self.wake)
        self._is_two_way = queue.type not in ("PUSH", "PULL", "SUB")
        self._is_router = queue.type in ("ROUTER", "XREP")

    def __repr__(self) -> str:
        return f"<QueueSocket {self.name} ({self._queue.type})>"

    @property
    def is_raw(self) -> bool:
        """Whether peers need not say who they are."""
        return not self._socket.getsockopt(zmq.MECHANISM)

    @property
    def sent(self) -> int:
        """Messages given to ZeroMQ."""
        return self._outbound.sent

    @property
    def received(self) -> int:
        """Messages given to the processor."""
        return self._slots.received if self._slots else 0

    @property
    def failed(self) -> int:
        """Messages whose treatment ended in an error."""
        return self._slots.failed if self._slots else 0

    @property
    def backlog(self) -> int:
        """Messages that wait for a peer."""
        return len(self._outbound.backlog)

    @property
    def dropped_stale(self) -> int:
        """Messages that waited for longer than ``max_age``."""
        return self._outbound.drops.count

    @property
    def refused(self) -> int:
        """Messages that were not taken, because the backlog was full."""
        return self._outbound.backlog.refused

    def send(self, message: object) -> None:
        """Send bytes, text (as UTF-8), or a list of them as the frames of one message.

        It returns at once. Without a peer the message waits in the backlog.

        Raises:
            BatonError: The message is something else.
            QueueFull: The backlog is full.
            Unavailable: The queue is closed, or the peer of a ROUTER has gone.
            PipelineError: A REQ or REP may not send now.
        """
        if not self._is_open:
            raise Unavailable(f"queue '{self.name}' is closed")
        frames = message if isinstance(message, bytes) else encoded(message)
        if self._is_router and (isinstance(frames, bytes) or len(frames) < 2):
            raise BatonError(
                f"expected the identity of a peer and the frames for it, as a list,"
                f" for the ROUTER queue '{self.name}', got {frames!r:.80}"
            )
        self._outbound.send(frames)
        if self._is_two_way:
            self.wake()

    def configure(self) -> None:
        """Set the socket's options.

        Raises:
            Misconfigured: The socket does not take one of them.
        """
        queue = self._queue
        ipv6 = any(map(endpoints.needs_ipv6, [*queue.binds, *queue.connects]))
        try:
            options.configure(self._socket, queue.type, ipv6, queue.given_options())
        except zmq.ZMQError as error:
            reason = _reason(error)
            raise Misconfigured(
                f"cannot set the options of queue '{self.name}': {reason}"
            ) from error

    def bind(self) -> None:
        """Listen on the queue's addresses.

        Raises:
            Misconfigured: One of them is in use, or not an address of this machine; or an ipc
                address is a file that is not a socket.
        """
        for address in self._queue.binds:
            try:
                if path := ipc.path_of(address):
                    ipc.fail_if_in_use(path)
                self._socket.bind(address)
            except (zmq.ZMQError, OSError) as error:
                what = f"cannot bind queue '{self.name}' to {address}: {_reason(error)}"
                raise Misconfigured(what) from error
            if path:
                self._files.append(path)
            self.endpoints.append(self._socket.getsockopt_string(zmq.LAST_ENDPOINT))
            log.info("bound", queue=self.name, address=self.endpoints[-1])

    def connect(self) -> None:
        """Connect to the queue's addresses, as soon as somebody listens there.

        Raises:
            Misconfigured: One of them can never be connected to.
        """
        for address in map(endpoints.reachable, self._queue.connects):
            try:
                self._socket.connect(address)
            except zmq.ZMQError as error:
                what = f"cannot connect queue '{self.name}' to {address}: {_reason(error)}"
                raise Misconfigured(what) from error
            self.endpoints.append(address)
            log.info("connecting", queue=self.name, address=address)

    def read(self, poller: Poller, group: asyncio.TaskGroup, batch: int) -> None:
        """Give what is received to the processor, if there is one, from ``start`` on."""
        processor, number = self._queue.processor, self._queue.concurrency
        if processor is not None:
            self._slots = Slots(self.name, processor, number, group, self.wake, self._on_failure)
            on_message = self._outbound.answered
            self._inbound = Inbound(self._socket, self._slots, poller, batch, on_message)
            if self._queue.type == "REQ":
                self._outbound.ask()
            poller.watch(self.wake)

    def start(self) -> None:
        """Watch the socket; all queues are bound and connected."""
        if self._inbound is None and self._queue.type in options.PUBLISHING:
            self._inbound = Subscriptions(self._socket, self._on_subscription)
            self._on_subscription(False)
        self._fd = int(self._socket.getsockopt(zmq.FD))
        self._loop.add_reader(self._fd, self._on_sign)
        self.wake()

    def stop_reading(self) -> None:
        """Give nothing more to the processor."""
        if self._slots is not None:
            self._slots.close()
            self._inbound = None

    async def treated(self) -> None:
        """Wait until the messages that were taken are treated."""
        if self._slots is not None:
            await self._slots.treated()

    def cancel(self) -> None:
        """Give up the messages that are being treated."""
        if self._slots is not None:
            self._slots.cancel()

    async def flushed(self) -> None:
        """Wait until all that was kept is sent, or dropped."""
        await self._outbound.flushed()

    def close(self) -> None:
        """Close the socket; what ZeroMQ has taken is still sent, for at most a second."""
        self._is_open = False
        if self._fd is not None:
            self._loop.remove_reader(self._fd)
        self._outbound.close()
        if self.backlog:
            log.warning("messages not sent", queue=self.name, count=self.backlog)
        if self._slots is not None and events_of(self._socket) & zmq.POLLIN:
            log.warning("received messages not treated", queue=self.name)
        for path in self._files:
            ipc.remove(path)
        linger_ms = int(self._socket.getsockopt(zmq.LINGER))
        if not 0 <= linger_ms <= options.LINGER_MS:
            linger_ms = options.LINGER_MS
        self._socket.close(linger_ms)

    def wake(self) -> None:
        """Ask for a turn soon: there is something to read or to send."""
        if not self._is_scheduled and self._fd is not None:
            self._is_scheduled = True
            self._loop.call_soon(self._turn, context=self._context)

    def _on_sign(self) -> None:
        if not self._is_scheduled:  # else a turn comes anyway, and one is enough
            self._turn()

    def _turn(self) -> None:
        self._is_scheduled = False
        if not self._is_open:
            return
        sent = self.sent
        events = events_of(self._socket)
        again = False
        if self._inbound is not None and events & zmq.POLLIN:
            again = self._inbound.drain()
        if self._outbound.backlog:
            self._outbound.flush()
        if again or (self._is_two_way and self.sent > sent):
            self.wake()

    def _on_failure(self, number: int) -> None:
        """Answer a request that has failed with nothing: else no other one could be received."""
        if self._queue.type == "REP" and self.sent < number:
            self.send(b"")

    def _on_subscription(self, is_heard: bool) -> None:
        if self._queue.type == "PUB" and not self._queue.binds:
            self._outbound.is_held = not is_heard


def _reason(error: OSError | zmq.ZMQError) -> str:
    return os.strerror(error.errno or 0).lower()
