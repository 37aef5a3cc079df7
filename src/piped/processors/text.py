"""Text: made of values, and turned into bytes and back."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from string import Formatter
from typing import Annotated, Any, Final

from piped.batons import Baton, BatonPath, getter
from piped.errors import BatonError, Problem
from piped.processors._alternatives import not_one_of
from piped.processors._shown import kind_of, shown
from piped.processors._text import encoded, text_of, wrong_encoding
from piped.spec import InputOutputProcessor, Meta, processor

BYTES: Final = (bytes, bytearray, memoryview)
LONGEST_FIELD: Final = 10_000
ENCODING: Final = Meta(description="How text becomes bytes, such as utf8 or latin1.")


@processor("format-string")
class FormatString(InputOutputProcessor):
    """Format the input as text, by Python's ``str.format``.

    The items of a list fill ``{0}``, ``{1}``, those of a dict ``{name}``; other values, or any
    value with ``unpack: false``, fill ``{0}``. The format is given, or taken from the baton: such a
    one must not reach for attributes that begin with ``_``, and its fields are up to 10 000 wide.

    Example:
        format-string: {format: "{name} is {age}", output_path: text}
        in:  {name: Ada, age: 36}
        out: {name: Ada, age: 36, text: Ada is 36}

    Raises:
        BatonError: The format does not fit the input, or is no text.
    """

    format: Annotated[str | None, Meta(description="The format, such as '{name} is {age}'.")] = None
    format_path: Annotated[
        BatonPath | None, Meta(description="Where in the baton the format is.")
    ] = None
    unpack: Annotated[bool, Meta(description="Take lists and dicts apart.")] = True

    def check(self) -> Iterable[Problem]:
        if wrong := not_one_of("format", self.format, "format_path", self.format_path):
            yield wrong
        try:
            list(Formatter().parse(self.format or ""))
        except ValueError as error:
            what = f"expected a format, got {shown(self.format)}: {str(error).lower()}"
            yield Problem("wrong-value", what, at="format")

    def call(self) -> Callable[[Any, Baton], Any]:
        given, unpack = self.format, self.unpack
        get = getter(self.format_path or "", None)
        write = _OfABaton().format if given is None else str.format

        def call(value: Any, baton: Baton) -> str:
            text = get(baton) if given is None else given
            if not isinstance(text, str):
                raise BatonError(f"expected a format at '{self.format_path}', got {kind_of(text)}")
            try:
                if unpack and isinstance(value, dict):
                    return write(text, **value)
                if unpack and isinstance(value, list | tuple):
                    return write(text, *value)
                return write(text, value)
            except (LookupError, ValueError, TypeError, AttributeError) as error:
                reason = f"{type(error).__name__}: {error}"
                raise BatonError(f"cannot format {shown(text)} ({reason})") from error

        return call


class _OfABaton(Formatter):
    """Formats as a baton says, whose sender is to see no more than the values, and not too much."""

    def get_field(self, field_name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        if "._" in field_name:
            raise ValueError(f"'{field_name}' is private")
        return super().get_field(field_name, args, kwargs)

    def format_field(self, value: Any, format_spec: str) -> Any:
        if any(int(digits) > LONGEST_FIELD for digits in re.findall(r"\d+", format_spec)):
            raise ValueError(f"a field is at most {LONGEST_FIELD} wide")
        return super().format_field(value, format_spec)


@processor("encode-string")
class EncodeString(InputOutputProcessor):
    """Turn text into bytes.

    Takes ``str``, gives ``bytes``.

    Example:
        encode-string: {encoding: utf8, input_path: name}
        in:  {name: Ada}
        out: {name: !!binary QWRh}

    Raises:
        BatonError: The input is no text, or the encoding does not have one of its signs.
    """

    encoding: Annotated[str, ENCODING]

    def check(self) -> Iterable[Problem]:
        return wrong_encoding(self.encoding, "encoding")

    def process_input(self, value: Any, baton: Baton) -> bytes:
        if not isinstance(value, str):
            raise BatonError(f"expected text, got {kind_of(value)}")
        return encoded(value, self.encoding)


@processor("decode-string")
class DecodeString(InputOutputProcessor):
    """Turn bytes into text.

    Takes ``bytes``, gives ``str``.

    Example:
        decode-string: {encoding: utf8, input_path: name}
        in:  {name: !!binary QWRh}
        out: {name: Ada}

    Raises:
        BatonError: The input is not bytes.
        InvalidBaton: They are not of that encoding.
    """

    encoding: Annotated[str, ENCODING]

    def check(self) -> Iterable[Problem]:
        return wrong_encoding(self.encoding, "encoding")

    def process_input(self, value: Any, baton: Baton) -> str:
        if not isinstance(value, BYTES):
            raise BatonError(f"expected bytes, got {kind_of(value)}")
        return text_of(value, self.encoding)


@processor("prefix-string")
class PrefixString(InputOutputProcessor):
    """Put a prefix before the input, as text.

    Takes any value, gives ``str``: bytes are read as UTF-8, other values as Python writes them.

    Example:
        prefix-string: {prefix: order-, input_path: id}
        in:  {id: 7}
        out: {id: order-7}

    Raises:
        InvalidBaton: The input is bytes that are not UTF-8.
    """

    prefix: Annotated[str | int | float, Meta(description="What comes before the input.")]

    def process_input(self, value: Any, baton: Baton) -> str:
        return f"{self.prefix}{text_of(value) if isinstance(value, BYTES) else value}"
