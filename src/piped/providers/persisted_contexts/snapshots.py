"""What a context is at a moment, as JSON, value by value; and why it may have none.

A value is stored if it comes back as it was. That is found out by comparing, which is fast; only
a value that differs is gone through, to find what in it is to blame.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from hashlib import blake2b
from typing import Any, Final, TypeAlias

import msgspec

from piped.errors import PipedError

Snapshot: TypeAlias = dict[str, bytes]

BRACKETS: Final = b"{\n%s\n}\n"
SEPARATOR: Final = b",\n"
COLON: Final = b":"

DEEPEST: Final = 1000
"""How deep a value is gone through: what contains itself has no end."""


class NotStorable(PipedError):
    """Raised when a context holds what is not JSON, or too much; ``at`` is the path to it."""

    def __init__(self, message: str, at: str = "") -> None:
        self.at = at
        super().__init__(message)


def snapshot(context: Mapping[Any, Any], before: Snapshot, max_size: int) -> Snapshot:
    """Return each value of a context as JSON.

    Args:
        context: What is to be stored.
        before: The last snapshot: what is the same in it is known to be good.
        max_size: How many bytes it may have in all.

    Raises:
        NotStorable: Something in it is not JSON, or it has more bytes.
    """
    found: Snapshot = {}
    size, encode = len(BRACKETS % b"") - len(SEPARATOR), _ENCODER.encode
    for key, value in context.items():
        if (fault := _fault_of_key(key)) is not None:
            raise fault
        found[key] = text = _encoded(value, key, before.get(key))
        size += len(encode(key)) + len(text) + len(COLON) + len(SEPARATOR)
        if size > max_size:
            raise NotStorable(f"it has more than {max_size} bytes")
    return found


def fingerprint(context: Mapping[Any, Any]) -> bytes | None:
    """Return what tells a context from others, sooner than a snapshot; None where it is no JSON."""
    try:
        return blake2b(_ENCODER.encode(context)).digest()
    except (TypeError, ValueError, RecursionError):
        return None


def whole(snapshot: Snapshot) -> bytes:
    """Return a snapshot as a text of JSON, a line a key."""
    encode = _ENCODER.encode
    return BRACKETS % SEPARATOR.join(encode(key) + COLON + text for key, text in snapshot.items())


def _encoded(value: Any, at: str, before: bytes | None) -> bytes:
    try:
        text = _ENCODER.encode(value)
        is_good = text == before or msgspec.json.decode(text) == value
    except RecursionError as error:
        raise _too_deep(at) from error
    except (TypeError, ValueError) as error:
        raise next(_faults(value, at), NotStorable(f"{error}", at)) from error
    if not is_good and (fault := next(_faults(value, at), None)) is not None:
        raise fault
    return text


def _plain(value: Any) -> Any:
    """Return what a subclass of a plain type stands for: msgspec takes the types themselves."""
    for kind in (str, int, float):
        if isinstance(value, kind):
            return str.__str__(value) if kind is str else kind(value)
    raise TypeError(f"{type(value).__name__} is not JSON")


_ENCODER: Final = msgspec.json.Encoder(enc_hook=_plain)


def _faults(value: Any, at: str) -> Iterator[NotStorable]:
    """Yield what in a value is to blame; a tuple, which comes back as a list, is not."""
    ahead = [(value, at, 0)]
    while ahead:
        each, path, depth = ahead.pop()
        if depth > DEEPEST:
            yield _too_deep(at)
            return
        if isinstance(each, dict):
            for key, inner in reversed(each.items()):
                if (fault := _fault_of_key(key, path)) is not None:
                    yield fault
                ahead.append((inner, f"{path}.{key}", depth + 1))
        elif isinstance(each, list | tuple):
            inside = [(inner, f"{path}[{i}]", depth + 1) for i, inner in enumerate(each)]
            ahead += reversed(inside)
        elif (reason := _reason(each)) is not None:
            yield NotStorable(reason, path)


def _fault_of_key(key: Any, path: str = "") -> NotStorable | None:
    if not isinstance(key, str):
        return NotStorable(f"expected text as a key, got {key!r} ({type(key).__name__})", path)
    return None if (reason := _reason(key)) is None else NotStorable(reason, path)


def _reason(value: Any) -> str | None:
    """Return why a value that is no list and no mapping is not JSON."""
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            return f"{value!r} is not Unicode"
        return None
    if isinstance(value, float) and not math.isfinite(value):
        return f"{value!r} is no number of JSON"
    is_json = value is None or isinstance(value, bool | int | float)
    return None if is_json else f"{type(value).__name__} is not JSON"


def _too_deep(at: str) -> NotStorable:
    return NotStorable("it is nested too deep, or contains itself", at)
