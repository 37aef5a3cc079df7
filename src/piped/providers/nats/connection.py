"""A connection that is open: the resource ``nats.<name>``."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

from nats.aio.msg import Msg
from nats.errors import (
    ConnectionClosedError,
    ConnectionDrainingError,
    Error,
    NoRespondersError,
    OutboundBufferLimitError,
)
from nats.js import JetStreamContext
from nats.js.api import PubAck

from piped.errors import BatonError, DeadlineExceeded, QueueFull, Unavailable
from piped.providers.nats.content import fail_if_wrong_headers, size_of, wrong_subject
from piped.providers.nats.durability import Durability
from piped.providers.nats.errors import NoResponders, of_jetstream
from piped.providers.nats.link import Link

ROOM_S: Final = 1.0
"""How long a message waits for room in the buffer, while the server is there."""
AROUND: Final = 64
"""Bytes that a message takes in the buffer beside its subjects, headers and content."""


class Connection(Link):
    """Publishes, asks, stores; ``client`` is the client of nats-py for all else.

    While the servers are away it connects again by itself, and what is published waits in a buffer
    of ``max_pending`` bytes. ``closed`` is set when it ends for good: then there is another one.
    """

    def __init__(self, name: str, *, max_pending: int, is_synced: bool | None) -> None:
        super().__init__(name, max_pending)
        self.published = 0
        self.refused = 0  # messages that found the buffer full
        self._jetstream: JetStreamContext | None = None
        self._durability = Durability(self, is_synced)

    @property
    def jetstream(self) -> JetStreamContext:
        """The client of JetStream; its requests wait for 5 seconds."""
        if self._jetstream is None:
            self._jetstream = self.client.jetstream()
        return self._jetstream

    async def publish(
        self,
        subject: str,
        data: bytes = b"",
        *,
        reply: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Send a message, at most once: to those who listen now.

        Raises:
            BatonError: The subject or a header is none, or the message is too large.
            QueueFull: The servers are away, or slow, and the buffer is full.
            Unavailable: The connection is closed.
        """
        await self._make_room(subject, data, headers)
        try:
            await self.client.publish(subject, data, reply, _given(headers))
        except (ConnectionClosedError, ConnectionDrainingError) as error:
            raise Unavailable(f"'{self.name}' is closed") from error
        except OutboundBufferLimitError as error:
            raise self._full() from error
        self.published += 1

    async def request(
        self,
        subject: str,
        data: bytes = b"",
        *,
        timeout_s: float,
        headers: Mapping[str, str] | None = None,
    ) -> Msg:
        """Send a message and return the first answer.

        Raises:
            NoResponders: Nobody listens on the subject; that is told at once.
            DeadlineExceeded: There is no answer in time.
            BatonError, QueueFull, Unavailable: As with ``publish``.
        """
        await self._make_room(subject, data, headers)
        try:
            return await self.client.request(
                subject, data, timeout=timeout_s, headers=_given(headers)
            )
        except NoRespondersError as error:
            raise NoResponders(f"nobody answers requests to '{subject}'") from error
        except TimeoutError as error:
            away = "" if self.is_connected else f": '{self.name}' is away ({self.reason})"
            what = f"no answer from '{subject}' within {timeout_s:g} s{away}"
            raise DeadlineExceeded(what) from error
        except (ConnectionClosedError, ConnectionDrainingError) as error:
            raise Unavailable(f"'{self.name}' is closed") from error
        except OutboundBufferLimitError as error:
            raise self._full() from error

    async def store(
        self,
        subject: str,
        data: bytes = b"",
        *,
        message_id: str = "",
        headers: Mapping[str, str] | None = None,
        timeout_s: float = 5.0,
    ) -> PubAck:
        """Publish to a stream of JetStream, and return when it is stored.

        Args:
            message_id: The same one twice, within the stream's window, is stored once.

        Raises:
            NoResponders: No stream keeps the subject.
            DeadlineExceeded: It is not known in time whether it was stored.
            QueueFull: The stream is full, or the buffer.
            RequestFailed: It was refused, or the connection is closed.
            Unavailable: JetStream is away.
            BatonError: As with ``publish``.
        """
        own = {**(headers or {}), **({"Nats-Msg-Id": message_id} if message_id else {})}
        await self._make_room(subject, data, own)
        try:
            return await self.jetstream.publish(
                subject, data, timeout=timeout_s, headers=own or None
            )
        except TimeoutError as error:
            what = f"'{subject}' was not stored within {timeout_s:g} s"
            raise DeadlineExceeded(what) from error
        except Error as error:
            raise of_jetstream(error, f"'{subject}' was not stored") from error

    async def warn_if_lazy(self) -> None:
        """Log, once, that a power cut may take what was stored, where that is so or not known."""
        await self._durability.warn_if_lazy()

    async def _make_room(
        self, subject: str, data: bytes, headers: Mapping[str, str] | None
    ) -> None:
        if wrong := wrong_subject(subject):
            raise BatonError(wrong)
        fail_if_wrong_headers(headers or {})
        size = len(data) + size_of(headers)
        if size > (most := self.client.max_payload):
            raise BatonError(f"expected at most {most} bytes for '{subject}', got {size}")
        size += len(subject) + AROUND
        if self.pending_bytes + size <= self.max_pending:
            return
        until = asyncio.get_running_loop().time() + ROOM_S
        pause_s = 0.0
        while self.pending_bytes + size > self.max_pending:
            if not self.is_connected or asyncio.get_running_loop().time() >= until:
                raise self._full()
            await asyncio.sleep(pause_s)  # the client tells nobody when it has sent something
            pause_s = 0.01

    def _full(self) -> QueueFull:
        self.refused += 1
        state = "is slow" if self.is_connected else "is away"
        return QueueFull(
            f"'{self.name}' {state}: {self.pending_bytes} of {self.max_pending} bytes wait"
        )


def _given(headers: Mapping[str, str] | None) -> dict[str, str] | None:
    return dict(headers) if headers else None
