"""Messages as values and values as messages, and the words of subjects and headers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, Literal, TypeAlias

import msgspec

from piped.errors import BatonError, InvalidBaton

Format: TypeAlias = Literal["bytes", "text", "json", "msgpack"]

_NAMES: Final = {"text": "UTF-8", "json": "JSON", "msgpack": "MessagePack"}
_HEADER: Final = re.compile(r"[\w!#$%&'*+\-.^`|~]+", re.ASCII)
_LINE: Final = len("NATS/1.0\r\n\r\n")


def decoded(data: bytes, format_: Format) -> Any:
    """Return what a message says.

    Raises:
        InvalidBaton: It is not in that format.
    """
    try:
        match format_:
            case "bytes":
                return data
            case "text":
                return data.decode()
            case "json":
                return msgspec.json.decode(data)
            case "msgpack":
                return msgspec.msgpack.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidBaton([f"expected {_NAMES[format_]}, got {_shown(data)}"]) from error


def encoded(value: Any, format_: Format) -> bytes:
    """Return a value as a message.

    Raises:
        BatonError: The format cannot say it.
    """
    if format_ in ("bytes", "text"):
        if isinstance(value, str):
            return _utf8(value)
        if isinstance(value, bytes | bytearray | memoryview):
            return bytes(value)
        raise BatonError(f"expected text or bytes, got {type(value).__name__}")
    encode = msgspec.json.encode if format_ == "json" else msgspec.msgpack.encode
    try:
        return encode(value)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        reason = f"{error}"
        what = f"cannot say as {_NAMES[format_]}: {reason[:1].lower()}{reason[1:]}"
        raise BatonError(what) from error


def wrong_subject(subject: str, *, is_filter: bool = False) -> str:
    """Return what is wrong with a subject, or ``''``; a filter may have wildcards."""
    tokens = subject.split(".")
    if not all(tokens) or re.search(r"[\s\0]", subject):
        return f"expected a subject such as orders.new, got {_shown(subject)}"
    if not is_filter and not {"*", ">"}.isdisjoint(tokens):
        return f"expected a subject without wildcards, got {_shown(subject)}"
    if ">" in tokens[:-1]:
        return f"expected '>' at the end of a subject only, got {_shown(subject)}"
    return ""


def fail_if_wrong_headers(headers: Mapping[str, Any]) -> None:
    """Raise a BatonError where a header would not arrive as it is."""
    for name, value in headers.items():
        if not _HEADER.fullmatch(name):
            raise BatonError(f"expected the name of a header, got {_shown(name)}")
        if not isinstance(value, str):
            raise BatonError(f"expected text in the header '{name}', got {type(value).__name__}")
        if re.search(r"[\r\n\0]", value):
            raise BatonError(f"expected one line in the header '{name}', got {_shown(value)}")


def size_of(headers: Mapping[str, str] | None) -> int:
    """Return how many bytes the headers take in a message."""
    if not headers:
        return 0
    return _LINE + sum(len(f"{key}: {value}\r\n".encode()) for key, value in headers.items())


def one_line(text: str) -> str:
    """Return a text as the value of a header: cut short, and on one line."""
    return re.sub(r"[\x00-\x1f\x7f]+", " ", text)[:500].strip()


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise BatonError("expected text, got text that is no Unicode") from error


def _shown(value: str | bytes) -> str:
    return repr(value) if len(value) <= 80 else f"{value[:77]!r}..."
