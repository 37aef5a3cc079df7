from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import pytest

from piped import Service
from piped.providers.web.tallies import BOUNDS_S, MAX_ROUTES
from tests.conftest import turn
from tests.observe.conftest import Load, brought
from tests.observe.metrics.conftest import ADMIN, scraped
from tests.providers.web.websocket.support import Talker, closing, frame

pytestmark = pytest.mark.anyio

SITE = """\
web:
    one:
        port: 0
        routing:
            __config__: {processor: pipeline.hello}
            orders:
                "{id:int}": {__config__: {processor: pipeline.bad}}
            files: {__config__: {no_resource_processor: pipeline.hello}}
            chat: {__config__: {websocket: {processor: pipeline.echo}}}
pipelines:
    hello: [{write-web-response: {fallback_content: hello}}]
    bad: [raise-exception]
    echo: [send-websocket-message]
"""


async def ask(service: Service, *paths: str) -> None:
    async with httpx.AsyncClient(base_url=brought(service, "web.one").url) as client:
        for each in paths:
            await client.get(each)


async def test_a_site_shows_its_requests_and_answers(load: Load) -> None:
    async with load(ADMIN + SITE) as service:
        await ask(service, "/", "/nowhere")

        scrape = await scraped(service)

    assert scrape.lines("piped_site_requests_total", "piped_site_answers_total") == [
        'piped_site_requests_total{site="web.one"} 2.0',
        'piped_site_answers_total{site="web.one",status="1xx"} 0.0',
        'piped_site_answers_total{site="web.one",status="2xx"} 1.0',
        'piped_site_answers_total{site="web.one",status="3xx"} 0.0',
        'piped_site_answers_total{site="web.one",status="4xx"} 1.0',
        'piped_site_answers_total{site="web.one",status="5xx"} 0.0',
    ]
    assert scrape("piped_site_connections_total", site="web.one") == 1
    assert scrape("piped_site_deadlines_missed_total", site="web.one") == 0
    assert scrape("piped_site_accept_pauses_total", site="web.one") == 0


async def test_routes_are_named_as_the_document_names_them(load: Load) -> None:
    paths = ["/", "/?a=1", "/orders/1", "/orders/2", "/files/a/b", "/files", "/orders/x", "/no"]
    async with load(ADMIN + SITE) as service:
        await ask(service, *paths)

        scrape = await scraped(service)

    assert scrape.lines("piped_route_answers_total") == [
        'piped_route_answers_total{route="/",site="web.one",status="200"} 2.0',
        'piped_route_answers_total{route="/orders/{id:int}",site="web.one",status="500"} 2.0',
        'piped_route_answers_total{route="/files/*",site="web.one",status="200"} 2.0',
        'piped_route_answers_total{route="none",site="web.one",status="404"} 2.0',
    ]


async def test_how_long_answers_took_is_a_histogram(load: Load) -> None:
    async with load(ADMIN + SITE) as service:
        await ask(service, "/", "/", "/orders/1")

        scrape = await scraped(service)

    name = "piped_route_answer_seconds"
    buckets = scrape.by(f"{name}_bucket", "le", route="/")
    assert scrape.families[name].type == "histogram"
    assert [float(each) for each in buckets] == [*BOUNDS_S, float("inf")]
    assert [*buckets.values()] == sorted(buckets.values())
    assert buckets["+Inf"] == scrape(f"{name}_count", site="web.one", route="/") == 2
    assert 0 < scrape(f"{name}_sum", site="web.one", route="/") < 60
    assert scrape(f"{name}_count", site="web.one", route="/chat") == 0


async def test_what_broke_a_rule_is_counted_by_the_rule_and_for_no_route(load: Load) -> None:
    async with load(ADMIN + SITE) as service:
        async with httpx.AsyncClient() as client:
            await client.get(brought(service, "web.one").url, headers={"x": "y" * 40_000})

        scrape = await scraped(service)

    assert scrape.lines("piped_site_refused_total", "piped_route_answers_total") == [
        'piped_site_refused_total{rule="header-too-large",site="web.one"} 1.0'
    ]
    assert scrape("piped_site_answers_total", site="web.one", status="4xx") == 1


