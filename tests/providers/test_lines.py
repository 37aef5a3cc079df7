from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from piped.batons import MISSING
from piped.engine.journey import journey
from piped.errors import BatonError
from piped.providers._lines import Cutter, Feed, shape_of

pytestmark = pytest.mark.anyio


def cut(chunks: Iterable[bytes], delimiter: bytes = b"\n", max_bytes: int = 4) -> list[Any]:
    cutter = Cutter(delimiter, max_bytes)
    return [line for chunk in chunks for line in cutter.cut(chunk)] + cutter.end()


@pytest.mark.parametrize(
    ("chunks", "lines"),
    [
        ([], []),
        ([b""], []),
        ([b"a\nb\n"], [b"a", b"b"]),
        ([b"a\nb"], [b"a", b"b"]),
        ([b"\n\n"], [b"", b""]),
        ([b"a", b"b", b"\n", b"c\n"], [b"ab", b"c"]),
        ([b"abcd\nabcde\nf\n"], [b"abcd", None, b"f"]),
        ([b"ab", b"cde", b"fghij", b"k\nl\n"], [None, b"l"]),
        ([b"abc", b"def"], [None]),
        ([b"abcde"], [None]),
    ],
)
def test_bytes_are_cut_into_lines_and_those_too_long_are_none(
    chunks: list[bytes], lines: list[bytes | None]
) -> None:
    assert cut(chunks) == lines


@pytest.mark.parametrize("split", range(1, 13))
def test_a_delimiter_of_several_signs_may_come_in_parts(split: int) -> None:
    text = b"a<>b<x<><>cd"

    lines = cut([text[:split], text[split:]], b"<>")

    assert lines == [b"a", b"b<x", b"", b"cd"]


@given(st.text("ab\r\n"), st.integers(1, 5), st.sampled_from([b"\n", b"\r\n"]))
def test_it_does_not_matter_in_which_parts_lines_come(
    text: str, size: int, delimiter: bytes
) -> None:
    whole = text.encode()
    chunks = [whole[i : i + size] for i in range(0, len(whole), size)]

    expected = [each if len(each) <= 4 else None for each in whole.split(delimiter)]

    assert cut(chunks, delimiter) == (expected if expected[-1] != b"" else expected[:-1])


def test_a_line_without_end_takes_no_room() -> None:
    cutter = Cutter(b"<>", 1000)

    for _ in range(100):
        cutter.cut(b"x" * 1000)

    assert len(cutter._rest) <= 1001
    assert cutter.cut(b"<>y<>") == [None, b"y"]


@pytest.mark.parametrize(
    ("format_", "line", "baton"),
    [
        ("lines", "é\r".encode(), {"line": "é"}),
        ("lines", b"a\xffb", {"line": "a�b"}),
        ("lines", b"", {"line": ""}),
        ("bytes", b"a\xff\r", {"line": b"a\xff\r"}),
        ("json", b'{"n": 1}\r', {"line": '{"n": 1}', "data": {"n": 1}}),
        ("json", b"null", {"line": "null", "data": None}),
        ("json", b"9" * 30, {"line": "9" * 30, "data": 10**30 - 1}),
        ("json", b" \t", MISSING),
    ],
)
def test_a_line_becomes_a_baton(format_: Any, line: bytes, baton: Any) -> None:
    assert shape_of(format_)(line) == baton


def test_only_a_line_feed_takes_a_carriage_return_with_it() -> None:
    assert shape_of("lines", "\0")(b"a\r") == {"line": "a\r"}


@pytest.mark.parametrize(
    ("line", "error"),
    [
        (b"nope", "'nope': invalid character (byte 4)"),
        (b'{"n": ', "'{\"n\": ': input data was truncated"),
        (b"[" * 100_000, f"'{'[' * 77}'...: it is nested too deep"),
        (b'"\xff"', "'\"�\"': it is not UTF-8"),
    ],
)
def test_a_line_that_is_no_json_is_an_error(line: bytes, error: str) -> None:
    with pytest.raises(BatonError) as caught:
        shape_of("json")(line)

    assert str(caught.value) == f"expected JSON, got {error}"


