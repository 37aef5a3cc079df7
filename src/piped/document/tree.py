"""Walking, copying and measuring nodes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from piped.batons import BatonPath
from piped.document import scalars
from piped.document.nodes import Entry, Mapping, Node, Scalar, Sequence
from piped.document.pending import Alias, Outside

_MAX_SHOWN: Final = 60


@dataclass(frozen=True, slots=True)
class Slot:
    """A position inside a document, whatever stands there: a holder, and a key or an index."""

    holder: Mapping | Sequence
    key: Any
    parent: Slot | None
    depth: int

    @property
    def node(self) -> Node:
        if isinstance(self.holder, Mapping):
            return self.holder.entries[self.key].node
        index: int = self.key
        return self.holder.items[index]

    def put(self, node: Node) -> None:
        if isinstance(self.holder, Mapping):
            self.holder.entries[self.key].node = node
        else:
            self.holder.items[self.key] = node

    @property
    def at(self) -> str:
        above = self.parent.at if self.parent else ""
        return extended(above, self.key, is_index=isinstance(self.holder, Sequence))


def extended(at: str, key: Any, *, is_index: bool = False) -> str:
    """Return the dotted path of something one step below another path."""
    if is_index:
        return f"{at}[{key}]"
    return f"{at}.{shortened(str(key))}" if at else shortened(str(key))


def slots(node: Node, kind: type[Scalar], parent: Slot | None = None) -> Iterator[Slot]:
    """Yield the positions of all nodes of a kind that waits, in the order of the document.

    What is put into a slot after it was yielded is walked through too. An alias is not entered.
    """
    holder = node.options if isinstance(node, Outside) else node
    children: Iterable[tuple[Any, Node]]
    if isinstance(holder, Mapping):
        children = ((key, entry.node) for key, entry in holder.entries.items())
    elif isinstance(holder, Sequence):
        children = enumerate(holder.items)
    else:
        return
    depth = parent.depth + 1 if parent else 1
    for key, child in children:
        if type(child) is Scalar:
            continue
        slot = Slot(holder, key, parent, depth)
        if isinstance(child, kind):
            yield slot
        yield from slots(slot.node, kind, slot)


def copy(node: Node) -> Node:
    """Return a deep copy of a node; every place stays as it was."""
    match node:
        case Mapping():
            return copy_mapping(node)
        case Sequence():
            return Sequence(node.place, [copy(item) for item in node.items])
        case Alias(defaults=Mapping() as defaults):
            return Alias(node.place, node.value, defaults=copy_mapping(defaults))
        case Outside(options=Mapping() as options):
            return Outside(node.place, node.value, tag=node.tag, options=copy_mapping(options))
        case Alias():
            return Alias(node.place, node.value)
        case Outside():
            return Outside(node.place, node.value, tag=node.tag)
    return Scalar(node.place, node.value, node.external, node.content)


def copy_mapping(node: Mapping) -> Mapping:
    """Return a deep copy of a mapping."""
    entries = {key: Entry(each.key_place, copy(each.node)) for key, each in node.items()}
    return Mapping(node.place, entries)


def size(node: Node) -> int:
    """Return how many nodes there are in a node: itself, its keys and everything below."""
    match node:
        case Mapping():
            return 1 + sum(1 + size(entry.node) for _, entry in node.items())
        case Sequence():
            return 1 + sum(map(size, node.items))
        case Alias(defaults=Mapping() as inner) | Outside(options=Mapping() as inner):
            return 1 + size(inner)
    return 1


def height(node: Node) -> int:
    """Return how many mappings and lists stand inside one another in a node."""
    match node:
        case Mapping():
            return 1 + max((height(entry.node) for _, entry in node.items()), default=0)
        case Sequence():
            return 1 + max(map(height, node.items), default=0)
        case Alias(defaults=Mapping() as inner) | Outside(options=Mapping() as inner):
            return height(inner)
    return 0


def key_like(mapping: Mapping, part: str) -> Any:
    """Return the key that a part of a dotted path means: ``404`` may be a number there."""
    if part in mapping.entries:
        return part
    try:
        value = scalars.resolve(part)
    except ValueError:
        return part
    return value if value in mapping.entries else part


def shortened(text: str) -> str:
    """Return a text as messages show it."""
    return text if len(text) <= _MAX_SHOWN else f"{text[: _MAX_SHOWN - 3]}..."


def described(node: Node) -> str:
    """Return what a node is, for the end of "expected ..., got ..."."""
    match node:
        case Mapping():
            return "a mapping"
        case Sequence():
            return "a list"
        case Alias():
            return "'!alias'"
        case Outside():
            return f"'{node.tag}'"
    if node.value is None:
        return "nothing"
    if isinstance(node.value, BatonPath):
        return "'!path'"
    return shortened(repr(node.value))
