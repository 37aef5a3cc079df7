from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from structlog.testing import capture_logs

from piped import Service
from piped.observe.admin import Admin
from piped.providers.web.hosts import Hosts
from piped.resources import EssentialFailed
from piped.spec import Decoder, spec_of
from tests.observe.conftest import Load, brought, front_of
from tests.observe.fakes import Fickle
from tests.providers.web.support import node_of

pytestmark = pytest.mark.anyio

ADMIN = "admin: {listen: '127.0.0.1:0'}\n"

SLOW = """\
web:
    one: {port: 0, routing: {__config__: {processor: pipeline.slow}}}
contexts: {gate: {}}
pipelines:
    slow:
        - fetch-context: {context: gate}
        - exec-code: {code: "await baton['gate']['open'].wait()\\nreturn baton", input_path: ''}
        - write-web-response: {fallback_content: done}
    gate: [{fetch-context: {context: gate, output_path: ''}}]
"""


@asynccontextmanager
async def asking(service: Service) -> AsyncIterator[httpx.AsyncClient]:
    """Yield a client of the admin listener of a running service."""
    url = brought(service, "admin").url
    async with httpx.AsyncClient(base_url=url) as client:
        yield client


async def test_metrics_are_scraped_while_the_service_runs(load: Load) -> None:
    async with (
        load(f"{ADMIN}fake_pools: {{names: [math]}}\n") as service,
        asking(service) as client,
    ):
        front_of(service, "math").depth = 5

        answer = await client.get("/metrics")

    families = {each.name: each for each in text_string_to_metric_families(answer.text)}
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=")
    assert answer.headers["cache-control"] == "no-store"
    [depth] = families["piped_pool_depth"].samples
    assert (depth.labels, depth.value) == ({"pool": "math"}, 5)


async def test_a_ready_service_says_so_of_each_provider_and_pool(load: Load) -> None:
    async with (
        load(f"{ADMIN}fake_pools: {{names: [math]}}\n") as service,
        asking(service) as client,
    ):
        answer = await client.get("/-/ready")

    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    ready = {"state": "ready", "reason": ""}
    assert answer.json() == {
        "ready": True,
        "stopping": False,
        "providers": {"admin": ready, "fake_pools": ready},
        "pools": {"math": {"served": True, "workers": 0, "depth": 0}},
        "lost": {},
    }


async def test_a_service_that_lost_something_lives_and_is_not_ready(load: Load) -> None:
    Fickle.away = "the cable is cut"

    async with load(f"{ADMIN}fickle: {{}}\n") as service, asking(service) as client:
        ready, live = await client.get("/-/ready"), await client.get("/-/live")

    assert (ready.status_code, live.status_code, live.text) == (503, 200, "alive\n")
    assert not ready.json()["ready"]
    state = ready.json()["providers"]["fickle"]
    assert state == {"state": "lost", "reason": "the cable is cut"}


async def test_readiness_is_seen_as_red_while_requests_are_brought_to_their_end(load: Load) -> None:
    service = load(ADMIN + SLOW)
    async with httpx.AsyncClient() as client, asyncio.TaskGroup() as group, service:
        [gate] = await service.call("gate")
        gate["open"] = asyncio.Event()
        site, admin = brought(service, "web.one"), brought(service, "admin")
        request = group.create_task(client.get(site.url))
        while not site.counters.requests:  # noqa: ASYNC110 - a counter tells nobody
            await asyncio.sleep(0)
        group.create_task(look_then_open(client, service, admin.url, gate["open"]))
        service.stop()

    assert (await request).text == "done"


async def look_then_open(
    client: httpx.AsyncClient, service: Service, url: str, gate: asyncio.Event
) -> None:
    [site] = [each for each in service.lives if each.provider.label == "web.one"]
    await site.closing.wait()

    ready, live = await client.get(f"{url}-/ready"), await client.get(f"{url}-/live")

    gate.set()
    assert (ready.status_code, ready.json()["stopping"], live.status_code) == (503, True, 200)


async def test_it_does_not_wait_for_scrapers_that_keep_their_connection(load: Load) -> None:
    async with load(ADMIN) as service:
        client = httpx.AsyncClient(base_url=brought(service, "admin").url)
        await client.get("/-/live")
        before = asyncio.get_running_loop().time()

    assert asyncio.get_running_loop().time() - before < 0.9
    await client.aclose()


@pytest.mark.parametrize("path", ["/", "/metrics/", "/-/ready/x", "/METRICS", "/%2e%2e/x"])
async def test_other_paths_are_not_found(load: Load, path: str) -> None:
    async with load(ADMIN) as service, asking(service) as client:
        answer = await client.get(path)

    assert answer.status_code == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
async def test_nothing_can_be_done_there(load: Load, method: str) -> None:
    async with load(ADMIN) as service, asking(service) as client:
        answer = await client.request(method, "/metrics")

    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")
    assert answer.headers["content-type"] == "application/problem+json"


async def test_head_gets_what_get_gets_without_the_body(load: Load) -> None:
    async with load(ADMIN) as service, asking(service) as client:
        answer = await client.head("/-/live")

    assert (answer.status_code, answer.headers["content-length"], answer.text) == (200, "6", "")


