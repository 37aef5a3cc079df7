"""The journey of a baton: one number that every log line about it bears."""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Callable
from contextvars import ContextVar
from typing import Final

journey: Final[ContextVar[int]] = ContextVar("journey", default=0)
"""The number of the request or message that is being treated; 0 outside of any."""

_numbers = itertools.count(secrets.randbits(62) + 1)

new_journey: Final[Callable[[], int]] = _numbers.__next__
"""Return a number of 63 bits that this process has never used; the start is random."""

DIGITS: Final = "0123456789abcdefghijklmnopqrstuvwxyz"


def journey_text(number: int) -> str:
    """Return a journey as people see it in log lines and error pages: base 36, lower case."""
    text = ""
    while number:
        number, digit = divmod(number, 36)
        text = DIGITS[digit] + text
    return text or "0"
