"""What a client has already is not sent again (RFC 9110, 13)."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from piped.providers.web.static.conditions import read_date
from tests.providers.web.static.support import CHANGED_S, DATE, TAG, ask, routing_of

pytestmark = pytest.mark.anyio

EARLIER = "Tue, 14 Nov 2023 22:13:19 GMT"
LATER = "Tue, 14 Nov 2023 22:13:21 GMT"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([], 200),
        ([f"if-none-match: {TAG}"], 304),
        ([f"if-none-match: W/{TAG}"], 304),
        ([f'if-none-match: "a,b", W/"c",{TAG}'], 304),
        (['if-none-match: "other"', f"if-none-match: {TAG}"], 304),
        (["if-none-match: *"], 304),
        (['if-none-match: "other"'], 200),
        ([f"if-none-match: {TAG[1:-1]}"], 200),
        (["if-none-match: "], 200),
        ([f"if-modified-since: {DATE}"], 304),
        ([f"if-modified-since: {LATER}"], 304),
        (["if-modified-since: Tuesday, 14-Nov-23 22:13:20 GMT"], 304),
        (["if-modified-since: Tue Nov 14 22:13:20 2023"], 304),
        ([f"if-modified-since: {EARLIER}"], 200),
        (["if-modified-since: yesterday"], 200),
        (["if-modified-since: Tue, 14 Nov 2023 22:13:21 +0000"], 200),
        (["if-modified-since: Tue, 31 Nov 2023 22:13:21 GMT"], 200),
        (["if-modified-since: Tue, 14 Nov 2023 99:99:99 GMT"], 200),
        (["if-modified-since: Tue, 14 Nov 99999999999999999999 22:13:21 GMT"], 200),
        (["if-unmodified-since: Tue, 14 Nov 2023 99999999999999999999:13:21 GMT"], 200),
        (['if-none-match: "other"', f"if-modified-since: {DATE}"], 200),
        ([f"if-none-match: {TAG}", f"if-modified-since: {EARLIER}"], 304),
        ([f"if-match: {TAG}"], 200),
        (["if-match: *"], 200),
        (['if-match: "other"'], 412),
        ([f"if-match: W/{TAG}"], 412),
        ([f"if-unmodified-since: {DATE}"], 200),
        ([f"if-unmodified-since: {EARLIER}"], 412),
        (["if-unmodified-since: yesterday"], 200),
        ([f"if-match: {TAG}", f"if-unmodified-since: {EARLIER}"], 200),
        ([f"if-match: {TAG}", f"if-none-match: {TAG}"], 304),
        ([f"if-none-match: {TAG}", "range: bytes=0-1"], 304),
        (['if-match: "other"', "range: bytes=0-1"], 412),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_conditions_hold_or_do_not(
    folder: Path, headers: list[str], status: int, method: str
) -> None:
    if method == "HEAD":
        headers = [each for each in headers if "range" not in each]

    answer = await ask(routing_of(folder), "/digits.txt", *headers, method=method)

    assert answer.status == status


async def test_not_modified_says_what_a_cache_needs_and_has_no_body(folder: Path) -> None:
    routing = routing_of(folder, max_age="1h")
    answer = await ask(routing, "/digits.txt", f"if-none-match: {TAG}")

    answer.headers.pop("date")
    assert (answer.body, answer.headers) == (
        b"",
        {
            "etag": TAG,
            "last-modified": DATE,
            "x-content-type-options": "nosniff",
            "cache-control": "max-age=3600",
        },
    )


async def test_another_version_has_another_tag(folder: Path) -> None:
    file, first = folder / "digits.txt", await ask(routing_of(folder), "/digits.txt")
    os.utime(file, ns=(0, CHANGED_S * 10**9 + 1))
    second = await ask(routing_of(folder), "/digits.txt")
    file.write_bytes(b"0")
    os.utime(file, ns=(0, CHANGED_S * 10**9))
    third = await ask(routing_of(folder), "/digits.txt")

    assert len({each.headers["etag"] for each in (first, second, third)}) == 3


@pytest.mark.parametrize(("changed_s", "told_s"), [(-(10**9), 0), (0, 0), (2**33, None)])
async def test_a_file_of_another_time_was_changed_before_now(
    folder: Path, changed_s: int, told_s: int | None
) -> None:
    os.utime(folder / "digits.txt", (changed_s, changed_s))
    before = int(time.time())
    answer = await ask(routing_of(folder), "/digits.txt")

    told = read_date(answer.headers["last-modified"])
    assert told is not None
    assert told == told_s if told_s is not None else before <= told <= time.time()
    assert answer.headers["etag"].endswith('-a"')
