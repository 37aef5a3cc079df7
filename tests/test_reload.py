"""A service takes another document while requests are under way: what is kept, and what is not."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import httpx
import pytest

from piped import ConfigError, Service
from piped.app import UnknownPipeline
from piped.difference import Difference
from piped.providers.web import Server
from piped.reload import OPEN_S, CannotReload
from tests.conftest import Clock, until
from tests.stories.processes import free_ports

pytestmark = pytest.mark.anyio

Write: TypeAlias = Callable[[str], str]

SITE = """\
web:
    site:
        port: 0
        routing:
            __config__: {processor: pipeline.web.hello}
            held: {__config__: {processor: pipeline.web.held}}
            count: {__config__: {processor: pipeline.count}}
contexts:
    pending: {}
    seen: {count: 0}
pipelines:
    web:
        hello: [{run-pipeline: {pipeline: .say}}]
        say: [{set-value: {path: content, value: hello}}, write-web-response]
        held:
            - fetch-context: {context: pending}
            - eval-lambda:
                output_path: null
                namespace: {event: asyncio.Event}
                lambda: "b: b['pending'].setdefault('held', event())"
            - eval-lambda:
                output_path: null
                await: true
                lambda: "b: b['pending']['held'].wait()"
            - set-value: {path: content, value: old}
            - write-web-response
    count:
        - fetch-context: {context: seen}
        - eval-lambda:
            output_path: content
            lambda: "b: b['seen'].update(count=b['seen']['count'] + 1) or str(b['seen']['count'])"
        - write-web-response
    pending: [{fetch-context: {context: pending, output_path: ""}}]
"""


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write the document, and return its path."""

    def write(text: str) -> str:
        file = tmp_path / "service.yaml"
        file.write_text(text, encoding="utf-8")
        return str(file)

    return write


def server_of(service: Service, site: str = "site") -> Server:
    """Return the server of a site."""
    [found] = [e.brought for e in service.lives if e.provider.label == f"web.{site}" and e.brought]
    server: Server = found[f"web.{site}"]
    return server


def url_of(service: Service, site: str = "site") -> str:
    return server_of(service, site).url


async def under_way(service: Service) -> asyncio.Event:
    """Wait until a request is held, and return what lets it go on."""
    [pending] = await service.call("pending", {})
    await until(lambda: "held" in pending)
    event: asyncio.Event = pending["held"]
    return event


async def left(service: Service, client: httpx.AsyncClient, url: str) -> None:
    """Wait until only one site is there, and nobody listens where the other one was."""
    await until(lambda: len([each for each in service.lives if each.provider.is_edge]) == 1)
    with pytest.raises(httpx.ConnectError):
        await client.get(url)


def with_route(path: str, pipeline: str, text: str = SITE) -> str:
    """Return a document with one more route."""
    route = f"            {path}: {{__config__: {{processor: pipeline.{pipeline}}}}}\n"
    return text.replace("contexts:\n", f"{route}contexts:\n", 1)


async def test_the_same_document_changes_nothing(write: Write) -> None:
    async with Service.load(write(SITE)) as service:
        pipeline, lives = service.find("web.hello"), service.lives
        tasks = [each.task for each in lives]

        difference = await service.reload()

        assert difference == Difference(unchanged=7)
        assert [*difference.lines()] == ["= 7 unchanged"]
        assert service.find("web.hello") is pipeline
        assert [each.task for each in service.lives] == tasks


async def test_a_changed_pipeline_is_used_at_once_over_the_same_connection(write: Write) -> None:
    async with Service.load(write(SITE)) as service, httpx.AsyncClient() as client:
        before = (await client.get(url_of(service))).text
        server, url = server_of(service), url_of(service)
        write(SITE.replace("value: hello", "value: hi"))

        difference = await service.reload()

        assert (before, (await client.get(url)).text) == ("hello", "hi")
        assert difference.changed == ("pipeline.web.hello", "pipeline.web.say")
        assert difference.unchanged == 5
        assert server_of(service) is server
        assert server.counters.accepted == 1


