from __future__ import annotations

import json
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.providers.web.support import Pipeline, problems_of, request_bytes, serving

pytestmark = pytest.mark.anyio


def route(methods: Any, **keys: Any) -> dict[str, Any]:
    return {"__config__": {"methods": methods, **keys}}


READ = route(["GET", "PUT"], processor="pipeline.root")


@pytest.mark.parametrize("method", ["GET", "PUT", "HEAD"])
async def test_a_route_takes_its_methods_and_head_where_it_takes_get(method: str) -> None:
    async with serving(routing=READ) as served:
        client = await served.connect()
        await client.send(request_bytes(method=method))
        answer = await client.answer(is_head=method == "HEAD")
        client.close()

    assert (answer.status, answer.headers["content-length"]) == (200, "5")


async def test_other_methods_are_405_and_told_which_are_taken() -> None:
    with capture_logs() as logs:
        async with serving(routing=READ) as served:
            client = await served.connect()
            await client.send(request_bytes(method="DELETE"))
            answer = await client.answer()
            page = await client.get("/", "accept: text/html")
            client.close()

    assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD, OPTIONS, PUT")
    assert answer.headers["content-type"] == "application/problem+json"
    said = json.loads(answer.body)
    assert (said["status"], said["title"]) == (405, "Method Not Allowed")
    assert page.status == 200
    (line,) = [each for each in logs if each["event"] == "request failed"]
    assert (line["status"], line["error"]) == (
        405,
        "MethodNotAllowed: expected GET, HEAD, OPTIONS, PUT, got DELETE",
    )


async def test_a_browser_is_shown_405_as_a_page() -> None:
    async with serving(routing=READ) as served:
        client = await served.connect()
        await client.send(request_bytes("/", "accept: text/html", method="POST"))
        answer = await client.answer()
        client.close()

    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert b"<h1>Method Not Allowed</h1>" in answer.body


async def test_options_are_answered_for_the_route() -> None:
    async with serving(routing=READ) as served:
        client = await served.connect()
        await client.send(request_bytes(method="OPTIONS"))
        answer = await client.answer()
        client.close()

    assert (answer.status, answer.headers["allow"]) == (204, "GET, HEAD, OPTIONS, PUT")
    assert served.pipeline.seen == []


async def test_a_route_that_takes_options_answers_them_itself() -> None:
    async with serving(routing=route(["OPTIONS"], processor="pipeline.root")) as served:
        client = await served.connect()
        await client.send(request_bytes(method="OPTIONS"))
        answer = await client.answer()
        client.close()

    assert answer.body == b"hello"


async def test_options_of_the_server_itself_are_answered() -> None:
    async with serving() as served:
        client = await served.connect()
        await client.send(request_bytes("*", method="OPTIONS"))
        answer = await client.answer()
        client.close()

    assert answer.status == 204


async def test_a_route_without_methods_takes_all() -> None:
    async with serving() as served:
        client = await served.connect()
        await client.send(request_bytes(method="PATCH") + request_bytes(method="OPTIONS"))
        answers = [await client.answer(), await client.answer()]
        client.close()

    assert [each.body for each in answers] == [b"hello", b"hello"]


async def test_each_method_has_its_pipeline() -> None:
    routing = route({"GET": "pipeline.show", "POST": "pipeline.add"})
    pipelines = {
        "show": Pipeline(lambda request: request.answer(b"shown")),
        "add": Pipeline(lambda request: request.answer(b"added", 201)),
    }
    async with serving(routing=routing, pipelines=pipelines) as served:
        client = await served.connect()
        shown = await client.get()
        await client.send(request_bytes(method="POST"))
        added = await client.answer()
        await client.send(request_bytes(method="PUT"))
        refused = await client.answer()
        client.close()

    assert (shown.body, added.status, added.body) == (b"shown", 201, b"added")
    assert (refused.status, refused.headers["allow"]) == (405, "GET, HEAD, OPTIONS, POST")


async def test_a_method_whose_pipeline_is_not_ready_is_503() -> None:
    routing = route({"GET": "pipeline.show"})
    async with serving(routing=routing, pipelines={"show": None}) as served:
        client = await served.connect()
        answer = await client.get()
        client.close()

    assert (answer.status, answer.headers["retry-after"]) == (503, "1")


async def test_methods_hold_for_what_is_below_a_rest_but_not_for_other_nodes() -> None:
    routing = {
        **route(["GET"], no_resource_processor="pipeline.root"),
        "own": {"__config__": {"processor": "pipeline.root"}},
    }
    async with serving(routing=routing) as served:
        client = await served.connect()
        await client.send(request_bytes("/some/thing", method="POST"))
        below = await client.answer()
        await client.send(request_bytes("/own", method="POST"))
        own = await client.answer()
        client.close()

    assert (below.status, own.status) == (405, 200)


async def test_methods_hold_for_sessions_too() -> None:
    routing = route(["GET"], websocket={"processor": "pipeline.root"})
    async with serving(routing=routing) as served:
        client = await served.connect()
        await client.send(request_bytes(method="POST"))
        answer = await client.answer()
        client.close()

    assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD, OPTIONS")


CONFIG = "web.site.routing.__config__"


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        (
            {"methods": ["GET", "post"], "processor": "pipeline.a"},
            f"{CONFIG}.methods[1]: wrong-value: methods: expected a method such as GET,"
            " got 'post' (did you mean 'POST'?)",
        ),
        (
            {"methods": {"get": "pipeline.a"}},
            f"{CONFIG}.methods.get: wrong-value: methods: expected a method such as GET,"
            " got 'get' (did you mean 'GET'?)",
        ),
        (
            {"methods": ["CONNECT"], "processor": "pipeline.a"},
            f"{CONFIG}.methods[0]: wrong-value: methods: expected a method such as GET,"
            " got 'CONNECT'",
        ),
        (
            {"methods": [], "processor": "pipeline.a"},
            f"{CONFIG}.methods: wrong-value: methods: expected at least one,"
            " as in [GET, POST], got []",
        ),
        (
            {"methods": ["GET"]},
            f"{CONFIG}.methods: wrong-value: methods: nothing here takes them",
        ),
        (
            {"methods": {"GET": "pipeline.a"}, "processor": "pipeline.b"},
            f"{CONFIG}: exactly-one: expected one thing that a path does,"
            " got 'processor' and 'methods with pipelines'",
        ),
    ],
)
async def test_what_is_wrong_with_methods_is_said(config: Any, problem: str) -> None:
    assert problems_of(routing={"__config__": config}) == [problem]
