"""Whether a client takes what it is sent."""

from __future__ import annotations

import asyncio
from typing import Final

NEVER: Final = float("inf")


class Outlet:
    """Watches the bytes that a transport could not send yet: they must become fewer in time."""

    __slots__ = ("due", "limit_s", "loop", "transport", "unsent")

    def __init__(
        self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop, limit_s: float
    ) -> None:
        self.transport, self.loop, self.limit_s = transport, loop, limit_s
        self.unsent = 0
        self.due = NEVER

    def watch(self) -> None:
        """Give the client time for what is unsent now, if anything is."""
        self.unsent = self.transport.get_write_buffer_size()
        self.due = self.loop.time() + self.limit_s if self.unsent else NEVER

    def forget(self) -> None:
        """Stop watching: the client reads well enough."""
        self.due = NEVER

    def is_stuck(self) -> bool:
        """Tell whether the time is over and nothing was taken; else give the same time again."""
        before = self.unsent
        self.watch()
        return self.unsent >= before > 0
