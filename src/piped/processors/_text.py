"""Text, bytes and single values: one of them as the other."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, time
from decimal import Decimal
from pathlib import PurePath
from typing import Any, Final
from uuid import UUID

from piped.errors import BatonError, InvalidBaton, Problem
from piped.processors._shown import kind_of, shown

_SCALARS: Final = (str, int, float, Decimal, date, time, UUID, PurePath)


def wrong_encoding(name: str, at: str) -> Iterator[Problem]:
    """Yield a problem where Python has no such encoding of text.

    Args:
        name: The encoding, such as ``utf8``.
        at: The parameter that names it.
    """
    try:
        "".encode(name)
    except (LookupError, ValueError):
        what = f"expected an encoding such as utf8, got {shown(name)}"
        yield Problem("wrong-value", what, at=at)


def text_of(value: Any, encoding: str = "utf-8") -> str:
    """Return text as it is, and bytes as text.

    Raises:
        BatonError: It is neither.
        InvalidBaton: The bytes are not in that encoding.
    """
    if isinstance(value, str):
        return value
    try:
        return bytes_of(value).decode(encoding)
    except UnicodeDecodeError as error:
        where = f"byte 0x{error.object[error.start]:02x} at position {error.start}"
        raise InvalidBaton([f"not text in '{encoding}': {where}"]) from None
    except UnicodeError as error:  # of encodings such as utf-16, idna, punycode
        raise InvalidBaton([f"not text in '{encoding}': {error}"]) from None


def bytes_of(value: Any) -> bytes:
    """Return bytes as they are, and text as UTF-8.

    Raises:
        BatonError: It is neither, or the text is no Unicode.
    """
    if isinstance(value, str):
        return encoded(value, "utf-8")
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    raise BatonError(f"expected text or bytes, got {kind_of(value)}")


def encoded(text: str, encoding: str) -> bytes:
    """Return text as bytes.

    Raises:
        BatonError: The encoding lacks a sign.
    """
    try:
        return text.encode(encoding)
    except UnicodeEncodeError as error:
        sign = error.object[error.start]
        what = f"cannot encode {sign!r} at position {error.start} in '{encoding}'"
        raise BatonError(what) from error
    except UnicodeError as error:
        raise BatonError(f"cannot encode text in '{encoding}': {error}") from error


def size_of(text: str) -> int:
    """Return how many bytes a text has as UTF-8; lone surrogates count like other signs."""
    return len(text) if text.isascii() else len(text.encode(errors="surrogatepass"))


def scalar_text(value: Any, of: str) -> str:
    """Return a single value as text: none as '', truths as JSON has them.

    Args:
        value: The value.
        of: What it is a part of, for the error.

    Raises:
        BatonError: It is no single value.
    """
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return str.__str__(value)
    if not isinstance(value, _SCALARS):
        raise BatonError(f"cannot encode {kind_of(value)} as {of}")
    try:
        return str(value)
    except ValueError as error:
        raise BatonError(f"cannot encode a whole number of so many digits as {of}") from error


def lowered(text: str) -> str:
    """Return a sentence as the text of an error begins: in lower case."""
    return text[:1].lower() + text[1:]
