"""`piped describe`: what a component says of itself, for a terminal."""

from __future__ import annotations

import re
import shutil
import textwrap
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import click
import msgspec

from piped.app import blueprint_of
from piped.batons import MISSING
from piped.cli._words import components
from piped.cli.catalog import Everything, everything
from piped.cli.options import EXIT_CANNOT_START, EXIT_FAILED, FILE, set_up_logs, show_problems
from piped.errors import suggest
from piped.spec import Parameter, Spec, markdown
from piped.spec.described import (
    by_owner,
    default_text,
    default_value,
    name_of,
    parts_of,
    prose_of,
    root_of,
    type_words,
)
from piped.spec.imports import NotInstalled
from piped.spec.types import ROWS, Row

MAX_WIDTH: Final = 100
INDENT: Final = "  "


@dataclass(frozen=True, slots=True)
class Part:
    """A mapping inside a section, and the path where it stands."""

    path: str
    spec: Spec


@click.command("describe")
@click.argument("name", shell_complete=components)
@click.argument("file", required=False, metavar="[FILE]", type=FILE)
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "markdown", "json"]),
    default="text",
    help="How to print.",
)
def command(name: str, file: str | None, form: str) -> None:
    """Tell what NAME is, what it takes and what it raises.

    NAME is a processor (set-value), a provider (web), a mapping inside one (web.site, or as in the
    document: web.my-site.routing), or a type of values (duration). With FILE: of its bundles too.
    Exit code 2 where nothing has that name.
    """
    set_up_logs()
    blueprint = None if file is None else blueprint_of(file)
    errors = [] if blueprint is None else blueprint.errors
    show_problems(errors)
    found = find(name, everything(blueprint))
    if isinstance(found, str):
        click.echo(f"error: {found}", err=True)
        raise SystemExit(EXIT_CANNOT_START)
    click.echo(FORMS[form](found))
    if errors:
        raise SystemExit(EXIT_FAILED)


def find(name: str, known: Everything) -> Part | Row | str:
    """Return what has a name; or what is wrong with the name, and what may be meant."""
    own = known.processors.get(name) or known.providers.get(name)
    if isinstance(own, NotInstalled):
        return f"'{name}' cannot be used: {own}\n    hint: {own.hint}"
    if own is not None:
        return Part(root_of(own), own)
    parts = [part for spec in known.specs() for part in parts_below(spec, root_of(spec))]
    for is_it in (lambda part: part.path == name, lambda part: is_named(name, part)):
        if found := next(filter(is_it, parts), None):
            return found
    for row in ROWS.values():
        if row.words == name:
            return row
    names = {*known.processors, *known.providers, *(row.words for row in ROWS.values())}
    names |= {title(part) for part in parts}
    return f"nothing is named '{name}'\n    hint: {suggest(name, names)}"


def parts_below(spec: Spec, path: str) -> Iterator[Part]:
    """Yield the mappings inside a component, and those inside them."""
    for below, part in parts_of(spec, path):
        yield Part(below, part)
        yield from parts_below(part, below)


def is_named(name: str, part: Part) -> bool:
    """Tell whether a name means a part: `site`, `web.site`, or a path with the user's own names."""
    if name in (part.spec.name, title(part)):
        return True
    pattern = re.escape(part.path).replace(re.escape("<name>"), r"[^.\[]+")
    return re.fullmatch(pattern.replace(re.escape("[]"), r"(\[\d*\])?"), name) is not None


def title(part: Part) -> str:
    """Return a part's own name behind that of its section."""
    section = part.path.partition(".")[0]
    return part.spec.name if part.spec.kind != "part" else f"{section}.{part.spec.name}"


def text(found: Part | Row) -> str:
    """Return what is to be said, as text of the width of the terminal."""
    width = min(shutil.get_terminal_size().columns, MAX_WIDTH)
    return "\n\n".join("\n".join(lines) for lines in blocks(found, width) if lines)


def blocks(found: Part | Row, width: int) -> Iterator[list[str]]:
    """Yield blocks of lines: prose, parameters, parts, the example, and failures."""
    if isinstance(found, Row):
        yield [f"{found.words} (type)"]
        yield wrapped(found.meaning, width)
        yield ["Example", "", f"{INDENT}{found.example}"]
        return
    prose = prose_of(found.spec.component)
    where = f" at {found.path}" if found.spec.kind == "part" else ""
    yield [f"{found.spec.name} ({KINDS[found.spec.kind]}{where})"]
    yield from (wrapped(each, width) for each in (prose.summary, *prose.paragraphs))
    if found.spec.deprecated:
        yield wrapped(f"Deprecated: {found.spec.deprecated}", width)
    if found.spec.entries is None:
        yield from parameter_blocks(found.spec, width)
    if parts := [*parts_of(found.spec, found.path)]:
        rows = [(path, prose_of(part.component).summary) for path, part in parts]
        yield ["Inside", "", *definitions(rows, width)]
    if prose.example:
        yield ["Example", "", *textwrap.indent(prose.example, INDENT).splitlines()]
    if prose.raises:
        yield ["Errors", "", *definitions(prose.raises, width)]


