"""What those have counted that bring messages and ticks, or run programs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from piped.app import Service
from piped.observe.metrics.measures import Group, Row, counter, gauge, label, lives_of
from piped.resources import Life

if TYPE_CHECKING:  # a service without them does not load them
    from piped.providers.nats import Connection
    from piped.providers.nats.consumers import NatsConsumer
    from piped.providers.zmq import QueueSocket

QUEUES: Final = "zmq.queue."
NATS: Final = "nats."
TICKS: Final = "ticks."
PROCESSES: Final = "process."


def _lives(service: Service, prefix: str) -> Iterator[tuple[str, Life]]:
    """Yield the lives of the providers whose labels begin so, and the rest of those."""
    for life in lives_of(service):
        if life.provider.label.startswith(prefix):
            yield label(life.provider.label.removeprefix(prefix)), life


def _queues(service: Service) -> Iterator[Row]:
    for life in lives_of(service):
        for name, socket in (life.brought or {}).items():
            if name.startswith(QUEUES):
                yield (label(name.removeprefix(QUEUES)),), socket


def _connections(service: Service) -> Iterator[Row]:
    for name, life in _lives(service, NATS):
        from piped.providers.nats import Connection

        connection = (life.brought or {}).get(life.provider.label)
        if isinstance(connection, Connection):
            yield (name,), connection


def _subscriptions(service: Service) -> Iterator[Row]:
    for name, life in _lives(service, NATS):
        from piped.providers.nats.subjects import NatsSubject

        if isinstance(life.provider, NatsSubject):
            yield (name,), life.provider


def _consumers(service: Service) -> Iterator[Row]:
    for name, life in _lives(service, NATS):
        from piped.providers.nats.consumers import NatsConsumer

        if isinstance(life.provider, NatsConsumer):
            yield (name,), life.provider


class _Timer(NamedTuple):
    timer: Any
    is_ticking: bool


def _ticks(service: Service) -> Iterator[Row]:
    for name, life in _lives(service, TICKS):
        ticking = (life.brought or {}).get(life.provider.label)
        yield (name,), _Timer(life.provider, ticking is not None and ticking.is_ticking)


def _processes(service: Service) -> Iterator[Row]:
    for name, life in _lives(service, PROCESSES):
        yield (name,), life


def _dropped_messages(queue: QueueSocket) -> Mapping[str, float]:
    return {"stale": queue.dropped_stale, "full": queue.refused}


def _dropped(connection: Connection) -> Mapping[str, float]:
    return {"full": connection.refused, "slow": connection.dropped}


def _treated(consumer: NatsConsumer) -> Mapping[str, float]:
    return {name: getattr(consumer, name) for name in ("acked", "failed", "set_aside")}


QUEUE: Final = Group(
    "Of each queue",
    ("queue",),
    _queues,
    (
        counter("piped_queue_sent", "Messages given to ZeroMQ.", lambda q: q.sent),
        counter("piped_queue_received", "Messages given to the processor.", lambda q: q.received),
        counter("piped_queue_failed", "Messages whose treatment failed.", lambda q: q.failed),
        counter(
            "piped_queue_dropped",
            "Messages not sent: they waited too long (stale), or there was no room (full).",
            _dropped_messages,
            by="reason",
        ),
        gauge("piped_queue_backlog", "Messages that wait for a peer.", lambda q: q.backlog),
    ),
)

CONNECTION: Final = Group(
    "Of each connection to NATS",
    ("connection",),
    _connections,
    (
        gauge("piped_nats_connected", "1 while a server is there.", lambda c: c.is_connected),
        counter("piped_nats_reconnects", "Times that it connected again.", lambda c: c.reconnects),
        counter("piped_nats_published", "Messages published.", lambda c: c.published),
        counter(
            "piped_nats_dropped",
            "Messages that found the buffer full, and such as a slow reader had no room for.",
            _dropped,
            by="reason",
        ),
        gauge("piped_nats_pending_bytes", "Bytes that wait to be sent.", lambda c: c.pending_bytes),
    ),
)

SUBSCRIPTION: Final = Group(
    "Of each subject that is listened to in NATS",
    ("source",),
    _subscriptions,
    (
        counter("piped_nats_received", "Messages received.", lambda s: s.received),
        counter("piped_nats_failed", "Messages whose treatment failed.", lambda s: s.failed),
        counter("piped_nats_lost", "Messages that there was no room for.", lambda s: s.dropped),
    ),
)

CONSUMER: Final = Group(
    "Of each consumer of a stream",
    ("source",),
    _consumers,
    (
        counter(
            "piped_nats_treated",
            "Messages by the end of an attempt: acked, failed; and set_aside, which are given up.",
            _treated,
            by="outcome",
        ),
    ),
)

TICK: Final = Group(
    "Of each tick",
    ("tick",),
    _ticks,
    (
        counter("piped_tick_fired", "Ticks that came.", lambda t: t.timer.counters.fired),
        counter(
            "piped_tick_failed", "Ticks that ended in an error.", lambda t: t.timer.counters.failed
        ),
        counter(
            "piped_tick_missed",
            "Ticks that did not come, as the one before took too long, or nobody was there.",
            lambda t: t.timer.counters.missed,
        ),
        gauge("piped_tick_running", "1 while one is treated.", lambda t: t.timer.is_treating),
        gauge("piped_tick_started", "1 while it ticks at all.", lambda t: t.is_ticking),
        gauge(
            "piped_tick_last_timestamp_seconds",
            "When the last one came, in seconds since 1970; 0 if none has.",
            lambda t: t.timer.counters.last,
        ),
    ),
)

PROCESS: Final = Group(
    "Of each program that runs beside the service",
    ("process",),
    _processes,
    (
        counter("piped_process_starts", "Times that it was started.", lambda p: p.provider.starts),
        gauge("piped_process_up", "1 while it runs.", lambda p: p.brought is not None),
    ),
)
