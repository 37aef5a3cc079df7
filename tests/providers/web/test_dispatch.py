from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from structlog.testing import capture_logs

from piped.engine.journey import journey, journey_text
from piped.errors import CircuitOpen, QueueFull, Throttled, Unavailable
from piped.providers.web import Request
from piped.resources import Resource
from piped.spec import dependencies_of
from tests.conftest import until
from tests.providers.web.support import Pipeline, request_bytes, serving

pytestmark = pytest.mark.anyio


class Teapot(Exception):
    http_status = 418


def raising(error: BaseException) -> Any:
    def pipeline(request: Request) -> None:
        request.set_header("x-secret", "1")
        request.write(b"half an answer")
        raise error

    return pipeline


async def test_an_unknown_path_is_404() -> None:
    with capture_logs() as logs:
        async with serving() as served:
            client = await served.connect()
            answer = await client.get("/nope")
            client.close()

    assert answer.status == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert set(json.loads(answer.body)) == {"status", "title", "id"}
    assert json.loads(answer.body)["title"] == "Not Found"
    (line,) = [each for each in logs if each["event"] == "no such path"]
    assert (line["log_level"], line["path"]) == ("info", "/nope")
    assert served.pipeline.seen == []


async def test_a_browser_gets_a_page() -> None:
    async with serving() as served:
        client = await served.connect()
        answer = await client.get("/<script>", "accept: text/html,*/*")
        client.close()

    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert b"<h1>Not Found</h1>" in answer.body
    assert b"script" not in answer.body


async def test_a_pipeline_that_is_not_ready_is_503_at_once_with_one_line_a_second() -> None:
    with capture_logs() as logs:
        async with serving(
            routing={"__config__": {"processor": "pipeline.a"}}, pipelines={"a": None}
        ) as served:
            client = await served.connect()
            answers = [await client.get() for _ in range(3)]
            served.server.dispatcher.quiet_until = 0
            await client.get()
            client.close()

    lines = [each for each in logs if each["event"] == "request not served"]
    assert {(each.status, each.headers["retry-after"]) for each in answers} == {(503, "1")}
    assert len(lines) == 2
    assert lines[0] == {
        "event": "request not served",
        "log_level": "warning",
        "site": "web.site",
        "method": "GET",
        "path": "/",
        "journey": json.loads(answers[0].body)["id"],
        "reason": "'pipeline.a' is not available: not started yet",
    }


async def test_an_overload_is_503_and_no_error_of_ours() -> None:
    with capture_logs() as logs:
        async with serving(raising(QueueFull("the backlog is full"))) as served:
            client = await served.connect()
            answer = await client.get()
            client.close()

    (line,) = [each for each in logs if each["event"] != "listening"]
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")
    assert (line["event"], line["log_level"]) == ("request not served", "warning")
    assert line["reason"] == "QueueFull: the backlog is full"
    assert "exc_info" not in line


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (Throttled("too soon", 2.2), (429, "3")),
        (CircuitOpen("it is open", 30.0), (503, "30")),
        (Throttled("too soon", float("nan")), (429, None)),
    ],
)
async def test_an_error_that_knows_when_to_come_again_says_so(
    error: Exception, expected: tuple[int, str | None]
) -> None:
    async with serving(raising(error)) as served:
        client = await served.connect()
        answer = await client.get()
        client.close()

    assert (answer.status, answer.headers.get("retry-after")) == expected


async def test_a_pipeline_that_was_lost_meanwhile_is_503() -> None:
    resources: list[Resource] = []

    def pipeline(request: Request) -> None:
        resources[0].lost("gone")
        raise Unavailable("gone")

    async with serving(pipeline) as served:
        (dependency,) = dependencies_of(served.site)
        assert isinstance(dependency.resource, Resource)
        resources.append(dependency.resource)
        client = await served.connect()
        answer = await client.get()
        client.close()

    assert answer.status == 503


@pytest.mark.parametrize("is_async", [False, True])
async def test_an_error_is_500_and_its_facts_are_in_the_log_only(is_async: bool) -> None:
    error = RuntimeError("the password is x")
    error.add_note("in pipelines.web.compute[0] (site.yaml:3:7)")
    sync = raising(error)

    async def later(request: Request) -> None:
        await asyncio.sleep(0)
        sync(request)

    with capture_logs() as logs:
        async with serving(later if is_async else sync) as served:
            client = await served.connect()
            answer = await client.get("/?n=1")
            client.close()

    (request,) = served.pipeline.seen
    (line,) = [each for each in logs if each["event"] == "request failed"]
    assert json.loads(answer.body) == {
        "status": 500,
        "title": "Internal Server Error",
        "id": journey_text(request.id),
    }
    assert b"password" not in answer.head + answer.body
    assert "x-secret" not in answer.headers
    assert line == {
        "event": "request failed",
        "log_level": "error",
        "site": "web.site",
        "method": "GET",
        "path": "/",
        "status": 500,
        "error": "RuntimeError: the password is x",
        "at": "in pipelines.web.compute[0] (site.yaml:3:7)",
        "exc_info": error,
    }


