from __future__ import annotations

from typing import Any

import pytest

from piped.errors import BatonError, InvalidBaton
from piped.providers.nats.content import decoded, encoded, one_line, size_of, wrong_subject


@pytest.mark.parametrize(
    ("format_", "data", "reason"),
    [
        ("text", b"\xff", "expected UTF-8, got b'\\xff'"),
        ("json", b"[" * 100_000, f"expected JSON, got {b'[' * 77!r}..."),
        ("msgpack", b"\xc1", "expected MessagePack, got b'\\xc1'"),
    ],
)
def test_garbage_is_an_invalid_baton(format_: Any, data: bytes, reason: str) -> None:
    with pytest.raises(InvalidBaton) as raised:
        decoded(data, format_)

    assert str(raised.value) == reason


@pytest.mark.parametrize(
    ("format_", "value", "data"),
    [
        ("bytes", bytearray(b"a"), b"a"),
        ("text", "é", "é".encode()),
        ("json", {"a": 1}, b'{"a":1}'),
        ("msgpack", 1, b"\x01"),
    ],
)
def test_a_value_becomes_a_message(format_: Any, value: Any, data: bytes) -> None:
    assert encoded(value, format_) == data


@pytest.mark.parametrize(
    ("format_", "value", "reason"),
    [
        ("bytes", {"a": 1}, "expected text or bytes, got dict"),
        ("text", "\ud800", "expected text, got text that is no Unicode"),
        (
            *("msgpack", 1 << 65),
            "cannot say as MessagePack: can't serialize ints < -2**63 or > 2**64 - 1",
        ),
    ],
)
def test_a_value_that_cannot_be_said_is_an_error(format_: Any, value: Any, reason: str) -> None:
    with pytest.raises(BatonError) as raised:
        encoded(value, format_)

    assert str(raised.value) == reason


@pytest.mark.parametrize(
    ("subject", "is_filter", "reason"),
    [
        ("a.b", False, ""),
        ("a.*.>", True, ""),
        ("a.>.b", True, "expected '>' at the end of a subject only, got 'a.>.b'"),
        ("a.>", False, "expected a subject without wildcards, got 'a.>'"),
        ("a\0", False, "expected a subject such as orders.new, got 'a\\x00'"),
    ],
)
def test_subjects_are_looked_at(subject: str, is_filter: bool, reason: str) -> None:
    assert wrong_subject(subject, is_filter=is_filter) == reason


def test_a_header_has_one_line_and_a_size() -> None:
    assert one_line("a\r\n b\x00c" + "d" * 600) == "a  b c" + "d" * 494
    assert size_of({"A": "é"}) == len("NATS/1.0\r\nA: é\r\n\r\n".encode())
    assert size_of(None) == 0
