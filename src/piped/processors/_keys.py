"""Keys of tables, made of values that a table cannot have as keys, or would mistake for others."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, Final

from piped.batons import MISSING, Baton, getter
from piped.errors import BatonError
from piped.processors._shown import kind_of

_BY_IDENTITY: Final[Any] = object.__hash__


def key_at(path: str, whose: str = "baton") -> Callable[[Baton], Any]:
    """Return what fetches a key from a path; where there is none, it raises a BatonError."""
    get = getter(path)
    where = f"at '{path}'" if path else f"that is the {whose}"

    def fetch(baton: Baton) -> Any:
        value = get(baton)
        if value is MISSING:
            raise BatonError(f"expected a key {where}, got nothing")
        return value

    return fetch


def key_of(value: Any) -> Hashable:
    """Return a key that is equal to that of another value only if both say the same.

    Dicts are equal in any order of their keys. ``1``, ``1.0``, ``True`` and ``'1'`` differ.

    Raises:
        BatonError: Something in the value is only equal to itself, or it is nested too deep.
    """
    try:
        return _key_of(value)
    except RecursionError:
        raise BatonError("expected a key, got what is nested too deep") from None


def _key_of(value: Any) -> Hashable:
    match value:
        case bool() | float():
            return type(value).__name__, repr(value)
        case None | str() | bytes() | int():
            return value
        case dict():
            return "dict", frozenset((_key_of(key), _key_of(item)) for key, item in value.items())
        case list() | tuple():
            return "list", *map(_key_of, value)
        case set() | frozenset():
            return "set", frozenset(map(_key_of, value))
    kind = type(value)
    if kind.__hash__ is _BY_IDENTITY:
        raise BatonError(f"expected a key of plain values, got {kind_of(value)}")
    try:
        hash(value)
    except TypeError as error:
        raise BatonError(f"expected a key of plain values, got {kind_of(value)}") from error
    return kind, value