async def test_a_changed_site_keeps_its_sockets_and_its_connections(write: Write) -> None:
    async with Service.load(write(SITE)) as service, httpx.AsyncClient() as client:
        url = url_of(service)
        assert (await client.get(f"{url}new")).status_code == 404
        write(with_route("new", "web.say"))

        difference = await service.reload()

        assert (await client.get(f"{url}new")).text == "hello"
        assert difference.changed == ("web.site",)
        assert url_of(service) == url
        assert server_of(service).counters.accepted == 1


async def test_a_request_in_flight_ends_on_the_old_pipeline(write: Write) -> None:
    async with Service.load(write(SITE)) as service, httpx.AsyncClient() as client:
        url = url_of(service)
        async with asyncio.TaskGroup() as group:
            held = group.create_task(client.get(f"{url}held"))
            go_on = await under_way(service)
            write(SITE.replace("value: old", "value: new"))

            await service.reload()

            go_on.set()
            assert (await held).text == "old"
        assert (await client.get(f"{url}held")).text == "new"


async def test_a_context_keeps_what_is_in_it_while_its_first_value_stays(write: Write) -> None:
    async with Service.load(write(SITE)) as service, httpx.AsyncClient() as client:
        url = url_of(service)
        assert [(await client.get(f"{url}count")).text for _ in range(2)] == ["1", "2"]
        write(SITE.replace("contexts:\n", "contexts:\n    more: 1\n"))

        await service.reload()

        assert (await client.get(f"{url}count")).text == "3"
        write(SITE.replace("count: 0", "count: 10"))

        await service.reload()

        assert (await client.get(f"{url}count")).text == "11"


async def test_a_site_is_added_and_another_one_is_taken_away(write: Write) -> None:
    moved = SITE.replace("    site:", "    other:")
    both = SITE.replace(
        "contexts:\n", moved[len("web:\n") : moved.index("contexts:")] + "contexts:\n"
    )
    async with Service.load(write(SITE)) as service, httpx.AsyncClient() as client:
        write(both)

        difference = await service.reload()

        url, other = url_of(service), url_of(service, "other")
        assert difference == Difference(added=("web.other",), unchanged=7)
        assert (await client.get(url)).text == (await client.get(other)).text == "hello"
        async with asyncio.TaskGroup() as group:
            held = group.create_task(client.get(f"{url}held"))
            go_on = await under_way(service)
            write(moved)

            difference = await service.reload()

            go_on.set()
            assert (await held).text == "old"  # what the site had accepted, it answers
        assert difference == Difference(removed=("web.site",), unchanged=7)
        assert (await client.get(other)).text == "hello"
        await left(service, client, url)


async def test_what_was_kept_is_compared_again(write: Write) -> None:
    """Its lines are others now, and where it stood another pipeline may stand."""
    async with Service.load(write(SITE)) as service:
        for lines in range(1, 5):
            write("#\n" * lines + SITE)
            assert await service.reload() == Difference(unchanged=7)
        write("#\n" * 9 + SITE.replace("value: old", "value: new"))

        difference = await service.reload()

        assert difference == Difference(changed=("pipeline.web.held",), unchanged=6)


async def test_a_pipeline_that_is_taken_away_is_not_found_any_more(write: Write) -> None:
    more = SITE + "    further: [{set-value: {path: content, value: 1}}]\n"
    async with Service.load(write(more)) as service:
        assert await service.call("further", {}) == [{"content": 1}]
        write(SITE)

        difference = await service.reload()

        assert difference.removed == ("pipeline.further",)
        with pytest.raises(UnknownPipeline, match="there is no pipeline 'further'"):
            service.find("further")
        await until(lambda: "pipeline.further" not in service.resources)