async def test_websockets_and_their_messages_are_counted(load: Load) -> None:
    async with load(ADMIN + SITE) as service:
        port = brought(service, "web.one").port
        talker = Talker(*await asyncio.open_connection("127.0.0.1", port))
        await talker.open("/chat")
        await talker.send(frame(1, b"hello"))
        await talker.frame()

        scrape = await scraped(service)
        await talker.send(closing(1000))
        talker.close()

    assert scrape.lines(
        "piped_site_open_connections",
        "piped_site_websockets",
        "piped_site_websocket_messages_total",
        "piped_route_answers_total",
    ) == [
        'piped_site_open_connections{site="web.one"} 1.0',
        'piped_site_websockets{site="web.one"} 1.0',
        'piped_site_websocket_messages_total{direction="in",site="web.one"} 1.0',
        'piped_site_websocket_messages_total{direction="out",site="web.one"} 1.0',
        'piped_route_answers_total{route="/chat",site="web.one",status="101"} 1.0',
    ]


async def test_requests_that_wait_for_their_answers_are_in_flight(load: Load) -> None:
    text = """\
web: {one: {port: 0, routing: {__config__: {processor: pipeline.slow}}}}
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
        - write-web-response: {fallback_content: done}
    gate: [{fetch-context: {context: gate, output_path: ''}}]
"""
    async with load(ADMIN + text) as service:
        [gate] = await service.call("gate", {})
        gate["came"], gate["open"] = asyncio.Event(), asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(ask(service, "/"))
            await gate["came"].wait()
            during = await scraped(service)
            gate["open"].set()
        after = await scraped(service)

    assert during("piped_site_in_flight", site="web.one") == 1
    assert during("piped_pipeline_in_flight", pipeline="slow") == 1
    assert after("piped_site_in_flight", site="web.one") == 0
    assert after("piped_pipeline_in_flight", pipeline="slow") == 0


def other(service: Service, old: str, new: str) -> None:
    """Change the document of a service that runs."""
    file = Path(service.blueprint.document.file)
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


async def test_after_a_reload_routes_that_stay_go_on_and_others_are_forgotten(load: Load) -> None:
    async with load(ADMIN + SITE) as service:
        await ask(service, "/", "/files/a", "/orders/1")
        other(service, "files: {", "things: {")
        await service.reload()
        await ask(service, "/", "/things/a", "/files/a")

        scrape = await scraped(service)

    assert scrape.lines("piped_route_answers_total") == [
        'piped_route_answers_total{route="/",site="web.one",status="200"} 2.0',
        'piped_route_answers_total{route="/orders/{id:int}",site="web.one",status="500"} 1.0',
        'piped_route_answers_total{route="/things/*",site="web.one",status="200"} 1.0',
        'piped_route_answers_total{route="none",site="web.one",status="404"} 1.0',
    ]
    assert scrape("piped_site_answers_total", site="web.one", status="2xx") == 4
    assert scrape("piped_pipeline_runs_total", pipeline="hello") == 4


async def test_a_site_that_moves_is_shown_once(load: Load) -> None:
    async with load(ADMIN + SITE) as service:
        await ask(service, "/")
        other(service, "port: 0", "listen: '127.0.0.1:0'")
        await service.reload()
        while sum(each.provider.label == "web.one" for each in service.lives) > 1:
            await turn()
        await ask(service, "/orders/1", "/orders/2", "/orders/3")

        scrape = await scraped(service)

    assert scrape.lines("piped_site_requests_total") == [
        'piped_site_requests_total{site="web.one"} 3.0'
    ]


async def test_of_very_many_routes_the_last_are_counted_together(load: Load) -> None:
    text = "web:\n    one:\n        port: 0\n        routing:\n"
    for number in range(MAX_ROUTES + 2):
        text += f"            r{number}: {{__config__: {{processor: pipeline.hello}}}}\n"
    text += "pipelines: {hello: [{write-web-response: {fallback_content: hello}}]}\n"
    async with load(ADMIN + text) as service:
        await ask(service, "/r0", f"/r{MAX_ROUTES}", f"/r{MAX_ROUTES + 1}")

        scrape = await scraped(service)

    assert scrape.by("piped_route_answers_total", "route") == {"/r0": 1, "others": 2}
    assert len(scrape.by("piped_route_answer_seconds_sum", "route")) == MAX_ROUTES + 2
