"""One message of JetStream: treated, and then acknowledged, given back, or set aside."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import structlog
from nats.aio.msg import Msg
from nats.errors import Error

from piped.engine.journey import journey, new_journey
from piped.errors import InvalidBaton, PipedError
from piped.providers.nats.connection import Connection
from piped.providers.nats.content import decoded, one_line
from piped.providers.nats.ends import heed_cancellation
from piped.providers.nats.slots import Slots

if TYPE_CHECKING:
    from piped.providers.nats.consumers import NatsConsumer

AGAIN_S: Final = 0.1
"""The pause before a message that found no slot comes again."""

log = structlog.get_logger("piped.nats")


class Delivery:
    """Treats the messages of a consumer, and tells the server what became of each."""

    def __init__(self, consumer: NatsConsumer, connection: Connection, slots: Slots) -> None:
        self._consumer, self._connection, self._slots = consumer, connection, slots
        self.is_stopping = False

    async def room(self) -> int:
        """Wait until a message can be treated, and return how many can."""
        await self._consumer.processor.wait()
        return await self._slots.room()

    async def take(self, message: Msg) -> None:
        """Treat a message in a slot of its own; give it back where there is none."""
        if self.is_stopping or not self._slots.free:
            await self._give_back(message, AGAIN_S)
        else:
            self._slots.start(self._treat(message))

    async def _treat(self, message: Msg) -> None:
        journey.set(new_journey())
        attempt = message.metadata.num_delivered
        if attempt > self._consumer.max_deliver:  # who had it last has said nothing, and died
            await self._set_aside(message, attempt - 1, "the process that had it last has died")
            return
        try:
            async with asyncio.TaskGroup() as group:
                renewing = group.create_task(self._renew(message))
                failure = await self._outcome(message, attempt)
                renewing.cancel()
        except asyncio.CancelledError:
            await self._give_back(message, 0.0)
            raise
        if failure is None:
            await self._tell(message.ack())
            self._consumer.acked += 1
            return
        self._consumer.failed += 1
        if attempt >= self._consumer.max_deliver or isinstance(failure, InvalidMessage):
            cause = failure.__cause__ if isinstance(failure, InvalidMessage) else failure
            await self._set_aside(message, attempt, f"{type(cause).__name__}: {cause}")
        else:
            await self._give_back(message, self._pause_s(attempt))

    async def _outcome(self, message: Msg, attempt: int) -> Exception | None:
        """Send a message through the pipeline, and return what went wrong."""
        try:
            baton = self._baton(message, attempt)
            await self._consumer.processor.deliver(baton)
        except Exception as error:
            log.error(
                "message failed",
                source=self._consumer.label,
                subject=message.subject,
                attempt=attempt,
                exc_info=True,
            )
            return error
        return None

    def _baton(self, message: Msg, attempt: int) -> dict[str, Any]:
        try:
            content = decoded(message.data, self._consumer.format)
        except InvalidBaton as error:
            raise InvalidMessage(error.problems) from error
        return {
            "message": content,
            "subject": message.subject,
            "headers": dict(message.headers or {}),
            "attempt": attempt,
            "sequence": message.metadata.sequence.stream,
        }

    def _pause_s(self, attempt: int) -> float:
        pauses = self._consumer.backoff
        return pauses[min(attempt, len(pauses)) - 1] if pauses else AGAIN_S

    async def _renew(self, message: Msg) -> None:
        while True:
            await asyncio.sleep(self._consumer.ack_wait / 3)
            await self._tell(message.in_progress())
            heed_cancellation()

    async def _set_aside(self, message: Msg, attempts: int, cause: str) -> None:
        """Send a message to the dead letters; where they do not take it, it comes again."""
        consumer, metadata = self._consumer, message.metadata
        facts = {
            "source": consumer.label,
            "subject": message.subject,
            "sequence": metadata.sequence.stream,
            "attempts": attempts,
            "cause": one_line(cause),
        }
        if consumer.dead_letter is not None:
            try:
                await self._connection.store(
                    consumer.dead_letter,
                    message.data,
                    message_id=f"{consumer.stream}.{consumer.durable}.{metadata.sequence.stream}",
                    headers=_headers(message, attempts, cause),
                )
            except PipedError as error:
                log.error("dead letter not stored, it comes again", reason=str(error), **facts)
                await self._give_back(message, self._pause_s(len(consumer.backoff)))
                return
        consumer.set_aside += 1
        log.error("message set aside", **facts)
        await self._tell(message.term())

    async def _give_back(self, message: Msg, pause_s: float) -> None:
        await self._tell(message.nak(pause_s or None))

    async def _tell(self, telling: Any) -> None:
        try:
            await telling
        except Error as error:  # it comes again, when the time for its ack is over
            log.warning("server not told", source=self._consumer.label, reason=str(error))


class InvalidMessage(InvalidBaton):
    """Raised when a message is not in the consumer's format: no other attempt would help."""


def _headers(message: Msg, attempts: int, cause: str) -> dict[str, str]:
    """Return the headers of a dead letter: its own, and what became of it."""
    own = {
        name: one_line(value)
        for name, value in (message.headers or {}).items()
        if not name.lower().startswith("nats-")  # what they ask for was meant for another stream
    }
    metadata = message.metadata
    return own | {
        "Piped-Cause": one_line(cause),
        "Piped-Attempts": str(attempts),
        "Piped-Subject": message.subject,
        "Piped-Stream": metadata.stream,
        "Piped-Consumer": metadata.consumer,
        "Piped-Sequence": str(metadata.sequence.stream),
    }
