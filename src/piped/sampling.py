"""Which of many like things are looked at more closely, and how many each of those stands for."""

from __future__ import annotations

from random import randrange
from time import perf_counter


class Samples:
    """Counts things, and has some of them timed: all of what is rare, few of what is frequent.

    ``ahead`` are let by before the next one is timed: whoever counts takes one off it, or calls
    ``begin`` where there is none. Which one comes next is left to chance, so that no rhythm of the
    things deceives. ``share`` is how many the last one stands for: those before it, and itself.

    Args:
        most: How many one stands for at most, on average.
        often_s: How often one is timed, about, where things are frequent.
    """

    __slots__ = ("_at", "_last", "_most", "_often_s", "_until", "ahead", "share")

    def __init__(self, most: int, often_s: float) -> None:
        self.ahead, self.share = 0, 1
        self._most, self._often_s = most, often_s
        self._until = 0  # how many there are when none is ahead
        self._last, self._at = 0, 0.0  # the one that was timed last, and when

    @property
    def count(self) -> int:
        """How many there were."""
        return self._until - self.ahead

    def bound(self, most: int) -> None:
        """Have one stand for so many at most from now on, beginning with the next one."""
        self._most = most
        self._until -= self.ahead
        self.ahead = 0

    def begin(self) -> float:
        """Count one that is timed, and return when it begins."""
        now = perf_counter()
        number = self.count + 1
        self.share = number - self._last
        rate = self.share / max(now - self._at, 1e-9)
        gap = min(int(rate * self._often_s), self._most)
        self._last, self._at = number, now
        self.ahead = randrange(2 * gap - 1) if gap > 1 else 0
        self._until = number + self.ahead
        return now
