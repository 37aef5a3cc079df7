"""Mappings and lists that are not closed yet, while a text is read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from piped.batons import BatonPath
from piped.document.nodes import Entry, Mapping, Node, Scalar, Sequence
from piped.document.tree import described, extended, shortened
from piped.errors import Place, Problem

Problems: TypeAlias = Iterable[Problem]

_NO_KEY: Final = object()
_SKIPPED: Final = object()
_MERGE: Final = object()


@dataclass(slots=True)
class ListFrame:
    """A list that is not closed yet."""

    node: Sequence
    tag: str | None = None
    anchor: str | None = None
    nodes_before: int = 0
    height: int = 1

    def path(self, above: str) -> str:
        """Return the dotted path of what is read next."""
        return extended(above, len(self.node.items), is_index=True)

    def take(self, node: Node, _place: Place) -> Problems:
        """Take the next item; return what is wrong with it."""
        self.node.items.append(node)
        return ()

    def closed(self) -> Sequence:
        return self.node


@dataclass(slots=True)
class MappingFrame:
    """A mapping that is not closed yet; of a key that is written twice the first one counts."""

    node: Mapping
    tag: str | None = None
    anchor: str | None = None
    nodes_before: int = 0
    height: int = 1
    _key: Any = _NO_KEY
    _key_place: Place = field(init=False)
    _is_duplicate: bool = False
    _merge_place: Place | None = None
    _merged: list[Mapping] = field(default_factory=list)

    @property
    def expects_key(self) -> bool:
        return self._key is _NO_KEY

    def path(self, above: str) -> str:
        """Return the dotted path of what is read next."""
        if self._key is _MERGE:
            return extended(above, "<<")
        is_known = self._key is not _NO_KEY and self._key is not _SKIPPED
        return extended(above, self._key) if is_known else above

    def take(self, node: Node, place: Place) -> Problems:
        """Take the next key or the next value; return what is wrong with it."""
        if self._key is _NO_KEY:
            return self._take_key(node, place)
        wrong = self._take_value(node)
        if wrong:
            return self._after(wrong)
        self._key, self._is_duplicate = _NO_KEY, False
        return ()

    def _after(self, wrong: Problems) -> Iterator[Problem]:
        """Yield what is wrong with a value while its key is still known, for the path."""
        yield from wrong
        self._key, self._is_duplicate = _NO_KEY, False

    def take_merge_key(self, place: Place) -> Problems:
        """Take the key ``<<``."""
        self._key = _MERGE
        if self._merge_place:
            self._is_duplicate = True
            return [_duplicate("<<", self._merge_place, place)]
        self._merge_place = place
        return ()

    def closed(self) -> Mapping:
        """Return the mapping: its own keys win over merged ones, and these over later ones."""
        if self._merged:
            entries: dict[Any, Entry] = {}
            for mapping in self._merged:
                for key, entry in mapping.items():
                    entries.setdefault(key, entry)
            self.node.entries = entries | self.node.entries
        return self.node

    def _take_key(self, node: Node, place: Place) -> Problems:
        value = node.value if type(node) is Scalar else None
        self._key_place = place
        if value is None or isinstance(value, BatonPath):
            self._key = _SKIPPED
            what = f"expected text, a number or a truth as a key, got {described(node)}"
            hint = "put text in braces into quotes" if isinstance(node, Mapping) else ""
            return [Problem("bad-key", what, place, hint=hint)]
        self._key = value
        if value in self.node.entries:
            self._is_duplicate = True
            return [_duplicate(value, self.node.entries[value].key_place, place)]
        return ()

    def _take_value(self, node: Node) -> Problems:
        if self._is_duplicate or self._key is _SKIPPED:
            return ()
        if self._key is not _MERGE:
            self.node.entries[self._key] = Entry(self._key_place, node)
            return ()
        given = node.items if isinstance(node, Sequence) else [node]
        self._merged += [each for each in given if isinstance(each, Mapping)]
        return [
            Problem(
                "bad-merge-key", f"expected a mapping after '<<', got {described(each)}", each.place
            )
            for each in given
            if not isinstance(each, Mapping)
        ]


Frame: TypeAlias = ListFrame | MappingFrame


def _duplicate(key: Any, first: Place, second: Place) -> Problem:
    lines = f"in lines {first.line} and {second.line}"
    if first.line == second.line:
        lines = f"twice in line {first.line}"
    what = f"the key '{shortened(str(key))}' is written {lines}"
    return Problem("duplicate-key", what, second, hint="remove one of them")
