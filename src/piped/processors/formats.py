"""Values as text or bytes in one of several formats, and back."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from typing import Annotated, Any, Final, Literal

from piped.batons import Baton
from piped.errors import Problem, suggest
from piped.processors._formats import CODECS, Codec
from piped.processors._shown import shown
from piped.processors._text import wrong_encoding
from piped.spec import InputOutputProcessor, Meta, Size, processor

_COMMON: Final = {each.name for each in fields(InputOutputProcessor)} | {"format"}


@dataclass(slots=True, kw_only=True, eq=False)
class _Coding(InputOutputProcessor):
    """What both ways share: a format, and the options that it takes."""

    format: Annotated[
        Literal["base64", "csv", "form", "gzip", "json", "msgpack", "text", "yaml"],
        Meta(description="The format."),
    ]
    delimiter: Annotated[
        Annotated[str, Meta(min_length=1, max_length=1)] | None,
        Meta(description="csv: the sign between two fields; a comma if not given."),
    ] = None
    header: Annotated[
        bool | list[str] | None,
        Meta(description="csv: whether the first line has the names of the columns, or the names."),
    ] = None
    encoding: Annotated[
        str | None, Meta(description="csv, text: the encoding of bytes; utf-8 if not given.")
    ] = None
    urlsafe: Annotated[
        bool | None, Meta(description="base64: use '-' and '_' in place of '+' and '/'.")
    ] = None

    @property
    def _given(self) -> dict[str, Any]:
        """The options that are given, for whichever format."""
        own = (each.name for each in fields(self) if each.name not in _COMMON)
        return {name: value for name in own if (value := getattr(self, name)) is not None}

    def _codec(self) -> Codec:
        return CODECS[self.format](**self._given)

    def check(self) -> Iterable[Problem]:
        taken = [each.name for each in fields(CODECS[self.format])]
        for name in self._given:
            if name not in taken:
                what = f"the format '{self.format}' has no parameter '{name}'"
                yield Problem("unknown-parameter", what, at=name, hint=suggest(name, taken))
        if self.delimiter is not None and self.delimiter in '"\r\n':
            what = f"expected a sign between fields, got {self.delimiter!r}"
            yield Problem("wrong-value", what, at="delimiter")
        if isinstance(self.header, list):
            yield from _wrong_names(self.header)
        if self.encoding is not None:
            yield from wrong_encoding(self.encoding, "encoding")


def _wrong_names(names: list[str]) -> Iterable[Problem]:
    if not names:
        yield Problem("wrong-value", "expected the names of the columns, got []", at="header")
    for i, name in enumerate(names):
        if name in names[:i]:
            what = f"two columns are named {shown(name)}"
            yield Problem("wrong-value", what, at=f"header[{i}]")


@processor("decode")
class Decode(_Coding):
    """Decode text or bytes that are in a format.

    * csv: a list of dicts, named by the first line; with ``header: false`` a list of lists; a list
      of names is for text without such a line. All values are text. No text is an empty list.
    * yaml: what the one document says, by the rules of YAML 1.1; no text is None.
    * json: what it says; whole numbers are exact.
    * msgpack: takes bytes alone.
    * form: a dict of names and text, or lists of text where a name is there several times.
    * base64: bytes.
    * gzip: takes bytes, gives bytes.
    * text: bytes as text.

    Example:
        decode: {format: csv, input_path: text, output_path: rows}
        in:  {text: "name,age\\nAda,36\\n"}
        out: {text: "name,age\\nAda,36\\n", rows: [{name: Ada, age: "36"}]}

    Raises:
        BatonError: The input is neither text nor bytes.
        InvalidBaton: It is not in the format.
    """

    max_size: Annotated[
        Size | None,
        Meta(description="gzip: how large the decompressed bytes may be; 10MiB if not given."),
    ] = None

    def call(self) -> Callable[[Any, Baton], Any]:
        decode = self._codec().decode
        return lambda value, _baton: decode(value)


@processor("encode")
class Encode(_Coding):
    """Encode a value in a format.

    * csv: takes a list of dicts or of lists, gives text, or bytes where ``encoding`` is given. The
      columns are all keys, in the order in which they are met, or those that ``header`` lists.
      None is an empty field.
    * yaml, json: take any value that they can say, give text.
    * msgpack: gives bytes.
    * form: takes a dict of names and values or lists of values, gives text.
    * base64: takes bytes or text (as UTF-8), gives text.
    * gzip: takes bytes or text (as UTF-8), gives bytes.
    * text: takes text, gives bytes.

    Example:
        encode: {format: form, input_path: query}
        in:  {query: {q: black tea, page: 2, tag: [a, b]}}
        out: {query: "q=black+tea&page=2&tag=a&tag=b"}

    Raises:
        BatonError: The format cannot say the value.
    """

    def call(self) -> Callable[[Any, Baton], Any]:
        encode = self._codec().encode
        return lambda value, _baton: encode(value)
