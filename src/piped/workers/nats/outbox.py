"""What one side of a pool has to send, in the order in which it was said."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from nats.errors import Error

from piped.errors import PipedError
from piped.providers.nats.ends import heed_cancellation

log = structlog.get_logger("piped.workers")


class Outbox:
    """Sends one thing after the other, so that who says something need not wait."""

    def __init__(self) -> None:
        self._acts: deque[Callable[[], Awaitable[Any]]] = deque()
        self._has_more = asyncio.Event()
        self.is_empty = asyncio.Event()  # and the last thing in it is sent

    def __len__(self) -> int:
        return len(self._acts)

    def add(self, act: Callable[[], Awaitable[Any]]) -> None:
        """Have something sent soon, by a function."""
        self._acts.append(act)
        self.is_empty.clear()
        self._has_more.set()

    async def run(self) -> None:
        """Send until it is cancelled; what cannot be sent is dropped."""
        while True:
            self._has_more.clear()
            while self._acts:
                try:
                    await self._acts.popleft()()
                except (PipedError, Error) as error:
                    log.debug("not sent", reason=str(error))
                heed_cancellation()
            self.is_empty.set()
            await self._has_more.wait()
