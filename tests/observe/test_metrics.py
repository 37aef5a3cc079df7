from __future__ import annotations

from collections.abc import Mapping

import httpx
import pytest
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from piped.app import Service
from piped.observe.metrics import LABEL_CHARS, MAX_WORKERS, Exposition
from tests.observe.conftest import Load, brought, front_of
from tests.observe.fakes import worker

pytestmark = pytest.mark.anyio

POOL = "fake_pools: {names: [math]}\n"


class Scrape:
    """What was read of a text, by names and labels."""

    def __init__(self, text: str) -> None:
        self.families = {each.name: each for each in text_string_to_metric_families(text)}
        self.samples = {
            (each.name, tuple(sorted(each.labels.items()))): each.value
            for family in self.families.values()
            for each in family.samples
        }

    def __call__(self, name: str, /, **labels: str) -> float:
        return self.samples[name, tuple(sorted(labels.items()))]

    def by(self, name: str, label: str) -> Mapping[str, float]:
        """Return the samples of a metric, by one of its labels."""
        return {
            dict(labels)[label]: value
            for (other, labels), value in self.samples.items()
            if other == name
        }


def scraped(service: Service) -> Scrape:
    _, text = Exposition(service)("")
    return Scrape(text.decode())


async def test_a_pool_shows_what_became_of_its_parts(load: Load) -> None:
    async with load(POOL) as service:
        front = front_of(service, "math")
        counted = front.counters
        counted.submitted, counted.answered, counted.failed, counted.expired = 20, 11, 2, 3
        counted.cancelled, counted.set_aside, counted.refused = 1, 4, 5
        counted.redelivered, counted.delayed = 6, 7
        counted.late, counted.double, counted.forged = 8, 9, 10
        front.depth, front.in_flight, front.bytes_pending = 12, 13, 14

        scrape = scraped(service)

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
    assert dropped == {"late": 8, "double": 9, "forged": 10}
    assert scrape("piped_pool_depth", pool="math") == 12
    assert scrape("piped_pool_in_flight", pool="math") == 13
    assert scrape("piped_pool_pending_bytes", pool="math") == 14


async def test_a_pool_shows_how_long_parts_waited_and_ran(load: Load) -> None:
    async with load(POOL) as service:
        counted = front_of(service, "math").counters
        counted.waits, counted.wait_s, counted.runs, counted.run_s = 4, 0.5, 3, 1.25

        scrape = scraped(service)

    assert scrape.families["piped_pool_wait_seconds"].type == "summary"
    assert scrape("piped_pool_wait_seconds_count", pool="math") == 4
    assert scrape("piped_pool_wait_seconds_sum", pool="math") == 0.5
    assert scrape("piped_pool_run_seconds_count", pool="math") == 3
    assert scrape("piped_pool_run_seconds_sum", pool="math") == 1.25


async def test_each_worker_is_shown_by_its_name(load: Load) -> None:
    async with load(POOL) as service:
        front = front_of(service, "math")
        front.known = [
            worker("a", in_flight=1, answered=5, failed=2),
            worker("b", is_suspect=True, last_heard_s=1.5),
        ]

        scrape = scraped(service)

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
    async with load(POOL) as service:
        front = front_of(service, "math")
        front.known = [worker(strange), worker(strange, pid=8), worker("x" * 1000)]

        scrape = scraped(service)

    known = scrape.by("piped_worker_capacity", "worker")
    shown = strange.replace("\ud800", "?")
    assert set(known) == {shown, f"8@here {shown}", "x" * LABEL_CHARS}


async def test_no_more_workers_are_shown_than_are_good_for_prometheus(load: Load) -> None:
    async with load(POOL) as service:
        front_of(service, "math").known = [worker(f"w{i}") for i in range(MAX_WORKERS + 5)]

        scrape = scraped(service)

    assert len(scrape.by("piped_worker_capacity", "worker")) == MAX_WORKERS
    assert scrape("piped_pool_workers", pool="math") == MAX_WORKERS + 5


async def test_a_site_shows_its_requests_and_answers(load: Load) -> None:
    text = """\
web: {one: {port: 0, routing: {__config__: {processor: pipeline.p}}}}
pipelines: {p: [{write-web-response: {fallback_content: hello}}]}
"""
    async with load(text) as service, httpx.AsyncClient() as client:
        url = brought(service, "web.one").url
        await client.get(url)
        await client.get(f"{url}nowhere")

        scrape = scraped(service)

    assert scrape("piped_site_connections_total", site="web.one") == 1
    assert scrape("piped_site_requests_total", site="web.one") == 2
    answers = scrape.by("piped_site_answers_total", "status")
    assert answers == {"2xx": 1, "3xx": 0, "4xx": 1, "5xx": 0}
    assert scrape("piped_site_deadlines_missed_total", site="web.one") == 0


async def test_a_queue_shows_its_messages(load: Load) -> None:
    text = """\
zmq:
    queues:
        out: {type: PUSH, binds: ["inproc://q"], max_backlog: 1}
system-events: {startup: {e: pipeline.send}}
pipelines:
    send: [{set-value: {path: '', value: hello}}, {send-zmq-message: {queue_name: out}}]
"""
    async with load(text) as service:
        queue = brought(service, "zmq.queue.out")
        await service.call("send", {})  # beside that of the start

        scrape = scraped(service)

        assert scrape("piped_queue_sent_total", queue="out") == queue.sent
        assert scrape("piped_queue_backlog", queue="out") == queue.backlog
    assert scrape.by("piped_queue_dropped_total", "reason") == {"stale": 0, "full": 0}
    assert scrape("piped_queue_received_total", queue="out") == 0


async def test_the_service_its_providers_and_the_process_are_shown(load: Load) -> None:
    async with load(POOL) as service:
        front_of(service, "math").is_served = False

        scrape = scraped(service)

    assert scrape("piped_ready") == 0
    assert scrape("piped_pool_served", pool="math") == 0
    states = scrape.by("piped_provider_state", "state")
    assert states == {"ready": 1, "lost": 0, "failed": 0}
    assert scrape("process_resident_memory_bytes") > 1 << 20
    assert scrape("process_open_fds") > 0
    assert scrape("process_cpu_seconds_total") > 0


async def test_what_a_service_has_none_of_is_left_out(load: Load) -> None:
    async with load("contexts: {a: {}}\n") as service:
        scrape = scraped(service)

    own = {name for name in scrape.families if name.startswith("piped_")}
    assert own <= {"piped_ready", "piped_provider_state"}


async def test_a_client_that_reads_openmetrics_gets_it(load: Load) -> None:
    async with load(POOL) as service:
        kind, text = Exposition(service)("application/openmetrics-text;version=1.0.0;q=0.5")

    assert kind.startswith("application/openmetrics-text; version=1.0.0")
    families = openmetrics.text_string_to_metric_families(text.decode())  # type: ignore[no-untyped-call] # the library's own
    names = {each.name for each in families}
    assert {"piped_pool_parts", "piped_pool_wait_seconds"} <= names
