"""What a YAML text becomes: nodes that remember the file, line and column they were written in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from piped.errors import Place


class Secret(str):
    """Text that is never shown: its ``repr`` is ``***``."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "***"


@dataclass(slots=True)
class Scalar:
    """A value without parts: text, number, truth, null, or a ``BatonPath`` from ``!path``.

    ``external`` marks text that came from outside the document (``!env``, ``!file``, ``!secret``):
    it takes the type of its parameter. ``content`` is the place of the first sign of the text
    itself: behind a quote, or on the line below a ``|``.
    """

    place: Place
    value: Any
    external: bool = False
    content: Place | None = None


@dataclass(slots=True)
class Sequence:
    """A list of nodes."""

    place: Place
    items: list[Node] = field(default_factory=list)


@dataclass(slots=True)
class Entry:
    """One key of a mapping: where the key was written, and its value."""

    key_place: Place
    node: Node


@dataclass(slots=True)
class Mapping:
    """Keys and their nodes, in the order of the document."""

    place: Place
    entries: dict[Any, Entry] = field(default_factory=dict)

    def get(self, key: Any) -> Node | None:
        entry = self.entries.get(key)
        return entry.node if entry else None

    def items(self) -> Iterator[tuple[Any, Entry]]:
        yield from self.entries.items()

    def find(self, path: str) -> Node | None:
        """Return the node at a dotted path of keys, or None."""
        node: Node | None = self
        for part in path.split(".") if path else []:
            if not isinstance(node, Mapping):
                return None
            node = node.get(part)
        return node


Node: TypeAlias = Scalar | Sequence | Mapping


def plain(node: Node) -> Any:
    """Return the plain Python value of a node: dicts, lists and scalars, freshly made."""
    match node:
        case Mapping():
            return {key: plain(entry.node) for key, entry in node.items()}
        case Sequence():
            return [plain(item) for item in node.items]
        case Scalar():
            return node.value
