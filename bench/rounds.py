"""Rounds in which services take turns, and the tables made of them."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

import wrk
from machine import say
from services import NotReady, Running

WARM_UP_S = 1.0
CHECKED = 2000  # answers that are compared before anything is timed

Result = dict[str, float]
Kept = dict[tuple[str, int], list[Result]]


class Variant(Protocol):
    """One way to build a service."""

    @property
    def name(self) -> str: ...

    def started(self, core: int | None) -> AbstractContextManager[Running]: ...


@dataclass
class Rounds:
    """Starts, loads and ends services in turn, so that a slow minute is one for all of them."""

    count: int
    seconds: float  # of each load
    connections: Sequence[int]
    cores: tuple[int | None, int | None]  # of the services, and of the client

    def __post_init__(self) -> None:
        self._load = wrk.load if wrk.is_there() else wrk.load_in_python

    def run(self, variants: Iterable[Variant]) -> Kept:
        """Return what each variant has done at each number of connections, round by round."""
        usable = [each for each in variants if self._is_right(each)]
        kept: Kept = defaultdict(list)
        for number in range(self.count):
            say(f"round {number + 1} of {self.count}")
            for variant in usable:
                with variant.started(self.cores[0]) as service:
                    self._loaded(service, self.connections[0], min(WARM_UP_S, self.seconds))
                    for connections in self.connections:
                        result = self._loaded(service, connections, self.seconds)
                        kept[variant.name, connections].append(result)
        return kept

    def _is_right(self, variant: Variant) -> bool:
        """Return whether a service starts; what answers wrong is not measured at all."""
        try:
            with variant.started(self.cores[0]) as service:
                done = wrk.checked(service.port, CHECKED, core=self.cores[1])
        except NotReady as error:
            say(f"{variant.name} is left out: {error}")
            return False
        told = f"{variant.name}: of {CHECKED} answers {done['right']:.0f} are right"
        if done["wrong"] or not done["right"]:
            raise SystemExit(f"{told}, and {done['wrong']:.0f} are wrong")
        if done["errors"]:
            say(f"{told}, the others did not come")
        return True

    def _loaded(self, service: Running, connections: int, seconds: float) -> Result:
        before = service.cpu_s()
        result = self._load(service.port, connections, seconds, core=self.cores[1])
        took_us = (service.cpu_s() - before) * 1e6
        return {**result, "cpu_us": took_us / max(result["right"], 1)}


def table(kept: Kept, ours: str) -> None:
    """Print medians; the ratios are of `ours` to each other one, within the rounds."""
    print("| service | connections | req/s | ± | CPU µs | p99 ms | errors | ours : it | CPU |")
    print("|---|--:|--:|--:|--:|--:|--:|--:|--:|")
    for name, connections in sorted(kept, key=lambda each: each[1]):
        results = kept[name, connections]
        rates = [each["rate"] for each in results]
        spread = (max(rates) - min(rates)) / 2 / (statistics.median(rates) or 1)
        errors = sum(each["errors"] for each in results)
        cells = [
            name,
            f"{connections}",
            f"{statistics.median(rates):,.0f}",
            f"{spread:.0%}",
            f"{median(results, 'cpu_us'):.1f}",
            f"{median(results, 'p99_ms'):.2f}",
            f"{errors:.0f}",
        ]
        beside = kept.get((ours, connections), [])
        faster = ratio(beside, results, lambda ours, it: ours["rate"] / it["rate"])
        cheaper = ratio(beside, results, lambda ours, it: it["cpu_us"] / ours["cpu_us"])
        print(f"| {' | '.join([*cells, faster, cheaper])} |")


def median(results: list[Result], name: str) -> float:
    return statistics.median(each[name] for each in results)


def ratio(ours: list[Result], theirs: list[Result], of: Callable[[Result, Result], float]) -> str:
    """Return the median of the ratios within the rounds, and nothing of one to itself."""
    if not ours or ours is theirs:
        return "-"
    try:
        return f"{statistics.median(map(of, ours, theirs)):.2f}"
    except ZeroDivisionError:  # so short, or on so slow a machine, that nothing was done
        return "-"
