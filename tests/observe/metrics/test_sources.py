from __future__ import annotations

import asyncio
import time

import pytest

from tests.observe.conftest import Load, brought
from tests.observe.metrics.conftest import ADMIN, scraped

pytestmark = pytest.mark.anyio


async def test_a_queue_shows_its_messages(load: Load) -> None:
    text = """\
zmq: {queues: {out: {type: PUSH, binds: ["inproc://q"], max_backlog: 1}}}
pipelines:
    send: [{set-value: {path: '', value: hello}}, {send-zmq-message: {queue_name: out}}]
"""
    async with load(ADMIN + text) as service:
        await service.call("send", {})

        scrape = await scraped(service)

    assert scrape.lines(
        "piped_queue_sent_total",
        "piped_queue_received_total",
        "piped_queue_failed_total",
        "piped_queue_dropped_total",
        "piped_queue_backlog",
    ) == [
        'piped_queue_sent_total{queue="out"} 0.0',
        'piped_queue_received_total{queue="out"} 0.0',
        'piped_queue_failed_total{queue="out"} 0.0',
        'piped_queue_dropped_total{queue="out",reason="stale"} 0.0',
        'piped_queue_dropped_total{queue="out",reason="full"} 0.0',
        'piped_queue_backlog{queue="out"} 1.0',
    ]


TICKS = """\
ticks:
    interval:
        good: {interval: 1h, processor: pipeline.good}
        bad: {interval: 1h, processor: pipeline.bad}
        idle: {interval: 1h, processor: pipeline.good, auto_start: false}
pipelines:
    good: [passthrough]
    bad: [raise-exception]
"""


async def test_ticks_show_how_often_they_came_and_failed(load: Load) -> None:
    before = time.time()

    async with load(ADMIN + TICKS) as service:
        while True:
            scrape = await scraped(service)
            fired = scrape.by("piped_tick_fired_total", "tick")
            if sum(fired.values()) == 2 and scrape("piped_tick_failed_total", tick="interval.bad"):
                break

    assert scrape.lines(
        "piped_tick_fired_total",
        "piped_tick_failed_total",
        "piped_tick_missed_total",
        "piped_tick_running",
        "piped_tick_started",
    ) == [
        'piped_tick_fired_total{tick="interval.good"} 1.0',
        'piped_tick_fired_total{tick="interval.bad"} 1.0',
        'piped_tick_fired_total{tick="interval.idle"} 0.0',
        'piped_tick_failed_total{tick="interval.good"} 0.0',
        'piped_tick_failed_total{tick="interval.bad"} 1.0',
        'piped_tick_failed_total{tick="interval.idle"} 0.0',
        'piped_tick_missed_total{tick="interval.good"} 0.0',
        'piped_tick_missed_total{tick="interval.bad"} 0.0',
        'piped_tick_missed_total{tick="interval.idle"} 0.0',
        'piped_tick_running{tick="interval.good"} 0.0',
        'piped_tick_running{tick="interval.bad"} 0.0',
        'piped_tick_running{tick="interval.idle"} 0.0',
        'piped_tick_started{tick="interval.good"} 1.0',
        'piped_tick_started{tick="interval.bad"} 1.0',
        'piped_tick_started{tick="interval.idle"} 0.0',
    ]
    last = scrape.by("piped_tick_last_timestamp_seconds", "tick")
    assert before - 1 <= last["interval.good"] <= time.time() + 1
    assert last["interval.idle"] == 0


HELD = """\
ticks: {interval: {slow: {interval: 1h, processor: pipeline.slow, auto_start: false}}}
contexts: {gate: {}}
pipelines:
    slow:
        - fetch-context: {context: gate}
        - exec-code:
            input_path: ''
            code: |
                baton['gate']['came'].set()
                await baton['gate']['open'].wait()
                return baton
    gate: [{fetch-context: {context: gate, output_path: ''}}]
"""


async def test_a_tick_that_is_being_treated_is_running(load: Load) -> None:
    async with load(ADMIN + HELD) as service:
        [gate] = await service.call("gate", {})
        gate["came"], gate["open"] = asyncio.Event(), asyncio.Event()
        brought(service, "ticks.interval.slow").start_ticking()
        await gate["came"].wait()

        scrape = await scraped(service)
        gate["open"].set()

    assert scrape("piped_tick_running", tick="interval.slow") == 1
    assert scrape("piped_pipeline_in_flight", pipeline="slow") == 1


async def test_a_program_shows_that_it_runs_and_how_often_it_was_started(load: Load) -> None:
    text = "processes: {cat: {command: [cat], stdin: true}}\n"

    async with load(ADMIN + text) as service:
        scrape = await scraped(service)

    assert scrape.lines("piped_process_starts_total", "piped_process_up") == [
        'piped_process_starts_total{process="cat"} 1.0',
        'piped_process_up{process="cat"} 1.0',
    ]


NATS = """\
nats:
    connections: {main: {embedded: true}}
    streams: {shop: {subjects: [shop.*]}}
    subjects: {all: {subject: orders, processor: pipeline.take}}
    consumers:
        each: {stream: shop, durable: each, subject: shop.paid, processor: pipeline.take}
contexts: {seen: {}}
pipelines:
    take: [passthrough]
    send: [{publish-nats-message: {subject: orders, input_path: m}}]
    store: [{publish-nats-message: {subject: shop.paid, input_path: m, jetstream: true}}]
"""


async def test_nats_shows_what_was_published_and_what_came(load: Load) -> None:
    async with load(ADMIN + NATS) as service:
        await service.call("send", {"m": "x"})
        await service.call("store", {"m": "x"})
        while True:
            scrape = await scraped(service)
            acked = {"source": "consumers.each", "outcome": "acked"}
            if scrape("piped_nats_received_total", source="subjects.all") and scrape(
                "piped_nats_treated_total", **acked
            ):
                break

    assert scrape.lines(
        "piped_nats_connected",
        "piped_nats_reconnects_total",
        "piped_nats_dropped_total",
        "piped_nats_received_total",
        "piped_nats_failed_total",
        "piped_nats_lost_total",
        "piped_nats_treated_total",
    ) == [
        'piped_nats_connected{connection="main"} 1.0',
        'piped_nats_reconnects_total{connection="main"} 0.0',
        'piped_nats_dropped_total{connection="main",reason="full"} 0.0',
        'piped_nats_dropped_total{connection="main",reason="slow"} 0.0',
        'piped_nats_received_total{source="subjects.all"} 1.0',
        'piped_nats_failed_total{source="subjects.all"} 0.0',
        'piped_nats_lost_total{source="subjects.all"} 0.0',
        'piped_nats_treated_total{outcome="acked",source="consumers.each"} 1.0',
        'piped_nats_treated_total{outcome="failed",source="consumers.each"} 0.0',
        'piped_nats_treated_total{outcome="set_aside",source="consumers.each"} 0.0',
    ]
    assert scrape("piped_nats_published_total", connection="main") >= 1
