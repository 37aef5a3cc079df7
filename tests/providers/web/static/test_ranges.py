"""Parts of a file (RFC 9110, 14)."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from piped.providers.web.static.ranges import GAP, read_ranges
from tests.providers.web.static.support import DATE, TAG, ask, routing_of, write


class TestOfAFile:
    pytestmark = pytest.mark.anyio

    @pytest.mark.parametrize(
        ("value", "content_range", "body"),
        [
            ("bytes=0-3", "bytes 0-3/10", b"0123"),
            ("bytes=0-0", "bytes 0-0/10", b"0"),
            ("bytes=9-", "bytes 9-9/10", b"9"),
            ("bytes=0-", "bytes 0-9/10", b"0123456789"),
            ("bytes=4-99999999999999", "bytes 4-9/10", b"456789"),
            ("bytes=-3", "bytes 7-9/10", b"789"),
            ("bytes=-99", "bytes 0-9/10", b"0123456789"),
            ("BYTES = 1-2", "bytes 1-2/10", b"12"),
            ("bytes=1-2,20-30", "bytes 1-2/10", b"12"),
            ("bytes=1-2,4-5", "bytes 1-5/10", b"12345"),
            ("bytes=4-5, 1-4", "bytes 1-5/10", b"12345"),
        ],
    )
    async def test_a_part_is_sent(
        self, folder: Path, value: str, content_range: str, body: bytes
    ) -> None:
        answer = await ask(routing_of(folder), "/digits.txt", f"range: {value}")

        assert (answer.status, answer.body) == (206, body)
        assert answer.headers["content-range"] == content_range
        assert answer.headers["content-type"] == "text/plain; charset=utf-8"
        assert (answer.headers["etag"], answer.headers["last-modified"]) == (TAG, DATE)

    @pytest.mark.parametrize("value", ["bytes=10-", "bytes=10-20", "bytes=-0", "bytes=10-,11-"])
    async def test_what_no_part_of_is_there_is_416(self, folder: Path, value: str) -> None:
        answer = await ask(routing_of(folder), "/digits.txt", f"range: {value}")

        assert (answer.status, answer.headers["content-range"]) == (416, "bytes */10")

    @pytest.mark.parametrize(
        "value",
        [
            "",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=a-b",
            "bytes=3-1",
            "bytes=0-1,3-1",
            "bytes=+1-2",
            "bytes=1 - 2",
            "bytes=0x1-2",
            "bytes=\u0661-2",
            "bytes=1-2-3",
            "bytes=1-2,",
            "items=0-1",
            "bytes=" + "1" * 20 + "-",
            "bytes=" + ",".join(["0-0"] * 17),
            "bytes=0-,0-",
            "bytes=" + ",".join(["0-9"] * 16),
        ],
    )
    async def test_what_makes_no_sense_or_too_much_work_is_ignored(
        self, folder: Path, value: str
    ) -> None:
        answer = await ask(routing_of(folder), "/digits.txt", f"range: {value}")

        assert (answer.status, answer.body) == (200, b"0123456789")
        assert "content-range" not in answer.headers

    async def test_an_empty_file_has_no_parts(self, folder: Path) -> None:
        answers = [
            await ask(routing_of(folder), "/bare/empty.bin", f"range: bytes={each}")
            for each in ("0-", "-1")
        ]

        assert [(each.status, each.body) for each in answers] == [(200, b"")] * 2

    @pytest.mark.parametrize(
        ("value", "status"),
        [
            (TAG, 206),
            (f"W/{TAG}", 200),
            ('"other"', 200),
            (DATE, 206),
            ("Tue, 14 Nov 2023 22:13:21 GMT", 200),
            ("nonsense", 200),
        ],
    )
    async def test_a_client_with_another_version_gets_the_whole(
        self, folder: Path, value: str, status: int
    ) -> None:
        more = ("range: bytes=0-1", f"if-range: {value}")
        answer = await ask(routing_of(folder), "/digits.txt", *more)

        assert answer.status == status

    async def test_head_has_no_parts(self, folder: Path) -> None:
        answer = await ask(routing_of(folder), "/digits.txt", "range: bytes=0-1", method="HEAD")

        assert (answer.status, answer.headers["content-length"]) == (200, "10")

    @pytest.mark.parametrize("size", [1000, 300_000])
    async def test_parts_that_are_apart_come_one_after_the_other(
        self, folder: Path, size: int
    ) -> None:
        content = bytes(i % 251 for i in range(size))
        write(folder / "much.bin", content)
        half = size // 2
        value = f"range: bytes={half}-{size - 200}, 0-99"
        answer = await ask(routing_of(folder), "/much.bin", value)

        match = re.fullmatch(
            r"multipart/byteranges; boundary=(\w+)", answer.headers["content-type"]
        )
        assert answer.status == 206
        assert match
        assert "content-range" not in answer.headers
        assert (
            answer.body
            == b"".join(
                b"--%b\r\ncontent-type: application/octet-stream\r\n"
                b"content-range: bytes %d-%d/%d\r\n\r\n%b\r\n"
                % (match[1].encode(), start, end, size, content[start : end + 1])
                for start, end in ((half, size - 200), (0, 99))
            )
            + b"--%b--\r\n" % match[1].encode()
        )


NUMBERS = st.one_of(st.just(""), st.integers(0, 2000).map(str))


@settings(deadline=None)
@given(st.lists(st.tuples(NUMBERS, NUMBERS), max_size=20), st.integers(0, 1000))
def test_ranges_are_in_the_file_apart_and_not_longer_than_it(
    given_ranges: list[tuple[str, str]], size: int
) -> None:
    text = ",".join(f"{first}-{last}" for first, last in given_ranges)
    ranges = read_ranges(f"bytes={text}", size) or []

    assert all(0 <= start < end <= size for start, end in ranges)
    assert sum(end - start for start, end in ranges) <= size
    ordered = sorted(ranges)
    assert all(a[1] + GAP < b[0] for a, b in pairwise(ordered))


@settings(deadline=None)
@given(st.text(max_size=40), st.integers(0, 100))
def test_no_text_breaks_the_reading(text: str, size: int) -> None:
    assert read_ranges(text, size) in (None, []) or "bytes" in text.lower()
