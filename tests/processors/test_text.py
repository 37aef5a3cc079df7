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
