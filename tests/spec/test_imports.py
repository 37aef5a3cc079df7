"""Python by its dotted name, and the lines that errors of user's modules are told with."""

from __future__ import annotations

import asyncio
import re
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from piped.spec import find_python
from piped.spec.imports import told

Write: TypeAlias = Callable[[str], None]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Write the module `of_the_user` into the working directory, from which it can be imported."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)

    def write(text: str) -> None:
        (tmp_path / "of_the_user.py").write_text(text)

    yield write
    sys.modules.pop("of_the_user", None)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("len", len),
        ("builtins.len", len),
        ("exceptions.ValueError", ValueError),
        ("asyncio.Queue.get", asyncio.Queue.get),
        ("traceback", traceback),
    ],
)
def test_python_is_found_by_its_dotted_name(name: str, expected: Any) -> None:
    assert find_python(name) == expected


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("no_such_module.x", "no module 'no_such_module'"),
        ("nothing", "no module 'nothing'"),
        ("time.tim", "'time' has no 'tim'"),
        ("asyncio.Queue.got", "'asyncio' has no 'got'"),
        ("", "expected a dotted Python name, got ''"),
        ("..x", "expected a dotted Python name, got '..x'"),
        ("..", "expected a dotted Python name, got '..'"),
        ("time.", "expected a dotted Python name, got 'time.'"),
        ("exceptions.NoError", "'builtins' has no 'NoError'"),
        (
            "piped.util.X",
            "cannot import 'piped.util.X': ImportError: 'piped.util' is of Piped 0.x and is gone;"
            " see docs/differences.md",
        ),
    ],
)
def test_what_python_does_not_know_is_told(name: str, text: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(text)}( \\(.*)?$"):
        find_python(name)


BREAKING = {
    "import no_such_module": "ModuleNotFoundError: No module named 'no_such_module'",
    "raise RuntimeError('no')": "RuntimeError: no",
    "raise ValueError": "ValueError",
    "y = (": "SyntaxError: '(' was never closed",
    "import sys; sys.exit(4)": "SystemExit: 4",
    "import json; json.loads('x')": "JSONDecodeError: Expecting value: line 1 column 1 (char 0)",
    "exec('1 +')": "SyntaxError: invalid syntax",
}


@pytest.mark.parametrize("text", BREAKING)
def test_a_module_that_breaks_while_it_is_imported_is_told_with_its_line(
    write: Write, text: str
) -> None:
    write(f"x = 1\n{text}\n")

    expected = f"cannot import 'of_the_user.f': {BREAKING[text]} (of_the_user.py:2)"
    with pytest.raises(ValueError, match=f"^{re.escape(expected)}$"):
        find_python("of_the_user.f")


def test_a_module_whose_names_break_is_told_with_its_line(write: Write) -> None:
    write("def __getattr__(name):\n    raise {'f': RuntimeError}.get(name, AttributeError)(name)\n")

    expected = "cannot import 'of_the_user.f': RuntimeError: f (of_the_user.py:2)"
    with pytest.raises(ValueError, match=f"^{re.escape(expected)}$"):
        find_python("of_the_user.f")


def test_a_file_elsewhere_is_named_with_its_folders(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("1 / 0")
    (tmp_path / "inner").mkdir()
    monkeypatch.chdir(tmp_path / "inner")

    with pytest.raises(ValueError, match=rf"\({re.escape(str(tmp_path))}/of_the_user\.py:1\)$"):
        find_python("of_the_user.f")


def test_an_error_that_went_through_no_module_of_the_user_has_no_line() -> None:
    assert told(KeyError("a"), "of_the_user") == "KeyError: 'a'"
