"""YAML files -> one document: includes, tags and overrides, every value with its place.

``load`` reads a document with all that it includes; ``parse`` reads a single text.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from collections.abc import Mapping as Environment
from dataclasses import dataclass
from pathlib import Path

from piped.document.aliases import resolve
from piped.document.external import look_up
from piped.document.files import Surroundings
from piped.document.includes import Includes
from piped.document.nodes import Entry, Mapping, Node, Scalar, Secret, Sequence, plain
from piped.document.overrides import override
from piped.document.reader import Source, read
from piped.document.report import Report
from piped.errors import Problem

__all__ = [
    "Document",
    "Entry",
    "Mapping",
    "Node",
    "Scalar",
    "Secret",
    "Sequence",
    "load",
    "parse",
    "plain",
]


@dataclass(frozen=True, slots=True)
class Document:
    """A document, merged and looked up, with everything that is wrong with it.

    ``root`` holds as much as could be read; what could not be found is a null or, where it comes
    from outside, an empty text. ``files`` are all files that were read, for a reload; ``aliased``
    are the keys of the root that aliases point to or into. Where ``is_complete`` is false, a part
    of the text was not read, so that nobody knows what is missing.
    """

    file: Path
    root: Mapping
    problems: tuple[Problem, ...]
    files: tuple[Path, ...]
    aliased: frozenset[str] = frozenset()
    is_complete: bool = True
    overrides: tuple[str, ...] = ()


def load(
    file: str | Path,
    overrides: Iterable[str] = (),
    *,
    environment: Environment[str, str] | None = None,
) -> Document:
    """Read a document with its includes, and apply aliases, overrides and values from outside.

    Args:
        file: The path of the document; ``~`` and ``$VAR`` are expanded.
        overrides: Texts such as ``web.site.port:8080``, applied in their order.
        environment: The environment variables to use instead of those of this process.

    Returns:
        The document; nothing that is wrong with it raises.
    """
    surroundings = Surroundings.here(environment)
    report = Report()
    path = surroundings.expanded(os.fspath(file))
    root = Includes(surroundings, report).read(path)
    resolve(root, report)
    overrides = tuple(overrides)
    override(root, overrides, surroundings.environment, report)
    look_up(root, surroundings, report)
    files, aliased = tuple(report.files), frozenset(report.aliased)
    problems = tuple(report.problems)
    return Document(Path(path), root, problems, files, aliased, report.is_complete, overrides)


def parse(text: str, file: str = "<text>") -> tuple[Node, list[Problem]]:
    """Read a single text: its tags are read, but nothing is included or looked up.

    Returns:
        The node, which is a null for an empty text, and everything that is wrong with it.
    """
    report = Report()
    return read(Source(text, file), report), report.problems
