"""The frames between fronts and workers: their bytes are a promise to other versions."""

from __future__ import annotations

from typing import Final

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from piped.workers.frames import (
    SPOKEN,
    VERSION,
    Answer,
    BadFrame,
    Beat,
    Hello,
    Started,
    ToFront,
    Welcome,
    Work,
    common_version,
    encoded,
    read_by_front,
    read_by_worker,
)

ID: Final = bytes(range(16))

FIRST_RELEASE: Final[list[tuple[ToFront, str]]] = [
    (
        Hello((1,), "math", "math-1", 42, "host", 8),
        "01 91 97 01 91 01 a4 6d617468 a6 6d6174682d31 2a a4 686f7374 08",
    ),
    (Started(((ID, 1),)), "01 91 92 05 91 92 c4 10 000102030405060708090a0b0c0d0e0f 01"),
    (Beat(((ID, 2),), 8), "01 91 93 09 91 92 c4 10 000102030405060708090a0b0c0d0e0f 02 08"),
]
"""What the first release sends, byte by byte: those after it must understand it."""


@pytest.mark.parametrize(("frame", "text"), FIRST_RELEASE)
def test_a_worker_of_the_first_release_is_understood(frame: ToFront, text: str) -> None:
    assert read_by_front(bytes.fromhex(text)) == [frame]


def test_a_worker_of_the_first_release_may_leave_out_what_has_a_default() -> None:
    short = b"\x01" + msgspec.msgpack.encode([[8, ID, 1, True, b"[6]"]])

    assert read_by_front(short) == [Answer(ID, 1, True, b"[6]")]


def test_what_a_later_version_has_added_is_skipped() -> None:
    long = b"\x01" + msgspec.msgpack.encode([[2, 1, ID, 0.5, "json", False, "something new", 2]])

    assert read_by_worker(long) == [Welcome(1, ID, 0.5)]


def test_work_comes_back_as_it_was_sent() -> None:
    work = Work(ID, 3, "sum", b"[1,2]", 1.5, True, "key", 7)

    assert read_by_worker(encoded([work, work])) == [work, work]


def test_the_newest_common_version_is_spoken() -> None:
    assert common_version((VERSION, VERSION + 1)) == VERSION
    assert common_version((VERSION + 1,)) is None
    assert common_version(()) is None
    assert VERSION in SPOKEN


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "expected a frame of version 1, got nothing"),
        (b"\x63\x90", "expected a frame of version 1, got version 99"),
        (b"\x01", "not a frame: Input data was truncated"),
        (
            b"\x01\xc1",
            "not a frame: MessagePack data is malformed: invalid opcode '\\xc1' (byte 0)",
        ),
        (b"\x01\x91\x91\x63", "not a frame: Invalid value 99 - at `$[0][0]`"),
    ],
)
def test_what_is_no_frame_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(BadFrame) as raised:
        read_by_front(data)

    assert str(raised.value) == message


def test_a_front_takes_nothing_that_only_fronts_say() -> None:
    with pytest.raises(BadFrame):
        read_by_front(encoded([Work(ID, 1, "sum", b"", 1.0)]))


@given(st.binary(max_size=200))
def test_no_bytes_do_more_than_be_refused(data: bytes) -> None:
    for read in (read_by_front, read_by_worker):
        for each in (data, b"\x01" + data):
            try:
                read(each)
            except BadFrame:
                pass


def test_text_that_is_no_text_is_refused() -> None:
    frame = encoded([Hello(SPOKEN, "math", "name")]).replace(b"name", b"\xff\xff\xff\xff")

    with pytest.raises(BadFrame):
        read_by_front(frame)


def test_deep_nesting_is_refused() -> None:
    with pytest.raises(BadFrame):
        read_by_front(b"\x01" + b"\x91" * 200_000)
