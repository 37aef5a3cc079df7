"""Folders are listed where the document says so, and show nothing that would not be sent."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from piped.providers.web.static import listing
from tests.providers.web.static.support import ask, routing_of, write

pytestmark = pytest.mark.anyio


def rows_of(body: bytes) -> list[tuple[str, ...]]:
    """Return link, name, size and time of each row."""
    row = re.compile(r'<tr><td><a href="(.*?)">(.*?)</a><td>(.*?)<td>(.*)')
    return [match.groups() for match in row.finditer(body.decode())]


async def test_a_folder_without_an_index_is_listed(folder: Path) -> None:
    (folder / "bare" / "sub").mkdir()
    os.utime(folder / "bare" / "sub", (0, 0))
    write(folder / "bare" / "a b.txt", b"12345")

    answer = await ask(routing_of(folder, listing=True), "/bare/")

    assert answer.status == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert rows_of(answer.body) == [
        ("../", "../", "", ""),
        ("sub/", "sub/", "", "1970-01-01 00:00"),
        ("a%20b.txt", "a b.txt", "5", "2023-11-14 22:13"),
        ("empty.bin", "empty.bin", "0", "2023-11-14 22:13"),
    ]
    assert b"<h1>/bare/</h1>" in answer.body
    assert b"There are more" not in answer.body


async def test_an_index_goes_before_a_list(folder: Path) -> None:
    answer = await ask(routing_of(folder, listing=True), "/docs/")

    assert answer.body == b"<h1>docs</h1>"


async def test_the_root_has_nothing_above(folder: Path) -> None:
    answer = await ask(routing_of(folder, listing=True, index=None), "/")

    assert [name for _, name, *_ in rows_of(answer.body)] == [
        *("bare/", "docs/"),
        *("digits.txt", "index.html"),
    ]


async def test_head_gets_the_length_of_the_list(folder: Path) -> None:
    routing = routing_of(folder, listing=True)
    got = await ask(routing, "/bare/")
    head = await ask(routing, "/bare/", method="HEAD")

    assert head.headers["content-length"] == f"{len(got.body)}"


async def test_names_are_text_and_no_markup(folder: Path) -> None:
    os.mkdir(folder / "<b>&")
    write(folder / "<b>&" / '"><script>', b"")
    write(folder / "<b>&" / "javascript:alert(1)", b"")
    write(folder / "<b>&" / os.fsdecode(b"caf\xe9"), b"")

    answer = await ask(routing_of(folder, listing=True), "/%3Cb%3E&/")

    assert b"<title>/&lt;b&gt;&amp;/</title>" in answer.body
    assert [each[:2] for each in rows_of(answer.body)] == [
        ("../", "../"),
        ("%22%3E%3Cscript%3E", "&quot;&gt;&lt;script&gt;"),
        ("caf%E9", "caf\N{REPLACEMENT CHARACTER}"),
        ("javascript%3Aalert%281%29", "javascript:alert(1)"),
    ]
    assert answer.headers["content-security-policy"] == (
        "default-src 'none'; style-src 'unsafe-inline'"
    )


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({}, ["empty.bin", "same"]),
        ({"hidden": True}, [".dot", "empty.bin", "same"]),
        ({"follow_links": True}, ["outside/", "empty.bin", "same"]),
    ],
)
async def test_only_what_would_be_sent_is_listed(
    folder: Path, options: dict[str, bool], names: list[str]
) -> None:
    bare = folder / "bare"
    write(bare / ".dot", b"")
    os.mkfifo(bare / "pipe")
    (bare / "same").symlink_to("empty.bin")
    (bare / "outside").symlink_to("../../outside")
    (bare / "broken").symlink_to("nowhere")

    answer = await ask(routing_of(folder, listing=True, **options), "/bare/")

    assert [name for _, name, *_ in rows_of(answer.body)] == ["../", *names]


async def test_a_list_has_an_end(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "MOST", 3)
    for number in range(5):
        write(folder / "bare" / f"{number}", b"")

    answer = await ask(routing_of(folder, listing=True), "/bare/")

    assert len(rows_of(answer.body)) == 1 + 3
    assert b"<p>There are more.</p>" in answer.body


async def test_times_of_another_age_are_listed(folder: Path) -> None:
    os.utime(folder / "bare" / "empty.bin", (-(10**10), -(10**10)))

    answer = await ask(routing_of(folder, listing=True), "/bare/")

    assert rows_of(answer.body)[1][3] == "1970-01-01 00:00"