@pytest.mark.parametrize("path", ["/metrics", "/-/live", "/nowhere"])
async def test_a_page_that_was_led_here_by_a_foreign_name_is_misdirected(
    load: Load, path: str
) -> None:
    async with load(ADMIN) as service, asking(service) as client:
        port = brought(service, "admin").port
        foreign = await client.get(path, headers={"host": f"evil.example:{port}"})
        bare = await client.get(path, headers={"host": "localhost"})

    assert (foreign.status_code, bare.status_code) == (421, 421)


async def test_names_of_the_machine_are_listed_with_or_without_a_port(load: Load) -> None:
    text = "admin: {listen: '127.0.0.1:0', hosts: [Node7, 'metrics.example:443']}\n"
    async with load(text) as service, asking(service) as client:
        port = brought(service, "admin").port
        hosts = [f"node7:{port}", "NODE7", "metrics.example:443", "metrics.example"]
        answers = [await client.get("/-/live", headers={"host": each}) for each in hosts]

    assert [each.status_code for each in answers] == [200, 200, 200, 421]


@pytest.mark.parametrize(
    ("host", "is_local", "is_remote"),
    [
        ("localhost:9090", True, True),
        ("LOCALHOST:9090", True, True),
        ("127.0.0.1:9090", True, True),
        ("[::1]:9090", True, True),
        ("10.0.0.3:9090", False, True),
        ("[fe80::1]:9090", False, True),
        ("10.0.0.3:9091", False, False),
        ("10.0.0.3", False, False),
        ("localhost:9091", False, False),
        ("10.0.0.3.evil.example:9090", False, False),
        ("", False, False),
        ("@localhost:9090", False, False),
    ],
)
async def test_addresses_are_hosts_where_other_machines_may_ask(
    host: str, is_local: bool, is_remote: bool
) -> None:
    local, remote = Hosts([9090], [], False), Hosts([9090], [], True)

    assert (host in local, host in remote) == (is_local, is_remote)


async def test_an_address_that_others_reach_is_warned_of(load: Load) -> None:
    text = "admin: {listen: '0.0.0.0:0', allow_remote: true}\n"

    with capture_logs() as logs:
        async with load(text) as service:
            port = brought(service, "admin").port

    (line,) = [each for each in logs if each["log_level"] == "warning"]
    assert line["event"] == "listening beyond this machine"
    assert line["address"] == f"0.0.0.0:{port}"


async def test_a_service_whose_listener_cannot_be_opened_does_not_start(load: Load) -> None:
    async with load(ADMIN) as service:
        port = brought(service, "admin").port
        other = load(f"admin: {{listen: '127.0.0.1:{port}'}}\n")

        with pytest.raises(EssentialFailed) as caught:
            async with other:
                pass

    what = f"admin: cannot listen on 127.0.0.1:{port}: the address is in use"
    assert str(caught.value) == what


@pytest.mark.parametrize(
    ("section", "problem"),
    [
        (
            {"listen": "0.0.0.0:9090"},
            "admin.listen: open-admin: other machines can reach 0.0.0.0:9090 (say"
            " allow_remote: true, if they may see what the service tells of itself)",
        ),
        (
            {"listen": ["127.0.0.1:1", ":9090"]},
            "admin.listen: wrong-value: expected a host before the port, got ':9090': all are"
            " 0.0.0.0:9090 ()",
        ),
        ({"listen": []}, "admin.listen: wrong-value: expected an address, got [] ()"),
        (
            {"hosts": ["ok", "http://x"]},
            "admin.hosts[1]: wrong-value: expected a host such as example.org or"
            " example.org:443, got 'http://x' ()",
        ),
    ],
)
async def test_what_is_wrong_with_the_section_is_said(
    section: dict[str, Any], problem: str
) -> None:
    spec, decoder = spec_of(Admin), Decoder()
    assert spec is not None

    decoder.section(spec, node_of(section), "admin")

    found = [f"{e.at}: {e.code}: {e.what} ({e.hint})" for e in decoder.problems]
    assert found == [problem]


async def test_the_section_may_be_empty() -> None:
    spec = spec_of(Admin)
    assert spec is not None

    admin = Decoder().section(spec, node_of({}), "admin")

    assert list(admin.listens(frozenset())) == [("127.0.0.1:9090", "")]
    assert admin.essential


async def test_who_runs_single_pipelines_of_a_document_opens_no_listener(load: Load) -> None:
    text = f"{ADMIN}pipelines: {{p: [passthrough]}}\n"
    blueprint = load(text).blueprint

    async with Service(blueprint, only=["p"]) as service:
        results = await service.call("p", 3)

    assert (results, service.lives) == ([3], [])


async def test_beside_a_listener_any_pipeline_of_a_document_may_be_called(load: Load) -> None:
    text = """\
contexts: {seen: {}}
pipelines: {seen: [{fetch-context: {context: seen, output_path: ''}}]}
"""

    async with load(ADMIN + text) as service:
        results = await service.call("seen")

    assert results == [{}]
