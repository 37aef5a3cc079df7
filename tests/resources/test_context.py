from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

import msgspec
import pytest

from piped.resources.context import Context


@pytest.mark.parametrize(
    "look",
    [iter, reversed, lambda context: context.keys(), lambda context: list(context)],
    ids=["iter", "reversed", "keys", "list"],
)
def test_contexts_can_lose_what_is_found_while_they_are_gone_through(
    look: Callable[[Any], Iterable[Any]],
) -> None:
    context = Context(a=1, b=2, c=3)

    for key in look(context):
        context.pop(key)

    assert context == {}


def test_contexts_can_lose_items_and_values_while_they_are_gone_through() -> None:
    context = Context(a=1, b=2)

    for key, value in context.items():
        context.pop(key)
        context[f"{key}{value}"] = 0
    for _ in context.values():
        context.popitem()

    assert context == {}


def test_contexts_behave_like_dicts_in_all_else() -> None:
    context = Context(a=1, b={"c": 2})

    assert context == {"a": 1, "b": {"c": 2}}
    assert context.keys() & {"a", "z"} == {"a"}
    assert dict(context) == {**context} == context.copy() == context
    assert type(context.copy()) is dict
    assert type(context["b"]) is dict
    assert msgspec.json.encode(context) == b'{"a":1,"b":{"c":2}}'
    assert json.loads(json.dumps(context)) == context