class Source:
    """Gives chunks, and keeps what becomes of their lines."""

    def __init__(self, *chunks: bytes) -> None:
        self.chunks = list(chunks)
        self.batons: list[str] = []
        self.journeys: list[int] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.at_once = 0
        self.most = 0

    async def read(self) -> bytes:
        await asyncio.sleep(0)
        return self.chunks.pop(0) if self.chunks else b""

    async def send(self, baton: dict[str, str]) -> None:
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        self.batons.append(baton["line"])
        self.journeys.append(journey.get())
        await self.gate.wait()
        self.at_once -= 1
        if baton["line"].startswith("bad"):
            raise ValueError(baton["line"])

    def feed(self, **settings: Any) -> Feed:
        shape = shape_of(settings.pop("format", "lines"))
        return Feed(source="it", send=self.send, shape=shape, max_line=8, **settings)


async def test_lines_are_treated_in_order_each_on_a_journey_of_its_own() -> None:
    source = Source(b"a\nb\n", b"c")
    feed = source.feed()

    await feed.run(source.read)

    assert source.batons == ["a", "b", "c"]
    assert len({*source.journeys} - {0}) == 3
    assert source.most == 1
    assert feed.number == 3
    assert journey.get() == 0


async def test_a_line_that_fails_is_logged_with_its_number_and_the_next_one_comes() -> None:
    source = Source(b"a\nbad\nc\n")

    with capture_logs() as lines:
        await source.feed().run(source.read)

    assert source.batons == ["a", "bad", "c"]
    assert lines == [
        {
            "event": "line failed",
            "source": "it",
            "number": 2,
            "exc_info": True,
            "log_level": "error",
        }
    ]


async def test_a_line_that_is_too_long_is_dropped_counted_and_logged() -> None:
    source = Source(b"a\n" + b"x" * 9 + b"\nb\n" + b"y" * 100)
    feed = source.feed()

    with capture_logs() as lines:
        await feed.run(source.read)

    assert source.batons == ["a", "b"]
    assert (feed.number, feed.dropped) == (4, 2)
    assert lines == [
        {
            "event": "line dropped",
            "source": "it",
            "number": number,
            "longer_than_bytes": 8,
            "dropped": dropped,
            "log_level": "warning",
        }
        for dropped, number in enumerate((2, 4), 1)
    ]


async def test_a_line_that_is_no_baton_is_told_without_a_traceback() -> None:
    source = Source(b"1\n\nnope\n2\n")

    with capture_logs() as lines:
        await source.feed(format="json").run(source.read)

    assert source.batons == ["1", "2"]
    assert [(each["event"], each["number"], each["log_level"]) for each in lines] == [
        ("line failed", 3, "error")
    ]
    assert "exc_info" not in lines[0]


async def test_so_many_lines_are_treated_at_once_and_no_more() -> None:
    source = Source(b"a\nb\nbad\nd\ne\n")
    source.gate.clear()

    running = asyncio.create_task(source.feed(in_flight=3).run(source.read))
    for _ in range(20):
        await asyncio.sleep(0)
    before = list(source.batons)
    source.gate.set()
    await running

    assert before == ["a", "b", "bad"]
    assert source.batons == ["a", "b", "bad", "d", "e"]
    assert source.most == 3


async def test_a_feed_that_is_stopped_ends_with_the_line_it_treats_and_tells_of_the_rest() -> None:
    source = Source(b"a\nb\nc\n", b"d\n")
    source.gate.clear()
    feed = source.feed()

    running = asyncio.create_task(feed.run(source.read))
    for _ in range(10):
        await asyncio.sleep(0)
    feed.stop()
    source.gate.set()
    with capture_logs() as lines:
        await running

    assert source.batons == ["a"]
    assert lines == [
        {"event": "lines not treated", "source": "it", "count": 2, "log_level": "warning"}
    ]


async def test_others_have_their_turn_while_many_lines_come() -> None:
    source = Source(b"a\n" * 20_000)
    turns = 0

    running = asyncio.create_task(source.feed().run(source.read))
    while not running.done():
        await asyncio.sleep(0)
        turns += 1

    assert len(source.batons) == 20_000
    assert turns > 5
