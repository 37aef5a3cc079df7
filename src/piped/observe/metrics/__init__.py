"""What a service has counted, for Prometheus: read when somebody asks, and never before."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Final

from prometheus_client import CollectorRegistry, Metric, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from piped.app import Service
from piped.observe.metrics.measures import (
    LABEL_CHARS,
    Group,
    Row,
    gauge,
    histogram,
    label,
    lives_of,
)
from piped.observe.metrics.pipelines import PIPELINE, PROCESSOR
from piped.observe.metrics.pools import JOB, MAX_WORKERS, POOL, WORK, WORKER
from piped.observe.metrics.sites import ROUTE, SITE
from piped.observe.metrics.sources import (
    CONNECTION,
    CONSUMER,
    PROCESS,
    QUEUE,
    SUBSCRIPTION,
    TICK,
)
from piped.observe.readiness import readiness
from piped.providers.web.lag import LagMeter
from piped.resources import Life

__all__ = ["GROUPS", "LABEL_CHARS", "MAX_WORKERS", "Exposition", "ServiceCollector"]


def _service(service: Service) -> Iterator[Row]:
    yield (), service


def _providers(service: Service) -> Iterator[Row]:
    for life in lives_of(service):
        yield (label(life.provider.label),), life


def _states(life: Life) -> Mapping[str, float]:
    return {each: life.state == each for each in ("ready", "lost", "failed")}


SERVICE: Final = Group(
    "Of the service",
    (),
    _service,
    (gauge("piped_ready", "1 while the service is ready.", lambda s: readiness(s).ready),),
)

PROVIDER: Final = Group(
    "Of each provider",
    ("provider",),
    _providers,
    (
        gauge(
            "piped_provider_state",
            "1 for the state that it is in, of ready, lost and failed.",
            _states,
            by="state",
        ),
    ),
)

GROUPS: Final = (
    *(SERVICE, PROVIDER, SITE, ROUTE, PIPELINE, PROCESSOR, QUEUE, TICK, PROCESS),
    *(CONNECTION, SUBSCRIPTION, CONSUMER, POOL, WORKER, WORK, JOB),
)
"""All that is measured of a service, beside what the process and its event loop are measured by."""

LAG: Final = histogram(
    "piped_loop_lag_seconds",
    "How late the event loop is, looked at ten times a second, as a histogram.",
    lambda meter: meter.times,
)


class ServiceCollector(Collector):
    """Reads what a service has counted, each time it is asked."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def collect(self) -> Iterator[Metric]:
        """Yield all metrics; what the service has none of is left out."""
        for group in GROUPS:
            yield from group.families(self._service)


class LagCollector(Collector):
    """Looks how late the event loop is, from ``start`` to ``stop``."""

    def __init__(self) -> None:
        self.meter = LagMeter(math.inf)

    def collect(self) -> Iterator[Metric]:
        """Yield the one metric."""
        yield LAG.family((), [((), self.meter)])


class Exposition:
    """The metrics of a service as the text that Prometheus reads."""

    def __init__(self, service: Service) -> None:
        self.lag = LagCollector()
        self._registry = CollectorRegistry()
        self._registry.register(ServiceCollector(service))
        self._registry.register(self.lag)
        ProcessCollector(registry=self._registry)

    def __call__(self, accept: str) -> tuple[str, bytes]:
        """Return the content type and the text, in the form that the client prefers."""
        encode, kind = choose_encoder(accept)
        return kind, encode(self._registry)
