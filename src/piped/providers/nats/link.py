"""The client of nats-py under our care: how it connects, connects again, and closes."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final

import structlog
from nats.aio.client import Client
from nats.errors import Error, SecureConnWantedError, SlowConsumerError, StaleConnectionError

from piped.errors import Misconfigured, Unavailable
from piped.providers.nats.ends import heed_cancellation
from piped.providers.nats.errors import is_final, is_refusal, reason_of

FIRST_PAUSE_S: Final = 0.1
LONGEST_PAUSE_S: Final = 10.0
PING_S: Final = 5.0
"""How often a server that says nothing is asked whether it is there; two silences are an end."""
CLOSING_S: Final = 1.0
RESERVE: Final = 256 << 10
"""Bytes of the buffer beside ``max_pending``, for acknowledgements and the like."""

log = structlog.get_logger("piped.nats")


class _Client(Client):
    """The library's client, with three of its faults mended.

    It says who we are in the clear where TLS is wanted and the server has none; it stops to read
    when a server answers a ping that nobody waits for any more; and it connects again though it is
    closed, where ``asyncio.wait_for`` of Python 3.11 has swallowed the cancellation of that.
    """

    must_encrypt = False

    def _connect_command(self) -> bytes:
        if self.must_encrypt and not self._server_info.get("tls_required"):
            raise SecureConnWantedError
        return super()._connect_command()

    async def _process_connect_init(self) -> None:
        heed_cancellation()
        await super()._process_connect_init()
        heed_cancellation()

    async def _process_pong(self) -> None:
        if self._pongs and self._pongs[0].done():  # who waited has given up; it would read no more
            self._pongs.pop(0)
        else:
            await super()._process_pong()


class Link:
    """A client that stays connected by itself until it is closed, or a server closes it."""

    def __init__(self, name: str, max_pending: int) -> None:
        self.name = name
        self.max_pending = max_pending
        self.client = _Client()
        self.closed = asyncio.Event()  # set when it ends for good
        self.lost = asyncio.Event()  # set for good when it was disconnected for the first time
        self.dropped = 0  # messages that a subscription of the client itself had no room for
        self.reconnects = 0
        self._on_reconnect: list[Callable[[], None]] = []
        self._pause_s = FIRST_PAUSE_S
        self._tries_left = 0  # more than 0 while it is being opened
        self._resets_left = 5
        self._identity = ""

    def __repr__(self) -> str:
        return (
            f"<{type(self).__name__} {self.name} ({'connected' if self.is_connected else 'away'})>"
        )

    @property
    def is_connected(self) -> bool:
        """Whether a server is there now."""
        return self.client.is_connected

    @property
    def pending_bytes(self) -> int:
        """Bytes that wait to be sent."""
        return self.client.pending_data_size

    @property
    def reason(self) -> str:
        """Why it is not connected, as far as is known."""
        error = self.client.last_error
        return reason_of(error) if error else "connection lost"

    async def open(
        self,
        servers: Sequence[str],
        timeout_s: float,
        *,
        must_encrypt: bool = False,
        identity: str = "",
        **options: Any,
    ) -> None:
        """Connect to any of some servers; ``options`` are those of nats-py.

        ``identity`` names by what we say who we are; if it is empty, we do not.

        Raises:
            Unavailable: None of them can be reached now.
            Misconfigured: One refuses who we are, or is not who it should be.
        """
        self._tries_left = len(servers)
        self.client.must_encrypt = must_encrypt
        self._identity = identity
        try:
            async with asyncio.timeout(timeout_s * len(servers)):
                await self.client.connect(
                    servers=list(servers),
                    connect_timeout=timeout_s,  # type: ignore[arg-type] # it may have a fraction
                    max_reconnect_attempts=-1,
                    reconnect_time_wait=FIRST_PAUSE_S,  # type: ignore[arg-type] # as above
                    ping_interval=PING_S,  # type: ignore[arg-type] # as above
                    max_outstanding_pings=2,
                    pending_size=self.max_pending + RESERVE,
                    flusher_queue_size=0,  # a full one would swallow cancellations
                    error_cb=self._on_error,
                    disconnected_cb=self._on_disconnected,
                    reconnected_cb=self._on_reconnected,
                    closed_cb=self._on_closed,
                    **options,
                )
        except TimeoutError as error:
            raise Unavailable(f"'{self.name}' cannot connect: no answer in time") from error
        finally:
            if not self.is_connected:
                await self._close(CLOSING_S)
        self._tries_left = 0
        log.info("connected", connection=self.name, server=self._server)

    @property
    def _server(self) -> str:
        url = self.client.connected_url
        return f"{url.hostname}:{url.port}" if url else ""

    def on_reconnect(self, act: Callable[[], None]) -> Callable[[], None]:
        """Have a function called after each reconnection; return what undoes that."""
        self._on_reconnect.append(act)
        return lambda: self._on_reconnect.remove(act)

    async def close(self, limit_s: float) -> None:
        """Send what waits to be sent, and close."""
        if self.is_connected:
            with suppress(TimeoutError, Error):
                async with asyncio.timeout(limit_s):
                    await self.client.flush()
        if self.client._pending:
            log.warning("messages not sent", connection=self.name, bytes=self.pending_bytes)
        await self._close(limit_s)

    async def _close(self, limit_s: float) -> None:
        self.closed.set()
        if not self.is_connected:  # it would write to what is closed
            self.client._pending, self.client._pending_data_size = [], 0
        # nats-py before 2.12 raises an AttributeError where it was never open.
        with suppress(TimeoutError, OSError, Error, AttributeError):
            async with asyncio.timeout(limit_s):
                await self.client.close()
                if not self.client.is_closed:  # it was just about to be connected again
                    await self.client.close()
        with suppress(AttributeError):  # a peer that takes nothing would keep the socket
            self.client._transport._io_writer.transport.abort()  # type: ignore[union-attr] # then

    async def _on_error(self, error: Exception) -> None:
        if self._tries_left:
            self._fail_to_open(error)
        elif isinstance(error, SlowConsumerError):
            self.dropped += 1
            if self.dropped & (self.dropped - 1) == 0:  # the 1st, 2nd, 4th, 8th ...
                log.warning("messages dropped", connection=self.name, count=self.dropped)
        elif self.is_connected and not isinstance(error, StaleConnectionError):
            log.warning("error", connection=self.name, reason=reason_of(error))
        else:
            self._back_off()
            log.debug("still away", connection=self.name, reason=reason_of(error))

    def _fail_to_open(self, error: Exception) -> None:
        what = f"'{self.name}' cannot connect: {reason_of(error)}"
        if isinstance(error, SecureConnWantedError):
            raise Misconfigured(f"'{self.name}' cannot connect: the server offers no TLS")
        if is_refusal(error):
            raise Misconfigured(f"'{self.name}' cannot connect: {self._refusal(error)}") from error
        if is_final(error):
            raise Misconfigured(what) from error
        if isinstance(error, ConnectionResetError | BrokenPipeError) and self._resets_left:
            self._resets_left -= 1  # it may overtake the server's word that it lets nobody in
            return
        self._tries_left -= 1
        if not self._tries_left:
            raise Unavailable(what) from error

    def _refusal(self, error: Exception) -> str:
        if not self._identity:
            return "the server asks who it is, and it does not say so"
        return f"the server refuses its {self._identity}: {reason_of(error).lower()}"

    def _back_off(self) -> None:
        self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)
        self.client.options["reconnect_time_wait"] = self._pause_s * random.uniform(0.5, 1.0)

    async def _on_disconnected(self) -> None:
        self.lost.set()
        if not self.closed.is_set():
            log.warning("connection lost, trying again", connection=self.name)
            await asyncio.sleep(random.uniform(0.0, FIRST_PAUSE_S))  # not all at the same moment

    async def _on_reconnected(self) -> None:
        self.reconnects += 1
        self._pause_s = FIRST_PAUSE_S
        self.client.options["reconnect_time_wait"] = FIRST_PAUSE_S
        log.info("connected again", connection=self.name, server=self._server)
        for act in tuple(self._on_reconnect):
            act()

    async def _on_closed(self) -> None:
        self.closed.set()
