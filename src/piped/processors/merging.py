"""Merging mappings of the document into batons."""

from __future__ import annotations

from dataclasses import field
from typing import Annotated, Any

from piped.batons import Baton, fresh
from piped.errors import BatonError
from piped.processors._shown import kind_of
from piped.spec import Meta, Processor, Step, part, processor


@part
class MergeArgs:
    """How a mapping is merged into the baton."""

    inline: Annotated[
        bool, Meta(description="Change the baton in place, instead of making a new one.")
    ] = True
    replace_primitives: Annotated[
        bool, Meta(description="Let the given value replace the baton's, where not both are dicts.")
    ] = False


@processor("merge-with-dict")
class MergeWithDict(Processor):
    """Merge a mapping into the baton, key by key.

    Where both have a key, two dicts are merged in the same way; all else becomes one list: the
    values of the baton, then those of the mapping. Changes the baton in place, unless ``inline`` is
    false; each baton gets its own copy of the values.

    Example:
        merge-with-dict: {dict: {tags: [new], from: site, meta: {tries: 0}}}
        in:  {id: 7, tags: [urgent], from: shop, meta: {by: Ada}}
        out: {id: 7, tags: [urgent, new], from: [shop, site], meta: {by: Ada, tries: 0}}

    Raises:
        BatonError: The baton is no dict.
    """

    dict_: Annotated[dict[Any, Any], Meta(description="The mapping to merge into the baton.")]
    merge_args: Annotated[MergeArgs, Meta(description="How it is merged.")] = field(
        default_factory=MergeArgs
    )

    def step(self) -> Step:
        given, how = fresh(self.dict_), self.merge_args

        def step(baton: Baton) -> Baton:
            if not isinstance(baton, dict):
                raise BatonError(f"expected a dict, got {kind_of(baton)}")
            return _merged(baton, given(), how)

        return step


def _merged(own: dict[Any, Any], given: dict[Any, Any], how: MergeArgs) -> dict[Any, Any]:
    target = own if how.inline else dict(own)
    for key, value in given.items():
        target[key] = _joined(target[key], value, how) if key in target else value
    return target


def _joined(own: Any, given: Any, how: MergeArgs) -> Any:
    if isinstance(own, dict) and isinstance(given, dict):
        return _merged(own, given, how)
    if how.replace_primitives:
        return given
    return [*_items(own), *_items(given)]


def _items(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
