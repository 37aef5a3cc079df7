"""Contexts: named values that all pipelines of the process share."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Set
from contextlib import asynccontextmanager
from dataclasses import field
from typing import Annotated, Any, ClassVar, Self

from piped.resources.context import Context
from piped.spec import Meta, Provider, provider


@provider("contexts", entries="values")
class Contexts(Provider):
    """Share values between all pipelines of the process, by reference.

    Each key of the section is a context with its first value; it is the resource
    ``context.<name>``. What pipelines put into it stays until they take it out or the process
    ends: nothing is written to disk. A mapping can be changed while another pipeline goes through
    it, lists and mappings inside of it are plain. A reload keeps what is in the contexts whose
    first value is as it was.
    """

    overlaps: ClassVar[bool] = True

    values: Annotated[
        dict[str, Any], Meta(description="The first value of each context, by its name.")
    ] = field(default_factory=dict)
    _shared: dict[str, Any] = field(default_factory=dict, init=False)
    _first: dict[str, str] = field(default_factory=dict, init=False)  # as text: 1 is not true

    def __post_init__(self) -> None:
        self._first = {name: repr(value) for name, value in self.values.items()}
        for name, value in self.values.items():
            is_mapping = isinstance(value, dict)
            self._shared[f"context.{name}"] = Context(value) if is_mapping else value

    def offers(self) -> Iterable[str]:
        return tuple(self._shared)

    def unused(self, needed: Set[str]) -> Iterable[str]:
        return (name for name in self.values if f"context.{name}" not in needed)

    def take_over(self, old: Self) -> bool:
        for name, first in self._first.items():
            if old._first.get(name) == first:
                self._shared[f"context.{name}"] = old._shared[f"context.{name}"]
        return False

    @asynccontextmanager
    async def running(self) -> AsyncIterator[dict[str, Any]]:
        """Yield the shared objects: the same ones each time."""
        yield dict(self._shared)
