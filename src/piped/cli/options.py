"""What the commands share: options, exit codes, how problems are shown, and the event loop."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from piped.errors import Level, Problem

EXIT_FAILED: Final = 1
EXIT_CANNOT_START: Final = 2
EXIT_FAILED_FOR_GOOD: Final = 3

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
            click.echo(str(problem), err=True)


def set_up_logs(logging_file: str | None = None, verbose: bool = False) -> None:
    """Configure logs: those of a ``logging.config`` file where there is one, else ours."""
    from piped.observe import logs

    config: dict[str, Any] | None = None
    if logging_file is not None:
        import yaml

        try:
            config = yaml.safe_load(Path(logging_file).expanduser().read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise click.UsageError(f"cannot read '{logging_file}': {error}") from error
    try:
        logs.configure(file=config, verbose=verbose)
    except (ValueError, TypeError, AttributeError, ImportError) as error:
        raise click.UsageError(f"'{logging_file}' is no logging configuration: {error}") from error


def new_runner() -> asyncio.Runner:
    """Return a runner on uvloop, or on asyncio where ``PIPED_LOOP=asyncio`` or uvloop is away."""
    if os.environ.get("PIPED_LOOP", "uvloop") == "uvloop" and sys.platform != "win32":
        import uvloop

        return asyncio.Runner(loop_factory=uvloop.new_event_loop)
    return asyncio.Runner()
