"""Files: lines appended to them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import field
from typing import Annotated, Any, Final

from piped.batons import Baton, BatonPath, getter
from piped.errors import BatonError, PipedError, Problem
from piped.processors._shown import shown
from piped.processors._text import encoded, text_of, wrong_encoding
from piped.spec import Lambda, Meta, Namespace, Processor, Step, processor

APPENDING: Final = os.O_WRONLY | os.O_APPEND | os.O_CREAT
NEVER_WAITING: Final[int] = getattr(os, "O_NONBLOCK", 0)  # for a reader of a named pipe
AS_IT_IS: Final[int] = getattr(os, "O_BINARY", 0)


class NotWritten(PipedError, OSError):
    """Raised when a file cannot be written: its folder is missing, the disk is full."""


@processor("append-to-file")
class AppendToFile(Processor):
    """Append a line to a file; the baton stays as it is.

    Takes any value at ``input_path``: ``formatter`` makes of it what is written, ``format`` writes
    it, as Python's ``%`` does: ``%(name)s`` is an item of a dict, the items of a tuple come one by
    one. Bytes are read as text first. Nothing is written where the input is missing, empty or zero.

    The file is made when the first line comes, and each line is in it when the next step begins. It
    is opened anew for each line, so it can be moved away at any time, as logrotate does. The folder
    must be there.

    Example:
        append-to-file: {file_path: orders.log, formatter: "order: order['id']"}

    Raises:
        BatonError: The value does not fit the format or the encoding.
        NotWritten: There is no such folder, no permission, or no space.
    """

    file_path: Annotated[
        str, Meta(min_length=1, description="The file; a relative path begins where Piped runs.")
    ]
    input_path: Annotated[
        BatonPath, Meta(description="Where the input is; '' is the whole baton.")
    ] = BatonPath("")
    format: Annotated[str, Meta(description="What is written, with % signs for the value.")] = (
        "%s\n"
    )
    formatter: Annotated[
        Lambda, Meta(description="A lambda that makes of the input what is formatted.")
    ] = field(default_factory=lambda: Lambda("input: input"))
    namespace: Annotated[Namespace, Meta(description="Names for the formatter.")] = field(
        default_factory=Namespace
    )
    encode: Annotated[str, Meta(description="How text becomes bytes.")] = "utf8"

    def check(self) -> Iterable[Problem]:
        yield from self.formatter.check(self.namespace)
        yield from wrong_encoding(self.encode, "encode")
        try:
            self.format % object()
        except TypeError:  # it may be for numbers, dicts or tuples
            pass
        except ValueError as error:
            what = f"expected a format such as '%s', got {shown(self.format)}: {error}"
            yield Problem("wrong-value", what, at="format")

    def step(self) -> Step:
        get, line = getter(self.input_path, None), self._writer()
        path = os.path.expanduser(self.file_path)

        def step(baton: Baton) -> Baton:
            value = get(baton)
            if value:
                _append(path, line(value))
            return baton

        return step

    def _writer(self) -> Callable[[Any], bytes]:
        """Return what makes a line of an input."""
        make = self.formatter.compile(self.namespace, self)
        form, encoding = self.format, self.encode

        def line(value: Any) -> bytes:
            made = make(value)
            if isinstance(made, bytes | bytearray | memoryview):
                made = text_of(made, encoding)
            try:
                text = form % made
            except (TypeError, ValueError, KeyError, OverflowError) as error:
                reason = f"{type(error).__name__}: {error}"
                raise BatonError(f"cannot format {shown(made)} as {form!r} ({reason})") from error
            return encoded(text, encoding)

        return line


def _append(path: str, data: bytes) -> None:
    """Write all data at the end of a file, which is made where there is none.

    Raises:
        NotWritten: That is not possible; a part of the data may be written.
    """
    rest = memoryview(data)
    try:
        file = os.open(path, APPENDING | NEVER_WAITING | AS_IT_IS, 0o666)
        try:
            while rest:
                rest = rest[os.write(file, rest) :]
        finally:
            os.close(file)
    except (OSError, ValueError) as error:
        raise NotWritten(f"cannot append to '{path}': {_reason(error, path)}") from error


def _reason(error: Exception, path: str) -> str:
    folder = os.path.dirname(path)
    if isinstance(error, FileNotFoundError) and folder and not os.path.isdir(folder):
        return f"there is no folder '{folder}'"
    return (getattr(error, "strerror", None) or f"{error}").lower()
