"""What sessions use of the site that they belong to."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Coroutine
from typing import Any, Protocol

from piped.providers.web.limits import Counters, Limits
from piped.providers.web.websocket.sockets import Sockets


class Host(Protocol):
    """What a session belongs to: the site of its connection."""

    counters: Counters
    limits: Limits
    context: contextvars.Context
    sockets: Sockets

    def closed(self, connection: Any) -> None: ...

    def converse(self, run: Coroutine[Any, Any, None]) -> None: ...

    def keep(self, task: asyncio.Task[Any]) -> None:
        """Be told that what treats a request goes on for its session."""
