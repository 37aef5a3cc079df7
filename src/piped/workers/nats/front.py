"""The front of a pool over NATS: it stores parts, and hears of them from the workers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any, Final

import msgspec
import structlog
from nats.aio.msg import Msg

from piped.errors import DeadlineExceeded, PipedError, QueueFull, Unavailable
from piped.providers.nats import Connection
from piped.providers.nats.ends import heed_cancellation
from piped.providers.nats.errors import NoResponders
from piped.workers.frames import BadFrame, Ping, ToWorker, Work, encoded, read_by_front
from piped.workers.nats.answers import address_of
from piped.workers.nats.ledger import AGAIN_S, NatsLedger
from piped.workers.nats.outbox import Outbox
from piped.workers.nats.subjects import stream_of, subject_of
from piped.workers.parts import Part

RETURN_S: Final = 1.0
"""How much later than the front a worker may connect again, and is not taken for dead."""

GREETING_S: Final = 1.0
"""How long a front that begins waits for the first worker that there is."""

log = structlog.get_logger("piped.workers")


class FrontLink:
    """Stores parts in the work queue, and carries frames between the workers and the dispatcher.

    ``stream`` is what tells the stream from one that is made later; ``prepare`` returns it too, and
    makes the stream where it is not there.
    """

    def __init__(
        self,
        connection: Connection,
        pool: str,
        group: asyncio.TaskGroup,
        stream: Any,
        prepare: Callable[[], Awaitable[Any]],
    ) -> None:
        self._connection, self._pool, self.group = connection, pool, group
        self._stream, self._prepare = stream, prepare
        self._work = subject_of(pool, "work")
        self._remove = f"$JS.API.STREAM.MSG.DELETE.{stream_of(pool)}"
        self._inbox = connection.client.new_inbox()
        self._acks = connection.client.new_inbox()
        self._outbox = Outbox()
        self._is_doubtful = asyncio.Event()  # whether the stream is still there
        self._was_heard = asyncio.Event()  # a worker, or that there is none
        self._stream_since = 0.0
        self._connected_at = -RETURN_S  # again
        self._tasks: list[asyncio.Task[None]] = []
        self._subscriptions: list[Any] = []
        self._dispatcher: NatsLedger | None = None
        self.unstored: dict[bytes, Part] = {}  # what JetStream has not said to have, oldest first
        self._stored: dict[bytes, int] = {}  # where in the stream the parts are that nobody has

    @property
    def is_busy(self) -> bool:
        """Whether there is something that the server has not got yet, or the server is away."""
        away = not self._connection.is_connected
        return away or bool(self._outbox or self._connection.pending_bytes)

    async def open(self, dispatcher: NatsLedger) -> None:
        """Listen to workers, and ask them to say Hello."""
        self._dispatcher = dispatcher
        client = self._connection.client
        for subject, act in (
            (self._inbox, self._on_message),
            (subject_of(self._pool, "hello"), self._on_message),
            (f"{self._acks}.*", self._on_ack),
        ):
            self._subscriptions.append(await client.subscribe(subject, cb=act))
        self._tasks = [
            self.group.create_task(self._outbox.run(), name=f"send workers.{self._pool}"),
            self.group.create_task(self._keep_stream(), name=f"keep workers.{self._pool}"),
        ]
        who = subject_of(self._pool, "who")
        await self._connection.publish(who, b"", reply=f"{self._acks}.who")
        with suppress(TimeoutError):
            async with asyncio.timeout(GREETING_S):
                await self._was_heard.wait()

    async def close(self) -> None:
        """Listen no more."""
        for task in self._tasks:
            task.cancel()
        if not self._connection.client.is_closed:
            for each in self._subscriptions:
                await each.unsubscribe()

    def store(self, part: Part) -> None:
        """Put a part into the work queue soon."""
        part.sent_at = asyncio.get_running_loop().time()
        self.unstored[part.id] = part
        self._outbox.add(partial(self._store, part))

    def taken(self, part: Part) -> None:
        """Note that a worker has a part."""
        self.unstored.pop(part.id, None)
        self._stored.pop(part.id, None)

    def forget(self, part: Part) -> None:
        """Take a part that nobody waits for any more out of the work queue, where it is there."""
        self.unstored.pop(part.id, None)
        if (place := self._stored.pop(part.id, None)) is not None:
            asked = msgspec.json.encode({"seq": place, "no_erase": True})
            self._later(self._remove, asked, f"{self._acks}.removed")

    def send(self, address: bytes, frame: ToWorker) -> None:
        self._later(address.decode(), encoded([frame]), self._inbox)

    def _later(self, subject: str, data: bytes, reply: str) -> None:
        self._outbox.add(partial(self._connection.publish, subject, data, reply=reply))

    async def is_dead(self, address: bytes, patience_s: float) -> bool:
        """Tell whether a worker is no more; one that is frozen still has its subscription.

        Where the server has just come back, the worker may be about to come back too.
        """
        loop = asyncio.get_running_loop()
        while True:
            try:
                data = encoded([Ping()])
                await self._connection.request(address.decode(), data, timeout_s=patience_s)
            except NoResponders:
                if loop.time() >= self._connected_at + RETURN_S:
                    return True
            except (DeadlineExceeded, QueueFull, Unavailable):
                return False
            else:
                return False
            await asyncio.sleep(RETURN_S / 8)

    async def _keep_stream(self) -> None:
        """Make the stream again where it is gone, and store again what was in it."""
        undo = self._connection.on_reconnect(self._doubt)
        try:
            while True:
                heed_cancellation()
                await self._is_doubtful.wait()
                self._is_doubtful.clear()
                try:
                    stream = await self._prepare()
                except Unavailable as error:
                    log.debug("no stream yet", pool=self._pool, reason=str(error))
                    self._is_doubtful.set()
                    await asyncio.sleep(AGAIN_S)
                    continue
                if stream != self._stream:
                    self._is_new(stream)
        finally:
            undo()

    def _doubt(self) -> None:
        self._connected_at = asyncio.get_running_loop().time()
        self._stored.clear()  # in another stream these would be other parts
        self._is_doubtful.set()

    def _is_new(self, stream: Any) -> None:
        assert self._dispatcher is not None
        self._stream, self._stream_since = stream, asyncio.get_running_loop().time()
        self._stored.clear()
        log.warning("parts stored again", pool=self._pool, reason="the server has lost them")
        self._dispatcher.store_again()

    async def _store(self, part: Part) -> None:
        if part.is_closed:
            return
        left_s = part.deadline - asyncio.get_running_loop().time()
        # What was in an earlier stream may be running: whoever gets it now is to ask.
        attempt = 1 if part.since >= self._stream_since else part.attempt + 2
        work = Work(
            *(part.id, attempt, part.pipeline, part.payload, left_s, False, part.key, part.journey),
            until=time.time() + left_s,
            reply=self._inbox,
        )
        try:
            await self._connection.publish(
                self._work,
                encoded([work]),
                reply=f"{self._acks}.{part.id.hex()}",
                headers={"Nats-Msg-Id": part.id.hex()},
            )
        except PipedError as error:
            if not isinstance(error, Unavailable) and part.id in self.unstored:
                self._refuse(part, error)

    async def _on_ack(self, message: Msg) -> None:
        """Hear that a part is stored, or why not."""
        last = message.subject.rpartition(".")[2]
        if last == "who":
            self._was_heard.set()  # by nobody
        if last in ("who", "removed"):
            return
        if message.headers and message.headers.get("Status") == "503":
            self._is_doubtful.set()
            return
        try:
            id_, answer = bytes.fromhex(last), msgspec.json.decode(message.data, type=_Ack)
        except ValueError:  # nothing of JetStream's; a MsgspecError is one too
            return
        part = self.unstored.get(id_)
        if part is None:
            return
        if answer.error is None:
            del self.unstored[id_]
            self._stored[id_] = answer.seq
        elif not part.attempt:
            what = f"pool '{self._pool}' is full: {answer.error.description}"
            self._refuse(part, QueueFull(what))

    def _refuse(self, part: Part, error: Exception) -> None:
        self.unstored.pop(part.id, None)
        if self._dispatcher is not None and not part.is_closed:
            self._dispatcher.refuse(part, error)

    async def _on_message(self, message: Msg) -> None:
        assert self._dispatcher is not None
        address = address_of(message.reply).encode()
        if not message.data:  # nobody has heard us
            return
        self._was_heard.set()
        try:
            said = read_by_front(message.data)
        except BadFrame as error:
            self._dispatcher.garbled(address, error)
            return
        for each in said:
            self._dispatcher.receive(address, each)


class _Error(msgspec.Struct):
    description: str = ""


class _Ack(msgspec.Struct):
    seq: int = 0
    error: _Error | None = None
