"""What pools of workers have counted: their parts, their workers, their jobs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Final

from piped.app import Service
from piped.observe.metrics.measures import Group, Row, counter, gauge, label, lives_of, summary
from piped.observe.readiness import pools_of
from piped.spec.types import POOLS

if TYPE_CHECKING:  # a service without pools does not load them
    from piped.workers.front import Front
    from piped.workers.jobs import Jobs
    from piped.workers.parts import WorkerState
    from piped.workers.worker import Worker

MAX_WORKERS: Final = 256
"""How many workers of a pool are shown one by one."""


def _fronts(service: Service) -> Iterator[Row]:
    for name, front in pools_of(service):
        if front is not None:
            yield (label(name),), front


def _workers(service: Service) -> Iterator[Row]:
    """Yield a row for each worker, for so many of a pool at most; no two are named alike."""
    for (pool,), front in _fronts(service):
        named: dict[str, WorkerState] = {}
        for each in islice(front.workers(), MAX_WORKERS):
            name = label(each.name)
            named[name if name not in named else label(f"{each.pid}@{each.host} {name}")] = each
        for name, each in named.items():
            yield (pool, name), each


def _jobs(service: Service) -> Iterator[Row]:
    for pool, front in _fronts(service):
        jobs: Jobs | None = front.jobs
        if jobs is not None:
            yield pool, jobs


def _working(service: Service) -> Iterator[Row]:
    """Yield what runs the parts of a pool in a process that is one of its workers."""
    for life in lives_of(service):
        if life.provider.label.startswith(POOLS):
            from piped.workers.pool import Pool

            pool = life.provider
            if isinstance(pool, Pool) and pool.role == "worker" and pool.worker is not None:
                yield (label(pool.name),), pool.worker


def _counted(*names: str) -> Callable[[Front | Jobs], Mapping[str, float]]:
    """Return what reads counters by their names."""
    return lambda source: {name: getattr(source.counters, name) for name in names}


def _results(worker: WorkerState | Worker) -> Mapping[str, float]:
    return {"answered": worker.answered, "failed": worker.failed}


POOL: Final = Group(
    "Of each pool of workers",
    ("pool",),
    _fronts,
    (
        counter(
            "piped_pool_submitted",
            "Parts that the pool has taken.",
            lambda p: p.counters.submitted,
        ),
        counter(
            "piped_pool_parts",
            "Parts by their end: answered, failed, expired, cancelled, set_aside; and refused,"
            " which were never taken.",
            _counted("answered", "failed", "expired", "cancelled", "set_aside", "refused"),
            by="outcome",
        ),
        counter(
            "piped_pool_redelivered",
            "Parts that were sent to a worker once more.",
            lambda p: p.counters.redelivered,
        ),
        counter(
            "piped_pool_delayed",
            "Parts that had to wait for that, so that retries do not make overload worse.",
            lambda p: p.counters.delayed,
        ),
        counter(
            "piped_pool_answers_dropped",
            "Answers that were late, double, forged or garbled.",
            _counted("late", "double", "forged", "garbled"),
            by="reason",
        ),
        gauge("piped_pool_depth", "Parts that wait for a worker.", lambda p: p.depth),
        gauge("piped_pool_in_flight", "Parts that are with workers.", lambda p: p.in_flight),
        gauge("piped_pool_pending_bytes", "The size of both together.", lambda p: p.bytes_pending),
        summary(
            "piped_pool_wait_seconds",
            "How long parts waited for a worker, as _sum and _count.",
            lambda p: (p.counters.waits, p.counters.wait_s),
        ),
        summary(
            "piped_pool_run_seconds",
            "How long workers ran parts, as _sum and _count.",
            lambda p: (p.counters.runs, p.counters.run_s),
        ),
        gauge("piped_pool_workers", "Workers that are known.", lambda p: len(p.workers())),
        gauge("piped_pool_served", "1 while a worker is there.", lambda p: p.is_served),
    ),
)

WORKER: Final = Group(
    "Of each worker, as its front knows it; at most 256 of a pool",
    ("pool", "worker"),
    _workers,
    (
        counter(
            "piped_worker_parts", "Parts that it answered, and that failed.", _results, by="outcome"
        ),
        gauge("piped_worker_in_flight", "Parts that it has.", lambda w: w.in_flight),
        gauge("piped_worker_capacity", "How many parts it can have.", lambda w: w.capacity),
        gauge(
            "piped_worker_suspect",
            "1 if it should have said something by now.",
            lambda w: w.is_suspect,
        ),
        gauge(
            "piped_worker_silent_seconds",
            "How long ago it was last heard.",
            lambda w: w.last_heard_s,
        ),
    ),
)

WORK: Final = Group(
    "Of the pool that a worker works for, in the worker itself",
    ("pool",),
    _working,
    (
        counter(
            "piped_work_parts", "Parts that it answered, and that failed.", _results, "outcome"
        ),
        gauge("piped_work_in_flight", "Parts that it has.", lambda w: w.held),
        gauge("piped_work_capacity", "How many parts it can have now.", lambda w: w.capacity),
    ),
)

JOB: Final = Group(
    "Of the jobs of each pool",
    ("pool",),
    _jobs,
    (
        counter(
            "piped_job_submitted",
            "Jobs by what became of them when they were submitted: queued, known already, refused.",
            lambda jobs: {
                "queued": jobs.counters.submitted,
                "known": jobs.counters.known,
                "refused": jobs.counters.refused,
            },
            by="outcome",
        ),
        counter(
            "piped_job_attempts",
            "Attempts by their end: done, failed and tried again, delayed as no worker began it,"
            " buried among the dead letters.",
            _counted("done", "failed", "delayed", "buried"),
            by="outcome",
        ),
        counter(
            "piped_job_parts_set_aside",
            "Parts that killed their workers: kept as dead letters, or dropped without room.",
            _counted("kept", "dropped"),
            by="outcome",
        ),
        gauge("piped_job_running", "Jobs that run now.", lambda jobs: jobs.running),
    ),
)
