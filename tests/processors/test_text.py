from __future__ import annotations

from typing import Any

import pytest

from piped.errors import BatonError
from tests.processors.conftest import Problems, Run


@pytest.mark.parametrize(
    ("options", "value", "expected"),
    [
        ("format: '{0}-{1}'", [1, 2], "1-2"),
        ("format: '{0}-{1}'", (1, 2), "1-2"),
        ("format: '{a:>3}'", {"a": 1}, "  1"),
        ("format: '<{0}>'", 5, "<5>"),
        ("format: '<{0}>', unpack: false", [1, 2], "<[1, 2]>"),
        ("format: '<{0[a]}>', unpack: false", {"a": 1}, "<1>"),
    ],
)
def test_format_string_takes_values_apart(
    run: Run, options: str, value: Any, expected: str
) -> None:
    assert run(f"format-string: {{{options}}}", value) == expected


def test_format_string_takes_the_format_from_the_baton(run: Run) -> None:
    text = "format-string: {format_path: how, input_path: n, output_path: text}"

    assert run(text, {"how": "n={}", "n": 1}) == {"how": "n={}", "n": 1, "text": "n=1"}


@pytest.mark.parametrize(("baton", "kind"), [({}, "NoneType"), ({"how": 5}, "int")])
def test_format_string_needs_a_format(run: Run, baton: Any, kind: str) -> None:
    with pytest.raises(BatonError) as raised:
        run("format-string: {format_path: how}", baton)

    assert str(raised.value) == f"expected a format at 'how', got {kind}"


def test_format_string_tells_what_does_not_fit(run: Run) -> None:
    with pytest.raises(BatonError) as raised:
        run("format-string: {format: '{name}'}", {})

    assert str(raised.value) == "cannot format '{name}' (KeyError: 'name')"


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("{0.__class__}", "ValueError: '0.__class__' is private"),
        ("{:{0.__doc__}}", "ValueError: '0.__doc__' is private"),
        ("{:10001}", "ValueError: a field is at most 10000 wide"),
        ("{:.99999f}", "ValueError: a field is at most 10000 wide"),
        ("{x}", "KeyError: 'x'"),
    ],
)
def test_a_format_of_the_baton_reaches_no_insides_and_fills_no_memory(
    run: Run, how: str, reason: str
) -> None:
    with pytest.raises(BatonError) as raised:
        run("format-string: {format_path: how, input_path: n}", {"how": how, "n": 5.0})

    assert str(raised.value) == f"cannot format {how!r} ({reason})"


def test_a_format_of_the_document_is_trusted(run: Run) -> None:
    assert run("format-string: {format: '{0.__class__.__name__}{0:10001}'}", 5) == (
        "int" + " " * 10_000 + "5"
    )


def test_format_string_checks_its_format(problems: Problems) -> None:
    assert problems("format-string: {}") == [
        "expected exactly one of 'format' and 'format_path', got neither"
    ]
    assert problems("format-string: {format: a, format_path: b}") == [
        "expected exactly one of 'format' and 'format_path', got both"
    ]
    assert problems("format-string: {format: '{Name'}") == [
        "expected a format, got '{Name': expected '}' before end of string"
    ]


@pytest.mark.parametrize(
    ("encoding", "data"), [("utf8", b"caf\xc3\xa9"), ("latin1", b"caf\xe9"), ("UTF-16-LE", None)]
)
def test_encode_string_and_decode_string_undo_each_other(
    run: Run, encoding: str, data: bytes | None
) -> None:
    encoded = run(f"encode-string: {{encoding: {encoding}}}", "café")
    decoded = run(f"decode-string: {{encoding: {encoding}}}", encoded)

    assert encoded == (data or "café".encode("utf-16-le"))
    assert decoded == "café"


@pytest.mark.parametrize("kind", [bytearray, memoryview])
def test_decode_string_takes_all_kinds_of_bytes(run: Run, kind: type) -> None:
    baton = run("decode-string: {encoding: utf8, input_path: a}", {"a": kind(b"caf\xc3\xa9")})

    assert baton == {"a": "café"}


def test_encode_string_leaves_out_what_is_missing(run: Run) -> None:
    assert run("encode-string: {encoding: utf8, input_path: a}", {}) == {}


@pytest.mark.parametrize(("value", "kind"), [(b"a", "bytes"), (5, "int"), (None, "NoneType")])
def test_encode_string_takes_text_only(run: Run, value: Any, kind: str) -> None:
    with pytest.raises(BatonError) as raised:
        run("encode-string: {encoding: utf8}", value)

    assert str(raised.value) == f"expected text, got {kind}"


@pytest.mark.parametrize(("value", "kind"), [("a", "str"), (5, "int"), ([], "list")])
def test_decode_string_takes_bytes_only(run: Run, value: Any, kind: str) -> None:
    with pytest.raises(BatonError) as raised:
        run("decode-string: {encoding: utf8}", value)

    assert str(raised.value) == f"expected bytes, got {kind}"


@pytest.mark.parametrize(
    ("text", "value", "message"),
    [
        (
            "encode-string: {encoding: latin1}",
            "1 € each",
            "cannot encode '€' at position 2 in 'latin1'",
        ),
        (
            "encode-string: {encoding: utf8}",
            "a\ud800",
            "cannot encode '\\ud800' at position 1 in 'utf8'",
        ),
        (
            "decode-string: {encoding: utf8}",
            b"ab\xff",
            "not text in 'utf8': byte 0xff at position 2",
        ),
        (
            "decode-string: {encoding: utf-16}",
            b"a",
            "not text in 'utf-16': byte 0x61 at position 0",
        ),
    ],
)
def test_what_cannot_be_encoded_or_decoded_is_told(
    run: Run, text: str, value: Any, message: str
) -> None:
    with pytest.raises(BatonError) as raised:
        run(text, value)

    assert str(raised.value) == message


@pytest.mark.parametrize("name", ["encode-string", "decode-string"])
@pytest.mark.parametrize("encoding", ["utf9", "base64", "rot13", "a\0b"])
def test_encodings_are_checked(problems: Problems, name: str, encoding: str) -> None:
    shown = repr(encoding)
    written = shown.replace("'", '"').replace("\\x00", "\\0")

    assert problems(f"{name}: {{encoding: {written}}}") == [
        f"expected an encoding such as utf8, got {shown}"
    ]


@pytest.mark.parametrize(
    ("prefix", "value", "expected"),
    [
        ("order-", 7, "order-7"),
        ("1", 2, "12"),
        (1, "2", "12"),
        ("", None, "None"),
        ("é", "é".encode(), "éé"),
        ("x", bytearray(b"y"), "xy"),
        ("list: ", [1], "list: [1]"),
    ],
)
def test_prefix_string_makes_text_of_both(run: Run, prefix: Any, value: Any, expected: str) -> None:
    assert run(f"prefix-string: {{prefix: {prefix!r}}}", value) == expected


def test_prefix_string_leaves_out_what_is_missing(run: Run) -> None:
    assert run("prefix-string: {prefix: a, input_path: b, output_path: c}", {}) == {}


def test_prefix_string_tells_what_is_no_utf_8(run: Run) -> None:
    with pytest.raises(BatonError) as raised:
        run("prefix-string: {prefix: a}", b"\xff")

    assert str(raised.value) == "not text in 'utf-8': byte 0xff at position 0"
