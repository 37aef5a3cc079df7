"""The formats of `decode` and `encode`: a class for each, whose fields are the options it takes.

``decode`` raises InvalidBaton where what came is not in the format, and both raise BatonError where
a value is of no type that the format takes.
"""

from __future__ import annotations

import base64
import binascii
import gzip
import re
import zlib
from collections.abc import Mapping
from dataclasses import Field, dataclass
from typing import Any, ClassVar, Final, Protocol
from urllib.parse import parse_qsl, urlencode

import msgspec

from piped.errors import BatonError, InvalidBaton
from piped.processors import _json, _yaml
from piped.processors._csv import Csv
from piped.processors._shown import kind_of, shown
from piped.processors._text import bytes_of, encoded, lowered, scalar_text, text_of

MAX_NAMES: Final = 10_000
MAX_MEMBERS: Final = 10_000
MAX_SIZE: Final = 10 << 20
CHUNK: Final = 16 << 10


class Codec(Protocol):
    """Reads and writes one format: a dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    def decode(self, value: Any) -> Any:
        """Return what text or bytes say."""

    def encode(self, value: Any) -> Any:
        """Return a value as text or bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """Text as bytes of an encoding."""

    encoding: str = "utf-8"

    def decode(self, value: Any) -> str:
        return text_of(value, self.encoding)

    def encode(self, value: Any) -> bytes:
        if not isinstance(value, str):
            raise BatonError(f"expected text, got {kind_of(value)}")
        return encoded(value, self.encoding)


