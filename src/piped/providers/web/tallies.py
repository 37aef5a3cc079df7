"""What became of the requests of each route: their answers by status, and how long those took."""

from __future__ import annotations

from bisect import bisect_left
from time import perf_counter
from typing import Final

from piped.sampling import Samples

BOUNDS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Up to where the times of a histogram are counted together."""

OFTEN_S: Final = 0.01
SELDOM: Final = 16
"""How many requests a timed one stands for at most; see ``Samples``."""

MAX_ROUTES: Final = 300
"""How many routes of a site are counted one by one."""
OTHERS: Final = "others"
"""What the routes are counted as that come after those."""


class Times:
    """How often something took how long: ``counts`` has a number for each bound, and the rest."""

    __slots__ = ("counts", "spent_s")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS_S) + 1)
        self.spent_s = 0.0

    def add(self, seconds: float, share: int = 1) -> None:
        """Count a time, as often as it stands for others."""
        self.counts[bisect_left(BOUNDS_S, seconds)] += share
        self.spent_s += seconds * share


class RouteTally(Samples):
    """The answers of a route by their status, and how long some took, which stand for all.

    Args:
        route: Its path, as the document has it; '' is no route.
    """

    __slots__ = ("answered", "route", "times")

    def __init__(self, route: str = "") -> None:
        super().__init__(SELDOM, OFTEN_S)
        self.route = route
        self.answered: dict[int, int] = {}
        self.times = Times()

    def answer(self, status: int, begun: float) -> None:
        """Count an answer that begins, with the time of ``begin`` if its request is timed."""
        try:
            self.answered[status] += 1
        except KeyError:
            self.answered[status] = 1
        if begun:
            self.times.add(perf_counter() - begun, self.share)
