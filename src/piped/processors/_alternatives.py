"""Parameters of which a document must give one, and no more."""

from __future__ import annotations

from piped.errors import Problem


def not_one_of(first: str, one: object, second: str, other: object) -> Problem | None:
    """Return the problem where both of two parameters are given, or neither is.

    Args:
        first: The name of one parameter.
        one: Its value; None where it is not given.
        second: The name of the other, which is the one too many.
        other: Its value.
    """
    if (one is None) is not (other is None):
        return None
    got, at = ("neither", "") if one is None else ("both", second)
    what = f"expected exactly one of '{first}' and '{second}', got {got}"
    return Problem("exactly-one", what, at=at)
