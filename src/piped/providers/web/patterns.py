"""Segments of a path with a name in place of a text: ``{id}``, ``{id:int}``, ``{rest:path}``."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote
from uuid import UUID

REST: Final = "path"
"""The kind that takes all segments that remain, at least one."""

_INT: Final = re.compile(r"-?[0-9]{1,19}")
_FLOAT: Final = re.compile(r"-?[0-9]{1,300}(\.[0-9]{1,300})?")
_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_PATTERN: Final = re.compile(r"\{([^{}:]*)(?::([^{}]*))?\}")


class NoMatch(Exception):
    """Raised when a segment is not of its kind."""


def _int(segment: str) -> int:
    if not _INT.fullmatch(segment):
        raise NoMatch
    return int(segment)


def _float(segment: str) -> float:
    if not _FLOAT.fullmatch(segment) or not math.isfinite(value := float(segment)):
        raise NoMatch
    return value


def _uuid(segment: str) -> UUID:
    if not _UUID.fullmatch(segment):
        raise NoMatch
    return UUID(segment)


def _str(segment: str) -> str:
    if not segment:
        raise NoMatch
    return segment


KINDS: Final[dict[str, Callable[[str], Any]]] = {
    "int": _int,
    "uuid": _uuid,
    "float": _float,
    "str": _str,
    REST: _str,
}
"""What a segment may be, in the order in which siblings are tried, and how it is read.

Raises:
    NoMatch: The segment is not of that kind.
"""

RANK: Final = {kind: rank for rank, kind in enumerate(KINDS)}


@dataclass(frozen=True, slots=True)
class Pattern:
    """A segment that takes any text of a kind, and gives it a name."""

    name: str
    kind: str


def read_pattern(text: str) -> Pattern | None:
    """Return the pattern that a key of the tree is; None if it is a text like any other.

    Raises:
        ValueError: It has braces, and is no pattern.
    """
    if "{" not in text and "}" not in text:
        return None
    match = _PATTERN.fullmatch(text)
    if match is None:
        raise ValueError(f"expected a parameter such as {{id}} or {{id:int}}, got {text!r}")
    name, kind = match[1], match[2]
    if not (name.isascii() and name.isidentifier()):
        raise ValueError(f"expected a name such as id for a parameter, got {name!r}")
    if kind is not None and kind not in KINDS:
        raise ValueError(
            f"expected {', '.join(sorted(KINDS))} as the kind of '{name}', got {kind!r}"
        )
    return Pattern(name, kind or "str")


def filled(template: str, params: dict[str, Any]) -> str:
    """Return a template with the parameters in place of their names, each percent-encoded.

    No value brings a slash, a query or an empty segment of its own; that of a rest has only the
    slashes between its segments.
    """

    def value_of(match: re.Match[str]) -> str:
        return quote(str(params[match[1]]), safe="/")

    return _PATTERN.sub(value_of, template)


def names_in(template: str) -> list[str]:
    """Return the names of the parameters that stand in a template."""
    return [match[1] for match in _PATTERN.finditer(template)]
