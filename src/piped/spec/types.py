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
from piped.document.nodes import Node, Scalar, Sequence, plain
from piped.errors import Place
from piped.spec.code import Code, Lambda, Namespace
from piped.spec.dependency import Dependencies, Dependency, PipelineName, PoolName
from piped.spec.error_types import ErrorTypes, UnknownException, exception_named
from piped.spec.imports import NotImported, find_python

T = TypeVar("T")

Duration = NewType("Duration", float)
"""Seconds; in a document a number of seconds, or text with a unit: ``2s``, ``250ms``, ``1m``."""

Size = NewType("Size", int)
"""Bytes; in a document a number of bytes, or text with a unit: ``1MiB``, ``64KiB``."""

UNITS: Final = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
SIZES: Final = {
    "": 1,
    "B": 1,
    "KiB": 1 << 10,
    "MiB": 1 << 20,
    "GiB": 1 << 30,
    "kB": 10**3,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
}

POOLS: Final = "workers."
"""What the resources of pools begin with."""

ELSEWHERE: Final = "write the steps below 'pipelines', and name that pipeline here"
"""The hint where steps stand in place of a name, outside of pipelines."""


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

    def __init__(
        self,
        message: str,
        place: Place | None = None,
        hint: str = "",
        code: str = "wrong-value",
    ) -> None:
        self.place, self.hint, self.code = place, hint, code
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class Row:
    """One parameter type: its name in words, a value, how it is read, its JSON Schema, its meaning.

    A schema may refer to the ``definitions`` of the schema of documents.
    """

    words: str
    example: str
    read: Callable[[Node], Any]
    schema: Mapping[str, Any]
    meaning: str = ""


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
        except NotImported:
            namespace[str(name)] = None
        except ValueError as error:
            raise WrongValue(f"{error}", entry.node.place) from error
    return namespace


def _read_dependency(node: Node) -> Dependency[Any]:
    words = "the name of a resource, such as pipeline.web.compute"
    if isinstance(node, Sequence):
        raise WrongValue(f"expected {words}, got a list", hint=ELSEWHERE)
    return _dependency(Dependency, node, words)


def _read_pipeline(node: Node) -> PipelineName:
    if isinstance(node, Sequence) or (isinstance(node, MappingNode) and not node.get("provider")):
        return PipelineName("", node.place, inline=node)
    words = "the name of a pipeline, such as web.compute or .other, or a list of steps"
    name = _dependency(PipelineName, node, words)
    assert isinstance(name, PipelineName)
    name.name = name.name.removeprefix("pipeline.")
    return name


def _read_pool(node: Node) -> PoolName:
    name = _text_of(node, "the name of a pool of workers, such as math").removeprefix(POOLS)
    if not name or "." in name:
        raise WrongValue(f"expected the name of a pool of workers, such as math, got {name!r}")
    return PoolName(f"{POOLS}{name}", node.place)


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


def _read_errors(node: Node) -> ErrorTypes:
    names = node.items if isinstance(node, Sequence) else [node]
    if not names:
        raise WrongValue("expected the names of exceptions, got []")
    return ErrorTypes(map(_read_error, names))


def _read_error(node: Node) -> type[Exception]:
    name = _text_of(node, "the name of an exception, such as ValueError")
    try:
        return exception_named(name)
    except UnknownException as error:
        raise WrongValue(f"{error}", node.place, error.hint, "unknown-exception") from error


_TEXT: Final = {"type": "string"}
_NAME: Final = {
    "type": ["string", "object"],
    "minLength": 1,
    "properties": {"provider": {"type": "string", "minLength": 1}},
    "required": ["provider"],
}
_DURATION: Final = {
    "type": ["number", "string"],
    "minimum": 0,
    "pattern": r"^\s*\d+(\.\d+)?\s*(us|ms|s|m|h|d)?\s*$",
}
_SIZE: Final = {
    "type": ["integer", "string"],
    "minimum": 0,
    "pattern": rf"^\s*\d+(\.\d+)?\s*({'|'.join(filter(None, SIZES))})?\s*$",
}
_PATH: Final = {"type": "string", "pattern": r"^([^.]+(\.[^.]+)*)?$"}
_PIPELINE: Final = {"$ref": "#/definitions/pipeline"}
_ERRORS: Final = {"type": ["string", "array"], "minLength": 1, "minItems": 1, "items": _TEXT}
_RESOURCES: Final = {"type": "object", "additionalProperties": _NAME}

ROWS: Final[Mapping[Any, Row]] = {
    Duration: Row(
        "duration",
        "2s",
        _read_duration,
        _DURATION,
        "A number of seconds, or a number with us, ms, s, m, h or d.",
    ),
    Size: Row(
        "size",
        "1MiB",
        _read_size,
        _SIZE,
        "A number of bytes, or a number with B, KiB, MiB, GiB, kB, MB or GB.",
    ),
    BatonPath: Row(
        "path",
        "request.args",
        _read_path,
        _PATH,
        "A dotted path into the baton; '' is the whole of it. Each part is looked up as an item, "
        "then as an attribute.",
    ),
    Lambda: Row(
        "lambda",
        "'n: n * 2'",
        _read_lambda,
        _TEXT,
        "A Python lambda of one argument, without the word.",
    ),
    Code: Row(
        "code",
        "return input * 2",
        _read_code,
        _TEXT,
        "The body of a Python function.",
    ),
    Namespace: Row(
        "namespace",
        "{time: time.time}",
        _read_namespace,
        {"type": "object"},
        "Names for code, and what they are in Python; a value that is no text is used as it is.",
    ),
    Dependency: Row(
        "resource",
        "pipeline.web.compute",
        _read_dependency,
        _NAME,
        "The name of something that a provider brings.",
    ),
    PipelineName: Row(
        "pipeline",
        "web.compute",
        _read_pipeline,
        _PIPELINE,
        "The name of a pipeline, relative where it begins with a dot; or a list of steps in its "
        "place.",
    ),
    PoolName: Row(
        "pool name",
        "math",
        _read_pool,
        {"type": "string", "pattern": r"^(workers\.)?[^.]+$"},
        "The name of a pool of workers, below 'workers'.",
    ),
    ErrorTypes: Row(
        "exceptions",
        "[ValueError]",
        _read_errors,
        _ERRORS,
        "The name of an exception, or a list of names: those of Python, or dotted ones.",
    ),
    Dependencies: Row(
        "resources",
        "{it: context.it}",
        _read_dependencies,
        _RESOURCES,
        "Names for code, and the resources they mean.",
    ),
}
