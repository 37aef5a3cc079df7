"""How late the event loop is: whoever is late with everything must not begin more."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import perf_counter
from typing import Final

from piped.providers.web.tallies import Times

EVERY_S: Final = 0.1


class LagMeter:
    """Asks to be called every tenth of a second, and looks how late that happens.

    The loop is late when it was so twice in a row: one long step is no overload.

    Args:
        limit_s: How late it may be.
        clock: Tells the time; not that of the loop, which stands still during a turn.
    """

    def __init__(self, limit_s: float, clock: Callable[[], float] = perf_counter) -> None:
        self.limit_s = limit_s
        self.lag_s = 0.0
        self.is_late = False
        self.times = Times()
        self._clock = clock
        self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to look."""
        self._due = self._clock() + EVERY_S
        self._timer = asyncio.get_running_loop().call_later(EVERY_S, self._look)

    def stop(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        before, self.lag_s = self.lag_s, max(0.0, self._clock() - self._due)
        self.times.add(self.lag_s)
        self.is_late = min(before, self.lag_s) > self.limit_s
        self.start()
