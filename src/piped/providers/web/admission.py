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
    """Counts the requests that are being treated, and knows when there must not be more.

    ``refusal`` names the rule while there must not; '' admits. Without a task and before any look
    at its path, a request is then answered 503, and its connection kept.

    Args:
        limits: How many requests there may be, and how late the event loop.
        counters: Count what is refused.
        tasks: Those of requests, also of answered ones whose pipelines go on.
    """

    def __init__(self, limits: Limits, counters: Counters, tasks: Sized) -> None:
        self.refusal = ""
        self.in_flight = 0
        self._limits, self._counters, self._tasks = limits, counters, tasks
        self._meter = LagMeter(limits.shed_lag_s, self.weigh)

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
        self.weigh()

    def begun(self) -> None:
        """Be told that a request is being treated, and not answered yet."""
        self.in_flight += 1
        self.weigh()

    def ended(self) -> None:
        """Be told that it is answered, or that its client has left."""
        self.in_flight -= 1
        self.weigh()

    def weigh(self) -> None:
        """Decide anew: something has begun or ended."""
        if max(self.in_flight, len(self._tasks)) >= self._limits.in_flight:
            self.refusal = "too-many-in-flight"
        else:
            self.refusal = "overloaded" if self._meter.is_late else ""

    def send_away(self, request: Request, dispatcher: Dispatcher) -> None:
        """Answer a request that must not be treated now."""
        self._counters.refuse(self.refusal)
        later_s = uniform(*AGAIN_S)
        dispatcher.answer_unavailable(request, REASONS[self.refusal], later_s)
