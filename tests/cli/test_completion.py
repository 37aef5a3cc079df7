"""What a shell completes, asked as its script asks; and `piped completion`, which prints it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest

from piped.cli import COMMANDS
from piped.shipped import PROCESSORS, PROVIDERS
from tests.cli.conftest import Invoke, Write
from tests.stories.processes import PIPED

Complete: TypeAlias = Callable[[str], list[str]]

DOCUMENT = """\
includes: [more.yaml]
plugins: {bundles: {own: [bundle_that_fails]}}
pipelines:
    web:
        hello: [{nope: {}}]
        answer: {chained_consumers: [passthrough]}
"""


@pytest.fixture
def complete(folder: Path) -> Complete:
    """Return what bash gets for a line; the last word is the one to complete."""

    def complete(line: str) -> list[str]:
        words = line.split(" ")
        asked = {"COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
        done = subprocess.run(
            [PIPED],
            cwd=folder,
            env={**os.environ, **asked, "_PIPED_COMPLETE": "bash_complete"},
            capture_output=True,
            text=True,
            timeout=10,
        )
        assert (done.stderr, done.returncode) == ("", 0)
        return done.stdout.split()

    return complete


def plain(*words: str) -> list[str]:
    return [f"plain,{each}" for each in words]


def test_all_commands_are_completed(complete: Complete) -> None:
    assert complete("piped ") == plain(*COMMANDS)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("piped ch", ["check"]),
        ("piped nope", []),
        ("piped --v", ["--version"]),
        ("piped run --ru", ["--rundir"]),
        ("piped run --life", []),
        ("piped -n --ru", ["--rundir"]),
        ("piped check --format ", ["text", "json", "github"]),
        ("piped check --format j", ["json"]),
        ("piped list pi", ["pipelines"]),
        ("piped completion ", ["bash", "zsh", "fish"]),
        ("piped describe scatter", ["scatter-gather"]),
        ("piped call nowhere.yaml ", []),
        ("piped new ", []),
    ],
)
def test_words_are_completed(complete: Complete, line: str, words: list[str]) -> None:
    assert complete(line) == plain(*words)


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("piped call ", "file"),
        ("piped check a.yaml ", "file"),
        ("piped describe web ", "file"),
        ("piped graph ", "file"),
        ("piped list ser", "file"),
        ("piped render ", "file"),
        ("piped run ", "file"),
        ("piped -nc ", "file"),
        ("piped run -l ", "file"),
        ("piped run -d ", "dir"),
        ("piped schema -o ", "file"),
    ],
)
def test_files_and_folders_are_left_to_the_shell(complete: Complete, line: str, kind: str) -> None:
    [answer] = complete(line)

    assert answer.partition(",")[0] == kind


def test_components_are_completed(complete: Complete) -> None:
    assert complete("piped describe ") == plain(*sorted({*PROCESSORS, *PROVIDERS}))


@pytest.mark.parametrize("command", ["call", "graph"])
def test_pipelines_of_the_document_are_completed_however_much_is_wrong_with_it(
    complete: Complete, write: Write, command: str
) -> None:
    write(DOCUMENT)
    write("pipelines: {jobs: [passthrough], web: {late: [passthrough]}}\n", "more.yaml")
    write("raise SystemExit('imported')\n", "bundle_that_fails/__init__.py")

    every = complete(f"piped {command} service.yaml ")
    some = complete(f"piped {command} service.yaml web.h")

    assert sorted(every) == plain("jobs", "web.answer", "web.hello", "web.late")
    assert some == plain("web.hello")


def test_overrides_are_heeded(complete: Complete, write: Write) -> None:
    write("pipelines: {p: [passthrough]}\n")

    assert complete("piped call -O pipelines.q:[passthrough] service.yaml q") == plain("q")


def test_completing_a_command_imports_none() -> None:
    code = "import sys\nfrom piped.cli import piped\ntry: piped(prog_name='piped')\nfinally:"
    code += "print([each for each in sys.modules if each.startswith('piped.')])"
    asked = {"COMP_WORDS": "piped ", "COMP_CWORD": "1", "_PIPED_COMPLETE": "bash_complete"}

    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **asked},
        capture_output=True,
        text=True,
        timeout=10,
    )

    assert done.stdout.splitlines()[-1] == "['piped.cli']"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_each_shell_is_printed(
    invoke: Invoke, monkeypatch: pytest.MonkeyPatch, shell: str
) -> None:
    monkeypatch.setenv("SHELL", f"/usr/bin/{shell}")

    named, own = invoke("completion", shell), invoke("completion")

    assert (named.exit_code, named.stderr) == (0, "")
    assert f"_PIPED_COMPLETE={shell}_complete" in named.stdout
    assert own.stdout == named.stdout


@pytest.mark.parametrize(
    ("shell", "what"),
    [("/bin/tcsh", "no script for 'tcsh'"), ("", "the variable SHELL is not set")],
)
def test_another_shell_is_refused(
    invoke: Invoke, monkeypatch: pytest.MonkeyPatch, shell: str, what: str
) -> None:
    monkeypatch.setenv("SHELL", shell)

    result = invoke("completion")

    assert result.exit_code == 2
    assert result.stderr.endswith(f"Error: {what}: name one of bash, zsh, fish\n")


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_bash_completes_by_the_script(write: Write, folder: Path) -> None:
    write("pipelines: {web: {hello: [passthrough]}}\n")
    lines = (
        'eval "$(piped completion bash)"',
        "COMP_WORDS=(piped call service.yaml web.) COMP_CWORD=3",
        "_piped_completion piped; echo ${COMPREPLY[@]}",
    )

    done = subprocess.run(
        ["bash", "--norc", "-c", "\n".join(lines)],
        cwd=folder,
        env={**os.environ, "PATH": f"{Path(PIPED).parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=10,
    )

    assert (done.stdout, done.stderr) == ("web.hello\n", "")
