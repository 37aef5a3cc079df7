"""The log of a worker in the log of its front: nothing lost, nothing taken for what it is not."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs

from piped.observe import logs
from piped.workers.logs import LONGEST, retell, tell

pytestmark = pytest.mark.anyio

LINE = {
    "timestamp": "2030-01-02T03:04:05.678901Z",
    "level": "warning",
    "logger": "piped.zmq",
    "event": "no room",
    "queue": "jobs",
    "journey": "0123",
}


async def told(*chunks: bytes) -> list[dict[str, Any]]:
    """Return what is logged of what comes bit by bit."""
    left = iter((*chunks, b""))

    async def read() -> bytes:
        return next(left)

    with capture_logs() as lines:
        await retell(read, "math-1")
    return [dict(each) for each in lines]


def events(lines: Iterable[dict[str, Any]]) -> list[str]:
    return [each["event"] for each in lines]


async def test_a_line_of_our_own_keeps_its_level_and_its_keys() -> None:
    lines = await told(json.dumps(LINE).encode() + b"\n")

    assert lines == [
        {
            "event": "no room",
            "log_level": "warning",
            "queue": "jobs",
            "journey": "0123",
            "worker": "math-1",
        }
    ]


def test_a_line_of_our_own_keeps_its_logger(caplog: pytest.LogCaptureFixture) -> None:
    root, settings = logging.getLogger(), structlog.get_config()
    handlers, level, raises = root.handlers[:], root.level, logging.raiseExceptions
    try:
        logs.configure()
        root.addHandler(caplog.handler)
        tell(json.dumps(LINE).encode(), "math-1")
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        logging.raiseExceptions = raises
        structlog.configure(**settings)

    assert [(each.name, each.levelname) for each in caplog.records] == [("piped.zmq", "WARNING")]


@pytest.mark.parametrize(
    "line",
    [
        "Traceback (most recent call last):",
        "{not: json}",
        "[1, 2]",
        json.dumps({"event": "of somebody else"}),
        json.dumps({**LINE, "level": "loud"}),
        json.dumps({**LINE, "event": 1}),
        json.dumps({**LINE, "self": 1}),
        json.dumps({**LINE, "exc_info": True}),
        "{" * 100_000,
    ],
)
async def test_any_other_line_is_told_as_text(line: str) -> None:
    lines = await told(f"{line}\r\n".encode())

    assert lines == [{"event": line, "log_level": "info", "worker": "math-1"}]


async def test_lines_come_bit_by_bit_and_the_last_one_needs_no_end() -> None:
    lines = await told(b"on", b"e\ntwo\n\nthr", b"ee\nfo", b"ur")

    assert events(lines) == ["one", "two", "three", "four"]


async def test_what_is_no_utf_8_does_not_stop_the_log() -> None:
    lines = await told(b"\xff\xfe\n", b'{"level": "\xff"}\n', b"next\n")

    assert events(lines) == ["\ufffd\ufffd", '{"level": "\ufffd"}', "next"]


async def test_a_line_without_end_is_told_in_pieces() -> None:
    chunk = b"x" * (LONGEST // 4)

    lines = await told(*[chunk] * 6, b"\nnext\n")

    assert [len(each) for each in events(lines)] == [5 * len(chunk), len(chunk), 4]


async def test_the_name_of_the_worker_is_ours() -> None:
    line = json.dumps({**LINE, "worker": "another"}).encode()

    lines = await told(line)

    assert lines[0]["worker"] == "math-1"
