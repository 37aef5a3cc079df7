"""Values of the document, which no baton may change for the others."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any


def fresh(value: Any) -> Callable[[], Any]:
    """Return what gives the value: a new copy each time where it could be changed."""
    if isinstance(value, dict | list):
        return lambda: copy.deepcopy(value)
    return lambda: value
