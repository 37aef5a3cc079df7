"""What all commands share: help, versions, overrides, how problems are shown, the loop."""

from __future__ import annotations

import asyncio
import subprocess
from importlib.metadata import version
from typing import Final

import pytest

from piped.cli import COMMANDS
from piped.cli.options import new_runner, reason, show_problems
from piped.errors import Level, Place, Problem
from tests.cli.conftest import Invoke, Write
from tests.stories.processes import PIPED

PRINTING: Final = [["list"], ["describe", "wait"], ["schema"], ["--help"], ["completion", "bash"]]


@pytest.mark.parametrize("arguments", PRINTING)
def test_a_full_disk_is_told_without_a_traceback(arguments: list[str]) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run([PIPED, *arguments], stdout=full, stderr=subprocess.PIPE, text=True)

    assert (done.returncode, done.stderr) == (1, "error: cannot print: no space left on device\n")


@pytest.mark.parametrize("arguments", PRINTING)
def test_what_the_caller_has_closed_is_no_failure(arguments: list[str]) -> None:
    command = ["sh", "-c", 'exec "$@" <&- >&-', "sh", PIPED, *arguments]

    done = subprocess.run(command, stderr=subprocess.PIPE, text=True)

    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("chekc", " Did you mean 'check'?"),
        ("service.yaml", " Did you mean 'piped run service.yaml'?"),
        ("zzz", ""),
    ],
)
def test_a_word_that_is_no_command_is_told_with_what_was_meant(
    invoke: Invoke, write: Write, word: str, meant: str
) -> None:
    write("")

    result = invoke(word)

    assert result.exit_code == 2
    assert result.stderr.endswith(f"Error: No such command '{word}'.{meant}\n")


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help_lists_the_commands(invoke: Invoke, option: str) -> None:
    result = invoke(option)

    assert result.exit_code == 0
    assert result.stdout.startswith("Usage: piped [OPTIONS] COMMAND [ARGS]...\n")
    for name, what in COMMANDS.items():
        assert f"  {name} " in result.stdout
        assert what.split(",")[0].rstrip(".") in " ".join(result.stdout.split())


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_help_for_each_option(invoke: Invoke, name: str) -> None:
    result = invoke(name, "--help")

    assert result.exit_code == 0
    assert result.stdout.startswith(f"Usage: piped {name} ")
    _, _, options = result.stdout.partition("\nOptions:\n")
    rows = [line for line in options.splitlines() if line.startswith("  -")]
    assert all("  " in row.strip() for row in rows), "an option without its help"


@pytest.mark.parametrize("option", ["-v", "--version"])
def test_version_names_what_matters(invoke: Invoke, option: str) -> None:
    result = invoke(option)

    assert result.exit_code == 0
    assert result.stdout.startswith(f"piped {version('piped-server')} (Python 3.")
    assert f"pyzmq {version('pyzmq')}" in result.stdout


@pytest.mark.parametrize("arguments", [[], ["nope"], ["--nope"], ["-nc"], ["-n"], ["-O"]])
def test_wrong_usage_is_told_on_standard_error(arguments: list[str]) -> None:
    done = subprocess.run([PIPED, *arguments], capture_output=True, text=True, timeout=10)

    assert (done.stdout, done.returncode) == ("", 2)
    assert done.stderr.startswith(("Usage: piped", "Error: "))


def test_problems_of_less_weight_are_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    problems = [
        Problem("a", "the first", Place("f.yaml", 1, 2)),
        Problem("b", "the second", level=Level.WARNING),
        Problem("c", "the third", level=Level.HINT),
    ]

    show_problems(problems, down_to=Level.WARNING)

    assert capsys.readouterr().err == "f.yaml:1:2: error[a]: the first\nwarning[b]: the second\n"


def test_a_reason_is_told_in_lower_case() -> None:
    assert reason(OSError(2, "No such file or directory")) == "no such file or directory"
    assert reason(OSError("Bad luck")) == "bad luck"


@pytest.mark.parametrize(("loop", "module"), [("uvloop", "uvloop"), ("asyncio", "asyncio")])
def test_the_loop_is_chosen_by_the_environment(
    monkeypatch: pytest.MonkeyPatch, loop: str, module: str
) -> None:
    monkeypatch.setenv("PIPED_LOOP", loop)

    async def running() -> str:
        return type(asyncio.get_running_loop()).__module__.partition(".")[0]

    with new_runner() as runner:
        assert runner.run(running()) == module
