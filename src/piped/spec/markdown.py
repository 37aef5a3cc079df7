"""Reference pages: what components say of themselves, as Markdown.

A section on a page leaves to the page what holds for many components: it explains the types, which
stand as ``[duration]`` in the section, and the parameters that the general bases have.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Final

from piped.spec.bases import InputOutputProcessor, Processor, Provider
from piped.spec.components import Parameter, Spec
from piped.spec.described import (
    by_owner,
    default_text,
    name_of,
    owner,
    parts_of,
    prose_of,
    root_of,
    type_words,
)
from piped.spec.types import ROWS

GENERAL: Final = (InputOutputProcessor, Processor, Provider)
"""The bases whose parameters are told once for all components that have them."""

TYPES: Final = tuple(row.words for row in ROWS.values())
"""The words of the types that are not plain YAML."""

_TYPE: Final = re.compile(rf"(?<![!'\w])(?:{'|'.join(TYPES)})(?!['\w])")


def component(spec: Spec, title: str = "", level: int = 2, *, on_page: bool = False) -> str:
    """Return the section of one component: its prose, example, parameters, failures, and parts."""
    prose = prose_of(spec.component)
    blocks = [f"{'#' * level} {title or spec.name}", prose.summary, _joined(prose.paragraphs)]
    if spec.deprecated:
        blocks.append(f"**Deprecated:** {spec.deprecated}.")
    if prose.example:
        # A baton may hold bytes, which a document has no word for.
        mark = "other" if "!!binary" in prose.example else "fragment"
        blocks.append(f"```yaml {mark}\n{prose.example}\n```")
    if spec.entries is None:  # else the section's keys are the user's own names
        blocks.append(table(_own(spec), on_page=on_page))
        blocks += [] if on_page else [_general(spec)]
    if prose.raises:
        blocks += ["Raises:", "\n".join(f"* `{name}`: {why}" for name, why in prose.raises)]
    blocks += [
        component(part, f"`{path}`", level + 1, on_page=on_page)
        for path, part in parts_of(spec, title.strip("`") or root_of(spec))
    ]
    return "\n\n".join(each for each in blocks if each)


def _joined(paragraphs: Iterable[str]) -> str:
    """Return paragraphs with blank lines between them, but not between the items of a list."""
    text = "\n\n".join(paragraphs)
    return re.sub(r"(?m)^(\* .*)\n(?=\n\* )", r"\1", text)


def _own(spec: Spec) -> list[Parameter]:
    """Return the parameters that are told with the component: all but those of general bases."""
    return [p for p in spec.parameters.values() if owner(spec.component, p.field) not in GENERAL]


def _general(spec: Spec) -> str:
    """Return a sentence for each general base that the component has parameters of."""
    told = by_owner(spec)
    return " ".join(
        f"As {name_of(base).lower()} it takes {listed(_code(each.key for each in told[base]))} too."
        for base in GENERAL
        if base in told
    )


def general(base: type) -> list[Parameter]:
    """Return the parameters that a general base itself declares."""
    every = Spec("part", base.__name__, base).parameters.values()
    return [each for each in every if owner(base, each.field) is base]


def table(parameters: Iterable[Parameter], *, on_page: bool = False) -> str:
    """Return the parameters as a table: those that must be given first, then as declared."""
    rows = []
    for each in sorted(parameters, key=lambda each: not each.required):
        kind = type_words(each.hint)
        kind = _TYPE.sub(r"[\g<0>]", kind) if on_page else kind
        rows.append([f"`{each.key}`", kind, default_text(each), each.description])
    return in_cells(["parameter", "type", "default", "meaning"], rows) if rows else ""


def in_cells(head: Sequence[str], rows: Iterable[Iterable[str]]) -> str:
    """Return rows of texts as a table."""
    escaped = ([each.replace("|", "\\|") for each in row] for row in rows)
    first, *others = (f"| {' | '.join(each)} |" for each in chain([head], escaped))
    return "\n".join([first, f"|{'---|' * len(head)}", *others])


def links(specs: Iterable[Spec], page: str = "") -> Iterator[str]:
    """Yield the names of components as links to their sections on a page."""
    for each in specs:
        yield f"[{each.name}]({page}#{each.name})"


def listed(words: Iterable[str]) -> str:
    """Return words as one says them: ``a``, ``a and b``, ``a, b and c``."""
    *others, last = words
    return f"{', '.join(others)} and {last}" if others else last


def _code(words: Iterable[str]) -> Iterator[str]:
    return (f"`{each}`" for each in words)
