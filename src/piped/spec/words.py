"""Types of parameters in words, for messages and for the documentation."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator
from typing import Annotated, Any, Union, get_args, get_origin

from piped.spec.components import spec_of
from piped.spec.types import ROWS, Input


def words(hint: Any) -> str:
    """Return a type in words: ``int``, ``duration``, ``'a' or 'b'``, ``list of path``."""
    *others, last = _choices(hint)
    return f"{', '.join(others)} or {last}" if others else last


def _choices(hint: Any) -> Iterator[str]:
    """Yield, in words, each type and each value that a type lets one choose from."""
    bare = unannotated(hint)
    if get_origin(bare) is typing.Literal:
        yield from map(repr, get_args(bare))
    elif get_origin(bare) in (Union, types.UnionType):
        for each in get_args(bare):
            yield from _choices(each)
    else:
        yield _name(bare)


def _name(bare: Any) -> str:
    origin, arguments = get_origin(bare), get_args(bare)
    if row := ROWS.get(origin or bare):
        return row.words
    if origin is Input:
        return f"{words(arguments[0])} (or !path)"
    if origin is list:
        return f"list of {words(arguments[0])}"
    if origin is dict:
        return f"mapping of names to {words(arguments[1])}"
    if bare is type(None):
        return "null"
    if bare is Any:
        return "any value"
    return "mapping" if spec_of(bare) else str(bare.__name__)


def example(hint: Any) -> str:
    """Return a value of a type as a document has it; for plain types, the type in words."""
    bare = unannotated(hint)
    row = ROWS.get(get_origin(bare) or bare)
    return row.example if row else words(hint)


def unannotated(hint: Any) -> Any:
    """Return a type without what is said of it."""
    return get_args(hint)[0] if get_origin(hint) is Annotated else hint
