"""JSON: values as text, and text as values."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Annotated, Any

import msgspec

from piped.batons import Baton
from piped.errors import BatonError, Problem
from piped.processors import _json
from piped.processors._shown import kind_of
from piped.spec import InputOutputProcessor, Meta, find_python, processor


@processor("encode-json")
class EncodeJson(InputOutputProcessor):
    """Encode a value as JSON.

    Takes any value that JSON can say, gives ``str``, without spaces unless ``indent`` is given.
    Whole numbers are exact. Dates become ``2026-01-31`` and ``2026-01-31 23:59:59``, file paths
    their text, and objects with ``__json__()`` what that returns.

    Example:
        encode-json: {input_path: answer}
        in:  {answer: {sum: 14, square: 36}}
        out: {answer: '{"sum":14,"square":36}'}

    Raises:
        BatonError: Something in the value has no JSON; the error tells where.
    """

    encoder: Annotated[
        str | None,
        Meta(description="The dotted name of another encoder: a class with encode(value)."),
    ] = None
    indent: Annotated[
        Annotated[int, Meta(ge=0, le=16)] | None,
        Meta(description="How many spaces each level is indented by."),
    ] = None

    def check(self) -> Iterable[Problem]:
        yield from _problems("encoder", self.encoder, "encode")

    def call(self) -> Callable[[Any, Baton], Any]:
        encode, indent = _json.encode, self.indent
        if self.encoder is not None:
            return self._other(self.encoder)
        if indent is None:
            return lambda value, _baton: encode(value).decode()
        return lambda value, _baton: msgspec.json.format(encode(value), indent=indent).decode()

    def _other(self, name: str) -> Callable[[Any, Baton], Any]:
        options = {} if self.indent is None else {"indent": self.indent}
        encoder = _made(name, **options)

        def encode(value: Any, _baton: Baton) -> str:
            text: str | bytes = encoder.encode(value)
            return text.decode() if isinstance(text, bytes) else text

        return encode


@processor("decode-json")
class DecodeJson(InputOutputProcessor):
    """Decode JSON.

    Takes text, bytes (UTF-8), or an object with ``read()`` that gives one of them; gives what the
    JSON says. Whole numbers are exact.

    Example:
        decode-json: {input_path: message}
        in:  {message: '{"numbers": [1, 2, 3]}'}
        out: {message: {numbers: [1, 2, 3]}}

    Raises:
        BatonError: It is no JSON; the error tells the line and the column.
    """

    decoder: Annotated[
        str | None,
        Meta(description="The dotted name of another decoder: a class with decode(text)."),
    ] = None

    def check(self) -> Iterable[Problem]:
        yield from _problems("decoder", self.decoder, "decode")

    def call(self) -> Callable[[Any, Baton], Any]:
        decode = _json.decode if self.decoder is None else _made(self.decoder).decode
        wants_text = self.decoder is not None

        def call(value: Any, _baton: Baton) -> Any:
            if hasattr(value, "read"):
                value = value.read()
            if not isinstance(value, str | bytes | bytearray | memoryview):
                raise BatonError(f"expected JSON as text or bytes, got {kind_of(value)}")
            return decode(_text(value) if wants_text else value)

        return call


def _text(value: str | bytes | bytearray | memoryview) -> str:
    try:
        return value if isinstance(value, str) else bytes(value).decode()
    except UnicodeDecodeError as error:
        raise BatonError(f"not JSON: it is not UTF-8 ({error})") from error


def _made(name: str, **options: Any) -> Any:
    found = find_python(name)
    return found(**options) if isinstance(found, type) else found


def _problems(parameter: str, name: str | None, method: str) -> Iterable[Problem]:
    if name is None:
        return
    try:
        found = find_python(name)
    except ValueError as error:
        yield _no(parameter, name, f"{error}")
        return
    if not hasattr(found, method):
        yield _no(parameter, name, f"it has no {method}()")


def _no(parameter: str, name: str, reason: str) -> Problem:
    what = f"'{name}' cannot be the {parameter}: {reason}"
    return Problem("unknown-name", what, at=parameter)
