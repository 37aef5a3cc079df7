"""Messages of core NATS that feed a pipeline: ``nats.subjects.<name>``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import field
from typing import Annotated, Any, ClassVar

import structlog
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import Error

from piped.engine.journey import journey, new_journey
from piped.errors import PipedError, Problem, QueueFull
from piped.providers.nats.connected import Connected
from piped.providers.nats.connection import Connection
from piped.providers.nats.content import Format, decoded, encoded, one_line, wrong_subject
from piped.providers.nats.ends import while_open
from piped.providers.nats.slots import Slots
from piped.spec import Dependency, Meta, Size, part

log = structlog.get_logger("piped.nats")


@part
class NatsSubject(Connected):
    """Bring a baton for each message on a subject, to one of those who share a ``queue``.

    Batons are ``{message, subject, headers}``. Where the sender waits for an answer, the last
    result of the pipeline is sent back, in ``format``; a failure is an answer without content, with
    the header ``Piped-Error``.

    Delivery is at most once: what comes while nobody listens, or finds the line of those that wait
    full, is lost; the latter is counted and logged, and answered.
    """

    kind: ClassVar[str] = "subjects"

    subject: Annotated[str, Meta(description="The subject; '*' is any one part, '>' any rest.")]
    queue: Annotated[
        str | None,
        Meta(description="A group of which one member gets each message; null gets every one."),
    ] = None
    processor: Annotated[Dependency[Any], Meta(description="What treats the batons.")]
    format: Annotated[Format, Meta(description="What messages are, and answers.")] = "bytes"
    reply: Annotated[bool, Meta(description="Whether requests are answered.")] = True
    concurrency: Annotated[
        int, Meta(ge=1, le=10_000, description="How many messages are treated at once.")
    ] = 1
    max_pending: Annotated[
        int, Meta(ge=1, description="How many messages may wait to be treated.")
    ] = 1000
    max_pending_bytes: Annotated[Size, Meta(ge=1, description="How many bytes of them.")] = Size(
        16 << 20
    )
    essential: Annotated[
        bool, Meta(description="Whether the process fails when this has failed for good.")
    ] = True
    received: int = field(default=0, init=False)
    failed: int = field(default=0, init=False)
    dropped: int = field(default=0, init=False)
    _pending_bytes: int = field(default=0, init=False)

    def feeds(self) -> bool:
        return True

    def check(self) -> Iterator[Problem]:
        if wrong := wrong_subject(self.subject, is_filter=True):
            yield Problem("wrong-value", wrong, at="subject")
        if self.queue is not None and (not self.queue or any(map(str.isspace, self.queue))):
            what = f"expected a name without blanks, got {self.queue!r}"
            yield Problem("wrong-value", what, at="queue")

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Mapping[str, Any]]:
        """Listen until it is left; then treat what has come.

        Raises:
            Unavailable: The connection is lost for now.
        """
        connection = self._connection.value
        line: asyncio.Queue[Msg] = asyncio.Queue(self.max_pending)
        self._pending_bytes = 0

        async def take(message: Msg) -> None:
            await self._take(connection, line, message)

        async with while_open(connection, self.label) as group:
            slots = Slots(self.label, self.concurrency, group)
            treating = group.create_task(self._treat_all(connection, line, slots), name=self.label)
            subscription = await connection.client.subscribe(
                self.subject, self.queue or "", cb=take, pending_bytes_limit=self.max_pending_bytes
            )
            yield {}
            await self._drain(subscription, line, slots)
            treating.cancel()

    async def _take(self, connection: Connection, line: asyncio.Queue[Msg], message: Msg) -> None:
        self.received += 1
        if line.full() or self._pending_bytes + len(message.data) > self.max_pending_bytes:
            self.dropped += 1
            if self.dropped & (self.dropped - 1) == 0:  # the 1st, 2nd, 4th, 8th ...
                log.warning("messages dropped", source=self.label, count=self.dropped)
            error = QueueFull(f"'{self.subject}' is full: {line.qsize()} messages wait")
            await self._answer(connection, message, error)
            return
        self._pending_bytes += len(message.data)
        line.put_nowait(message)

    async def _treat_all(
        self, connection: Connection, line: asyncio.Queue[Msg], slots: Slots
    ) -> None:
        while True:
            await slots.room()
            await self.processor.wait()
            message = await line.get()
            self._pending_bytes -= len(message.data)
            slots.start(self._treat(connection, message))
            line.task_done()

    async def _treat(self, connection: Connection, message: Msg) -> None:
        journey.set(new_journey())
        try:
            baton = {
                "message": decoded(message.data, self.format),
                "subject": message.subject,
                "headers": dict(message.headers or {}),
            }
            results = await self.processor.deliver(baton)
            outcome: Any = results[-1] if isinstance(results, list) and results else None
        except Exception as error:
            self.failed += 1
            log.error("message failed", source=self.label, subject=message.subject, exc_info=True)
            outcome = error
        await self._answer(connection, message, outcome)

    async def _answer(self, connection: Connection, message: Msg, outcome: Any) -> None:
        """Send a result back, or an error, to who waits for one."""
        if not self.reply or not message.reply:
            return
        try:
            if isinstance(outcome, Exception):
                headers = {"Piped-Error": one_line(f"{type(outcome).__name__}: {outcome}")}
                await connection.publish(message.reply, headers=headers)
            else:
                data = b"" if outcome is None else encoded(outcome, self.format)
                await connection.publish(message.reply, data)
        except PipedError as error:
            log.error("not answered", source=self.label, reason=str(error))
            if not isinstance(outcome, Exception):
                await self._answer(connection, message, error)

    async def _drain(
        self, subscription: Subscription, line: asyncio.Queue[Msg], slots: Slots
    ) -> None:
        loop = asyncio.get_running_loop()
        until = loop.time() + self.drain_s
        try:
            async with asyncio.timeout(self.drain_s):
                await subscription.drain()  # type: ignore[no-untyped-call] # as it is
                await line.join()
        except (TimeoutError, Error):
            log.warning("messages not treated", source=self.label, count=line.qsize())
        await slots.drain(max(0.0, until - loop.time()))