async def test_a_document_with_errors_leaves_the_old_one(write: Write) -> None:
    async with Service.load(write(SITE)) as service, httpx.AsyncClient() as client:
        url = url_of(service)
        write(SITE.replace("value: hello", "valu: hello"))

        with pytest.raises(ConfigError, match="set-value has no parameter 'valu'"):
            await service.reload()

        assert (await client.get(url)).text == "hello"


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that somebody else listens at."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield other.getsockname()[1]


async def test_what_cannot_be_opened_puts_all_back(write: Write, taken: int) -> None:
    added = f"    more: {{port: {taken}, routing: {{__config__: {{processor: pipeline.count}}}}}}\n"
    changed = with_route("new", "web.say", SITE.replace("value: hello", "value: hi"))
    async with Service.load(write(SITE)) as service, httpx.AsyncClient() as client:
        url, lives, names = url_of(service), [*service.lives], {*service.resources}
        pipeline = service.find("web.hello")
        assert (await client.get(url)).text == "hello"
        write(changed.replace("contexts:\n", f"{added}contexts:\n", 1))

        with pytest.raises(CannotReload) as raised:
            await service.reload()

        why = f"web.more: cannot listen on 127.0.0.1:{taken}: the address is in use"
        assert str(raised.value) == why
        assert (await client.get(url)).text == "hello"
        assert (await client.get(f"{url}new")).status_code == 404
        assert ([*service.lives], {*service.resources}) == (lives, names)
        assert service.find("web.hello") is pipeline
        assert service.is_ready
        assert not service.is_stopping
        write(changed)

        await service.reload()

        assert [(await client.get(f"{url}{path}")).text for path in ("", "new")] == ["hi", "hi"]
        assert server_of(service).counters.accepted == 1


async def test_a_site_that_cannot_listen_elsewhere_listens_where_it_was(
    write: Write, taken: int
) -> None:
    async with Service.load(write(SITE)) as service, httpx.AsyncClient() as client:
        url = url_of(service)
        write(SITE.replace("port: 0", f"port: {taken}"))

        with pytest.raises(CannotReload, match=r"the address is in use$"):
            await service.reload()

        assert (url_of(service), (await client.get(url)).text) == (url, "hello")


async def test_a_site_that_had_to_be_closed_for_a_new_one_is_opened_again(
    write: Write, taken: int
) -> None:
    [free] = free_ports(1)
    one = SITE.replace("port: 0", f"listen: ['127.0.0.1:{free}']")
    async with Service.load(write(one)) as service, httpx.AsyncClient() as client:
        write(SITE.replace("port: 0", f"listen: ['127.0.0.1:{free}', '127.0.0.1:{taken}']"))

        with pytest.raises(CannotReload, match=r"the address is in use$"):
            await service.reload()

        assert (await client.get(f"http://127.0.0.1:{free}/")).text == "hello"
        assert service.is_ready


async def test_a_site_that_moves_listens_there_before_it_leaves_where_it_was(write: Write) -> None:
    [free] = free_ports(1)
    async with Service.load(write(SITE)) as service, httpx.AsyncClient() as client:
        url = url_of(service)
        async with asyncio.TaskGroup() as group:
            held = group.create_task(client.get(f"{url}held"))
            go_on = await under_way(service)
            write(SITE.replace("port: 0", f"port: {free}"))

            await service.reload()

            assert (await client.get(f"http://127.0.0.1:{free}/")).text == "hello"
            go_on.set()
            assert (await held).text == "old"
        await left(service, client, url)


GATES = '''\
import asyncio
from contextlib import asynccontextmanager
from piped import Dependency, Misconfigured, Processor, Provider, processor, provider

told = []

@processor("pass-gate")
class PassGate(Processor):
    """Say which gate is open."""

    gate: Dependency = Dependency("gate")

    def process(self, baton):
        return {"gate": self.gate.value}

@provider("gate")
class Gate(Provider):
    """Opens, hangs, or cannot open."""

    kind: str
    essential: bool = True

    def offers(self):
        return ["gate"]

    @asynccontextmanager
    async def running(self):
        told.append(f"open {self.kind}")
        if self.kind == "hanging":
            await asyncio.Event().wait()
        if self.kind == "broken":
            raise Misconfigured("the gate is broken")
        yield {"gate": self.kind}
        told.append(f"close {self.kind}")
'''


