"""Whatever is wrong with a document: no traceback, no hang, and each message says where."""

from __future__ import annotations

import json
import logging
import random
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest
import structlog
from click.testing import CliRunner, Result
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from piped.app import Service
from piped.cli import piped
from piped.errors import ConfigError
from tests.cli.test_wrong_documents import FIRST_LINE
from tests.stories.mutations import Corpus

MAX_CPU_S: Final = 3.0
LINE_BREAK: Final = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
LOOKS: Final = (
    ("render",),
    ("render", "--origins"),
    ("graph",),
    ("graph", "--format", "mermaid"),
    ("graph", "--format", "dot"),
    ("list",),
    ("list", "--format", "json"),
    ("schema",),
)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return Corpus(tmp_path_factory.mktemp("corpus"))


@contextmanager
def forgotten(folder: Path) -> Iterator[None]:
    """Forget what was imported from a folder, and how logs were set up."""
    path, settings = sys.path[:], structlog.get_config()
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        yield
    finally:
        sys.path[:] = path
        structlog.configure(**settings)
        root.handlers[:] = handlers
        root.setLevel(level)
        for name, module in [*sys.modules.items()]:
            if str(getattr(module, "__file__", None) or "").startswith(str(folder)):
                del sys.modules[name]


def said(*arguments: str) -> Result:
    """Return what a command says, in time and without a traceback."""
    begun = time.process_time()
    result = CliRunner().invoke(piped, arguments)
    assert time.process_time() - begun < MAX_CPU_S, f"{arguments[0]} takes too long"
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code in (0, 1), result.output
    return result


def fail_if_anything_is_odd(folder: Path, text: str, pick: Any) -> None:
    file = folder / "mutated.yaml"
    file.write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        with forgotten(folder):
            problems = json.loads(said("check", "--format", "json", str(file)).stdout)
            fail_if_a_place_is_wrong(problems, file, text)
            checked = said("check", str(file))
            heads = [each for each in checked.stdout.splitlines() if not each.startswith("    ")]
            assert len(heads) == len(problems)
            for each in heads:
                assert FIRST_LINE.match(each), each
            has_errors = any(each["level"] == "error" for each in problems)
            assert checked.exit_code == has_errors
            assert has_errors == (not is_loadable(file))
            unimported = json.loads(
                said("check", "--no-imports", "--format", "json", str(file)).stdout
            )
            fail_if_a_place_is_wrong(unimported, file, text)
            said(*LOOKS[pick(len(LOOKS))], str(file))
    finally:
        file.unlink()


def is_loadable(file: Path) -> bool:
    try:
        Service.load(file)
    except ConfigError:
        return False
    return True


def fail_if_a_place_is_wrong(problems: list[Any], file: Path, text: str) -> None:
    lines = 1 + len(LINE_BREAK.findall(f"{text}\n"))  # the parser ends each line
    for each in problems:
        assert each["file"], each
        assert min(each["line"], each["column"]) >= 1, each
        if each["file"] == str(file):
            assert each["line"] <= lines, each


@pytest.mark.timeout(120)
@settings(max_examples=40, deadline=None, suppress_health_check=[*HealthCheck])
@given(data=st.data())
def test_no_mutation_gives_a_traceback_or_a_message_without_a_place(
    corpus: Corpus, data: st.DataObject
) -> None:
    def pick(below: int) -> int:
        return data.draw(st.integers(0, below - 1))

    folder, text = corpus.mutated(pick)

    fail_if_anything_is_odd(folder, text, pick)


@pytest.mark.parametrize("seed", range(60))
def test_neither_do_these(corpus: Corpus, seed: int) -> None:
    pick = random.Random(seed).randrange

    folder, text = corpus.mutated(pick)

    fail_if_anything_is_odd(folder, text, pick)
