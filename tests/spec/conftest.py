"""Components made of YAML, by the decoder alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import pytest

from piped.document import parse
from piped.document.nodes import Node, Scalar
from piped.spec import INVALID, Decoder, spec_of

Read: TypeAlias = Callable[[Any, str], Any]
Wrong: TypeAlias = Callable[[Any, str], list[str]]


def decoded(hint: Any, node: Node) -> tuple[Any, list[str]]:
    """Return the value of a node as a type, and what is wrong with it."""
    decoder = Decoder()
    return decoder.value(hint, node, "at"), [str(each) for each in decoder.problems]


def external(text: str) -> Scalar:
    """Return a node as `!env` makes it."""
    node, _ = parse("null", "t.yaml")
    return Scalar(node.place, text, external=True)


@pytest.fixture
def read() -> Read:
    """Read a YAML text as a type."""

    def read(hint: Any, text: str) -> Any:
        value, problems = decoded(hint, parse(text, "t.yaml")[0])
        assert problems == []
        assert value is not INVALID
        return value

    return read


@pytest.fixture
def wrong() -> Wrong:
    """Tell what is wrong with a YAML text as a type: `line:column what (hint)`."""

    def wrong(hint: Any, text: str) -> list[str]:
        decoder = Decoder()
        value = decoder.value(hint, parse(text, "t.yaml")[0], "at")
        assert value is INVALID
        return [
            f"{each.place.line}:{each.place.column} {each.what}"
            + (f" ({each.hint})" * bool(each.hint))
            for each in decoder.problems
            if each.place
        ]

    return wrong


@pytest.fixture
def made() -> Callable[[type, str], Any]:
    """Make a component of its YAML parameters."""

    def made(component: type, text: str) -> Any:
        spec = spec_of(component)
        assert spec is not None
        decoder = Decoder()
        value = decoder.component(spec, parse(text, "t.yaml")[0], spec.name)
        assert [str(each) for each in decoder.problems] == []
        return value

    return made
