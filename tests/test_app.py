"""The life of a service in Python, as tests and embedding programs live it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import httpx
import pytest

from piped import ConfigError, Service
from piped.app import UnknownPipeline
from piped.errors import Misconfigured
from piped.resources import EssentialFailed, Resource
from tests.conftest import until
from tests.stories.processes import free_ports

pytestmark = pytest.mark.anyio

Load: TypeAlias = Callable[..., Service]

SITE = """\
web:
    site:
        port: 0
        routing:
            __config__: {processor: pipeline.web.hello}
            later: {__config__: {processor: pipeline.web.later}}
contexts:
    pending: {}
    seen: {}
ticks:
    interval:
        answer: {interval: 10ms, processor: pipeline.answer}
system-events:
    startup: {e: pipeline.event}
    shutdown: {e: pipeline.event}
pipelines:
    web:
        hello:
            - set-value: {path: content, value: hello}
            - write-web-response
        later:
            - fetch-context: {context: pending}
            - eval-lambda: {output_path: null, lambda: "b: b['pending'].update(one=b)"}
    answer:
        - fetch-context: {context: pending}
        - stop: {decider: "b: 'release' not in b['pending']"}
        - eval-lambda: {output_path: waiting, lambda: "b: b['pending'].pop('one', None)"}
        - stop: {input_path: waiting, decider: "waiting: waiting is None"}
        - run-pipeline: {input_path: waiting, pipeline: web.hello}
    event:
        - fetch-context: {context: seen}
        - eval-lambda: {output_path: null, lambda: "b: b['seen'].update({b['event_type']: True})"}
    pending: [{fetch-context: {context: pending, output_path: ""}}]
    seen: [{fetch-context: {context: seen, output_path: ""}}]
"""

PARTS = """\
pipelines:
    math:
        square: [{eval-lambda: {lambda: "n: n * n"}}]
        both:
            - run-pipeline: {pipeline: .square}
            - eval-lambda: {lambda: "n: n + 1"}
    wrong: [{eval-lamda: {}}]
"""

FLAKY = '''\
import asyncio
from contextlib import asynccontextmanager
from piped import Provider, Unavailable, provider

is_away = False

@provider("flaky")
class Flaky(Provider):
    """Goes away when it is told to."""

    def offers(self):
        return ("flaky.thing",)

    @asynccontextmanager
    async def running(self):
        if is_away:
            raise Unavailable("the cable is cut")
        pulled = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            watching = group.create_task(watch(pulled))
            yield {"flaky.thing": pulled}
            watching.cancel()

async def watch(pulled):
    await pulled.wait()
    raise Unavailable("the cable is cut")
'''


CALLER = '''\
from contextlib import asynccontextmanager
from dataclasses import field
from piped import Provider, part, provider
from piped.spec import PipelineName

@part
class Leg:
    """Goes to a pipeline."""

    target: PipelineName

@provider("walker")
class Walker(Provider):
    """Sends a baton to a pipeline, and to that of each leg."""

    target: PipelineName
    legs: list[Leg] = field(default_factory=list)

    def feeds(self):
        return True

    @asynccontextmanager
    async def running(self):
        for each in (self.target, *(leg.target for leg in self.legs)):
            await each.deliver({})
        yield {}
'''

WALKED = """\
plugins: {bundles: {mine: [bundle_walker]}}
contexts: {seen: {}}
walker:
    target: %s
    legs: %s
pipelines:
    seen: [{fetch-context: {context: seen, output_path: ""}}]
    go:
        - fetch-context: {context: seen, output_path: ""}
        - increment-counter: {counter_path: count}
