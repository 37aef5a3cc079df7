"""JSON, exact and strict, by msgspec: what JSON cannot say is an error that tells where it is."""

from __future__ import annotations

import datetime
import re
import sys
from collections.abc import Callable, Mapping
from math import isfinite
from pathlib import PurePath
from typing import Any, Final

import msgspec

from piped.errors import BatonError

_PLAIN: Final = frozenset({str, int, bool, type(None)})

_encoder: Final = msgspec.json.Encoder()
_decoder: Final = msgspec.json.Decoder()
_skipper: Final = msgspec.json.Decoder(msgspec.Raw)


def encode(value: Any) -> bytes:
    """Return a value as compact JSON; whole numbers are exact.

    Dates become ``2026-01-31`` and ``2026-01-31 23:59:59``, file paths their text, and objects with
    ``__json__()`` what that returns.

    Raises:
        BatonError: Something in the value has no JSON.
    """
    try:
        if _is_simple(value):
            return _encoder.encode(value)
    except (RecursionError, ValueError):
        pass  # what is wrong is told below
    try:
        return _encoded(_simplified(value, "", []))
    except RecursionError:
        raise BatonError("cannot encode as JSON what is nested so deep") from None


def _encoded(simple: Any) -> bytes:
    try:
        return _encoder.encode(simple)
    except UnicodeEncodeError as error:
        what = f"cannot encode as JSON text that is no Unicode: {error.object!r:.40}"
        raise BatonError(what) from error
    except ValueError as error:
        digits = sys.get_int_max_str_digits()
        what = f"cannot encode as JSON a whole number of more than {digits} digits"
        raise BatonError(what) from error


def decode(source: str | bytes | bytearray | memoryview) -> Any:
    """Return what JSON text says; whole numbers are exact.

    Raises:
        BatonError: It is no JSON; the error tells the line and the column.
    """
    try:
        return _decoder.decode(source)
    except RecursionError:
        raise BatonError("not JSON that can be read: it is nested too deep") from None
    except UnicodeError as error:
        raise BatonError(f"not JSON: it is not UTF-8 ({error})") from error
    except msgspec.DecodeError as error:
        raise BatonError(_what_is_wrong(str(error), source)) from error


def is_object_or_array(source: str | bytes) -> bool:
    """Tell whether text is a whole JSON object or array."""
    start = source[:64].lstrip()[:1]
    if start not in ("{", "[", b"{", b"["):
        return False
    try:
        _skipper.decode(source)
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        return False
    return True


def _is_simple(value: Any) -> bool:
    """Tell whether msgspec says of a value exactly what we want to."""
    kind = value.__class__
    if kind is dict:
        for key in value:
            if key.__class__ is not str:
                return False
        value = value.values()
    elif kind is not list and kind is not tuple:
        return kind in _PLAIN or (kind is float and isfinite(value))
    for each in value:
        kind = each.__class__
        if kind not in _PLAIN and not (isfinite(each) if kind is float else _is_simple(each)):
            return False
    return True


def _simplified(value: Any, at: str, inside: list[int]) -> Any:
    """Return a value made of simple ones.

    Args:
        value: Anything.
        at: Where it is, as ``items[3].when``.
        inside: The ids of what it is in, to find what contains itself.
    """
    if id(value) in inside:
        raise BatonError(f"cannot encode as JSON what contains itself{_place(at)}")
    inside.append(id(value))
    try:
        return _simpler(value, at, inside)
    finally:
        inside.pop()


def _simpler(value: Any, at: str, inside: list[int]) -> Any:
    match value:
        case None | bool():
            return value
        case str():
            return str.__str__(value)
        case int():
            return int(value)
        case float():
            if not isfinite(value):
                raise BatonError(f"cannot encode {float(value)} as JSON{_place(at)}")
            return float(value)
        case Mapping():
            return _with_text_keys(value, at, inside)
        case list() | tuple():
            return [_simplified(each, f"{at}[{i}]", inside) for i, each in enumerate(value)]
        case datetime.datetime():
            return value.strftime("%Y-%m-%d %H:%M:%S")
        case datetime.date():
            return value.strftime("%Y-%m-%d")
        case PurePath():
            return str(value)
    to_json: Callable[[], Any] | None = getattr(value, "__json__", None)
    if to_json is None or isinstance(value, type):
        raise BatonError(f"cannot encode {type(value).__name__} as JSON{_place(at)}")
    return _simplified(to_json(), at, inside)


def _with_text_keys(value: Mapping[Any, Any], at: str, inside: list[int]) -> dict[str, Any]:
    simple: dict[str, Any] = {}
    for key, item in value.items():
        if not isinstance(key, str | int | float | None):
            kind = type(key).__name__
            raise BatonError(f"cannot encode a key that is {kind} as JSON{_place(at)}")
        simple_key = _simplified(key, at, [])
        text = simple_key if isinstance(simple_key, str) else _encoded(simple_key).decode()
        if text in simple:
            raise BatonError(f"cannot encode two keys '{text}' as JSON{_place(at)}")
        simple[text] = _simplified(item, f"{at}.{text}" if at else text, inside)
    return simple


def _place(at: str) -> str:
    return f" at '{at}'" if at else ""


def _what_is_wrong(message: str, source: str | bytes | bytearray | memoryview) -> str:
    """Return msgspec's message with the line and column in place of the byte."""
    text = source.encode() if isinstance(source, str) else bytes(source)
    reason = message.removeprefix("JSON is malformed: ")
    found = re.fullmatch(r"(.*) \(byte (\d+)\)", reason)
    if found:
        reason = found[1]
        offset = int(found[2]) - (reason == "trailing characters")  # msgspec is one byte ahead
    elif reason == "Input data was truncated":
        reason, offset = "it ends too early", len(text)
    else:
        return f"not JSON that can be read: {reason[:1].lower()}{reason[1:]}"
    before = text[:offset].decode(errors="replace")
    line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
    return f"not JSON: {reason} at line {line}, column {column}"
