"""What pipelines share by name: a dict that may be changed while somebody goes through it."""

from __future__ import annotations

from collections.abc import ItemsView, Iterator, KeysView, ValuesView
from typing import Any


class Context(dict[Any, Any]):
    """A dict that may be changed while somebody goes through it.

    Iteration, ``keys()``, ``values()`` and ``items()`` show what was in it when they were asked
    for, so that a pipeline can take out what it finds. All else is that of a dict; ``copy()``
    gives a plain one. Only the context itself is such a dict: mappings inside it are plain.
    """

    __slots__ = ()

    def __iter__(self) -> Iterator[Any]:
        return iter(tuple(dict.keys(self)))

    def __reversed__(self) -> Iterator[Any]:
        return iter(tuple(dict.keys(self))[::-1])

    # The typing of dict wants its own views; views of a copy are the snapshot, still set-like.
    def keys(self) -> KeysView[Any]:  # type: ignore[override] # dict_keys cannot be named
        return self._snapshot().keys()

    def values(self) -> ValuesView[Any]:  # type: ignore[override] # dict_values cannot be named
        return self._snapshot().values()

    def items(self) -> ItemsView[Any, Any]:  # type: ignore[override] # dict_items cannot be named
        return self._snapshot().items()

    def copy(self) -> dict[Any, Any]:
        return self._snapshot()

    def _snapshot(self) -> dict[Any, Any]:
        # dict(self) and dict.copy(self) would ask keys() again: a base's items are not overridden.
        return dict(dict.items(self))
