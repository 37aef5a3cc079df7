"""Collecting batons, for tests to look at."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, MutableSequence
from dataclasses import field
from typing import Annotated, Any, ClassVar, Final

from piped import batons
from piped.batons import MISSING, Baton, BatonPath
from piped.errors import BatonError, Problem, QueueFull
from piped.processors._alternatives import not_one_of
from piped.processors._shown import kind_of
from piped.spec import Dependency, Lambda, Meta, Namespace, Processor, Step, find_python, processor

VOLATILE: Final = "_volatile"
ATOMS: Final = (str, bytes, int, float, bool, type(None))
"""Types whose values are shared by all who write them, and so are no one's own."""


@processor("collect-batons")
class CollectBatons(Processor):
    """Append each baton to a list, for a test to look at; the baton stays as it is.

    The list is a context, such as ``contexts: {seen: []}``, or one in a Python module. With
    ``deepcopy`` it gets a copy of each baton as it is now; paths that the baton names in its list
    ``_volatile`` become, in that copy, the ``repr`` of what is there.

    Example:
        collect-batons: {context: seen, describer: "baton: baton['id']"}
        in:  {id: 7}
        out: {id: 7}

    Raises:
        BatonError: There is no list, or the baton cannot be copied.
        QueueFull: The list has ``max_batons`` already.
    """

    answers: ClassVar[bool] = True  # who looks into the list may

    context: Annotated[
        str | None, Meta(description="The context that is the list, as below 'contexts'.")
    ] = None
    list_: Annotated[
        str | None, Meta(description="The list, by its dotted Python name: package.module.seen.")
    ] = None
    deepcopy: Annotated[bool, Meta(description="Collect copies of the batons.")] = False
    describer: Annotated[
        Lambda | None, Meta(description="A lambda that makes of the baton what is collected.")
    ] = None
    namespace: Annotated[Namespace, Meta(description="Names for the describer.")] = field(
        default_factory=Namespace
    )
    max_batons: Annotated[
        int, Meta(ge=1, description="How many the list may have; more is a failure.")
    ] = 10_000
    _context: Dependency[Any] | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        if self.context is not None:
            self._context = Dependency(f"context.{self.context}")

    def check(self) -> Iterable[Problem]:
        if wrong := not_one_of("context", self.context, "list", self.list_):
            yield wrong
        elif self.list_ is not None:
            try:
                _list_in(find_python(self.list_), self.list_)
            except (ValueError, BatonError) as error:
                yield Problem("wrong-value", f"{error}", at="list")
        if self.describer is not None:
            yield from self.describer.check(self.namespace)

    def step(self) -> Step:
        find, limit = self._finder(), self.max_batons
        take = _copied if self.deepcopy else lambda baton: baton
        describe = self.describer and self.describer.compile(self.namespace, self)

        def step(baton: Baton) -> Baton:
            collected = find()
            if len(collected) >= limit:
                raise QueueFull(f"{limit} batons are collected already")
            taken = take(baton)
            collected.append(describe(taken) if describe else taken)
            return baton

        return step

    def _finder(self) -> Callable[[], MutableSequence[Any]]:
        """Return what finds the list."""
        if self._context is not None:
            context = self._context
            return lambda: _list_in(context.value, context.name)
        collected: MutableSequence[Any] = find_python(self.list_ or "")
        return lambda: collected


def _list_in(value: Any, name: str) -> MutableSequence[Any]:
    if not isinstance(value, MutableSequence) or isinstance(value, bytearray):
        raise BatonError(f"expected a list in '{name}', got {kind_of(value)}")
    return value


def _copied(baton: Baton) -> Baton:
    """Return a deep copy in which volatile values are replaced by their ``repr``."""
    texts, known = {}, {}
    for path in _volatile_paths(baton):
        value = batons.get(baton, path)
        if value is not MISSING:
            texts[path] = repr(value)
            if not isinstance(value, ATOMS):
                known[id(value)] = texts[path]  # is taken for its copy wherever it stands
    try:
        made = copy.deepcopy(baton, known)
    except (TypeError, ValueError, AttributeError, copy.Error) as error:
        what = f"cannot copy the baton: {error}; name what cannot be copied in '{VOLATILE}'"
        raise BatonError(what) from error
    for path, text in texts.items():
        if batons.get(made, path) is not MISSING:  # as it is below another volatile value
            made = batons.set(made, path, text)
    return made


def _volatile_paths(baton: Baton) -> list[BatonPath]:
    paths = baton.get(VOLATILE, []) if isinstance(baton, dict) else []
    if not isinstance(paths, list | tuple) or not all(isinstance(each, str) for each in paths):
        raise BatonError(f"expected a list of paths at '{VOLATILE}', got {kind_of(paths)}")
    return [BatonPath(each) for each in paths]