@dataclass(frozen=True, slots=True, kw_only=True)
class Json:
    """JSON; what it cannot say exactly is an error."""

    def decode(self, value: Any) -> Any:
        source = value if isinstance(value, str) else bytes_of(value)
        try:
            return _json.decode(source)
        except BatonError as error:
            raise InvalidBaton([f"{error}"]) from None

    def encode(self, value: Any) -> str:
        return _json.encode(value).decode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Yaml:
    """YAML 1.1, the safe part of it."""

    def decode(self, value: Any) -> Any:
        return _yaml.decode(text_of(value))

    def encode(self, value: Any) -> str:
        return _yaml.encode(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class MsgPack:
    """MessagePack: bytes only."""

    def decode(self, value: Any) -> Any:
        if not isinstance(value, bytes | bytearray | memoryview):
            raise BatonError(f"expected bytes, got {kind_of(value)}")
        try:
            return msgspec.msgpack.decode(value)
        except RecursionError:
            raise InvalidBaton(["not MessagePack that can be read: nested too deep"]) from None
        except UnicodeDecodeError as error:
            raise InvalidBaton([f"not MessagePack: text that is not UTF-8 ({error})"]) from None
        except msgspec.DecodeError as error:
            raise InvalidBaton([f"not MessagePack: {_reason(error)}"]) from None

    def encode(self, value: Any) -> bytes:
        try:
            return msgspec.msgpack.encode(value)
        except RecursionError:
            raise BatonError("cannot encode as MessagePack what is nested so deep") from None
        except OverflowError as error:
            what = "cannot encode as MessagePack a whole number of more than 64 bits"
            raise BatonError(what) from error
        except (TypeError, ValueError) as error:
            raise BatonError(f"cannot encode as MessagePack: {lowered(str(error))}") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """The text of a web form: names and values, ``a=1&b=2``."""

    def decode(self, value: Any) -> dict[str, str | list[str]]:
        text = text_of(value)
        try:
            pairs = parse_qsl(
                text, keep_blank_values=True, errors="strict", max_num_fields=MAX_NAMES
            )
        except UnicodeDecodeError as error:
            sign = error.object[error.start]
            raise InvalidBaton([f"not a form: byte 0x{sign:02x} is not UTF-8"]) from None
        except ValueError:
            raise InvalidBaton([f"not a form: more than {MAX_NAMES} values"]) from None
        found: dict[str, list[str]] = {}
        for name, each in pairs:
            found.setdefault(name, []).append(each)
        return {name: all_[0] if len(all_) == 1 else all_ for name, all_ in found.items()}

    def encode(self, value: Any) -> str:
        if not isinstance(value, Mapping):
            raise BatonError(f"expected a dict of names and values, got {kind_of(value)}")
        pairs = [
            (scalar_text(name, "the name of a form"), scalar_text(each, f"a form at {shown(name)}"))
            for name, given in value.items()
            for each in (given if isinstance(given, list | tuple) else [given])
        ]
        try:
            return urlencode(pairs)
        except UnicodeEncodeError as error:
            raise BatonError(f"cannot encode as a form: {error}") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Base64:
    """Bytes in 64 signs of ASCII; any other sign is an error, a line break too."""

    urlsafe: bool = False

    def decode(self, value: Any) -> bytes:
        text = value if isinstance(value, str) else bytes_of(value).decode("latin-1")
        wrong = re.search(r"[^A-Za-z0-9_=-]" if self.urlsafe else r"[^A-Za-z0-9+/=]", text)
        if wrong:
            raise InvalidBaton([f"not base64: {wrong[0]!r} at position {wrong.start()}"])
        if self.urlsafe and not text.endswith("="):
            text += "=" * (-len(text) % 4)
        try:
            return base64.b64decode(text, b"-_" if self.urlsafe else None, validate=True)
        except binascii.Error as error:
            raise InvalidBaton([f"not base64: {lowered(str(error))}"]) from None

    def encode(self, value: Any) -> str:
        return base64.b64encode(bytes_of(value), b"-_" if self.urlsafe else None).decode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Gzip:
    """Compressed bytes, in one or several members; ``max_size`` bounds what comes out."""

    max_size: int = MAX_SIZE

    def decode(self, value: Any) -> bytes:
        if not isinstance(value, bytes | bytearray | memoryview):
            raise BatonError(f"expected bytes, got {kind_of(value)}")
        data, found, position = memoryview(value).cast("B"), bytearray(), 0
        for _ in range(MAX_MEMBERS):
            position = _behind_zeros(data, self._member(data, position, found))
            if position == len(data):
                return bytes(found)
        raise InvalidBaton([f"not gzip that can be read: more than {MAX_MEMBERS} members"])

    def _member(self, data: memoryview, position: int, found: bytearray) -> int:
        """Add what the member at a position holds to what was found, and return where it ends."""
        member = zlib.decompressobj(wbits=31)
        while position < len(data) and not member.eof:
            ahead = bytes(data[position : position + CHUNK])
            position += len(ahead)
            while ahead and not member.eof:
                try:
                    found += member.decompress(ahead, self.max_size + 1 - len(found))
                except zlib.error as error:
                    reason = str(error).rpartition(": ")[2]
                    raise InvalidBaton([f"not gzip: {reason}"]) from None
                if len(found) > self.max_size:
                    raise InvalidBaton([f"more than {self.max_size} bytes when decompressed"])
                ahead = member.unconsumed_tail
        if not member.eof:
            raise InvalidBaton(["not gzip: it ends too early"])
        return position - len(member.unused_data)

    def encode(self, value: Any) -> bytes:
        return gzip.compress(bytes_of(value), mtime=0)


CODECS: Final[Mapping[str, type[Codec]]] = {
    "base64": Base64,
    "csv": Csv,
    "form": Form,
    "gzip": Gzip,
    "json": Json,
    "msgpack": MsgPack,
    "text": Text,
    "yaml": Yaml,
}


def _behind_zeros(data: memoryview, position: int) -> int:
    """Return where the next member begins: some tools fill up with zeros."""
    while position < len(data) and data[position] == 0:
        chunk = bytes(data[position : position + CHUNK])
        position += len(chunk) - len(chunk.lstrip(b"\0"))
    return position


def _reason(error: msgspec.DecodeError) -> str:
    text = str(error).removeprefix("MessagePack data is malformed: ")
    if text == "Input data was truncated":
        return "it ends too early"
    return re.sub(r" \(byte (\d+)\)$", r" at position \1", lowered(text))
