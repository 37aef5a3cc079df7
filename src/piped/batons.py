"""Dotted paths into batons: get, set, remove; and values of the document that batons get.

A path is text such as ``request.args``; ``''`` is the whole baton. Every part is looked up as an
item first, then as an attribute; the attributes of a plain dict are its methods and do not count.
Paths are split once, when a graph is built: ``getter`` and
``setter`` give plain functions for the hot path.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, Final, TypeAlias

from piped.errors import BatonError

Baton: TypeAlias = Any


class BatonPath(str):
    """A dotted path into a baton: ``''`` is the whole of it. In a document: ``!path a.b``."""

    __slots__ = ()


class _Missing:
    __slots__ = ()

    def __repr__(self) -> str:
        return "MISSING"

    def __bool__(self) -> bool:
        return False


MISSING: Final = _Missing()


def _step_into(container: Any, part: str) -> Any:
    if container.__class__ is dict:
        return container.get(part, MISSING)
    try:
        return container[part]
    except (KeyError, TypeError, IndexError, AttributeError):
        return getattr(container, part, MISSING)


def getter(path: str, default: Any = MISSING) -> Callable[[Baton], Any]:
    """Return a function that fetches the value at a path, or the default where there is none."""
    if path == "":
        return lambda baton: baton
    head, *rest = path.split(".")

    if not rest:

        def get_one(baton: Baton) -> Any:
            if baton.__class__ is dict:
                return baton.get(head, default)
            try:
                return baton[head]
            except (KeyError, TypeError, IndexError, AttributeError):
                return getattr(baton, head, default)

        return get_one

    def get_deep(baton: Baton) -> Any:
        value = _step_into(baton, head)
        for part in rest:
            if value is MISSING:
                return default
            value = _step_into(value, part)
        return default if value is MISSING else value

    return get_deep


def setter(path: str) -> Callable[[Baton, Any], Baton]:
    """Return a function that stores a value at a path and returns the baton to go on with.

    ``''`` replaces the baton. Missing dicts on the way are made; attributes that exist are set.

    Raises:
        BatonError: (from the returned function) Something on the way can hold no such value.
    """
    if path == "":
        return lambda _baton, value: value
    *way, last = path.split(".")

    if not way:

        def set_one(baton: Baton, value: Any) -> Baton:
            if baton.__class__ is dict:
                baton[last] = value
            else:
                _store(baton, last, value, path)
            return baton

        return set_one

    def set_deep(baton: Baton, value: Any) -> Baton:
        container = baton
        for part in way:
            inner = _step_into(container, part)
            if inner is MISSING:
                inner = {}
                _store(container, part, inner, path)
            container = inner
        _store(container, last, value, path)
        return baton

    return set_deep


def _store(container: Any, part: str, value: Any, path: str) -> None:
    if hasattr(container, "setdefault"):
        container[part] = value
        return
    if hasattr(container, part):
        try:
            setattr(container, part, value)
            return
        except AttributeError:
            pass
    raise BatonError(f"cannot set '{path}': {type(container).__name__} has no place for '{part}'")


def get(baton: Baton, path: str, default: Any = MISSING) -> Any:
    """Return the value at a path, or the default where there is none."""
    return getter(path, default)(baton)


def set(baton: Baton, path: str, value: Any) -> Baton:  # noqa: A001 - read as `batons.set`
    """Store a value at a path and return the baton to go on with (see ``setter``)."""
    return setter(path)(baton, value)


def remove(baton: Baton, path: str) -> Any:
    """Take the value at a path out of the baton and return it, or MISSING where there is none.

    Raises:
        BatonError: The path is ``''``, or its last container cannot lose a value.
    """
    way, _, last = path.rpartition(".")
    if not last:
        raise BatonError("cannot remove the whole baton")
    container = get(baton, way)
    value = MISSING if container is MISSING else _step_into(container, last)
    if value is MISSING:
        return MISSING
    try:
        del container[last]
    except (KeyError, TypeError, IndexError, AttributeError):
        try:
            delattr(container, last)
        except AttributeError as error:
            kind = type(container).__name__
            raise BatonError(f"cannot remove '{path}' from {kind}") from error
    return value


def fresh(value: Any) -> Callable[[], Any]:
    """Return a function that gives a value of the document, which no baton may change for others.

    It gives a new copy each time where the value could be changed.
    """
    if isinstance(value, dict | list):
        return lambda: copy.deepcopy(value)
    return lambda: value