def with_gate(kind: str, more: str = "") -> str:
    return (
        "plugins: {bundles: {own: [bundle_reload_gates]}}\n"
        f"gate: {{kind: {kind}{more}}}\n"
        "pipelines: {enter: [pass-gate]}\n"
    )


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], list[str]]]:
    """What the gates have done since somebody looked last."""
    name = "bundle_reload_gates"
    (tmp_path / name).mkdir()
    (tmp_path / name / "__init__.py").write_text(GATES, encoding="utf-8")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])

    def told() -> list[str]:
        since: list[str] = sys.modules[name].told[:]
        sys.modules[name].told.clear()
        return since

    yield told
    sys.modules.pop(name, None)


async def test_what_cannot_be_open_twice_is_closed_first(
    write: Write, told: Callable[[], list[str]]
) -> None:
    async with Service.load(write(with_gate("old"))) as service:
        write(with_gate("new"))

        difference = await service.reload()

        assert difference.changed == ("gate",)
        assert told() == ["open old", "close old", "open new"]
        assert await service.call("enter") == [{"gate": "new"}]
    assert told() == ["close new"]


async def test_what_was_closed_in_vain_is_opened_again(
    write: Write, told: Callable[[], list[str]]
) -> None:
    async with Service.load(write(with_gate("old"))) as service:
        write(with_gate("broken"))

        with pytest.raises(CannotReload, match=r"^gate: the gate is broken$"):
            await service.reload()

        assert told() == ["open old", "close old", "open broken", "open old"]
        assert await service.call("enter") == [{"gate": "old"}]
        assert not service.is_stopping


async def test_what_is_not_essential_may_fail(write: Write, told: Callable[[], list[str]]) -> None:
    async with Service.load(write(with_gate("old"))) as service:
        write(with_gate("broken", ", essential: false"))
        await service.reload()
        assert not service.is_ready
        write(with_gate("new"))

        await service.reload()

        assert await service.call("enter") == [{"gate": "new"}]
    assert told() == ["open old", "close old", "open broken", "open new", "close new"]


async def test_what_has_failed_for_good_is_tried_again_though_it_has_not_changed(
    write: Write, told: Callable[[], list[str]]
) -> None:
    async with Service.load(write(with_gate("broken", ", essential: false"))) as service:
        await service.reload()

    assert told() == ["open broken"] * 2


class TestTime:
    """With a clock that the tests move."""

    @pytest.fixture
    def anyio_backend(self, movable_loop: Any) -> Any:
        return movable_loop

    async def test_what_does_not_open_in_time_is_given_up(
        self, write: Write, told: Callable[[], list[str]], clock: Clock
    ) -> None:
        async with Service.load(write(with_gate("old"))) as service, asyncio.TaskGroup() as group:
            write(with_gate("hanging"))
            reloading = group.create_task(reloaded(service))
            await until(lambda: "open hanging" in sys.modules["bundle_reload_gates"].told)

            await clock.advance(OPEN_S)

            assert await reloading == "gate: not open after 30 s"
            assert await service.call("enter") == [{"gate": "old"}]
        assert told() == ["open old", "close old", "open hanging", "open old", "close old"]


async def reloaded(service: Service) -> str:
    """Return why a service cannot be reloaded."""
    with pytest.raises(CannotReload) as raised:
        await service.reload()
    return str(raised.value)


async def test_the_end_comes_in_the_midst_of_a_reload(
    write: Write, told: Callable[[], list[str]]
) -> None:
    async with Service.load(write(with_gate("old"))) as service, asyncio.TaskGroup() as group:
        write(with_gate("hanging"))
        reloading = group.create_task(service.reload())
        await until(lambda: "open hanging" in sys.modules["bundle_reload_gates"].told)

        reloading.cancel()

    assert told() == ["open old", "close old", "open hanging"]
