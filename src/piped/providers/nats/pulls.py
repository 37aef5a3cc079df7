"""Pulling from a consumer of JetStream: never more than can be treated now."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec
import structlog
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import Error

from piped.errors import QueueFull, Unavailable
from piped.providers.nats.connection import Connection
from piped.providers.nats.ends import heed_cancellation

LATE_S: Final = 1.0
"""How much later than it should end a pull is given up: its server is away."""
_PASSING: Final = ("Server Shutdown", "Leadership Change", "Batch Completed")

log = structlog.get_logger("piped.nats")


class Puller:
    """Asks a consumer for as many messages as there are free slots, one pull at a time.

    Args:
        room: Waits until there are free slots, and returns how many.
        take: Called with each message. Where a pull was given up, what it brings at last may find
            no slot.
        expires_s: How long a pull waits for messages, at most.
    """

    def __init__(
        self,
        connection: Connection,
        stream: str,
        consumer: str,
        *,
        room: Callable[[], Awaitable[int]],
        take: Callable[[Msg], Awaitable[None]],
        expires_s: float,
    ) -> None:
        self._connection = connection
        self._next = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}"
        self._name = f"{stream}.{consumer}"
        self._room, self._take, self._expires_s = room, take, expires_s
        self._inbox = connection.client.new_inbox()
        self._pull = ""  # the number of the current one: only news of the server bear it
        self._left = 0  # messages that the current pull may still bring
        self._refusal = ""
        self._ended = asyncio.Event()
        self._subscription: Subscription | None = None

    async def run(self) -> None:
        """Pull until it is cancelled.

        Raises:
            Unavailable: The consumer, its stream or JetStream is gone.
        """
        client = self._connection.client
        self._subscription = await client.subscribe(f"{self._inbox}.*", cb=self._on_message)
        undo = self._connection.on_reconnect(self._ended.set)
        try:
            while True:
                heed_cancellation()
                await self._pull_once(await self._room())
                if self._refusal:
                    raise Unavailable(f"cannot pull from '{self._name}': {self._refusal}")
        finally:
            undo()

    async def stop(self) -> None:
        """Ask for nothing more, and wait for what is on its way."""
        if self._subscription is None:
            return
        try:
            async with asyncio.timeout(LATE_S):
                await self._subscription.drain()  # type: ignore[no-untyped-call] # as it is
        except (TimeoutError, Error):
            pass  # the server gives it to another one, when the time for its ack is over

    async def _pull_once(self, number: int) -> None:
        self._pull, self._left = secrets.token_hex(8), number
        self._ended.clear()
        asked = {"batch": number, "expires": int(self._expires_s * 1e9)}
        try:
            await self._connection.publish(
                self._next, msgspec.json.encode(asked), reply=f"{self._inbox}.{self._pull}"
            )
        except QueueFull:
            pass  # it is away: wait for its return
        try:
            async with asyncio.timeout(self._expires_s + LATE_S):
                await self._ended.wait()
        except TimeoutError:
            log.debug("no answer to a pull", consumer=self._name)

    async def _on_message(self, message: Msg) -> None:
        if message.reply.startswith("$JS.ACK."):
            self._left -= 1
            await self._take(message)
            if self._left <= 0:
                self._ended.set()
        elif message.subject.endswith(self._pull):
            self._end(message.headers or {})

    def _end(self, headers: dict[str, str]) -> None:
        """End a pull of which the server says that it has ended."""
        status, why = headers.get("Status", ""), headers.get("Description", "")
        if status == "100":
            return
        if status not in ("404", "408") and not why.startswith(_PASSING):
            self._refusal = f"{why or 'nobody answers'} ({status})"
        self._ended.set()