def parameter_blocks(spec: Spec, width: int) -> Iterator[list[str]]:
    """Yield the parameters: the component's own, then those of each of its bases."""
    for kind, parameters in by_owner(spec).items():
        ordered = sorted(parameters, key=lambda each: not each.required)
        head = "Parameters" if kind is spec.component else f"Parameters of {name_of(kind).lower()}"
        rows = [(each.key, told(each)) for each in ordered]
        yield [head, "", *definitions(rows, width)]


def told(parameter: Parameter) -> str:
    """Return the type of a parameter, its default, and below that what it means."""
    default = bare(default_text(parameter))
    needed = default if default in ("required", "none") else f"default {default}"
    needed = needed.replace("none", "no default")
    return f"{type_words(parameter.hint)}; {needed}\n{parameter.description}"


def definitions(rows: Iterable[tuple[str, str]], width: int) -> Iterator[str]:
    """Yield names and texts in two columns; a name that is too long has its own line."""
    rows = list(rows)
    column = max((len(name) for name, _ in rows if len(name) <= width // 3), default=0)
    margin = " " * (len(INDENT) + column + 2)
    for name, said in rows:
        lines = [
            line
            for paragraph in said.splitlines()
            for line in wrapped(paragraph, width - len(margin))
        ]
        if len(name) > column:
            yield f"{INDENT}{name}"
        else:
            yield f"{INDENT}{name:{column}}  {lines.pop(0)}".rstrip()
        yield from (f"{margin}{line}" for line in lines)


def wrapped(said: str, width: int) -> list[str]:
    """Return text without markup, in lines no longer than a width."""
    return textwrap.wrap(bare(said), max(width, 20), break_on_hyphens=False)


def bare(said: str) -> str:
    """Return text without the signs that mark code and stress."""
    return re.sub(r"(?<!\w)\*([^*]+)\*(?!\w)", r"\1", said.replace("`", ""))


def as_markdown(found: Part | Row) -> str:
    """Return the section of a reference page."""
    if isinstance(found, Row):
        return f"## {found.words}\n\n{found.meaning}\n\n```yaml fragment\n{found.example}\n```"
    is_part = found.spec.kind == "part"
    return markdown.component(found.spec, f"`{found.path}`" if is_part else "")


def as_json(found: Part | Row) -> str:
    """Return everything in fields."""
    return msgspec.json.format(msgspec.json.encode(fields(found)), indent=2).decode()


def fields(found: Part | Row) -> dict[str, Any]:
    """Return what is to be said, as JSON has it."""
    if isinstance(found, Row):
        return {
            "kind": "type",
            "name": found.words,
            "summary": found.meaning,
            "example": found.example,
        }
    spec, prose = found.spec, prose_of(found.spec.component)
    parameters = () if spec.entries is not None else spec.parameters.values()
    return {
        "kind": spec.kind,
        "name": spec.name,
        "path": found.path,
        "summary": bare(prose.summary),
        "paragraphs": [bare(each) for each in prose.paragraphs],
        "deprecated": spec.deprecated,
        "parameters": [parameter_fields(each) for each in parameters],
        "parts": [{"path": path, "name": part.name} for path, part in parts_of(spec, found.path)],
        "example": prose.example,
        "errors": [{"name": name, "when": bare(why)} for name, why in prose.raises],
    }


def parameter_fields(parameter: Parameter) -> dict[str, Any]:
    """Return what is to be said of one parameter; 'default' is left out where there is none."""
    default = default_value(parameter)
    return {
        "name": parameter.key,
        "type": type_words(parameter.hint),
        "required": parameter.required,
        **({} if default is MISSING else {"default": default}),
        "description": parameter.description,
    }


FORMS: Final[dict[str, Callable[[Part | Row], str]]] = {
    "text": text,
    "markdown": as_markdown,
    "json": as_json,
}
KINDS: Final = {"processor": "processor", "provider": "provider", "part": "mapping"}
