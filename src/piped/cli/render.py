"""`piped render`: the document as it is understood, in one piece."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Final

import click
import yaml

from piped.batons import BatonPath
from piped.cli.options import EXIT_FAILED, FILE, overrides, show_problems
from piped.document import Document, Mapping, Node, Scalar, Secret, Sequence, load
from piped.document.scalars import resolve
from piped.errors import Level, Place

ENDLESS: Final = 1 << 30
STRINGS: Final = "tag:yaml.org,2002:str"


@click.command("render")
@click.argument("file", type=FILE)
@click.option("--origins", is_flag=True, help="Say behind each value where it was written.")
@overrides
def command(file: str, origins: bool, override: tuple[str, ...]) -> None:
    """Print a document with all that it includes, aliases, overrides and the environment applied.

    What is printed is a document with the same meaning. Secrets are shown as ***. Exit code 1 where
    something could not be read.
    """
    document = load(file, override)
    show_problems(document.problems)
    click.echo(rendered(document, origins), nl=False)
    if any(each.level is Level.ERROR for each in document.problems):
        raise SystemExit(EXIT_FAILED)


def rendered(document: Document, origins: bool = False) -> str:
    """Return the YAML text of a document, without its includes: they are in it."""
    root = document.root
    root = Mapping(root.place, {k: e for k, e in root.items() if k != "includes"})
    text: str = yaml.serialize(as_yaml(root), width=ENDLESS, allow_unicode=True)
    return with_origins(text, root) if origins else text


def as_yaml(node: Node) -> yaml.Node:
    """Return a node as PyYAML writes it."""
    match node:
        case Mapping():
            pairs = [(scalar(key), as_yaml(entry.node)) for key, entry in node.items()]
            return yaml.MappingNode("tag:yaml.org,2002:map", pairs, flow_style=not pairs)
        case Sequence():
            items = [as_yaml(item) for item in node.items]
            return yaml.SequenceNode("tag:yaml.org,2002:seq", items, flow_style=not items)
        case Scalar(external=True, value=str() as text) if not isinstance(text, Secret):
            with suppress(ValueError):  # as if it stood there: it takes the type of its parameter
                return scalar(resolve(text))
    return scalar(node.value)


def scalar(value: Any) -> yaml.Node:
    """Return a value as PyYAML writes it: text in quotes where it would be read as another type."""
    match value:
        case Secret():
            return yaml.ScalarNode(STRINGS, "***", style="'")
        case BatonPath():
            return yaml.ScalarNode("!path", str(value))
        case str() if "\n" in value:
            return yaml.ScalarNode(STRINGS, value, style="|")
        case str():
            return yaml.ScalarNode(STRINGS, value, style=None if is_text(value) else "'")
    return yaml.SafeDumper(io.StringIO()).represent_data(value)


def is_text(value: str) -> bool:
    try:
        return isinstance(resolve(value), str)
    except ValueError:
        return False


def with_origins(text: str, root: Mapping) -> str:
    """Return a YAML text with the place of each value as a comment behind it."""
    lines = text.splitlines()
    written = yaml.compose(text, Loader=yaml.SafeLoader)
    places = dict(origins_of(root, written)) if written is not None else {}
    return "".join(
        f"{line}  # {places[number]}\n" if number in places else f"{line}\n"
        for number, line in enumerate(lines)
    )


def origins_of(node: Node, written: yaml.Node) -> Iterator[tuple[int, Place]]:
    """Yield the number of each line on which a value begins, and where the value comes from."""
    match node:
        case Mapping() if node.entries:
            for entry, (_, value) in zip(node.entries.values(), written.value, strict=True):
                yield from origins_of(entry.node, value)
        case Sequence() if node.items:
            for item, value in zip(node.items, written.value, strict=True):
                yield from origins_of(item, value)
        case _:
            yield written.start_mark.line, node.place
