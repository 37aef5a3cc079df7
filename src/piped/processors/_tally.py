"""Counts of what may happen often, and is logged seldom."""

from __future__ import annotations

import asyncio
from contextvars import Context
from typing import Any


class Tally:
    """Logs how often an event has happened: the first at once, all later ones once in a time."""

    __slots__ = ("_event", "_every_s", "_facts", "_is_quiet", "_log", "_untold")

    def __init__(self, log: Any, event: str, every_s: float) -> None:
        self._log = log
        self._event = event
        self._every_s = every_s
        self._facts: dict[str, Any] = {}
        self._untold = 0
        self._is_quiet = False  # for a while after it has told

    def add(self, **facts: Any) -> None:
        """Count one more; the log gets the facts of the last one."""
        self._untold += 1
        self._facts = facts
        if not self._is_quiet:
            self._tell()

    def _tell(self) -> None:
        self._is_quiet = self._untold > 0
        if self._untold:
            self._log.warning(self._event, count=self._untold, **self._facts)
            self._untold = 0
            # The next line is about many batons: it bears the journey of none of them.
            asyncio.get_running_loop().call_later(self._every_s, self._tell, context=Context())
