"""Lists in batons: flattening, grouping and collecting."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from types import BuiltinMethodType, MethodType
from typing import Annotated, Any, Final

from piped.batons import MISSING, Baton, BatonPath, getter, setter
from piped.errors import BatonError, Problem
from piped.processors._shown import kind_of
from piped.processors.mapping import prefixed, wrong_paths
from piped.spec import SAME_AS_INPUT, InputOutputProcessor, Meta, Processor, Step, processor

METHODS: Final = (MethodType, BuiltinMethodType)


@processor("flatten-nested-lists")
class FlattenNestedLists(Processor):
    """Replace lists of lists, however deep, by lists of their items.

    What is no list, or missing, stays as it is. Changes the baton in place.

    Example:
        flatten-nested-lists: {paths: [numbers]}
        in:  {numbers: [1, [2, [3, []]], 4]}
        out: {numbers: [1, 2, 3, 4]}

    Raises:
        BatonError: A list contains itself.
    """

    paths: Annotated[list[BatonPath], Meta(description="Where the lists are.")]
    path_prefix: Annotated[str, Meta(description="Text put before each path.")] = ""

    def check(self) -> Iterable[Problem]:
        paths = {f"paths[{index}]": path for index, path in enumerate(self.paths)}
        return wrong_paths(self.path_prefix, paths)

    def step(self) -> Step:
        paths = [prefixed(self.path_prefix, path) for path in self.paths]
        ways = [(getter(path), setter(path)) for path in paths]

        def step(baton: Baton) -> Baton:
            for get, put in ways:
                value = get(baton)
                if isinstance(value, list):
                    baton = put(baton, list(_flat(value)))
            return baton

        return step


def _flat(nested: list[Any]) -> Iterator[Any]:
    inside = [id(nested)]  # the lists that are being walked, to find one that contains itself
    walks = [iter(nested)]
    while walks:
        for item in walks[-1]:
            if not isinstance(item, list):
                yield item
                continue
            if id(item) in inside:
                raise BatonError("cannot flatten a list that contains itself")
            inside.append(id(item))
            walks.append(iter(item))
            break
        else:
            walks.pop()
            inside.pop()


@processor("group-by-value")
class GroupByValue(Processor):
    """Group a list by the value that each item has at a path.

    Takes a list, gives a dict of lists; where there is no input, an empty dict.

    Example:
        group-by-value: {key_path: colour, input_path: cars, output_path: by_colour}
        in:
          cars: [{id: 1, colour: red}, {id: 2, colour: blue}, {id: 3, colour: red}]
        out:
          cars: [{id: 1, colour: red}, {id: 2, colour: blue}, {id: 3, colour: red}]
          by_colour:
            red: [{id: 1, colour: red}, {id: 3, colour: red}]
            blue: [{id: 2, colour: blue}]

    Raises:
        BatonError: The input is no list, or a value cannot be the name of a group.
    """

    key_path: Annotated[BatonPath, Meta(description="Where each item has the value.")]
    input_path: Annotated[
        BatonPath, Meta(description="Where the list is; '' is the whole baton.")
    ] = BatonPath("")
    output_path: Annotated[
        BatonPath, Meta(description="Where the groups go; '' replaces the baton.")
    ] = SAME_AS_INPUT
    fallback: Annotated[Any, Meta(description="The group of the items without a value.")] = None

    def step(self) -> Step:
        same = self.output_path is SAME_AS_INPUT
        get, put = getter(self.input_path), setter(self.input_path if same else self.output_path)

        def step(baton: Baton) -> Baton:
            items = get(baton)
            return put(baton, {} if items is MISSING else group(items))

        name_of, fallback = getter(self.key_path, self.fallback), self.fallback

        def group(items: Any) -> dict[Any, list[Any]]:
            if not isinstance(items, list | tuple):
                raise BatonError(f"expected a list, got {kind_of(items)}")
            groups: dict[Any, list[Any]] = {}
            for item in items:
                name = name_of(item)
                if isinstance(name, METHODS):  # of the item itself, such as the index() of a text
                    name = fallback
                try:
                    groups.setdefault(name, []).append(item)
                except TypeError as error:
                    kind = kind_of(name)
                    raise BatonError(f"cannot group by '{self.key_path}': got {kind}") from error
            return groups

        return step


@processor("flatten-list-of-dictionaries")
class FlattenListOfDictionaries(InputOutputProcessor):
    """Make a list of the values that the items of a list have at a path.

    Values that are missing, empty or zero are left out. The list is sorted; with ``sort: false`` it
    keeps the order of the items.

    Example:
        flatten-list-of-dictionaries: {key_path: owner.name, input_path: cars, output_path: names}
        in:
          cars: [{owner: {name: Bob}}, {owner: {name: Ada}}, {owner: null}]
        out:
          cars: [{owner: {name: Bob}}, {owner: {name: Ada}}, {owner: null}]
          names: [Ada, Bob]

    Raises:
        BatonError: The input is no list, or its values cannot be sorted or told apart.
    """

    key_path: Annotated[BatonPath, Meta(description="Where each item has the value.")]
    uniquify: Annotated[bool, Meta(description="Take each value only once.")] = False
    sort: Annotated[bool, Meta(description="Sort the values.")] = True

    def call(self) -> Callable[[Any, Baton], Any]:
        get, path = getter(self.key_path), self.key_path
        uniquify, sort = self.uniquify, self.sort

        def call(items: Any, _baton: Baton) -> list[Any]:
            if not isinstance(items, list | tuple):
                raise BatonError(f"expected a list, got {kind_of(items)}")
            found = [value for value in map(get, items) if value and not isinstance(value, METHODS)]
            try:
                values = list(dict.fromkeys(found)) if uniquify else found
                return sorted(values) if sort else values
            except TypeError as error:
                kinds = ", ".join(sorted({kind_of(value) for value in found}))
                act = "sort or uniquify" if uniquify and sort else "sort" if sort else "uniquify"
                raise BatonError(f"cannot {act} the values at '{path}': got {kinds}") from error

        return call
