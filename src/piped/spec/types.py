"""The closed set of parameter types: how each is read from a document, named, and described.

Plain types (``int``, ``str``, ``Literal`` ...) are msgspec's affair. The others stand in ``ROWS``:
a new type is one new row.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Generic, NewType, TypeVar

from piped.batons import MISSING, Baton, BatonPath, getter
from piped.document.nodes import Mapping as MappingNode
from piped.document.nodes import Node, Scalar, plain
from piped.errors import Place
from piped.spec.code import Code, Lambda, Namespace
from piped.spec.dependency import Dependencies, Dependency, PipelineName
from piped.spec.imports import find_python

T = TypeVar("T")

Duration = NewType("Duration", float)
"""Seconds; in a document a number of seconds, or text with a unit: ``2s``, ``250ms``, ``1m``."""

Size = NewType("Size", int)
"""Bytes; in a document a number of bytes, or text with a unit: ``1MiB``, ``64KiB``."""

UNITS: Final = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
SIZES: Final = {"": 1, "B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "kB": 10**3}
SIZES.update({"KB": 10**3, "MB": 10**6, "GB": 10**9})


class Input(Generic[T]):
    """A value, or the path to one in the baton: ``url: !path target.url``."""

    __slots__ = ("get", "given")

    def __init__(self, given: T | BatonPath) -> None:
        self.given = given
        self.get: Callable[[Baton], Any]
        if isinstance(given, BatonPath):
            self.get = getter(given, MISSING)
        else:
            self.get = lambda _baton: given

    def __repr__(self) -> str:
        return f"Input({self.given!r})"


class WrongValue(ValueError):
    """Raised when a value is not of its type; ``place`` may be nearer than that of the value."""

    def __init__(self, message: str, place: Place | None = None, hint: str = "") -> None:
        self.place, self.hint = place, hint
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class Row:
    """One parameter type: its name in words, a value, how it is read, and its JSON Schema."""

    words: str
    example: str
    read: Callable[[Node], Any]
    schema: Mapping[str, Any]


def _text_of(node: Node, words: str) -> str:
    if not isinstance(node, Scalar) or not isinstance(node.value, str):
        raise WrongValue(f"expected {words}, got {plain(node)!r}")
    return node.value


def _read_duration(node: Node) -> float:
    value = node.value if isinstance(node, Scalar) else None
    if isinstance(value, str):
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(us|ms|s|m|h|d)?", value.strip())
        value = float(match[1]) * UNITS[match[2] or "s"] if match else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise WrongValue(f"expected a duration such as 2s or 250ms, got {plain(node)!r}")
    return float(value)


def _read_size(node: Node) -> int:
    value = node.value if isinstance(node, Scalar) else None
    if isinstance(value, str):
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([A-Za-z]*)", value.strip())
        size = float(match[1]) * SIZES[match[2]] if match and match[2] in SIZES else math.inf
        value = int(size) if size < math.inf else None
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise WrongValue(f"expected a size such as 64KiB or 1MiB, got {plain(node)!r}")
    return value


def _read_path(node: Node) -> BatonPath:
    text = _text_of(node, "a path into the baton, such as request.args")
    if text and not all(text.split(".")):
        raise WrongValue(f"expected a path into the baton, got {text!r}, which has an empty part")
    return BatonPath(text)


def _read_lambda(node: Node) -> Lambda:
    text = _text_of(node, "a lambda without its keyword, such as 'n: n * 2'")
    assert isinstance(node, Scalar)
    return Lambda(text, node.content or node.place)


def _read_code(node: Node) -> Code:
    text = _text_of(node, "a block of Python code")
    assert isinstance(node, Scalar)
    return Code(text, node.content or node.place)


def _read_namespace(node: Node) -> Namespace:
    if not isinstance(node, MappingNode):
        raise WrongValue(f"expected names and what they mean in Python, got {plain(node)!r}")
    namespace = Namespace()
    for name, entry in node.items():
        value = plain(entry.node)
        try:
            namespace[str(name)] = find_python(value) if isinstance(value, str) else value
        except ValueError as error:
            raise WrongValue(f"{error}", entry.node.place) from error
    return namespace


def _read_dependency(node: Node) -> Dependency[Any]:
    return _dependency(Dependency, node, "the name of a resource, such as pipeline.web.compute")


def _read_pipeline(node: Node) -> PipelineName:
    name = _dependency(PipelineName, node, "the name of a pipeline, such as web.compute or .other")
    assert isinstance(name, PipelineName)
    name.name = name.name.removeprefix("pipeline.")
    return name


def _dependency(kind: type[Dependency[Any]], node: Node, words: str) -> Dependency[Any]:
    if isinstance(node, MappingNode):
        provider = node.get("provider")
        if provider is None:
            raise WrongValue(f"expected {words}, or a mapping with 'provider'")
        options = {key: plain(each.node) for key, each in node.items() if key != "provider"}
        return kind(_text_of(provider, words), provider.place, options)
    name = _text_of(node, words)
    if not name.strip("."):
        raise WrongValue(f"expected {words}, got {name!r}")
    return kind(name, node.place)


def _read_dependencies(node: Node) -> Dependencies:
    if not isinstance(node, MappingNode):
        raise WrongValue(f"expected names and the resources they mean, got {plain(node)!r}")
    return Dependencies({str(key): _read_dependency(each.node) for key, each in node.items()})


_TEXT: Final = {"type": "string"}
_NAME: Final = {"type": ["string", "object"]}

ROWS: Final[Mapping[Any, Row]] = {
    Duration: Row("duration", "2s", _read_duration, {"type": ["number", "string"]}),
    Size: Row("size", "1MiB", _read_size, {"type": ["integer", "string"]}),
    BatonPath: Row("path", "request.args", _read_path, _TEXT),
    Lambda: Row("lambda", "'n: n * 2'", _read_lambda, _TEXT),
    Code: Row("code", "return input * 2", _read_code, _TEXT),
    Namespace: Row("namespace", "{time: time.time}", _read_namespace, {"type": "object"}),
    Dependency: Row("resource", "context.pending", _read_dependency, _NAME),
    PipelineName: Row("pipeline", "web.compute", _read_pipeline, _NAME),
    Dependencies: Row("resources", "{it: context.it}", _read_dependencies, {"type": "object"}),
}
