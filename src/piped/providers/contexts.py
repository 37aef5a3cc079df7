"""Contexts: named values that all pipelines of the process share."""

from __future__ import annotations

from collections.abc import AsyncIterator, ItemsView, Iterable, Iterator, KeysView, ValuesView
from contextlib import asynccontextmanager
from dataclasses import field
from typing import Annotated, Any

from piped.spec import Meta, Provider, provider


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


@provider("contexts", entries="values")
class Contexts(Provider):
    """Share values between all pipelines of the process, by reference.

    Each key of the section is a context with its first value; it is the resource
    ``context.<name>``. What pipelines put into it stays until they take it out or the process
    ends: nothing is written to disk. A mapping can be changed while another pipeline goes through
    it, lists and mappings inside of it are plain.
    """

    values: Annotated[
        dict[str, Any], Meta(description="The first value of each context, by its name.")
    ] = field(default_factory=dict)
    _shared: dict[str, Any] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        for name, value in self.values.items():
            is_mapping = isinstance(value, dict)
            self._shared[f"context.{name}"] = Context(value) if is_mapping else value

    def offers(self) -> Iterable[str]:
        return tuple(self._shared)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[dict[str, Any]]:
        """Yield the shared objects: the same ones each time."""
        yield dict(self._shared)
