from __future__ import annotations

import pytest

from piped.document.nodes import Entry, Mapping, Scalar, Sequence
from piped.errors import Place
from piped.providers.contexts import Contexts
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
