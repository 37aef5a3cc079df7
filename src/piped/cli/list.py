"""`piped list`: what a document may use, and what is in it."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any, Final, TypeAlias

import click
import msgspec
from click.shell_completion import CompletionItem

from piped.app import blueprint_of
from piped.blueprint import Blueprint
from piped.checks import OWN_RESOURCES
from piped.cli.catalog import Everything, everything
from piped.cli.options import EXIT_FAILED, FILE, set_up_logs, show_problems
from piped.spec import dependencies_of
from piped.spec.imports import NotInstalled

Row: TypeAlias = dict[str, Any]

KINDS: Final = ("processors", "providers", "pipelines", "resources")
COMPONENTS: Final = KINDS[:2]
MIN_SUMMARY: Final = 20


def kinds_or_files(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem[str]]:
    """Return the kinds that a shell may complete a word to; else it may be a document."""
    kinds = [CompletionItem(each) for each in KINDS if each.startswith(incomplete)]
    return kinds or FILE.shell_complete(context, parameter, incomplete)


@click.command("list")
@click.argument(
    "kind", required=False, metavar=f"[{'|'.join(KINDS)}]", shell_complete=kinds_or_files
)
@click.argument("file", required=False, metavar="[FILE]", type=FILE)
@click.option(
    "--format", "form", type=click.Choice(["text", "json"]), default="text", help="How to print."
)
def command(kind: str | None, file: str | None, form: str) -> None:
    """List processors, providers, pipelines or resources; all of them if none is named.

    Without FILE: the processors and providers that come with Piped. With FILE: those of its bundles
    too, its pipelines and where they are written, and its resources, who provides and who uses
    them. Exit code 1 where the document has errors; its pipelines and resources are then left out.
    """
    if kind is not None and kind not in KINDS and file is None:
        kind, file = None, kind
    kinds = kinds_of(kind, file)
    set_up_logs()
    blueprint = None if file is None else blueprint_of(file)
    errors = [] if blueprint is None else blueprint.errors
    show_problems(errors)
    if blueprint is None or errors:
        kinds = [each for each in kinds if each in COMPONENTS]
    rows = rows_of(kinds, blueprint)
    if form == "json":
        click.echo(msgspec.json.encode(rows if kind is None else rows.get(kind, [])).decode())
    else:
        click.echo("\n\n".join(texts(rows, with_titles=kind is None)), nl=any(rows.values()))
    if errors:
        raise SystemExit(EXIT_FAILED)


def kinds_of(kind: str | None, file: str | None) -> list[str]:
    """Return what to list."""
    if kind is None:
        return list(KINDS)
    if kind not in KINDS:
        raise click.UsageError(f"expected one of {', '.join(KINDS)}, got '{kind}'")
    if kind not in COMPONENTS and file is None:
        raise click.UsageError(f"name a document: 'piped list {kind} FILE'")
    return [kind]


def rows_of(kinds: list[str], blueprint: Blueprint | None) -> dict[str, list[Row]]:
    """Return what there is of each kind, by name."""
    known = everything(blueprint) if {*kinds} & {*COMPONENTS} else None
    found: dict[str, list[Row]] = {}
    for kind in kinds:
        if known is not None and kind in COMPONENTS:
            found[kind] = [*components(known, kind)]
        elif blueprint is not None:
            found[kind] = [*(pipelines if kind == "pipelines" else resources)(blueprint)]
    return found


def components(known: Everything, kind: str) -> Iterator[Row]:
    """Yield the components of a kind; of one that lacks a library, how to install it."""
    for name, each in (known.processors if kind == "processors" else known.providers).items():
        row: Row = {"name": name, "summary": "", "deprecated": "", "module": None}
        if isinstance(each, NotInstalled):
            row["summary"] = f"({each}: {each.hint})"
        else:
            row["summary"] = each.summary.replace("``", "")
            row |= {"deprecated": each.deprecated, "module": each.component.__module__}
        yield row


def pipelines(blueprint: Blueprint) -> Iterator[Row]:
    """Yield the pipelines of a document, and where they are written."""
    for name in sorted(blueprint.pipeline_names):
        yield {"name": name, **asdict(blueprint.pipelines[name].graph.place)}


def resources(blueprint: Blueprint) -> Iterator[Row]:
    """Yield what can be depended on: who provides it, and who uses it."""
    users: dict[str, set[str]] = {}
    for unit in blueprint.units:
        for each in dependencies_of(unit):
            users.setdefault(each.name, set()).add(unit.label)
    for name, pipeline in blueprint.pipelines.items():
        for each in pipeline.dependencies():
            users.setdefault(each.name, set()).add(f"pipeline.{name}")
    providers = dict.fromkeys(OWN_RESOURCES, "piped")
    providers |= {name: unit.label for name, unit in blueprint.offers().items()}
    providers |= {f"pipeline.{name}": "pipelines" for name in blueprint.pipeline_names}
    for name in sorted(providers):
        used_by = sorted(users.get(name, ()))
        yield {"name": name, "provider": providers[name], "used_by": used_by}


def texts(rows: Mapping[str, list[Row]], *, with_titles: bool) -> Iterator[str]:
    """Yield a block of aligned lines for each kind that there is something of."""
    for kind, each in rows.items():
        if each:
            lines = aligned([LINES[kind](row) for row in each])
            yield "\n".join([kind, *(f"  {line}" for line in lines)] if with_titles else lines)


def aligned(lines: list[tuple[str, ...]]) -> list[str]:
    """Return cells as lines with columns; the last one is cut where a terminal ends."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)][:-1]
    room = room_for_last(sum(widths) + 2 * len(widths))
    made = []
    for *cells, last in lines:
        text = last if room is None or len(last) <= room else f"{last[: room - 1]}…"
        padded = [cell.ljust(width) for cell, width in zip(cells, widths, strict=True)]
        made.append("  ".join([*padded, text]).rstrip())
    return made


def room_for_last(used: int) -> int | None:
    """Return how many signs a terminal leaves for the last column; None where there is none."""
    if not sys.stdout.isatty():
        return None
    return max(shutil.get_terminal_size().columns - used - 2, MIN_SUMMARY)


def component_line(row: Row) -> tuple[str, ...]:
    note = f"(deprecated: {row['deprecated']}) " if row["deprecated"] else ""
    return row["name"], f"{note}{row['summary']}"


def pipeline_line(row: Row) -> tuple[str, ...]:
    return row["name"], f"{row['file']}:{row['line']}:{row['column']}"


def resource_line(row: Row) -> tuple[str, ...]:
    users = ", ".join(row["used_by"]) or "nobody"
    return row["name"], f"from {row['provider']}", f"used by {users}"


LINES: Final = {
    "processors": component_line,
    "providers": component_line,
    "pipelines": pipeline_line,
    "resources": resource_line,
}
