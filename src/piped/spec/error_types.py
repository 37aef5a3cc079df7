"""Exceptions named in a document: builtins by their name, others by their dotted Python name."""

from __future__ import annotations

import builtins
from typing import Final

from piped.errors import suggest
from piped.spec.imports import NotImported, find_python

BUILTINS: Final = [
    name
    for name, value in vars(builtins).items()
    if isinstance(value, type) and issubclass(value, Exception)
]


class ErrorTypes(tuple[type[Exception], ...]):
    """Classes of exceptions; in a document one name, or a list of names."""

    __slots__ = ()


class UnknownException(ValueError):
    """Raised when nothing has the name of an exception, or what has it is none."""

    def __init__(self, name: str, why: object) -> None:
        bare = name.removeprefix("exceptions.")
        self.hint = "" if "." in bare else suggest(bare, BUILTINS)
        super().__init__(f"'{name}' is no exception: {why}")


def exception_named(name: str) -> type[Exception]:
    """Return the exception of a name: ``ValueError``, or a dotted name such as ``package.Failure``.

    Raises:
        UnknownException: Nothing has that name, or what has it is no exception.
    """
    try:
        found = find_python(name)
    except NotImported:
        return Exception
    except ValueError as error:
        raise UnknownException(name, error) from error
    if not isinstance(found, type) or not issubclass(found, Exception):
        raise UnknownException(name, f"expected the name of an exception, got '{name}'")
    return found
