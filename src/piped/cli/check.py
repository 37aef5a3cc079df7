"""`piped check`: all problems of documents, at once."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click
import msgspec

from piped.app import blueprint_of
from piped.cli.options import EXIT_FAILED, FILE, overrides, set_up_logs
from piped.errors import Level, Problem


@click.command("check")
@click.argument("files", nargs=-1, required=True, metavar="FILE...", type=FILE)
@click.option("--strict", is_flag=True, help="Fail on warnings and hints too.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json", "github"]),
    default="text",
    help="How to print; github: annotations of a workflow run.",
)
@click.option(
    "--no-imports", is_flag=True, help="Import no bundles: what depends on them is not looked at."
)
@overrides
def command(
    files: tuple[str, ...], strict: bool, form: str, no_imports: bool, override: tuple[str, ...]
) -> None:
    """Print all problems of documents and of what they include.

    Nothing is started. The bundles and namespaces that a document names are imported, and no other
    code of theirs runs. Exit code 1 where there is an error (with --strict: any problem).
    """
    set_up_logs()
    blueprints = [blueprint_of(file, override, may_import=not no_imports) for file in files]
    problems = list(dict.fromkeys(each for one in blueprints for each in one.problems))
    if form == "json":
        click.echo(msgspec.json.encode([as_json(each) for each in problems]).decode())
    else:
        for problem in problems:
            click.echo(as_annotation(problem) if form == "github" else str(problem))
        click.echo(summary(problems, len(files)), err=True)
    if any(strict or each.level is Level.ERROR for each in problems):
        raise SystemExit(EXIT_FAILED)


def as_json(problem: Problem) -> dict[str, Any]:
    """Return the fields of a problem, its place as file, line and column."""
    fields = asdict(problem)
    fields = {**(fields.pop("place") or {"file": None, "line": None, "column": None}), **fields}
    return {
        name: _decoded(each) if isinstance(each, str) else each for name, each in fields.items()
    }


def _decoded(text: str) -> str:
    """Return a text that UTF-8 can hold: names of files may have any bytes in them."""
    return text.encode("utf-8", "backslashreplace").decode()


def as_annotation(problem: Problem) -> str:
    """Return a problem as a workflow command of GitHub Actions, which shows it in the change."""
    place = problem.place
    facts = {"file": place.file, "line": place.line, "col": place.column} if place else {}
    facts["title"] = problem.code
    properties = ",".join(f"{name}={_escaped(f'{fact}', ':,')}" for name, fact in facts.items())
    said = [problem.what, *filter(None, (problem.why, problem.hint))]
    kind = "notice" if problem.level is Level.HINT else problem.level
    return f"::{kind} {properties}::{_escaped(chr(10).join(said))}"


def _escaped(text: str, more: str = "") -> str:
    return "".join(f"%{ord(sign):02X}" if sign in f"%\r\n{more}" else sign for sign in text)


def summary(problems: list[Problem], files: int) -> str:
    """Return one line that counts the problems by level."""
    counts = {level: sum(each.level is level for each in problems) for level in Level}
    parts = [f"{n} {level}{'s' if n > 1 else ''}" for level, n in counts.items() if n]
    documents = "1 document" if files == 1 else f"{files} documents"
    return f"{documents}: {', '.join(parts) or 'no problems'}"
