"""What the commands share: options, exit codes, how problems are shown, and the event loop."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from piped.errors import Level, Problem

EXIT_FAILED: Final = 1
EXIT_CANNOT_START: Final = 2
FILE: Final = click.Path(readable=False)  # a shell completes it; whether it is there is told later

C = TypeVar("C", bound=Callable[..., Any])


def overrides(command: C) -> C:
    """Add ``-O path:value`` to a command."""
    return click.option(
        "-O",
        "--override",
        metavar="PATH:VALUE",
        multiple=True,
        help="Replace a value of the document, such as web.site.port:8081; repeatable.",
    )(command)


def show_problems(problems: Iterable[Problem], down_to: Level = Level.HINT) -> None:
    """Print problems to standard error, those of less weight left out."""
    weights = list(Level)
    for problem in problems:
        if weights.index(problem.level) <= weights.index(down_to):
            with suppress(OSError):  # a full disk: the exit code says the same
                click.echo(str(problem), err=True)


def set_up_logs(logging_file: str | None = None, verbose: bool = False) -> None:
    """Configure logs: those of a ``logging.config`` file where there is one, else ours."""
    from piped.observe import logs

    config = None if logging_file is None else read_logging(logging_file)
    try:
        logs.configure(file=config, verbose=verbose)
    except (ValueError, TypeError, AttributeError, ImportError) as error:
        why = f"{error}: {error.__cause__}" if error.__cause__ else f"{error}"
        raise click.UsageError(f"'{logging_file}' is no logging configuration: {why}") from error


def read_logging(file: str) -> dict[str, Any]:
    """Return what a ``logging.config`` YAML file says."""
    import yaml

    try:
        config = yaml.safe_load(Path(file).expanduser().read_text(encoding="utf-8"))
    except OSError as error:
        raise click.UsageError(f"cannot read '{file}': {reason(error)}") from error
    except yaml.MarkedYAMLError as error:
        where = f"{file}:{error.problem_mark.line + 1}" if error.problem_mark else file
        raise click.UsageError(f"cannot read '{where}': {error.problem}") from error
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise click.UsageError(f"cannot read '{file}': {error}") from error
    if not isinstance(config, dict):
        what = f"expected a mapping, got {config!r}"
        raise click.UsageError(f"'{file}' is no logging configuration: {what}")
    return config


def reason(error: OSError) -> str:
    """Return why the system refused, in the form of our own messages."""
    return (error.strerror or str(error)).lower()


def new_runner() -> asyncio.Runner:
    """Return a runner on uvloop, or on asyncio where ``PIPED_LOOP=asyncio`` or uvloop is away."""
    if os.environ.get("PIPED_LOOP", "uvloop") == "uvloop" and sys.platform != "win32":
        import uvloop

        return asyncio.Runner(loop_factory=uvloop.new_event_loop)
    return asyncio.Runner()
