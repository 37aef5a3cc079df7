"""Whether a client takes what it is sent."""

from __future__ import annotations

import asyncio
import fcntl
import struct
import termios
from typing import Final

NEVER: Final = float("inf")


class Outlet:
    """Watches the bytes that were not taken yet: in a given time, enough of them must be.

    Args:
        transport: Is written to.
        loop: Tells the time.
        limit_s: The time.
        rate: How many bytes a second must be taken, on average.
    """

    __slots__ = ("due", "limit_s", "loop", "rate", "transport", "unsent")

    def __init__(
        self,
        transport: asyncio.Transport,
        loop: asyncio.AbstractEventLoop,
        limit_s: float,
        rate: int = 0,
    ) -> None:
        self.transport, self.loop = transport, loop
        self.limit_s, self.rate = limit_s, rate
        self.unsent = 0
        self.due = NEVER

    def watch(self) -> None:
        """Give the client time for what is unsent now, if anything is."""
        unsent = self.transport.get_write_buffer_size()
        self.unsent = unsent + self._in_system() if unsent else 0
        self.due = self.loop.time() + self.limit_s if unsent else NEVER

    def forget(self) -> None:
        """Stop watching: the client reads well enough."""
        self.due = NEVER

    def is_stuck(self, now: float) -> bool:
        """Tell whether the time is over and too little was taken; if enough was, give it again."""
        if now < self.due:
            return False
        before = self.unsent
        self.watch()
        return before - self.unsent <= self.limit_s * self.rate and self.unsent > 0

    def _in_system(self) -> int:
        """Return how many bytes the system has taken, and the client not yet.

        It has room for megabytes: without these, a client that reads slowly but well would seem to
        take nothing for minutes, and then very much.
        """
        connection = self.transport.get_extra_info("socket")
        if connection is None:
            return 0
        try:
            answer = fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, bytes(4))
        except OSError:
            return 0  # not every kind of socket can tell
        return int(struct.unpack("i", answer)[0])
