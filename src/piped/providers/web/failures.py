"""Which status an error is answered with."""

from __future__ import annotations

import builtins
import math
from collections.abc import Iterator, Mapping

from piped.errors import Problem, suggest
from piped.spec import find_python


def kind_named(name: str) -> type[BaseException]:
    """Return the exception type of a name: that of a builtin, or a dotted name in Python.

    Raises:
        ValueError: Nothing has that name, or what has it is no exception.
    """
    found = getattr(builtins, name, None) or find_python(name)
    if not isinstance(found, type) or not issubclass(found, BaseException):
        raise ValueError(f"'{name}' is no exception")
    return found


def statuses(errors: Mapping[str, int]) -> dict[type[BaseException], int]:
    """Return the exception types of a mapping of names to statuses."""
    return {kind_named(name): status for name, status in errors.items()}


def check_errors(errors: Mapping[str, int]) -> Iterator[Problem]:
    """Yield what is wrong with a mapping of exception names to statuses."""
    for name, status in errors.items():
        try:
            kind_named(name)
        except ValueError as error:
            known = [each for each in dir(builtins) if each.endswith(("Error", "Exception"))]
            hint = suggest(name, known) if "." not in name else ""
            hint = hint if hint.startswith("did you mean") else ""
            yield Problem("unknown-exception", f"errors: {error}", hint=hint)
        if not 400 <= status <= 599:
            what = f"errors: expected a status from 400 to 599 for '{name}', got {status}"
            yield Problem("wrong-value", what)


def retry_after(error: BaseException) -> float | None:
    """Return after how many seconds it may be tried again, where an error says so."""
    asked = getattr(error, "retry_after_s", None)
    is_number = isinstance(asked, int | float) and math.isfinite(asked) and asked > 0
    return asked if is_number else None


def status_of(error: BaseException, mapping: Mapping[type[BaseException], int]) -> int:
    """Return the status of an error: its own ``http_status``, else the nearest type's, else 500."""
    own = getattr(error, "http_status", None)
    if isinstance(own, int) and 400 <= own <= 599:
        return own
    for kind in type(error).__mro__:
        if kind in mapping:
            return mapping[kind]
    return 500
