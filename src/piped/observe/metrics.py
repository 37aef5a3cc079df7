"""What a service has counted, for Prometheus: read when somebody asks, and never before."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from prometheus_client import CollectorRegistry, Metric, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, SummaryMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from piped.app import Service
from piped.observe.readiness import pools_of, readiness
from piped.providers.web import Site

if TYPE_CHECKING:  # a service without pools or queues does not load them
    from piped.providers.zmq import QueueSocket
    from piped.resources import Life
    from piped.workers.front import Front
    from piped.workers.parts import WorkerState

MAX_WORKERS: Final = 256
"""How many workers of a pool are shown one by one."""
LABEL_CHARS: Final = 128
"""How long the value of a label may be; workers choose their names themselves."""
QUEUES: Final = "zmq.queue."

Row: TypeAlias = tuple[Sequence[str], Any]
"""The values of labels, and what is measured under them."""


@dataclass(frozen=True, slots=True)
class Measure:
    """One metric, and how it is read: a number, or with ``by`` a number for each of its values."""

    kind: type[CounterMetricFamily | GaugeMetricFamily]
    name: str
    text: str
    read: Callable[[Any], float | Mapping[str, float]]
    by: str = ""

    def family(self, labels: Sequence[str], rows: Iterable[Row]) -> Metric:
        """Return the metric with a sample, or several, for each row."""
        family = self.kind(self.name, self.text, labels=[*labels, *filter(None, [self.by])])
        for values, source in rows:
            found = self.read(source)
            if isinstance(found, Mapping):
                for value, number in found.items():
                    family.add_metric([*values, value], number)
            else:
                family.add_metric(values, found)
        return family


def _counter(name: str, text: str, read: Callable[[Any], Any], by: str = "") -> Measure:
    return Measure(CounterMetricFamily, name, text, read, by)


def _gauge(name: str, text: str, read: Callable[[Any], Any], by: str = "") -> Measure:
    return Measure(GaugeMetricFamily, name, text, read, by)


def _outcomes(front: Front) -> Mapping[str, float]:
    counted = front.counters
    names = ("answered", "failed", "expired", "cancelled", "set_aside", "refused")
    return {name: getattr(counted, name) for name in names}


def _dropped_answers(front: Front) -> Mapping[str, float]:
    counted = front.counters
    return {"late": counted.late, "double": counted.double, "forged": counted.forged}


def _results(worker: WorkerState) -> Mapping[str, float]:
    return {"answered": worker.answered, "failed": worker.failed}


def _dropped_messages(queue: QueueSocket) -> Mapping[str, float]:
    return {"stale": queue.dropped_stale, "full": queue.refused}


def _answers(site: Site) -> Mapping[str, float]:
    return {f"{each}xx": number for each, number in site.counters.answered.items()}


def _states(life: Life) -> Mapping[str, float]:
    return {each: life.state == each for each in ("ready", "lost", "failed")}


PROVIDER: Final = (
    _gauge("piped_provider_state", "The state that a provider is in is 1.", _states, by="state"),
)
POOL: Final = (
    _counter("piped_pool_submitted", "Parts taken.", lambda p: p.counters.submitted),
    _counter("piped_pool_parts", "Parts that came to an end, by which.", _outcomes, by="outcome"),
    _counter("piped_pool_redelivered", "Parts sent again.", lambda p: p.counters.redelivered),
    _counter(
        "piped_pool_delayed", "Retries that waited for the budget.", lambda p: p.counters.delayed
    ),
    _counter(
        "piped_pool_answers_dropped",
        "Answers that nobody waited for, or that nobody had asked for.",
        _dropped_answers,
        by="reason",
    ),
    _gauge("piped_pool_depth", "Parts that wait for a worker.", lambda p: p.depth),
    _gauge("piped_pool_in_flight", "Parts that are with workers.", lambda p: p.in_flight),
    _gauge("piped_pool_pending_bytes", "Bytes of all open parts.", lambda p: p.bytes_pending),
    _gauge("piped_pool_workers", "Workers that are known.", lambda p: len(p.workers())),
    _gauge("piped_pool_served", "Whether a worker is there.", lambda p: p.is_served),
)
WORKER: Final = (
    _counter("piped_worker_parts", "Parts that a worker did.", _results, by="outcome"),
    _gauge("piped_worker_in_flight", "Parts that are with a worker.", lambda w: w.in_flight),
    _gauge("piped_worker_capacity", "How many parts it can do at once.", lambda w: w.capacity),
    _gauge("piped_worker_suspect", "Whether it is silent for too long.", lambda w: w.is_suspect),
    _gauge("piped_worker_silent_seconds", "Since it was last heard.", lambda w: w.last_heard_s),
)
QUEUE: Final = (
    _counter("piped_queue_sent", "Messages given to ZeroMQ.", lambda q: q.sent),
    _counter("piped_queue_received", "Messages given to the processor.", lambda q: q.received),
    _counter("piped_queue_failed", "Messages whose treatment failed.", lambda q: q.failed),
    _counter("piped_queue_dropped", "Messages not sent.", _dropped_messages, by="reason"),
    _gauge("piped_queue_backlog", "Messages that wait for a peer.", lambda q: q.backlog),
)
SITE: Final = (
    _counter("piped_site_connections", "Connections taken.", lambda s: s.counters.accepted),
    _counter("piped_site_requests", "Requests received.", lambda s: s.counters.requests),
    _counter("piped_site_answers", "Answers, by class of status.", _answers, by="status"),
    _counter(
        "piped_site_refused", "Requests that broke a rule.", lambda s: s.counters.refused, by="rule"
    ),
    _counter(
        "piped_site_second_answers",
        "Answers to requests that had one.",
        lambda s: s.counters.second_answers,
    ),
    _counter(
        "piped_site_deadlines_missed",
        "Requests that nobody answered in time.",
        lambda s: s.counters.deadlines_missed,
    ),
    _counter(
        "piped_site_clients_left",
        "Clients that did not wait for their answer.",
        lambda s: s.counters.clients_left,
    ),
)


class ServiceCollector(Collector):
    """Reads what a service has counted, each time it is asked."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def collect(self) -> Iterator[Metric]:
        """Yield all metrics; what the service has none of is left out."""
        service = self._service
        state = readiness(service)
        yield GaugeMetricFamily("piped_ready", "Whether the service is ready.", state.ready)
        lives = service.lives
        yield from _measured(
            PROVIDER, ["provider"], [([_label(each.provider.label)], each) for each in lives]
        )
        sites = [each.provider for each in lives if isinstance(each.provider, Site)]
        yield from _measured(SITE, ["site"], [([_label(each.label)], each) for each in sites])
        yield from _measured(QUEUE, ["queue"], _queues(lives))
        fronts = [(name, front) for name, front in pools_of(service) if front is not None]
        yield from _measured(POOL, ["pool"], [([_label(name)], front) for name, front in fronts])
        yield from _times(fronts)
        yield from _measured(WORKER, ["pool", "worker"], _workers(fronts))


