"""How batons cross to workers and back: as JSON or MessagePack, never as code.

What crosses arrives equal: ``None``, ``bool``, ``int``, ``float``, ``str``, lists, and dicts with
text as keys; in MessagePack ``bytes`` too. A tuple arrives as a list. Of classes derived from
these only those of dicts and lists cross, as plain ones: a context is a dict, but an enumeration,
a ``BatonPath`` or a ``Secret`` is more than its text. A secret stays where it is all the more: the
worker has the same document, and what it is called there, while a queue, its store and the log of
a worker would show it. Anything else is refused, by its path in the baton.

The check asks C for all types of a container at once, so that plain data costs next to nothing;
why a baton is refused is found out only when it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import isfinite
from types import NoneType
from typing import Any, Final, Literal, TypeAlias

import msgspec

from piped.errors import visible
from piped.workers.errors import CannotCross, Garbled
from piped.workers.frames import MAX_PAYLOAD

Format: TypeAlias = Literal["json", "msgpack"]

MAX_DEPTH: Final = 100
"""How many lists and dicts may stand one in the other."""

MAX_DIGITS: Final = 4300
"""How many digits a number in JSON may have: no Python reads more as one, unless it is told to."""

_NAMES: Final = {"json": "JSON", "msgpack": "MessagePack"}
_TOO_DEEP: Final = f"expected at most {MAX_DEPTH} lists and dicts one in the other, got more"
_TEXT: Final = frozenset({str})
_MANY: Final = (dict, list)
_SURE: Final = {  # floats may be no numbers, which JSON does not know
    "json": frozenset({NoneType, bool, int, str}),
    "msgpack": frozenset({NoneType, bool, int, str, float, bytes}),
}
_ENCODE: Final[dict[str, Callable[[Any], bytes]]] = {
    "json": msgspec.json.Encoder().encode,
    "msgpack": msgspec.msgpack.Encoder().encode,
}
_DECODE: Final[dict[str, Callable[[bytes], Any]]] = {
    "json": msgspec.json.Decoder().decode,
    "msgpack": msgspec.msgpack.Decoder().decode,
}
_REFUSED: Final = (ValueError, OverflowError, TypeError)  # UnicodeEncodeError is a ValueError
_UNREADABLE: Final = (msgspec.MsgspecError, ValueError, OverflowError, MemoryError)


class Crossing:
    """Turns batons into bytes of a format, and such bytes into batons."""

    __slots__ = ("_decode", "_encode", "_sure", "format")

    def __init__(self, format: Format) -> None:  # noqa: A002 - as the document names it
        self.format: Final = format
        self._sure = _SURE[format]
        self._encode = _ENCODE[format]
        self._decode = _DECODE[format]

    def __repr__(self) -> str:
        return f"<Crossing in {self.format}>"

    def encode(self, value: Any) -> bytes:
        """Return a baton as bytes.

        Raises:
            CannotCross: Something in it would not arrive as what it is, or it is too long.
        """
        if not _is_plain(value, self._sure):
            raise self._refusal(value)
        try:
            data = self._encode(value)
        except _REFUSED as error:
            raise self._refusal(value) from error
        if len(data) > MAX_PAYLOAD:
            raise CannotCross("", f"expected at most {MAX_PAYLOAD} bytes, got {len(data)}")
        return data

    def decode(self, data: bytes) -> Any:
        """Return the baton that some bytes stand for.

        Raises:
            Garbled: They stand for none, or for more than can cross.
        """
        try:
            value = self._decode(data)
        except RecursionError as error:
            raise Garbled(_TOO_DEEP) from error
        except _UNREADABLE as error:
            raise Garbled(f"not {_NAMES[self.format]}: {_lowered(error)}") from error
        if not _is_plain(value, self._sure):
            fault = _Faults(self.format).find(value, "", MAX_DEPTH)
            raise Garbled(": ".join(filter(None, fault)) if fault else "not plain data")
        return value

    def _refusal(self, value: Any) -> CannotCross:
        fault = _Faults(self.format).find(value, "", MAX_DEPTH)
        return CannotCross(*(fault or ("", f"expected plain data, got {_kind(value)}")))


def _is_plain(value: Any, sure: frozenset[type], left: int = MAX_DEPTH) -> bool:
    """Tell whether all of a value may cross, so far as a format does not refuse it by itself."""
    kind = type(value)
    values: Iterable[Any]
    if kind is dict or issubclass(kind, dict):
        if not _TEXT.issuperset(map(type, dict.keys(value))):
            return False
        values = dict.values(value)
    elif kind is list or kind is tuple or issubclass(kind, list):
        values = value
    else:
        return kind in sure or (kind is float and isfinite(value))
    if not left:
        return False
    if sure.issuperset(map(type, values)):
        return True
    for each in values:
        kind = type(each)
        if kind is float:
            if kind not in sure and not isfinite(each):
                return False
        elif kind not in sure and not _is_plain(each, sure, left - 1):
            return False
    return True


class _Faults:
    """Finds what in a value cannot cross in a format."""

    __slots__ = ("_format", "_sure")

    def __init__(self, format: Format) -> None:  # noqa: A002 - as the document names it
        self._format = format
        self._sure = _SURE[format]

    def find(self, value: Any, path: str, left: int) -> tuple[str, str] | None:
        """Return the path and the name of the first fault, or None."""
        kind = type(value)
        if not (issubclass(kind, _MANY) or kind is tuple):
            what = self._fault(value, kind)
            return (path, what) if what else None
        if not left:
            return "", _TOO_DEEP
        if not issubclass(kind, dict):
            return self._first(enumerate(value), path, left - 1)
        for key in dict.keys(value):
            what = _fault_of_key(key)
            if what:
                return path, what
        return self._first(dict.items(value), path, left - 1)

    def _first(
        self, items: Iterable[tuple[Any, Any]], path: str, left: int
    ) -> tuple[str, str] | None:
        for key, each in items:
            found = self.find(each, f"{path}.{key}" if path else f"{key}", left)
            if found:
                return visible(found[0]), found[1]
        return None

    def _fault(self, value: Any, kind: type) -> str:
        if kind is str:
            return "" if _is_text(value) else f"expected text, got {_lone(value)}"
        if kind is int:
            return self._fault_of_int(value)
        if kind is float and kind not in self._sure:
            return "" if isfinite(value) else f"expected a number that JSON knows, got {value!r}"
        if kind is bytes and kind not in self._sure:
            return "expected plain data, got bytes: they cross with 'format: msgpack'"
        return "" if kind in self._sure else f"expected plain data, got {_kind(value)}"

    def _fault_of_int(self, value: int) -> str:
        if self._format == "msgpack":
            fits = -(1 << 63) <= value < (1 << 64)
            return "" if fits else "expected an int of 64 bits, got a longer one"
        if value.bit_length() <= 3 * MAX_DIGITS:  # a digit has more than three bits
            return ""
        fits = abs(value) < 10**MAX_DIGITS
        return "" if fits else f"expected an int of at most {MAX_DIGITS} digits, got a longer one"


def _fault_of_key(key: Any) -> str:
    if type(key) is not str:
        return f"expected text as keys, got {_kind(key)}"
    return "" if _is_text(key) else f"expected text as keys, got {_lone(key)}"


def _is_text(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _lone(text: str) -> str:
    sign = next(each for each in text if "\ud800" <= each <= "\udfff")
    return f"half a sign, {sign!r}"


def _kind(value: Any) -> str:
    return type(value).__name__


def _lowered(error: BaseException) -> str:
    text = str(error) or type(error).__name__
    start = text[:1] if text[1:2].isupper() else text[:1].lower()
    return visible(f"{start}{text[1:]}".removesuffix("."))
