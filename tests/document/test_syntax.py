from __future__ import annotations

import pytest
import yaml

from piped.document import parse, plain, reader

needs_c = pytest.mark.skipif(not hasattr(yaml, "CSafeLoader"), reason="no libyaml")


def problems(text: str) -> list[str]:
    return [str(problem) for problem in parse(text)[1]]


@needs_c
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "a:\n\t- b",
            "<text>:2:1: error[yaml-syntax]: found character that cannot start any token\n"
            "    hint: indent with spaces: YAML takes no tabs there",
        ),
        (
            "a: @b",
            "<text>:1:4: error[yaml-syntax]: found character that cannot start any token\n"
            "    hint: put the text in quotes",
        ),
        (
            "a: b: c",
            "<text>:1:5: error[yaml-syntax]: mapping values are not allowed in this context\n"
            "    hint: put text that contains ': ' in quotes",
        ),
        (
            "a: [1,\n 2",
            "<text>:2:3: error[yaml-syntax]: did not find expected ',' or ']'\n"
            "    why: while parsing a list in brackets that begins in line 1\n"
            "    hint: check that all brackets are closed, and text with ': ' in it is in quotes",
        ),
        (
            "a:\n  b: 1\n c: 2",
            "<text>:3:2: error[yaml-syntax]: did not find expected key\n"
            "    why: while parsing a mapping that begins in line 1\n"
            "    hint: check the indentation, and that all quotes and brackets are closed",
        ),
        (
            'a: "\\q"',
            "<text>:1:5: error[yaml-syntax]: found unknown escape character\n"
            "    hint: write the text in single quotes, or double the backslash",
        ),
        (
            "- a\nb: 1",
            "<text>:2:1: error[yaml-syntax]: did not find expected '-' indicator\n"
            "    why: while parsing a list that begins in line 1",
        ),
        (
            "[!alias:a, !alias:b]",
            "<text>:1:20: error[yaml-syntax]: did not find expected whitespace or line break\n"
            "    hint: write a space behind the tag, before ',' too",
        ),
        (
            "%YAML 3.0\n--- a",
            "<text>:1:1: error[yaml-syntax]: found incompatible YAML document",
        ),
    ],
)
def test_syntax_errors_say_where_and_what_to_do(text: str, expected: str) -> None:
    assert problems(text) == [expected]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "a:\n\t- b",
            "<text>:2:1: error[yaml-syntax]: found character '\\t' that cannot start any token\n"
            "    hint: indent with spaces: YAML takes no tabs there",
        ),
        (
            "a: [1,\n 2",
            "<text>:2:3: error[yaml-syntax]: expected ',' or ']', but got the end of the file\n"
            "    why: while parsing a list in brackets that begins in line 1\n"
            "    hint: check that all brackets are closed, and text with ': ' in it is in quotes",
        ),
        (
            "a:\n  b: 1\n c: 2",
            "<text>:3:2: error[yaml-syntax]: "
            "expected the end of the indented block, but found a mapping\n"
            "    why: while parsing a mapping that begins in line 1\n"
            "    hint: check the indentation",
        ),
        (
            'a: 1\nb: "\\U00110000"',
            "<text>:2:1: error[yaml-syntax]: an escape or a version is out of range",
        ),
        (
            'a: "\\ud800"',
            "<text>:1:4: error[yaml-syntax]: an escape stands for no character",
        ),
    ],
)
def test_the_pure_python_parser_says_much_the_same(
    text: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "LOADER", yaml.SafeLoader)

    assert problems(text) == [expected]


@pytest.mark.usefixtures("parser")
def test_a_forbidden_character_does_not_hide_what_follows() -> None:
    node, found = parse("a: 1\nb: x\x07y\nb: 2")

    assert list(map(str, found)) == [
        "<text>:2:5: error[yaml-syntax]: the character U+0007 is not allowed in YAML",
        "<text>:3:1: error[duplicate-key]: the key 'b' is written in lines 2 and 3\n"
        "    at: b\n"
        "    hint: remove one of them",
    ]
    assert plain(node) == {"a": 1, "b": "x?y"}


@pytest.mark.usefixtures("parser")
def test_what_was_read_before_an_error_is_kept() -> None:
    node, found = parse("a: {b: 1}\nc: !env {name: X\nd: [")

    assert [problem.code for problem in found] == ["yaml-syntax"]
    assert plain(node)["a"] == {"b": 1}


@pytest.mark.usefixtures("parser")
def test_a_byte_order_mark_is_no_content() -> None:
    node, found = parse("\ufeffa: 1")

    assert found == []
    assert plain(node) == {"a": 1}
