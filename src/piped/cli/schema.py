"""`piped schema`: the JSON Schema of documents, for editors."""

from __future__ import annotations

import json
import os
from pathlib import Path

import click

from piped.app import blueprint_of
from piped.blueprint import Blueprint
from piped.cli.catalog import everything
from piped.cli.options import EXIT_FAILED, FILE, reason, set_up_logs, show_problems
from piped.errors import Level, Problem
from piped.spec.schema import document_schema


@click.command("schema")
@click.argument("file", required=False, metavar="[FILE]", type=FILE)
@click.option(
    "-o", "--output", metavar="FILE", type=FILE, help="Write to this file, where it has changed."
)
def command(file: str | None, output: str | None) -> None:
    """Print the JSON Schema of documents, by which editors complete, explain and check.

    With FILE: the components of its bundles too. The schema is that of any document, so one file
    of it serves all documents of a project. Exit code 1 where a bundle cannot be read; nothing is
    written then.
    """
    set_up_logs()
    blueprint = None if file is None else blueprint_of(file)
    if blueprint is not None and (errors := errors_of_bundles(blueprint)):
        show_problems(errors)
        raise SystemExit(EXIT_FAILED)
    specs = [*everything(blueprint).specs()]
    made = document_schema(
        (each for each in specs if each.kind == "processor"),
        (each for each in specs if each.kind == "provider"),
    )
    text = json.dumps(made, indent=2, ensure_ascii=False)
    if output is None:
        click.echo(text)
    else:
        write(Path(os.path.expanduser(output)), f"{text}\n")


def errors_of_bundles(blueprint: Blueprint) -> list[Problem]:
    """Return what keeps the components of a document from being known; the rest is no matter."""
    if not blueprint.document.is_complete:
        return [each for each in blueprint.errors if each in blueprint.document.problems]
    return [each for each in blueprint.catalog.problems if each.level is Level.ERROR]


def write(path: Path, text: str) -> None:
    """Write a file, unless it says the same already."""
    try:
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise click.UsageError(f"cannot write '{path}': {reason(error)}") from error