"""


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Load]:
    """Load a document of this text; its folder is importable for the time of the test."""
    monkeypatch.setattr(sys, "path", sys.path[:])

    def load(text: str, *arguments: Any, **options: Any) -> Service:
        (tmp_path / "service.yaml").write_text(text, encoding="utf-8")
        return Service.load(tmp_path / "service.yaml", *arguments, **options)

    yield load
    for name in [each for each in sys.modules if each.startswith("bundle_")]:
        del sys.modules[name]


async def get(url: str) -> httpx.Response:
    async with httpx.AsyncClient(trust_env=False, timeout=10) as client:
        return await client.get(url)


async def lost(resource: Resource) -> None:
    """Wait until a resource is lost."""
    while resource.is_ready:
        changed = asyncio.Event()
        resource.watch(changed.set)
        await changed.wait()
        resource.unwatch(changed.set)


def with_port(text: str) -> tuple[str, str]:
    """Return the document with a port that is free, and the address of its site."""
    [port] = free_ports(1)
    return text.replace("port: 0", f"port: {port}"), f"http://127.0.0.1:{port}/"


async def test_a_service_is_called_by_the_name_of_a_pipeline(load: Load) -> None:
    text = PARTS.replace("    wrong: [{eval-lamda: {}}]\n", "")

    async with load(text) as service:
        results = await service.call("math.both", 3)
        same = await service.call("pipeline.math.both", 3)

    assert results == same == [10]
    assert not results.stopped


def add_walker(folder: Path) -> None:
    (folder / "bundle_walker").mkdir()
    (folder / "bundle_walker" / "__init__.py").write_text(CALLER)


async def test_a_provider_and_its_parts_may_name_pipelines(load: Load, tmp_path: Path) -> None:
    add_walker(tmp_path)

    async with load(
        WALKED % ("go", "[{target: pipeline.go}, {target: {provider: go}}]")
    ) as service:
        seen = await service.call("seen", {})

    assert seen == [{"count": 3}]


async def test_a_pipeline_that_a_provider_names_is_one_below_pipelines(
    load: Load, tmp_path: Path
) -> None:
    add_walker(tmp_path)

    with pytest.raises(ConfigError) as caught:
        load(WALKED % ("[passthrough]", "[{target: .go}, {target: goo}, {target: [passthrough]}]"))

    file = tmp_path / "service.yaml"
    assert [str(each) for each in caught.value.problems] == [
        f"{file}:4:13: error[not-a-pipeline]: expected the name of a pipeline, got a list of"
        " steps\n"
        "    at: walker.target\n"
        "    hint: write the steps below 'pipelines', and name that pipeline here",
        f"{file}:5:21: error[unknown-resource]: nobody provides '.go'\n"
        "    at: walker.legs[0].target\n"
        "    hint: relative names work inside pipelines only: write 'pipeline.' and the whole name",
        f"{file}:5:36: error[unknown-resource]: nobody provides 'pipeline.goo'\n"
        "    at: walker.legs[1].target\n"
        "    hint: did you mean 'pipeline.go'? known: pipeline.go, pipeline.seen",
        f"{file}:5:51: error[not-a-pipeline]: expected the name of a pipeline, got a list of"
        " steps\n"
        "    at: walker.legs[2].target\n"
        "    hint: write the steps below 'pipelines', and name that pipeline here",
    ]


async def test_overrides_are_a_mapping_or_texts(load: Load) -> None:
    text = "contexts: {it: {a: 1}}\npipelines: {p: [{fetch-context: {context: it}}]}\n"

    async with load(text, {"contexts.it": {"b": "x: y"}}) as service:
        mapped = await service.call("p", {})
    async with load(text, ["contexts.it.a: 2"]) as service:
        told = await service.call("p", {})

    assert mapped == [{"it": {"b": "x: y"}}]
    assert told == [{"it": {"a": 2}}]


async def test_a_service_serves_while_it_is_entered(load: Load) -> None:
    text, url = with_port(SITE)

    async with load(text):
        inside = await get(url)

    assert inside.text == "hello"
    with pytest.raises(httpx.ConnectError):
        await get(url)


async def test_only_some_pipelines_need_nothing_else(load: Load) -> None:
    text, url = with_port(SITE + "    wrong: [{eval-lamda: {}}]\n")

    async with load(text, only=["seen"]) as service:
        with pytest.raises(httpx.ConnectError):
            await get(url)
        seen = await service.call("seen")
        assert list(service.resources) == ["context.seen", "pipeline.seen"]

    assert seen == [{}], "no event was fired"


async def test_a_document_with_errors_tells_all_of_them(load: Load) -> None:
    text = PARTS + "    empty: []\n"

    with pytest.raises(ConfigError) as caught:
        load(text)

    assert [each.code for each in caught.value.problems] == ["unknown-processor", "empty-pipeline"]
    assert str(caught.value) == "\n".join(map(str, caught.value.problems))


async def test_errors_that_do_not_concern_the_pipeline_do_not_matter(load: Load) -> None:
    async with load(PARTS, only=["math.square"]) as service:
        assert await service.call("math.square", 4) == [16]

    with pytest.raises(ConfigError) as caught:
        load(PARTS, only=["wrong"])
    assert [each.code for each in caught.value.problems] == ["unknown-processor"]


async def test_an_unknown_pipeline_is_told_with_one_that_is_near(load: Load) -> None:
    async with load(PARTS, only=["math.square"]) as service:
        with pytest.raises(UnknownPipeline) as called:
            await service.call("math.sqare", 1)
        with pytest.raises(LookupError) as found:
            service.find("nothing")

    assert str(called.value) == (
        "there is no pipeline 'math.sqare'"
        " (did you mean 'math.square'? known: math.both, math.square)"
    )
    assert str(found.value).startswith("there is no pipeline 'nothing' (known: ")


async def test_a_pipeline_that_nobody_uses_is_there_where_it_needs_nothing_more(
    load: Load,
) -> None:
    unused = free_ports(1)[0]
    text = f"""\
