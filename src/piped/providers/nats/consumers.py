"""Consumers of JetStream that feed a pipeline: ``nats.consumers.<name>``."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import field
from typing import Annotated, Any, ClassVar, Literal

import structlog
from nats.errors import Error
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from nats.js.errors import NotFoundError

from piped.errors import Misconfigured, Problem
from piped.providers.nats.connected import Connected
from piped.providers.nats.connection import Connection
from piped.providers.nats.content import Format, wrong_subject
from piped.providers.nats.delivery import Delivery
from piped.providers.nats.ends import while_open
from piped.providers.nats.errors import at_start
from piped.providers.nats.pulls import Puller
from piped.providers.nats.slots import Slots
from piped.spec import Dependency, Duration, Meta, part

log = structlog.get_logger("piped.nats")


@part
class NatsConsumer(Connected):
    """Bring a baton for each message of a stream, at least once.

    Batons are ``{message, subject, headers, attempt, sequence}``. A message is acknowledged when
    the pipeline has succeeded; one that fails comes again after a pause of ``backoff``, and after
    ``max_deliver`` attempts goes to the subject ``dead_letter``, with its headers and those of what
    went wrong: ``Piped-Cause``, ``Piped-Attempts``, ``Piped-Subject``, ``Piped-Stream``,
    ``Piped-Consumer``, ``Piped-Sequence``. So does, at once, one that is not in ``format``. Without
    ``dead_letter`` it is logged, and gone.

    All processes with the same ``durable`` share the messages. None pulls more than it can treat.
    """

    kind: ClassVar[str] = "consumers"

    stream: Annotated[str, Meta(description="The stream, by its name on the server.")]
    subject: Annotated[
        str | None, Meta(description="Which of its messages; null is all of them.")
    ] = None
    durable: Annotated[str, Meta(description="The name under which the server knows the consumer.")]
    processor: Annotated[Dependency[Any], Meta(description="What treats the batons.")]
    format: Annotated[Format, Meta(description="What messages are.")] = "bytes"
    ack_wait: Annotated[
        Duration,
        Meta(ge=0.1, description="How long a process may be silent until another has the message."),
    ] = Duration(30.0)
    max_deliver: Annotated[
        int, Meta(ge=1, description="How many attempts are made with a message.")
    ] = 5
    backoff: Annotated[
        list[Duration], Meta(description="The pauses before the next attempts; the last one stays.")
    ] = field(default_factory=lambda: [Duration(1.0), Duration(5.0), Duration(30.0)])
    dead_letter: Annotated[
        str | None, Meta(description="The subject, kept by a stream, of what is given up.")
    ] = None
    deliver: Annotated[
        Literal["all", "new"], Meta(description="Where a consumer that is new begins.")
    ] = "all"
    concurrency: Annotated[
        int, Meta(ge=1, le=10_000, description="How many messages are treated at once.")
    ] = 1
    essential: Annotated[
        bool, Meta(description="Whether the process fails when this has failed for good.")
    ] = True
    acked: int = field(default=0, init=False)
    failed: int = field(default=0, init=False)
    set_aside: int = field(default=0, init=False)
    _streams: list[Dependency[Any]] = field(default_factory=list, init=False)

    def waits_for(self, streams: Iterable[str]) -> None:
        """Tell it the streams that are there before it begins."""
        self._streams = [Dependency(f"nats.stream.{each}") for each in streams]

    def feeds(self) -> bool:
        return True

    def check(self) -> Iterator[Problem]:
        for key, is_filter in (("subject", True), ("dead_letter", False)):
            value = getattr(self, key)
            if value is not None and (wrong := wrong_subject(value, is_filter=is_filter)):
                yield Problem("wrong-value", wrong, at=key)
        for key in ("stream", "durable"):
            value = getattr(self, key)
            if not value or any(each in " .*>/\\\t" for each in value):
                what = f"expected a name without dots, blanks, '*', '>' and slashes, got {value!r}"
                yield Problem("wrong-value", what, at=key)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Mapping[str, Any]]:
        """Pull and treat messages until it is left; what is not done by then is given back.

        Raises:
            Misconfigured: There is no such stream, or none that keeps the dead letters.
            Unavailable: The server, or its JetStream, is away.
        """
        connection = self._connection.value
        for each in self._streams:
            await each.wait()
        await self._prepare(connection)
        async with while_open(connection, self.label) as group:
            slots = Slots(self.label, self.concurrency, group)
            delivery = Delivery(self, connection, slots)
            puller = Puller(
                *(connection, self.stream, self.durable),
                room=delivery.room,
                take=delivery.take,
                expires_s=min(5.0, self.ack_wait),
            )
            pulling = group.create_task(puller.run(), name=self.label)
            yield {}
            delivery.is_stopping = True
            pulling.cancel()
            await puller.stop()
            await slots.drain(self.drain_s)

    async def _prepare(self, connection: Connection) -> None:
        """Make the consumer, or bring it up to what is written."""
        config = ConsumerConfig(
            durable_name=self.durable,
            filter_subject=self.subject,
            ack_policy=AckPolicy.EXPLICIT,
            ack_wait=self.ack_wait,
            deliver_policy=DeliverPolicy.ALL if self.deliver == "all" else DeliverPolicy.NEW,
            # Counted here: what a killed process has held for the last time would else be lost.
            max_deliver=-1,
            max_ack_pending=max(1000, 2 * self.concurrency),
        )
        try:
            await connection.jetstream.add_consumer(self.stream, config)
        except (Error, TimeoutError) as error:
            raise at_start(error, f"consumer '{self.durable}' of '{self.stream}'") from error
        if self.dead_letter is None:
            return
        try:
            await connection.jetstream.find_stream_name_by_subject(self.dead_letter)
        except NotFoundError as error:
            what = f"no stream keeps '{self.dead_letter}', the dead letters of '{self.durable}'"
            raise Misconfigured(what) from error
        except (Error, TimeoutError) as error:
            raise at_start(error, f"the stream of '{self.dead_letter}'") from error
