from __future__ import annotations

import random
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from piped.providers.web.websocket.wire import (
    Broken,
    Close,
    Event,
    Ping,
    Pong,
    Wire,
    message_frame,
)
from tests.providers.web.websocket.support import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    TEXT,
    closing,
    frame,
)

CONTINUATION = 0x0


def events(*pieces: bytes, max_bytes: int = 1000) -> list[Event]:
    """Return what comes out of a wire that gets bytes in pieces."""
    wire = Wire(max_bytes)
    found = []
    for piece in pieces:
        wire.feed(piece)
        while (event := wire.next()) is not None:
            found.append(event)
    return found


def breach(*pieces: bytes, max_bytes: int = 1000) -> tuple[int, str]:
    """Return the code and the words for what is wrong."""
    with pytest.raises(Broken) as caught:
        events(*pieces, max_bytes=max_bytes)
    return caught.value.code, caught.value.reason


def test_messages_are_text_or_bytes() -> None:
    sent = frame(TEXT, "grün".encode()) + frame(BINARY, b"\0\xff") + frame(TEXT) + frame(BINARY)

    assert events(sent) == ["grün", b"\0\xff", "", b""]


def test_fragments_are_put_together_and_control_frames_stand_between() -> None:
    sent = [
        frame(TEXT, "gr\u00fcn".encode()[:3], fin=False),
        frame(PING, b"there?"),
        frame(CONTINUATION, b"", fin=False),
        frame(PONG),
        frame(CONTINUATION, "gr\u00fcn".encode()[3:]),
        closing(1000, "done"),
    ]

    assert events(b"".join(sent)) == [Ping(b"there?"), Pong(), "grün", Close(1000, "done")]


def test_a_close_without_a_code_is_1005() -> None:
    assert events(frame(CLOSE)) == [Close(1005, "")]


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536, 100_000])
def test_lengths_of_all_forms_are_understood(size: int) -> None:
    assert events(frame(BINARY, b"x" * size), max_bytes=1 << 20) == [b"x" * size]


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        pytest.param(b"\x81\x01a", 1002, id="no mask"),
        pytest.param(frame(0x3), 1002, id="reserved opcode"),
        pytest.param(frame(0xB), 1002, id="reserved control opcode"),
        pytest.param(b"\xc1" + frame(TEXT, b"a")[1:], 1002, id="reserved bit: no extension"),
        pytest.param(frame(CONTINUATION, b"a"), 1002, id="nothing to go on with"),
        pytest.param(frame(TEXT, b"a", fin=False) + frame(TEXT, b"b"), 1002, id="not gone on with"),
        pytest.param(frame(PING, b"a", fin=False), 1002, id="control frame in fragments"),
        pytest.param(frame(PING, b"a" * 126), 1002, id="long control frame"),
        pytest.param(b"\x82\xfe\x00\x01mask\x0c", 1002, id="length in too many bytes"),
        pytest.param(b"\x82\xff" + b"\xff" * 8 + b"mask", 1002, id="length of 64 bits"),
        pytest.param(frame(CLOSE, b"\x03"), 1002, id="half a code"),
        pytest.param(closing(999), 1002, id="code too small"),
        pytest.param(closing(1005), 1002, id="code that is never sent"),
        pytest.param(closing(1016), 1002, id="code that means nothing"),
        pytest.param(closing(5000), 1002, id="code too large"),
        pytest.param(frame(TEXT, b"\xff"), 1007, id="no UTF-8"),
        pytest.param(frame(TEXT, b"\xc3"), 1007, id="half a sign"),
        pytest.param(frame(TEXT, b"\xed\xa0\x80"), 1007, id="surrogate"),
        pytest.param(frame(CLOSE, b"\x03\xe8\xff"), 1007, id="reason that is no UTF-8"),
    ],
)
def test_what_breaks_a_rule_is_refused(sent: bytes, code: int) -> None:
    assert breach(sent) == (code, "not WebSocket" if code == 1002 else "not UTF-8")


