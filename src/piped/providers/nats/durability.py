"""Whether what JetStream stores survives a power cut: its servers may answer before it does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec
import structlog

from piped.errors import PipedError

if TYPE_CHECKING:
    from piped.providers.nats.connection import Connection

ASKED: Final = "$SYS.REQ.SERVER.PING.JSZ"
"""Only the system's own account may ask this; others are told nothing."""
ASKED_S: Final = 1.0

log = structlog.get_logger("piped.nats")


class Durability:
    """What is known of the ``sync_interval`` of a connection's servers; None is nothing yet."""

    def __init__(self, connection: Connection, is_synced: bool | None) -> None:
        self._connection = connection
        self._is_synced = is_synced
        self._is_told = False

    async def warn_if_lazy(self) -> None:
        """Log, once, that a power cut may take what was stored, where that is so or not known."""
        if self._is_told or self._is_synced:
            return
        self._is_told = True
        if self._is_synced is None:
            self._is_synced = await self._ask()
        if self._is_synced:
            return
        known = "is lazy" if self._is_synced is False else "is not known"
        log.warning(
            f"sync_interval {known}: a power cut may lose what JetStream has stored",
            connection=self._connection.name,
            hint="set 'sync_interval: always' for JetStream on each server, then say is_synced",
        )

    async def _ask(self) -> bool | None:
        try:
            message = await self._connection.request(ASKED, timeout_s=ASKED_S)
            answer: Any = msgspec.json.decode(message.data)
            config = answer["data"]["config"]
        except (PipedError, msgspec.DecodeError, KeyError, TypeError):
            return None
        return bool(config.get("sync_always"))
