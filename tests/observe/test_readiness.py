from __future__ import annotations

import asyncio

import pytest

from piped.app import Service
from piped.observe.readiness import PoolState, ProviderState, pools_of, readiness
from tests.observe.conftest import Load, brought, front_of
from tests.observe.fakes import Fickle, worker

pytestmark = pytest.mark.anyio


async def until_state(service: Service, label: str, state: str) -> None:
    async with asyncio.timeout(5):
        while readiness(service).providers[label].state != state:  # noqa: ASYNC110 - no event tells
            await asyncio.sleep(0)


async def test_a_service_is_ready_from_its_start_to_its_end(load: Load) -> None:
    service = load("contexts: {seen: {}}\npipelines: {p: [fetch-context: {context: seen}]}\n")

    before = readiness(service)
    async with service:
        during = readiness(service)
        service.stop()
        asked_to_end = readiness(service)

    assert (before.ready, before.providers) == (
        False,
        {"contexts": ProviderState("lost", "not started yet")},
    )
    assert (during.ready, during.stopping, during.lost) == (True, False, {})
    assert during.providers == {"contexts": ProviderState("ready", "")}
    assert (asked_to_end.ready, asked_to_end.stopping) == (False, True)


async def test_a_lost_provider_makes_it_red_until_it_is_back(load: Load) -> None:
    async with load("fickle: {}\n") as service:
        Fickle.away = "the cable is cut"
        brought(service, "fickle.cable").set()
        await until_state(service, "fickle", "lost")
        lost = readiness(service)
        Fickle.away = ""
        await until_state(service, "fickle", "ready")
        back = readiness(service)

    assert (lost.ready, back.ready) == (False, True)
    assert lost.providers["fickle"] == ProviderState("lost", "the cable is cut")


async def test_what_is_lost_is_said_with_its_reason_for_each_resource_in_need(load: Load) -> None:
    Fickle.away = "the cable is cut"
    text = """\
fickle: {}
ticks: {interval: {t: {interval: 1h, processor: pipeline.p}}}
pipelines:
    p: [{eval-lambda: {dependencies: {cable: fickle.cable}, lambda: "b: b"}}]
"""

    async with load(text) as service:
        state = readiness(service)

    assert state.lost == {"fickle.cable": "the cable is cut"}


async def test_a_provider_that_has_failed_for_good_makes_it_red(load: Load) -> None:
    text = """\
web:
    one: {port: 0, essential: false, routing: {}}
"""
    service = load(text)
    async with service:
        taken = brought(service, "web.one").port

        async with load(text.replace("port: 0", f"port: {taken}")) as second:
            state = readiness(second)

    what = f"cannot listen on 127.0.0.1:{taken}: the address is in use"
    assert not state.ready
    assert state.providers == {"web.one": ProviderState("failed", what)}


async def test_a_pool_without_a_worker_makes_it_red(load: Load) -> None:
    async with load("fake_pools: {names: [math, mail]}\n") as service:
        math = front_of(service, "math")
        math.known, math.depth, math.is_served = [worker("a", is_suspect=True)], 3, False
        red = readiness(service)
        math.is_served = True
        green = readiness(service)

    assert (red.ready, green.ready) == (False, True)
    assert red.pools == {"math": PoolState(False, 1, 3), "mail": PoolState(True, 0, 0)}


async def test_a_pool_whose_front_is_lost_has_no_worker(load: Load) -> None:
    service = load("fake_pools: {names: [math]}\n")

    before = readiness(service)

    assert before.pools == {"math": PoolState(False, 0, 0)}
    assert list(pools_of(service)) == [("math", None)]
