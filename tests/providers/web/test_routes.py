"""What a node of the tree says of the requests below it, through a real socket."""

from __future__ import annotations

from typing import Any

import pytest

from piped.providers.web import Request
from tests.providers.web.support import problems_of, request_bytes, serving

pytestmark = pytest.mark.anyio

PATTERNS = {
    "orders": {
        "{id:int}": {
            "__config__": {"processor": "pipeline.root"},
            "files": {"{rest:path}": {"__config__": {"processor": "pipeline.root"}}},
        }
    }
}


async def test_a_pipeline_sees_the_parameters_of_its_path() -> None:
    seen: list[Any] = []

    def pipeline(request: Request) -> None:
        seen.append((request.params, request.prepath, request.postpath))
        request.answer(b"")

    async with serving(pipeline, PATTERNS) as served:
        client = await served.connect()
        await client.get("/orders/7?id=8")
        await client.get("/orders/7/files/a/b%20c")
        missed = await client.get("/orders/seven")
        client.close()

    assert seen == [
        ({"id": 7}, ["orders", "7"], []),
        ({"id": 7, "rest": "a/b c"}, ["orders", "7", "files"], ["a", "b c"]),
    ]
    assert missed.status == 404


async def test_a_path_without_parameters_has_none() -> None:
    seen: list[Any] = []

    def pipeline(request: Request) -> None:
        seen.append((request.params, request.prepath, request.postpath, request.user))
        request.answer(b"")

    node = {"__config__": {"processor": "pipeline.root"}}
    routing = {**node, "a": {"b": node}}
    async with serving(pipeline, routing) as served:
        client = await served.connect()
        for path in ("/", "/a/b", "/a/b/", "/a/%62"):
            await client.get(path)
        client.close()

    assert seen == [({}, [], [], ""), *[({}, ["a", "b"], [], "")] * 3]


SIZES: dict[str, Any] = {
    "__config__": {"processor": "pipeline.root"},
    "large": {
        "__config__": {"processor": "pipeline.root", "max_body": "1KiB"},
        "deep": {"{id}": {"__config__": {"no_resource_processor": "pipeline.root"}}},
    },
    "small": {"__config__": {"processor": "pipeline.root", "max_body": 10}},
    "none": {"__config__": {"processor": "pipeline.root", "max_body": 0}},
}


@pytest.mark.parametrize(
    ("target", "size", "status"),
    [
        ("/", 100, 200),
        ("/", 101, 413),
        ("/nope", 100, 404),
        ("/nope", 101, 413),
        ("/large", 1024, 200),
        ("/large?a=1", 1025, 413),
        ("/large/deep/x/y", 1024, 200),
        ("/l%61rge", 1024, 200),
        ("/small", 10, 200),
        ("/small", 11, 413),
        ("/none", 1, 413),
    ],
)
@pytest.mark.parametrize("is_chunked", [False, True])
async def test_a_node_says_how_large_a_body_may_be(
    target: str, size: int, status: int, is_chunked: bool
) -> None:
    sent = request_bytes(target, method="PUT", body="x" * size)
    if is_chunked:
        head = request_bytes(target, "transfer-encoding: chunked", method="PUT")
        sent = head + b"%x\r\n%b\r\n0\r\n\r\n" % (size, b"x" * size)
    async with serving(routing=SIZES, max_body=100) as served:
        client = await served.connect()
        await client.send(sent)
        answer = await client.answer()
        client.close()

    assert answer.status == status


async def test_the_next_request_of_a_connection_has_the_size_of_its_own_route() -> None:
    async with serving(routing=SIZES, max_body=100) as served:
        client = await served.connect()
        statuses = []
        for target, size in (("/large", 1000), ("/small", 10), ("/", 100), ("/small", 11)):
            await client.send(request_bytes(target, method="PUT", body="x" * size))
            statuses.append((await client.answer()).status)
        client.close()

    assert statuses == [200, 200, 200, 413]


async def test_the_problems_of_a_config_are_where_they_are() -> None:
    problems = problems_of(routing={"{id}": {"__config__": {"max_body": "much"}}})

    assert problems == [
        "web.site.routing.{id}.__config__.max_body: wrong-value:"
        " expected a size such as 64KiB or 1MiB, got 'much'"
    ]
