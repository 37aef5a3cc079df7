from __future__ import annotations

import math

import pytest

from piped.document import Scalar, parse, plain


def value(text: str) -> object:
    node, problems = parse(text)
    assert problems == []
    return plain(node)


def problem(text: str) -> str:
    _, problems = parse(text)
    return "\n".join(map(str, problems))


@pytest.mark.parametrize("text", ["", "~", "null", "Null", "NULL", "# a comment", "---"])
def test_null_has_five_spellings(text: str) -> None:
    assert value(text) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        *((text, True) for text in ("true", "True", "TRUE")),
        *((text, False) for text in ("false", "False", "FALSE")),
    ],
)
def test_truths_are_those_of_yaml_1_2(text: str, expected: bool) -> None:
    assert value(text) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", 0),
        ("8080", 8080),
        ("-7", -7),
        ("+7", 7),
        ("0o17", 15),
        ("0x1F", 31),
        ("1" + "0" * 30, 10**30),
        ("9" * 4300, 10**4300 - 1),
    ],
)
def test_whole_numbers_are_exact(text: str, expected: int) -> None:
    found = value(text)

    assert found == expected
    assert type(found) is int


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1.5", 1.5),
        ("-.5", -0.5),
        ("2.", 2.0),
        ("1e3", 1000.0),
        ("1.5E-2", 0.015),
        (".inf", math.inf),
        ("-.INF", -math.inf),
        ("+.Inf", math.inf),
    ],
)
def test_floats_are_those_of_yaml_1_2(text: str, expected: float) -> None:
    found = value(text)

    assert found == expected
    assert type(found) is float


def test_nan_is_no_number() -> None:
    found = value(".nan")

    assert isinstance(found, float)
    assert math.isnan(found)


@pytest.mark.parametrize(
    "text",
    [
        *("no", "on", "yes", "off", "y", "010", "-007", "00", "12:30", "190:20:30", "1_000"),
        *("2024-01-01", "2024-01-01T10:00:00Z", "0b11", "0x", "1.2.3", "127.0.0.1", "e3", "."),
        *("nUll", "tRue", "-", "+", "=", "inf", "nan", "1e", "- ."[2:], "-.nan"),
    ],
)
def test_everything_else_is_text(text: str) -> None:
    assert value(f"[{text}]") == [text]


@pytest.mark.parametrize("text", ["'8080'", '"8080"', "|-\n  8080", ">-\n  8080", "! 8080"])
def test_quoted_and_block_scalars_are_text(text: str) -> None:
    assert value(text) == "8080"


def test_a_number_that_python_cannot_print_is_an_error() -> None:
    assert problem("a: " + "9" * 4301) == (
        "<text>:1:4: error[bad-number]: expected a number of at most 4300 digits, got 4301\n"
        "    at: a\n"
        "    hint: put it in quotes if it is text"
    )
    assert problem("0x" + "f" * 4000) == (
        "<text>:1:1: error[bad-number]: expected a number of at most 4300 digits, got more\n"
        "    hint: put it in quotes if it is text"
    )
    assert problem("1." + "0" * 4300) == (
        "<text>:1:1: error[bad-number]: expected a number of at most 4300 digits, got 4302\n"
        "    hint: put it in quotes if it is text"
    )


def test_a_float_that_is_too_large_does_not_become_infinite() -> None:
    assert problem("1e999") == (
        "<text>:1:1: error[bad-number]: the number 1e999 is too large\n"
        "    hint: put it in quotes if it is text"
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("!!str 8080", "8080"),
        ("!!str", ""),
        ("!!int '8080'", 8080),
        ("!!int 010", 10),
        ("!!int 0x1F", 31),
        ("!!float 3", 3.0),
        ("!!bool 'true'", True),
        ("!!null ''", None),
        ("!!seq [1]", [1]),
        ("!!map {a: 1}", {"a": 1}),
    ],
)
def test_standard_tags_say_the_type(text: str, expected: object) -> None:
    found = value(text)

    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("!!int abc", "expected a whole number after '!!int', got 'abc'"),
        ("!!float abc", "expected a number after '!!float', got 'abc'"),
        ("!!bool no", "expected true or false after '!!bool', got 'no'"),
        ("!!null x", "expected nothing after '!!null', got 'x'"),
        ("!!int [1]", "expected a scalar after '!!int', got a list"),
        ("!!seq {a: 1}", "expected a list after '!!seq', got a mapping"),
        ("!!map x", "expected a mapping after '!!map', got 'x'"),
    ],
)
def test_standard_tags_refuse_what_is_of_another_type(text: str, what: str) -> None:
    assert problem(text) == f"<text>:1:1: error[bad-tag]: {what}"


def test_a_value_remembers_where_it_was_written() -> None:
    node, _ = parse("  8080", "site.yaml")

    assert isinstance(node, Scalar)
    assert str(node.place) == "site.yaml:1:3"