system-events: {{startup: {{e: pipeline.used}}}}
contexts: {{it: {{a: 1}}}}
zmq: {{queues: {{out: {{type: PUSH, binds: ["tcp://127.0.0.1:{unused}"]}}}}}}
pipelines:
    used: [{{fetch-context: {{context: it}}}}]
    same: [{{fetch-context: {{context: it}}}}]
    more: [{{send-zmq-message: {{queue_name: out}}}}]
"""

    async with load(text) as service:
        assert await service.call("same", {}) == [{"it": {"a": 1}}]
        with pytest.raises(UnknownPipeline) as caught:
            await service.call("more", "x")

    what = "nothing uses pipeline 'more': what it needs is not started"
    assert str(caught.value) == what


async def test_find_returns_a_pipeline_by_its_name(load: Load) -> None:
    async with load(PARTS, only=["math.square"]) as service:
        pipeline = service.find("pipeline.math.square")

        assert pipeline is service.find("math.square")
        assert pipeline.now(5) == [25]


async def test_stop_ends_the_wait_and_says_the_exit_code(load: Load) -> None:
    async with load(PARTS, only=["math.square"]) as service:
        waiting = asyncio.ensure_future(service.stopped())
        assert not service.is_stopping
        service.stop()
        assert await waiting == 0
        service.stop(3)
        assert await service.stopped() == service.exit_code == 3
        service.stop()
        assert await service.stopped() == 3, "a code that was said stays"


async def test_a_pipeline_can_stop_the_service(load: Load) -> None:
    async with load("pipelines: {end: [shutdown]}\n") as service:
        await service.call("end", {})

        assert await service.stopped() == 0


async def test_events_are_fired_at_startup_and_shutdown(load: Load) -> None:
    text, _ = with_port(SITE)

    async with load(text) as service:
        [seen] = await service.call("seen")
        await until(lambda: "startup" in seen)
        assert seen == {"startup": True}

    assert seen == {"startup": True, "shutdown": True}


async def test_a_failing_event_does_not_end_the_service(
    load: Load, caplog: pytest.LogCaptureFixture
) -> None:
    text = """\
system-events: {startup: {e: pipeline.fail}, shutdown: {e: pipeline.fail}}
pipelines:
    fail: [{raise-exception: {type: ValueError}}]
    echo: [passthrough]
"""

    async with load(text, only=None) as service:
        assert not service.is_stopping
        assert service.exit_code == 0


async def test_a_queue_that_nobody_uses_is_not_bound(load: Load) -> None:
    used, unused = free_ports(2)
    text = f"""\
zmq:
    queues:
        used: {{type: PULL, binds: ["tcp://127.0.0.1:{used}"], processor: pipeline.p}}
        unused: {{type: PUSH, binds: ["tcp://127.0.0.1:{unused}"]}}
pipelines: {{p: [passthrough]}}
"""

    async with load(text):
        _, writer = await asyncio.open_connection("127.0.0.1", used)
        writer.close()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", unused)


async def test_an_address_in_use_is_told_and_nothing_stays_open(load: Load) -> None:
    text, url = with_port(SITE)

    async with load(text):
        second = load(text)
        with pytest.raises(EssentialFailed) as caught:
            async with second:
                pytest.fail("it cannot start")
        assert (await get(url)).text == "hello"

    place = url.removeprefix("http://").rstrip("/")
    assert str(caught.value) == f"web.site: cannot listen on {place}: the address is in use"
    async with load(text):
        assert (await get(url)).text == "hello"


async def test_a_lost_provider_takes_its_pipelines_and_their_pages_with_it(
    load: Load, tmp_path: Path
) -> None:
    (tmp_path / "bundle_flaky").mkdir()
    (tmp_path / "bundle_flaky" / "__init__.py").write_text(FLAKY)
    text, url = with_port("""\
