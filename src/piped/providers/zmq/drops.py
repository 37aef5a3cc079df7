"""What a queue has dropped, counted and told."""

from __future__ import annotations

import asyncio
from typing import Final

import structlog

EVERY_S: Final = 1.0
"""How long drops are gathered for one line of the log."""

log = structlog.get_logger("piped.zmq")


class Drops:
    """Counts the messages that a queue drops, and logs how many, at most once a second."""

    __slots__ = ("_loop", "_name", "_timer", "_told", "count")

    def __init__(self, name: str) -> None:
        self._name = name
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._told = 0
        self.count = 0

    def add(self, number: int) -> None:
        """Count some more."""
        if number:
            self.count += number
            if self._timer is None:
                self._timer = self._loop.call_later(EVERY_S, self.tell)

    def tell(self) -> None:
        """Log now what has been dropped since the last line."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            log.warning("messages dropped", queue=self._name, count=self.count - self._told)
            self._told = self.count
