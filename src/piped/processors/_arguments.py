"""Arguments of calls: values of the document, with values of the baton in them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from piped.batons import MISSING, Baton, BatonPath, getter
from piped.errors import BatonError


def filled(value: Any, at: str) -> Callable[[Baton], Any]:
    """Return what makes a value of the document for each baton: a new one, each ``!path`` followed.

    Args:
        value: The value, as it is written; paths may stand anywhere in it.
        at: The parameter that has it, for messages.

    Raises:
        BatonError: (from the returned function) The baton has nothing at a path.
    """
    if isinstance(value, BatonPath):
        return _fetched(value, at)
    if isinstance(value, dict):
        entries = {key: filled(each, f"{at}.{key}") for key, each in value.items()}
        return lambda baton: {key: make(baton) for key, make in entries.items()}
    if isinstance(value, list):
        items = [filled(each, f"{at}[{index}]") for index, each in enumerate(value)]
        return lambda baton: [make(baton) for make in items]
    return lambda _baton: value


def _fetched(path: BatonPath, at: str) -> Callable[[Baton], Any]:
    get = getter(path)

    def fetch(baton: Baton) -> Any:
        value = get(baton)
        if value is MISSING:
            raise BatonError(f"nothing at '{path}' for '{at}'")
        return value

    return fetch