plugins: {bundles: {mine: [bundle_flaky]}}
flaky: {}
web:
    site:
        port: 0
        routing:
            __config__: {processor: pipeline.outer}
            well: {__config__: {processor: pipeline.well}}
pipelines:
    outer: [{run-pipeline: {pipeline: inner}}]
    inner:
        - eval-lambda: {dependencies: {thing: flaky.thing}, lambda: "b: {**b, 'content': 'ok'}"}
        - write-web-response
    well: [{write-web-response: {fallback_content: well}}]
""")

    async with load(text) as service:
        flaky, outer = service.resources["flaky.thing"], service.resources["pipeline.outer"]
        assert (await get(url)).text == "ok"
        assert service.is_ready
        flaky_module: Any = sys.modules["bundle_flaky"]
        flaky_module.is_away = True
        flaky.value.set()
        await lost(outer)
        assert [(await get(url)).status_code, (await get(f"{url}well")).status_code] == [503, 200]
        assert not service.is_ready
        assert outer.reason == "'flaky.thing' is lost: the cable is cut"
        waiting = asyncio.ensure_future(service.call("well", {}))
        assert "request" in str(await asyncio.gather(waiting, return_exceptions=True))

        flaky_module.is_away = False
        await outer.wait()
        assert (await get(url)).text == "ok"
        assert service.is_ready


async def test_what_was_asked_is_answered_before_contexts_and_ticks_close(load: Load) -> None:
    text, url = with_port(SITE)
    service = load(text)

    async with asyncio.TaskGroup() as group, service:
        [pending] = await service.call("pending")
        asking = group.create_task(get(f"{url}later"))
        await until(lambda: "one" in pending)
        pending["release"] = True  # the tick that answers finds it, now or while it drains

    assert asking.result().text == "hello"


async def test_the_error_inside_is_the_error_outside(load: Load) -> None:
    text, url = with_port(SITE)

    with pytest.raises(ZeroDivisionError):
        async with load(text):
            raise ZeroDivisionError

    with pytest.raises(httpx.ConnectError):
        await get(url)


async def test_two_services_live_in_one_process(load: Load) -> None:
    first, first_url = with_port(SITE)
    second, second_url = with_port(SITE.replace("value: hello", "value: bye"))

    async with load(first), load(second):
        answers = [(await get(first_url)).text, (await get(second_url)).text]

    assert answers == ["hello", "bye"]


async def test_a_service_is_a_pipeline_of_batons_that_may_overlap(load: Load) -> None:
    text = "pipelines: {p: [{wait: {delay: 20ms}}, {eval-lambda: {lambda: 'n: n * 2'}}]}\n"

    async with load(text) as service:
        answers = await asyncio.gather(*(service.call("p", n) for n in range(50)))

    assert answers == [[2 * n] for n in range(50)]


async def test_a_pipeline_whose_provider_has_failed_for_good_is_not_waited_for(
    load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "bundle_failed").mkdir()
    (tmp_path / "bundle_failed" / "__init__.py").write_text(FAILED)
    service = load("""
plugins: {bundles: {mine: [bundle_failed]}}
failed: {}
pipelines: {p: [{run-pipeline: {pipeline: q}}], q: [use-failed]}
""")

    async with service:
        with pytest.raises(Misconfigured) as raised:
            await service.call("p")

    assert str(raised.value) == (
        "'pipeline.p' has failed for good:"
        " 'failed.thing' has failed for good: the address is nonsense"
    )


FAILED = '''\
from contextlib import asynccontextmanager
from dataclasses import field
from piped import Dependency, Misconfigured, Processor, Provider, processor, provider

@provider("failed")
class Failed(Provider):
    """Can never work."""

    def offers(self):
        return ("failed.thing",)

    @asynccontextmanager
    async def running(self):
        raise Misconfigured("the address is nonsense")
        yield {}

@processor("use-failed")
class UseFailed(Processor):
    """Needs it."""

    _thing: Dependency = field(default_factory=lambda: Dependency("failed.thing"), init=False)

    def process(self, baton):
        return baton
'''
