from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

import msgspec
import pytest

from piped.document.nodes import Entry, Mapping, Scalar, Sequence
from piped.errors import Place
from piped.providers.contexts import Context, Contexts
from piped.spec import Decoder, spec_of

HERE = Place("service.yaml", 1, 1)


@pytest.mark.anyio
async def test_contexts_provide_the_same_objects_each_time() -> None:
    contexts = Contexts(values={"pending": {}, "names": ["a"], "limit": 3})

    async with contexts.running() as first:
        first["context.pending"]["x"] = 1
    async with contexts.running() as second:
        pass

    assert list(contexts.offers()) == ["context.pending", "context.names", "context.limit"]
    assert second == {"context.pending": {"x": 1}, "context.names": ["a"], "context.limit": 3}
    assert second["context.pending"] is first["context.pending"]
    assert second["context.names"] is first["context.names"]


def test_contexts_take_the_whole_section() -> None:
    spec = spec_of(Contexts)
    assert spec is not None
    numbers = Sequence(HERE, [Scalar(HERE, 1)])
    section = Mapping(
        HERE, {"pending": Entry(HERE, Mapping(HERE)), "essential": Entry(HERE, numbers)}
    )

    contexts = Decoder().section(spec, section, "contexts")

    assert contexts.values == {"pending": {}, "essential": [1]}


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