def test_text_that_cannot_become_utf8_is_refused_before_it_is_whole() -> None:
    assert breach(frame(TEXT, b"\xff", fin=False)) == (1007, "not UTF-8")


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_a_message_is_bounded_in_bytes_however_it_comes(opcode: int) -> None:
    payload = "ü".encode() * 5
    pieces = [frame(opcode if i == 0 else CONTINUATION, b"abcd", fin=False) for i in range(3)]

    assert len(events(frame(opcode, payload), max_bytes=10)) == 1
    assert breach(frame(opcode, payload + b"!"), max_bytes=10) == (1009, "more than 10 bytes")
    assert breach(*pieces, max_bytes=10) == (1009, "more than 10 bytes")
    assert breach(frame(opcode, b"x" * 50)[:20], max_bytes=10) == (1009, "more than 10 bytes")


def test_the_bound_holds_for_each_message_by_itself() -> None:
    halves = frame(TEXT, b"abc", fin=False) + frame(CONTINUATION, b"def")

    assert events(halves * 3 + frame(BINARY, b"12345678") * 2, max_bytes=8) == [
        *("abcdef", "abcdef", "abcdef"),
        *(b"12345678", b"12345678"),
    ]


def test_a_wire_knows_whether_a_message_is_not_whole() -> None:
    wire = Wire(1000)
    seen = []
    for piece in (frame(TEXT, b"a", fin=False), frame(PING), frame(CONTINUATION, b"b")):
        wire.feed(piece)
        wire.next()
        seen.append(wire.is_amid)

    assert seen == [True, True, False]


def test_frames_of_the_server_are_short_and_have_no_mask() -> None:
    wire = Wire(1000)

    assert message_frame("grün") == b"\x81\x05gr\xc3\xbcn"
    assert message_frame(b"\0") == b"\x82\x01\0"
    assert wire.ping() == b"\x89\x00"
    assert wire.pong(Ping(b"x")) == b"\x8a\x01x"
    assert wire.close(4000, "over") == b"\x88\x06\x0f\xa0over"
    assert wire.close(1005, "") == b"\x88\x00"


messages = st.lists(st.one_of(st.text(max_size=200), st.binary(max_size=200)), max_size=8)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """Return data in pieces; each place becomes one between its ends."""
    ends = sorted({0, len(data), *(each % (len(data) + 1) for each in places)})
    return [data[start:end] for start, end in pairwise(ends)]


@settings(deadline=None)
@given(messages, st.lists(st.integers(0, 10_000), max_size=30), st.randoms(use_true_random=False))
def test_messages_survive_any_fragments_in_any_pieces(
    sent: list[str | bytes], places: list[int], chance: random.Random
) -> None:
    frames = []
    for message in sent:
        opcode = TEXT if isinstance(message, str) else BINARY
        payload = message.encode() if isinstance(message, str) else message
        parts = cut(payload, [chance.randrange(300) for _ in range(chance.randrange(4))]) or [b""]
        for index, each in enumerate(parts):
            mask = chance.randbytes(4)
            is_last = index == len(parts) - 1
            frames.append(frame(CONTINUATION if index else opcode, each, fin=is_last, mask=mask))
            if chance.random() < 0.2:
                frames.append(frame(PONG, b"?"))

    found = events(*cut(b"".join(frames), places))

    assert [each for each in found if not isinstance(each, Pong)] == sent


@settings(deadline=None)
@given(st.binary(max_size=400), st.lists(st.integers(0, 400), max_size=10))
def test_any_bytes_end_in_events_or_in_a_broken_rule(data: bytes, places: list[int]) -> None:
    wire = Wire(100)
    try:
        for piece in cut(data, places):
            wire.feed(piece)
            while (event := wire.next()) is not None and not isinstance(event, Close):
                assert not isinstance(event, str | bytes) or len(event) <= 100
    except Broken as broken:
        assert broken.code in (1002, 1007, 1009)  # noqa: PT017 - most bytes break none
