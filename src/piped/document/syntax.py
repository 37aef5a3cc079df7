"""What PyYAML says of a broken text, in plain words."""

from __future__ import annotations

import re
from typing import Any, Final

import yaml

from piped.document.report import too_deep
from piped.errors import Problem

# What YAML allows in a text; everything else would end in an error without line and column.
_UNPRINTABLE: Final = re.compile(
    "[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]"
)
_LINE_BREAK: Final = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
_SURROGATES: Final = re.compile("[\ud800-\udfff]")

_NESTED: Final = "exceeded maximum nesting depth"
"""What PyYAML says, from 6.0.4 on, of more brackets than it takes: it looks ahead of its events."""

_PLAIN_WORDS: Final = (
    ("<block end>", "the end of the indented block"),
    ("'<block mapping start>'", "a mapping"),
    ("'<block sequence start>'", "a list"),
    ("'<scalar>'", "a value"),
    ("'<anchor>'", "an anchor"),
    ("'<alias>'", "an alias"),
    ("'<tag>'", "a tag"),
    ("'?'", "a key"),
    ("<document start>", "the start of a document"),
    ("'<stream end>'", "the end of the file"),
    ("end of stream", "end of the file"),
    ("block mapping", "mapping"),
    ("flow mapping", "mapping in braces"),
    ("block sequence", "list"),
    ("flow sequence", "list in brackets"),
    ("block collection", "list"),
    ("block scalar", "block of text"),
    ("quoted scalar", "quoted text"),
    ("plain scalar", "text without quotes"),
)

_TAB_HINT: Final = "indent with spaces: YAML takes no tabs there"
_HINTS: Final = (
    ("cannot start any token", "put the text in quotes"),
    ("mapping values are not allowed", "put text that contains ': ' in quotes"),
    ("expected ':'", "check the indentation, and that a key has ': ' behind it"),
    ("expected key", "check the indentation, and that all quotes and brackets are closed"),
    ("expected the end of the indented", "check the indentation"),
    ("expected ','", "check that all brackets are closed, and text with ': ' in it is in quotes"),
    ("unknown escape character", "write the text in single quotes, or double the backslash"),
    ("expected whitespace or line break", "write a space behind the tag, before ',' too"),
    ("undefined tag handle", "tags are written with one '!': !env, !file, !path"),
)


def without_unprintable(text: str) -> tuple[str, int | None]:
    """Return the text with what YAML forbids masked, and where the first such character is."""
    first = _UNPRINTABLE.search(text)
    if first is None:
        return text, None
    return _UNPRINTABLE.sub("?", text), first.start()


def has_surrogates(text: str) -> bool:
    r"""Return whether a text holds half a character, as ``"\ud800"`` does in pure Python."""
    return not text.isascii() and _SURROGATES.search(text) is not None


def position(text: str, index: int) -> tuple[int, int]:
    """Return line and column, counted from 1, of an index into a text."""
    before = text[:index]
    return before.count("\n") + 1, index - before.rfind("\n")


def explained(error: Exception, text: str) -> tuple[Problem, tuple[int, int] | None]:
    """Return what is wrong with a text, and the line and column of it where they are known."""
    mark = _mark(error)
    if not isinstance(error, yaml.MarkedYAMLError) or mark is None:
        # The pure Python scanner lets int() and chr() complain.
        return Problem("yaml-syntax", "an escape or a version is out of range"), None
    if error.problem == _NESTED:
        return too_deep(), (mark.line + 1, mark.column + 1)
    what = _in_plain_words(error.problem or error.context or "this is not YAML")
    begin = error.context_mark
    why = ""
    if error.context and begin and begin.line < mark.line:
        why = f"{_in_plain_words(error.context)} that begins in line {begin.line + 1}"
    hint = _hint(what, text, mark.line, mark.column)
    found = Problem("yaml-syntax", what, why=why, hint=hint)
    if mark.line > len(_LINE_BREAK.findall(text)):  # behind a last line that has no end
        return found, position(text, len(text))
    return found, (mark.line + 1, mark.column + 1)


def _mark(error: Exception) -> Any:
    return getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)


def _in_plain_words(text: str) -> str:
    for jargon, plain in _PLAIN_WORDS:
        text = text.replace(jargon, plain)
    return " ".join(text.split())


def _hint(what: str, text: str, line: int, column: int) -> str:
    lines = text.splitlines()
    around = lines[line][: column + 1] if line < len(lines) else ""
    if around.endswith("\t") or (around and not around.strip() and "\t" in around):
        return _TAB_HINT
    return next((hint for sign, hint in _HINTS if sign in what), "")