def _measured(
    measures: Iterable[Measure], labels: Sequence[str], rows: Sequence[Row]
) -> Iterator[Metric]:
    if rows:
        yield from (each.family(labels, rows) for each in measures)


def _queues(lives: Iterable[Life]) -> list[Row]:
    return [
        ([_label(name.removeprefix(QUEUES))], socket)
        for life in lives
        for name, socket in (life.brought or {}).items()
        if name.startswith(QUEUES)
    ]


def _times(fronts: Sequence[tuple[str, Front]]) -> Iterator[Metric]:
    if not fronts:
        return
    waits = SummaryMetricFamily(
        "piped_pool_wait_seconds", "How long parts waited for a worker.", labels=["pool"]
    )
    runs = SummaryMetricFamily(
        "piped_pool_run_seconds", "How long workers ran parts.", labels=["pool"]
    )
    for name, front in fronts:
        counted = front.counters
        waits.add_metric([_label(name)], counted.waits, counted.wait_s)
        runs.add_metric([_label(name)], counted.runs, counted.run_s)
    yield waits
    yield runs


def _workers(fronts: Iterable[tuple[str, Front]]) -> list[Row]:
    """Return a row for each worker, for so many of a pool at most; no two are named alike."""
    rows: list[Row] = []
    for pool, front in fronts:
        named: dict[str, WorkerState] = {}
        for each in islice(front.workers(), MAX_WORKERS):
            name = _label(each.name)
            named[name if name not in named else _label(f"{each.pid}@{each.host} {name}")] = each
        rows += [([_label(pool), name], each) for name, each in named.items()]
    return rows


def _label(value: str) -> str:
    """Return a text as the value of a label: short, and such that UTF-8 has it."""
    return value[:LABEL_CHARS].encode("utf-8", "replace").decode()


class Exposition:
    """The metrics of a service as the text that Prometheus reads."""

    def __init__(self, service: Service) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(ServiceCollector(service))
        ProcessCollector(registry=self._registry)

    def __call__(self, accept: str) -> tuple[str, bytes]:
        """Return the content type and the text, in the form that the client prefers."""
        encode, kind = choose_encoder(accept)
        return kind, encode(self._registry)
