"""What is answered: whole files, folders, other methods."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from piped.providers.web.static import reply
from tests.providers.web.static.support import DATE, TAG, ask, routing_of, write

pytestmark = pytest.mark.anyio


async def test_a_file_comes_with_what_caches_need(folder: Path) -> None:
    answer = await ask(routing_of(folder), "/digits.txt")

    answer.headers.pop("date")
    assert answer.headers == {
        "content-type": "text/plain; charset=utf-8",
        "content-length": "10",
        "etag": TAG,
        "last-modified": DATE,
        "accept-ranges": "bytes",
        "x-content-type-options": "nosniff",
    }


async def test_the_document_says_how_long_a_file_is_kept(folder: Path) -> None:
    answers = [await ask(routing_of(folder, max_age=each), "/digits.txt") for each in ("0s", "1h")]

    kept = [each.headers["cache-control"] for each in answers]
    assert kept == ["max-age=0", "max-age=3600"]


@pytest.mark.parametrize("target", ["/digits.txt", "/", "/docs", "/large.bin", "/bare/empty.bin"])
async def test_head_says_what_get_does(folder: Path, target: str) -> None:
    write(folder / "large.bin", bytes(200_000))
    got = await ask(routing_of(folder), target)
    head = await ask(routing_of(folder), target, method="HEAD")

    for each in (got, head):
        each.headers.pop("date")
    assert (head.status, head.headers) == (got.status, got.headers)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "PROPFIND"])
async def test_files_are_only_read(folder: Path, method: str) -> None:
    answers = [await ask(routing_of(folder), each, method=method) for each in ("/", "/digits.txt")]

    assert [(each.status, each.headers["allow"]) for each in answers] == [
        (405, "GET, HEAD, OPTIONS")
    ] * 2


async def test_options_says_so(folder: Path) -> None:
    answer = await ask(routing_of(folder), "/digits.txt", method="OPTIONS")

    assert (answer.status, answer.headers["allow"]) == (204, "GET, HEAD, OPTIONS")


@pytest.mark.parametrize(
    ("target", "location"),
    [
        ("/docs", "/docs/"),
        ("/docs?a=1&b=%20<c>", "/docs/?a=1&b=%20%3Cc%3E"),
        ("/%64ocs", "/docs/"),
        ("/a%20b%3F/c%23", "/a%20b%3F/c%23/"),
        ("/%5Cevil.example", "/%5Cevil.example/"),
        ("/javascript:x", "/javascript%3Ax/"),
        ("/caf%E9", "/caf%E9/"),
        ("/a%0D%0Ab", "/a%0D%0Ab/"),
    ],
)
async def test_a_folder_is_asked_for_with_a_slash(folder: Path, target: str, location: str) -> None:
    for name in ("a b?/c#", "\\evil.example", "javascript:x", os.fsdecode(b"caf\xe9"), "a\r\nb"):
        write(folder / name / "index.html", b"")

    answer = await ask(routing_of(folder), target)

    assert (answer.status, answer.headers["location"]) == (308, location)
    assert answer.body == b""


async def test_nobody_is_led_to_a_host_by_two_slashes(folder: Path) -> None:
    write(folder / "evil.example" / "index.html", b"")

    answers = [
        await ask(routing_of(folder), each)
        for each in ("//evil.example", "//evil.example/", "/%2Fevil.example", "/docs//..//")
    ]

    assert [each.status for each in answers] == [404] * 4


async def test_below_another_path_the_whole_path_is_kept(folder: Path) -> None:
    routing = {"assets": {"{version}": routing_of(folder)}}

    redirected = await ask(routing, "/assets/v%201/docs")
    index = await ask(routing, "/assets/v%201/docs/")
    root = await ask(routing, "/assets/v%201")

    assert (redirected.status, redirected.headers["location"]) == (308, "/assets/v%201/docs/")
    assert index.body == b"<h1>docs</h1>"
    assert (root.status, root.headers["location"]) == (308, "/assets/v%201/")


async def test_deeper_nodes_go_first(folder: Path) -> None:
    routing = {
        **routing_of(folder),
        "docs": {"__config__": {"processor": "pipeline.root"}},
        "new": {"__config__": {"redirect": "/"}},
    }

    answers = [await ask(routing, each) for each in ("/docs", "/docs/index.html", "/new")]

    assert [each.body for each in answers] == [b"hello", b"<h1>docs</h1>", b""]


async def test_a_rest_of_a_path_leads_to_files(folder: Path) -> None:
    routing = {"files": {"{rest:path}": routing_of(folder)}}

    answer = await ask(routing, "/files/docs/a%20b.txt")

    assert answer.body == b"a b"


async def test_an_index_may_have_another_name_or_none(folder: Path) -> None:
    answers = [
        await ask(routing_of(folder, index=each), "/") for each in ("digits.txt", None, "docs")
    ]

    assert [each.status for each in answers] == [200, 404, 404]
    assert answers[0].body == b"0123456789"


@pytest.mark.parametrize("target", ["/", "/?a=1"])
async def test_one_file_may_be_a_route(folder: Path, target: str) -> None:
    routing = {
        **routing_of(folder / "digits.txt"),
        "robots.txt": routing_of(folder / "digits.txt"),
    }

    found = await ask(routing, target)
    named = [await ask(routing, each) for each in ("/robots.txt", "/robots.txt/", "/robots.txt/a")]

    assert (found.status, found.body) == (200, b"0123456789")
    assert found.headers["content-type"] == "text/plain; charset=utf-8"
    assert [each.status for each in named] == [200, 200, 404]


async def test_one_file_leaves_what_is_below_to_a_pipeline(folder: Path) -> None:
    static = {"static": str(folder / "index.html"), "no_resource_processor": "pipeline.root"}
    routing = {"__config__": static}

    answers = [await ask(routing, each) for each in ("/", "/orders")]

    assert [each.body for each in answers] == [b"<h1>home</h1>", b"hello"]


async def test_what_a_node_says_of_its_methods_and_users_holds(folder: Path) -> None:
    routing = routing_of(folder)
    routing["__config__"] |= {"auth": {"bearer": "t0ken"}, "methods": ["GET"]}

    refused = await ask(routing, "/digits.txt")
    taken = await ask(routing, "/digits.txt", "authorization: Bearer t0ken")

    assert (refused.status, taken.status) == (401, 200)


async def test_a_small_file_that_shrinks_is_asked_for_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = reply.Files._planned

    def shrink(*arguments: Any) -> reply.Reply:
        planned = kept(*arguments)
        (folder / "digits.txt").write_bytes(b"01")
        return planned

    monkeypatch.setattr(reply.Files, "_planned", shrink)
    answer = await ask(routing_of(folder), "/digits.txt")

    assert (answer.status, answer.headers["retry-after"]) == (503, "1")