async def test_a_missing_argument_is_400_and_no_error_of_ours() -> None:
    with capture_logs() as logs:
        async with serving(lambda request: request.args["n"]) as served:
            client = await served.connect()
            answer = await client.get("/?m=1")
            client.close()

    (line,) = [each for each in logs if each["event"] == "request failed"]
    assert answer.status == 400
    assert line["log_level"] == "info"
    assert line["error"] == "MissingArgument: the request has no argument 'n'"
    assert "exc_info" not in line


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ValueError("x"), 400),
        (UnicodeError("x"), 400),  # a kind of ValueError
        (json.JSONDecodeError("x", "", 0), 422),  # one too, but it is nearer
        (KeyError("x"), 500),
        (Teapot(), 418),
    ],
)
async def test_errors_are_mapped_to_statuses(error: Exception, status: int) -> None:
    errors = {
        "ValueError": 400,
        "json.JSONDecodeError": 422,
        "tests.providers.web.test_dispatch.Teapot": 400,
    }
    async with serving(raising(error), errors=errors) as served:
        client = await served.connect()
        answer = await client.get()
        client.close()

    assert answer.status == status


@pytest.mark.parametrize(("given", "level"), [(None, "error"), ("warning", "warning")])
async def test_the_level_of_failures_is_a_parameter(given: str | None, level: str) -> None:
    with capture_logs() as logs:
        async with serving(raising(RuntimeError()), log_exceptions=given) as served:
            client = await served.connect()
            await client.get()
            client.close()

    assert [each["log_level"] for each in logs if each["event"] == "request failed"] == [level]


async def test_a_pipeline_that_fails_after_its_answer_is_only_logged() -> None:
    def pipeline(request: Request) -> None:
        request.answer(b"fine")
        raise RuntimeError("too late")

    with capture_logs() as logs:
        async with serving(pipeline) as served:
            client = await served.connect()
            answer = await client.get()
            client.close()

    (line,) = [each for each in logs if "error" in each]
    assert (answer.status, answer.body) == (200, b"fine")
    assert line["event"] == "pipeline failed after the answer"
    assert served.site.counters.second_answers == 0


async def test_the_journey_is_set_only_while_a_request_is_treated() -> None:
    journeys: list[int] = []
    routing = {
        "__config__": {"processor": "pipeline.root"},
        "later": {"__config__": {"processor": "pipeline.later"}},
    }

    async def later(request: Request) -> None:
        await asyncio.sleep(0)
        journeys.append(journey.get())
        request.finish()

    def sync(request: Request) -> None:
        journeys.append(journey.get())
        request.finish()

    later_pipeline = Pipeline(later)
    async with serving(sync, routing, {"later": later_pipeline}) as served:
        client = await served.connect()
        await client.send(request_bytes("/later") + request_bytes())
        await client.answer()
        await client.answer()
        client.close()

    assert journeys == [later_pipeline.seen[0].id, served.pipeline.seen[0].id]
    assert journey.get() == 0


async def test_a_pipeline_knows_the_client_and_the_path() -> None:
    routing = {"a": {"__config__": {"no_resource_processor": "pipeline.root"}}}
    async with serving(lambda request: request.finish(), routing) as served:
        client = await served.connect()
        await client.get("/a/b/c")
        client.close()

    (request,) = served.pipeline.seen
    assert (request.prepath, request.postpath) == (["a"], ["b", "c"])
    assert request.client_ip == request.getClientIP() == "127.0.0.1"


async def get_debug_page(host: str = "localhost", **parameters: Any) -> bytes:
    async with serving(raising(RuntimeError("<b>inside</b>")), **parameters) as served:
        client = await served.connect()
        await client.send(b"GET / HTTP/1.1\r\nhost: " + host.encode() + b"\r\n\r\n")
        answer = await client.answer()
        client.close()
    assert answer.status == 500
    return answer.body


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1"])
async def test_a_trusted_client_is_shown_the_traceback_when_debugging(name: str) -> None:
    page = await get_debug_page(is_debug=True, debug={"allow": [name], "reap_interval": 60})

    assert b"RuntimeError: &lt;b&gt;inside&lt;/b&gt;" in page
    assert b"test_dispatch.py" in page


@pytest.mark.parametrize(
    "parameters",
    [
        {"debug": {"allow": ["localhost"]}},
        {"debug": {"allow": ["10.0.0.1"]}, "is_debug": True},
        {"debug": {"allow": []}, "is_debug": True},
        {"debug": {"allow": ["localhost"]}, "is_debug": True, "listen": "0.0.0.0:0"},
        {"debug": {"allow": ["localhost"]}, "is_debug": True, "host": "evil.example"},
        {"debug": {"allow": ["localhost"]}, "is_debug": True, "host": "localhost.evil.example"},
    ],
)
async def test_nobody_else_is_shown_a_traceback(parameters: dict[str, Any]) -> None:
    page = await get_debug_page(**parameters)

    assert b"inside" not in page


async def test_a_second_request_is_treated_while_the_first_pipeline_goes_on() -> None:
    go = asyncio.Event()

    async def pipeline(request: Request) -> None:
        request.answer(b"x")
        await go.wait()

    async with serving(pipeline) as served:
        client = await served.connect()
        answers = [await client.get(), await client.get()]
        await until(lambda: len(served.pipeline.seen) == 2)
        go.set()
        client.close()

    assert [each.status for each in answers] == [200, 200]
