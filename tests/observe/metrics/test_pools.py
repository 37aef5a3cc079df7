from __future__ import annotations

import pytest

from piped.observe.metrics import LABEL_CHARS, MAX_WORKERS
from tests.observe.conftest import Load, front_of
from tests.observe.fakes import worker
from tests.observe.metrics.conftest import ADMIN, scraped

pytestmark = pytest.mark.anyio

POOL = "fake_pools: {names: [math]}\n"


async def test_a_pool_shows_what_became_of_its_parts(load: Load) -> None:
    async with load(ADMIN + POOL) as service:
        front = front_of(service, "math")
        counted = front.counters
        counted.submitted, counted.answered, counted.failed, counted.expired = 20, 11, 2, 3
        counted.cancelled, counted.set_aside, counted.refused = 1, 4, 5
        counted.redelivered, counted.delayed = 6, 7
        counted.late, counted.double, counted.forged, counted.garbled = 8, 9, 10, 15
        front.depth, front.in_flight, front.bytes_pending = 12, 13, 14

        scrape = await scraped(service)

    assert scrape("piped_pool_submitted_total", pool="math") == 20
    assert scrape.by("piped_pool_parts_total", "outcome") == {
        "answered": 11,
        "failed": 2,
        "expired": 3,
        "cancelled": 1,
        "set_aside": 4,
        "refused": 5,
    }
    assert scrape("piped_pool_redelivered_total", pool="math") == 6
    assert scrape("piped_pool_delayed_total", pool="math") == 7
    dropped = scrape.by("piped_pool_answers_dropped_total", "reason")
    assert dropped == {"late": 8, "double": 9, "forged": 10, "garbled": 15}
    assert scrape("piped_pool_depth", pool="math") == 12
    assert scrape("piped_pool_in_flight", pool="math") == 13
    assert scrape("piped_pool_pending_bytes", pool="math") == 14


async def test_a_pool_shows_how_long_parts_waited_and_ran(load: Load) -> None:
    async with load(ADMIN + POOL) as service:
        counted = front_of(service, "math").counters
        counted.waits, counted.wait_s, counted.runs, counted.run_s = 4, 0.5, 3, 1.25

        scrape = await scraped(service)

    assert scrape.families["piped_pool_wait_seconds"].type == "summary"
    assert scrape("piped_pool_wait_seconds_count", pool="math") == 4
    assert scrape("piped_pool_wait_seconds_sum", pool="math") == 0.5
    assert scrape("piped_pool_run_seconds_count", pool="math") == 3
    assert scrape("piped_pool_run_seconds_sum", pool="math") == 1.25


async def test_each_worker_is_shown_by_its_name(load: Load) -> None:
    async with load(ADMIN + POOL) as service:
        front = front_of(service, "math")
        front.known = [
            worker("a", in_flight=1, answered=5, failed=2),
            worker("b", is_suspect=True, last_heard_s=1.5),
        ]

        scrape = await scraped(service)

    done = {"pool": "math", "worker": "a"}
    assert scrape("piped_pool_workers", pool="math") == 2
    assert scrape("piped_worker_parts_total", **done, outcome="answered") == 5
    assert scrape("piped_worker_parts_total", **done, outcome="failed") == 2
    assert scrape.by("piped_worker_in_flight", "worker") == {"a": 1, "b": 0}
    assert scrape.by("piped_worker_capacity", "worker") == {"a": 2, "b": 2}
    assert scrape.by("piped_worker_suspect", "worker") == {"a": 0, "b": 1}
    assert scrape.by("piped_worker_silent_seconds", "worker") == {"a": 0, "b": 1.5}


async def test_workers_choose_their_names_and_cannot_break_the_text(load: Load) -> None:
    strange = 'a"} 1\nb\\ \ud800'
    async with load(ADMIN + POOL) as service:
        front = front_of(service, "math")
        front.known = [worker(strange), worker(strange, pid=8), worker("x" * 1000)]

        scrape = await scraped(service)

    known = scrape.by("piped_worker_capacity", "worker")
    shown = strange.replace("\ud800", "?")
    assert set(known) == {shown, f"8@here {shown}", "x" * LABEL_CHARS}


async def test_no_more_workers_are_shown_than_are_good_for_prometheus(load: Load) -> None:
    async with load(ADMIN + POOL) as service:
        front_of(service, "math").known = [worker(f"w{i}") for i in range(MAX_WORKERS + 5)]

        scrape = await scraped(service)

    assert len(scrape.by("piped_worker_capacity", "worker")) == MAX_WORKERS
    assert scrape("piped_pool_workers", pool="math") == MAX_WORKERS + 5


async def test_the_jobs_of_a_pool_are_counted_by_what_became_of_them(load: Load) -> None:
    text = """\
workers: {math: {pipelines: [double], attempts: 1}}
pipelines:
    double: [{eval-lambda: {lambda: "b: 2 * b['n']"}}]
    later:
        - submit-work: {workers: math, pipeline: double, input_path: '', key: !path key}
"""
    async with load(ADMIN + text) as service:
        await service.call("later", {"n": 1, "key": "a"})
        await service.call("later", {"key": "b"})
        while True:
            scrape = await scraped(service)
            ended = scrape.by("piped_job_attempts_total", "outcome")
            if ended["done"] and ended["buried"] and not scrape("piped_job_running", pool="math"):
                break

    assert scrape.lines(
        "piped_job_submitted_total",
        "piped_job_attempts_total",
        "piped_job_parts_set_aside_total",
        "piped_job_running",
    ) == [
        'piped_job_submitted_total{outcome="queued",pool="math"} 2.0',
        'piped_job_submitted_total{outcome="known",pool="math"} 0.0',
        'piped_job_submitted_total{outcome="refused",pool="math"} 0.0',
        'piped_job_attempts_total{outcome="done",pool="math"} 1.0',
        'piped_job_attempts_total{outcome="failed",pool="math"} 0.0',
        'piped_job_attempts_total{outcome="delayed",pool="math"} 0.0',
        'piped_job_attempts_total{outcome="buried",pool="math"} 1.0',
        'piped_job_parts_set_aside_total{outcome="kept",pool="math"} 0.0',
        'piped_job_parts_set_aside_total{outcome="dropped",pool="math"} 0.0',
        'piped_job_running{pool="math"} 0.0',
    ]
