"""What plain text means: the core schema of YAML 1.2, but numbers with leading zeros are text."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any, Final

# Python itself refuses to print a whole number that has more digits.
MAX_DIGITS: Final = 4300
_TOO_LARGE: Final = 10**MAX_DIGITS

_NULLS: Final = ("", "~", "null", "Null", "NULL")
_TRUTHS: Final = dict.fromkeys(("true", "True", "TRUE"), True) | dict.fromkeys(
    ("false", "False", "FALSE"), False
)
_WORDS: Final[dict[str, Any]] = dict.fromkeys(_NULLS) | _TRUTHS

_PLAIN_INT: Final = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_INT: Final = re.compile(r"[-+]?[0-9]+")
_OCTAL: Final = re.compile(r"0o[0-7]+")
_HEXADECIMAL: Final = re.compile(r"0x[0-9a-fA-F]+")
_FLOAT: Final = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_INFINITE: Final = re.compile(r"[-+]?\.(inf|Inf|INF)")
_NO_NUMBER: Final = re.compile(r"\.(nan|NaN|NAN)")


def resolve(text: str) -> Any:
    """Return the value of plain text: null, truth, number or the text itself.

    Raises:
        ValueError: It is a number that cannot be held.
    """
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in "+-.0123456789":
        return text
    if _PLAIN_INT.fullmatch(text) or _OCTAL.fullmatch(text) or _HEXADECIMAL.fullmatch(text):
        return _to_int(text)
    # A number such as 010 is text, so it is no float either.
    if _INT.fullmatch(text):
        return text
    return _to_float(text) if _is_float(text) else text


def _is_float(text: str) -> bool:
    patterns = (_FLOAT, _INFINITE, _NO_NUMBER)
    return any(pattern.fullmatch(text) for pattern in patterns)


def _to_int(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise ValueError(f"expected a number of at most {MAX_DIGITS} digits, got {len(text)}")
    base = {"0o": 8, "0x": 16}.get(text[:2], 10)
    value = int(text, base)
    if value >= _TOO_LARGE:
        raise ValueError(f"expected a number of at most {MAX_DIGITS} digits, got more")
    return value


def _to_float(text: str) -> float:
    if len(text) > MAX_DIGITS:
        raise ValueError(f"expected a number of at most {MAX_DIGITS} digits, got {len(text)}")
    if text[-1] in "fFnN":
        return float(text.replace(".", "", 1))
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"the number {text[:40]} is too large")
    return value


def _tagged_null(text: str) -> None:
    if text not in _NULLS:
        raise ValueError(f"expected nothing after '!!null', got {text[:40]!r}")


def _tagged_bool(text: str) -> bool:
    if text not in _TRUTHS:
        raise ValueError(f"expected true or false after '!!bool', got {text[:40]!r}")
    return _TRUTHS[text]


def _tagged_int(text: str) -> int:
    if not any(pattern.fullmatch(text) for pattern in (_INT, _OCTAL, _HEXADECIMAL)):
        raise ValueError(f"expected a whole number after '!!int', got {text[:40]!r}")
    return _to_int(text)


def _tagged_float(text: str) -> float:
    if not _is_float(text):
        raise ValueError(f"expected a number after '!!float', got {text[:40]!r}")
    return _to_float(text)


TAGGED: Final[dict[str, Callable[[str], Any]]] = {
    "!!str": str,
    "!!null": _tagged_null,
    "!!bool": _tagged_bool,
    "!!int": _tagged_int,
    "!!float": _tagged_float,
}
"""What the standard tags make of a text; each raises ValueError where it cannot."""
