"""Whether requests are treated at all: more work than can be done helps nobody."""

from __future__ import annotations

import math
from collections.abc import Sized
from random import uniform
from typing import Final

from piped.providers.web.dispatch import Dispatcher
from piped.providers.web.lag import LagMeter
from piped.providers.web.limits import Counters, Limits
from piped.providers.web.request import Request

AGAIN_S: Final = (1.0, 3.0)
"""When clients that were sent away are asked to come again: not all at once."""

REASONS: Final = {
    "overloaded": "the event loop is late with all that it does",
    "too-many-in-flight": "too many requests are being treated",
}


class Admission:
    """Knows when no more requests must be treated.

    A request is then answered 503, without a task and before any look at its path, and its
    connection is kept. ``in_flight`` are those that are being treated, and not answered yet.

    Args:
        limits: How many requests there may be, and how late the event loop.
        counters: Count what is refused.
        tasks: Those of requests, also of answered ones whose pipelines go on.
    """

    def __init__(self, limits: Limits, counters: Counters, tasks: Sized) -> None:
        self.in_flight = 0
        self._limits, self._counters, self._tasks = limits, counters, tasks
        self._meter = LagMeter(limits.shed_lag_s)

    def start(self) -> None:
        """Begin to look how late the event loop is, if that matters."""
        if self._limits.shed_lag_s < math.inf:
            self._meter.start()

    def stop(self) -> None:
        """Look no more."""
        self._meter.stop()

    def change(self, limits: Limits) -> None:
        """Go on with other limits."""
        self.stop()
        self._limits, self._meter.limit_s = limits, limits.shed_lag_s
        self._meter.is_late = False
        self.start()

    @property
    def refusal(self) -> str:
        """The rule by which a request must not be treated now; '' admits it."""
        most = self._limits.in_flight
        if self.in_flight >= most or len(self._tasks) >= most:
            return "too-many-in-flight"
        return "overloaded" if self._meter.is_late else ""

    def send_away(self, request: Request, dispatcher: Dispatcher) -> None:
        """Answer a request that must not be treated now."""
        refusal = self.refusal
        self._counters.refuse(refusal)
        dispatcher.answer_unavailable(request, REASONS[refusal], uniform(*AGAIN_S))
