"""`piped check`: all problems of documents, at once."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click
import msgspec

from piped.app import blueprint_of
from piped.cli.options import EXIT_FAILED, overrides, set_up_logs
from piped.errors import Level, Problem


@click.command("check", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("--strict", is_flag=True, help="Fail on warnings and hints too.")
@click.option(
    "--format", "form", type=click.Choice(["text", "json"]), default="text", help="How to print."
)
@overrides
def command(files: tuple[str, ...], strict: bool, form: str, override: tuple[str, ...]) -> None:
    """Print all problems of documents and of what they include.

    Exit code 1 where there is an error (with --strict: any problem).
    """
    set_up_logs()
    found = [each for file in files for each in blueprint_of(file, override).problems]
    problems = list(dict.fromkeys(found))
    if form == "json":
        click.echo(msgspec.json.encode([as_json(each) for each in problems]).decode())
    else:
        for problem in problems:
            click.echo(str(problem))
        click.echo(summary(problems, len(files)), err=True)
    if any(strict or each.level is Level.ERROR for each in problems):
        raise SystemExit(EXIT_FAILED)


def as_json(problem: Problem) -> dict[str, Any]:
    """Return the fields of a problem, its place as file, line and column."""
    fields = asdict(problem)
    return {**(fields.pop("place") or {"file": None, "line": None, "column": None}), **fields}


def summary(problems: list[Problem], files: int) -> str:
    """Return one line that counts the problems by level."""
    counts = {level: sum(each.level is level for each in problems) for level in Level}
    parts = [f"{n} {level}{'s' if n > 1 else ''}" for level, n in counts.items() if n]
    documents = "1 document" if files == 1 else f"{files} documents"
    return f"{documents}: {', '.join(parts) or 'no problems'}"
