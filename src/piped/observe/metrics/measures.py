"""How a metric is declared: its name, what is said of it, and how it is read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from prometheus_client import Metric
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    SummaryMetricFamily,
)
from prometheus_client.utils import floatToGoString

from piped.app import Service
from piped.providers.web.tallies import BOUNDS_S, Times
from piped.resources import Life

LABEL_CHARS: Final = 128
"""How long the value of a label may be; workers choose their names themselves."""

Row: TypeAlias = tuple[tuple[str, ...], Any]
"""The values of labels, and what is measured under them."""
Rows: TypeAlias = Iterable[Row]

Read: TypeAlias = Callable[[Any], "float | tuple[int, float] | Times | Mapping[str, float]"]
"""A number, how often and how long, times, or a number for each value of one label more."""


@dataclass(frozen=True, slots=True)
class Measure:
    """One metric, and how it is read; ``by`` is the label of a mapping's keys."""

    kind: Callable[..., Any]
    name: str
    text: str
    read: Read
    by: str = ""

    @property
    def shown_name(self) -> str:
        """The name as Prometheus knows it."""
        return f"{self.name}_total" if self.kind is CounterMetricFamily else self.name

    def family(self, labels: Sequence[str], rows: Rows) -> Metric:
        """Return the metric with a sample, or several, for each row."""
        family = self.kind(self.name, self.text, labels=[*labels, *filter(None, [self.by])])
        for values, source in rows:
            match self.read(source):
                case Times() as times:
                    family.add_metric(values, _buckets(times), times.spent_s)
                case (count, seconds):
                    family.add_metric(values, count, seconds)
                case Mapping() as numbers:
                    for value, number in numbers.items():
                        family.add_metric([*values, label(value)], number)
                case number:
                    family.add_metric(values, number)
        return family  # type: ignore[no-any-return] # the kinds have no common way to be made


def counter(name: str, text: str, read: Read, by: str = "") -> Measure:
    return Measure(CounterMetricFamily, name, text, read, by)


def gauge(name: str, text: str, read: Read, by: str = "") -> Measure:
    return Measure(GaugeMetricFamily, name, text, read, by)


def summary(name: str, text: str, read: Read) -> Measure:
    return Measure(SummaryMetricFamily, name, text, read)


def histogram(name: str, text: str, read: Read) -> Measure:
    return Measure(HistogramMetricFamily, name, text, read)


@dataclass(frozen=True, slots=True)
class Group:
    """What is measured of each thing of one kind; of two that are named alike, of the later one."""

    title: str
    labels: tuple[str, ...]
    rows: Callable[[Service], Rows]
    measures: tuple[Measure, ...]

    def families(self, service: Service) -> Iterator[Metric]:
        """Yield the metrics of a service; nothing where it has none of the kind."""
        rows = dict(self.rows(service)).items()
        if rows:
            yield from (each.family(self.labels, rows) for each in self.measures)


def lives_of(service: Service) -> list[Life]:
    """Return what has become of each provider; those that a reload is closing come first."""
    return sorted(service.lives, key=lambda life: not life.closing.is_set())


def label(value: str) -> str:
    """Return a text as the value of a label: short, and such that UTF-8 has it."""
    return value[:LABEL_CHARS].encode("utf-8", "replace").decode()


def _buckets(times: Times) -> list[tuple[str, int]]:
    """Return how many times there are up to each bound, as Prometheus counts."""
    buckets, number = [], 0
    for bound, count in zip((*BOUNDS_S, float("inf")), times.counts, strict=True):
        number += count
        buckets.append((floatToGoString(bound), number))  # type: ignore[no-untyped-call] # theirs
    return buckets
