"""Setting, moving and removing the values of a baton."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Annotated, Any

from piped import batons
from piped.batons import MISSING, Baton, BatonPath, fresh, getter, setter
from piped.errors import BatonError, Problem
from piped.processors._shown import kind_of
from piped.processors.mapping import Entry, MappingProcessor, Put, prefixed, wrong_paths
from piped.spec import Meta, Processor, Step, processor


@processor("set-value")
class SetValue(Processor):
    """Set a value in the baton; each baton gets its own copy.

    Changes the baton in place, unless the path is ``''``, which replaces it.

    Example:
        set-value: {path: status.state, value: open}
        in:  {n: 1}
        out: {n: 1, status: {state: open}}
    """

    path: Annotated[BatonPath, Meta(description="Where the value goes; '' replaces the baton.")]
    value: Annotated[Any, Meta(description="The value.")]

    def step(self) -> Step:
        put, value = setter(self.path), fresh(self.value)
        return lambda baton: put(baton, value())


@processor("set-values")
class SetValues(Processor):
    """Set several values in the baton; each baton gets its own copies.

    Changes the baton in place.

    Example:
        set-values: {path_prefix: "status.", mapping: {state: open, tries: 0}}
        in:  {n: 1}
        out: {n: 1, status: {state: open, tries: 0}}
    """

    mapping: Annotated[dict[str, Any], Meta(description="Paths and their values.")]
    path_prefix: Annotated[str, Meta(description="Text put before each path.")] = ""

    def check(self) -> Iterable[Problem]:
        return wrong_paths(self.path_prefix, {f"mapping.{path}": path for path in self.mapping})

    def step(self) -> Step:
        ways = [
            (setter(prefixed(self.path_prefix, path)), fresh(value))
            for path, value in self.mapping.items()
        ]

        def step(baton: Baton) -> Baton:
            for put, value in ways:
                baton = put(baton, value())
            return baton

        return step


@processor("remap")
class Remap(MappingProcessor):
    """Copy values of the baton from path to path; what is missing is left out.

    The values stay where they were, too. Changes the baton in place.

    Example:
        remap: {mapping: {sum: answer.sum, square: answer.square}}
        in:  {sum: 14}
        out: {sum: 14, answer: {sum: 14}}

    Raises:
        BatonError: ``extend`` finds something else than a list.
    """

    extend: Annotated[
        bool, Meta(description="Append the value to the list at the output path.")
    ] = False
    copy: Annotated[bool, Meta(description="Make a shallow copy of each value.")] = False
    deep_copy: Annotated[bool, Meta(description="Make a deep copy of each value.")] = False

    def process_mapping(self, value: Any, entry: Entry, baton: Baton) -> Any:
        if self.deep_copy:
            return copy.deepcopy(value)
        return copy.copy(value) if self.copy else value

    def sink(self, entry: Entry) -> Put:
        put = super().sink(entry)
        if not self.extend or entry.output_path is None:
            return put
        path = entry.output_path
        get = getter(path)

        def append(baton: Baton, value: Any) -> Baton:
            found = get(baton)
            if found is MISSING:
                return put(baton, [value])
            if not isinstance(found, list):
                raise BatonError(f"expected a list at '{path}', got {kind_of(found)}")
            found.append(value)
            return baton

        return append


@processor("clean-baton")
class CleanBaton(Processor):
    """Remove values from the baton, or keep only some; what is to be removed goes first.

    Changes the baton in place.

    Example:
        clean-baton: {keep: [id, answer.sum], remove: [answer.square]}
        in:  {id: 7, answer: {sum: 14, square: 36}, numbers: [1, 2, 3]}
        out: {id: 7, answer: {sum: 14}}

    Raises:
        BatonError: ``keep`` is given, and the baton is no dict.
    """

    keep: Annotated[
        list[BatonPath] | None, Meta(description="The paths to keep; all else is removed.")
    ] = None
    remove: Annotated[list[BatonPath] | None, Meta(description="The paths to remove.")] = None

    def check(self) -> Iterable[Problem]:
        if not self.keep and not self.remove:
            yield Problem("missing-parameter", "clean-baton needs 'keep' or 'remove', got neither")
        for name, paths in (("keep", self.keep or []), ("remove", self.remove or [])):
            if "" in paths:
                what = "expected paths into the baton, got '', which is the whole baton"
                yield Problem("wrong-value", what, at=f"{name}[{paths.index(BatonPath(''))}]")

    def step(self) -> Step:
        remove = self.remove or []
        keep = [(getter(path), setter(path)) for path in self.keep or ()]

        def step(baton: Baton) -> Baton:
            for path in remove:
                batons.remove(baton, path)
            if not keep:
                return baton
            if not isinstance(baton, dict):
                raise BatonError(f"expected a dict, got {kind_of(baton)}")
            kept = [(put, value) for get, put in keep if (value := get(baton)) is not MISSING]
            baton.clear()
            for put, value in kept:
                put(baton, value)
            return baton

        return step


@processor("increment-counter")
class IncrementCounter(Processor):
    """Add to a number in the baton; a missing one counts as 0.

    Changes the baton in place.

    Example:
        increment-counter: {counter_path: tries}
        in:  {tries: 2}
        out: {tries: 3}

    Raises:
        BatonError: There is something else than a number.
    """

    counter_path: Annotated[BatonPath, Meta(description="Where the number is.")]
    increment: Annotated[int | float, Meta(description="How much is added.")] = 1

    def step(self) -> Step:
        path, increment = self.counter_path, self.increment
        get, put = getter(path, 0), setter(path)

        def step(baton: Baton) -> Baton:
            counter = get(baton)
            if not isinstance(counter, int | float):
                raise BatonError(f"expected a number at '{path}', got {kind_of(counter)}")
            return put(baton, counter + increment)

        return step
