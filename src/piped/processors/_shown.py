"""Values in the texts of errors."""

from __future__ import annotations

from typing import Any, Final

from piped.batons import MISSING

LONGEST: Final = 80


def shown(value: Any) -> str:
    """Return a value as Python writes it, cut where that is long."""
    try:
        text = repr(value)
    except ValueError:  # of a number with more digits than Python writes
        text = f"<{type(value).__name__}>"
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."


def kind_of(value: Any) -> str:
    """Return the name of a value's type, or 'nothing' where there is no value."""
    return "nothing" if value is MISSING else type(value).__name__
