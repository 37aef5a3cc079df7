"""Wrong documents of many kinds, and what is said of each: `wrong-documents.txt` holds both.

A case is a heading, the document, files beside it (`@ name`), options of the command (`$ -O ...`),
and, after `->`, all that `piped check` prints. `python -m tests.cli.test_wrong_documents` writes
what it prints now into the file, for the eyes of whoever has changed a text.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest
from click.testing import CliRunner, Result

from piped.cli import piped
from tests.cli.conftest import Invoke

FILE: Final = Path(__file__).with_name("wrong-documents.txt")
FIRST_LINE: Final = re.compile(
    r"([\w/.-]+\.yaml|-O):\d+:\d+: (error|warning|hint)\[[a-z0-9-]+\]: \S"
)


@dataclass(frozen=True)
class Case:
    """A wrong document, and what is said of it."""

    name: str
    options: list[str]
    files: dict[str, str]
    expected: str
    written: str

    @classmethod
    def of(cls, text: str) -> Case:
        written, _, expected = text.partition("->\n")
        name, _, rest = written.partition("\n")
        options: list[str] = []
        if rest.startswith("$ "):
            line, _, rest = rest.partition("\n")
            options = line[2:].split(" ", 1)
        parts = re.split(r"^@ ", f"@ service.yaml\n{rest}", flags=re.MULTILINE)[1:]
        files = dict(part.split("\n", 1) for part in parts)
        return cls(name, options, files, expected.rstrip("\n") + "\n", written)

    def write(self, folder: Path) -> None:
        for name, text in self.files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text, encoding="utf-8")


CASES: Final = [Case.of(each) for each in FILE.read_text(encoding="utf-8").split("## ")[1:]]


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_check_says_what_is_wrong(case: Case, invoke: Invoke, folder: Path) -> None:
    case.write(folder)

    result = invoke("check", *case.options, "service.yaml")

    assert result.stdout == case.expected
    assert result.exit_code == 1


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_run_says_the_same_and_does_not_start(case: Case, invoke: Invoke, folder: Path) -> None:
    case.write(folder)

    result = invoke("run", "-v", *case.options, "service.yaml")

    assert (result.stdout, result.stderr) == ("", case.expected)
    assert result.exit_code == 2


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_every_problem_says_where_it_is(case: Case) -> None:
    heads = [line for line in case.expected.splitlines() if not line.startswith("    ")]

    assert heads
    for head in heads:
        assert FIRST_LINE.match(head), head


def test_a_document_that_is_no_text_says_where(invoke: Invoke, folder: Path) -> None:
    (folder / "service.yaml").write_bytes(b"pipelines:\n    p: [\xff]\n")

    result = invoke("check", "service.yaml")

    assert result.exit_code == 1
    assert result.stdout == (
        "service.yaml:2:9: error[not-utf-8]: 'service.yaml' is not UTF-8 from this place on\n"
        "    hint: save the file as UTF-8\n"
    )


def test_a_document_with_50000_brackets_is_refused_in_time(invoke: Invoke, folder: Path) -> None:
    (folder / "service.yaml").write_text("contexts: " + "[" * 50_000, encoding="utf-8")

    result = invoke("check", "service.yaml")

    assert result.exit_code == 1
    assert "error[too-deep]: nested deeper than 64 levels" in result.stdout


def printed(case: Case, check: Callable[..., Result]) -> str:
    """Return what is printed of a case today, in a folder that is gone then."""
    path, modules = sys.path[:], set(sys.modules)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        case.write(Path(folder))
        text: str = check(piped, ["check", *case.options, "service.yaml"]).stdout
        os.chdir("/")
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if name.startswith("bundle_"):
            del sys.modules[name]
    return text


if __name__ == "__main__":
    FILE.write_text(
        "\n".join(f"## {each.written}->\n{printed(each, CliRunner().invoke)}" for each in CASES),
        encoding="utf-8",
    )
