"""Text made of values."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from string import Formatter
from typing import Annotated, Any

from piped.batons import Baton, BatonPath, getter
from piped.errors import BatonError, Problem
from piped.processors._shown import kind_of, shown
from piped.spec import InputOutputProcessor, Meta, processor


@processor("format-string")
class FormatString(InputOutputProcessor):
    """Format the input as text, by Python's ``str.format``.

    The items of a list fill ``{0}``, ``{1}``, those of a dict ``{name}``; other values, or any
    value with ``unpack: false``, fill ``{0}``. The format is given, or taken from the baton.

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
        if (self.format is None) is (self.format_path is None):
            got = "neither" if self.format is None else "both"
            what = f"expected exactly one of 'format' and 'format_path', got {got}"
            yield Problem("exactly-one", what, at="" if self.format is None else "format_path")
        try:
            list(Formatter().parse(self.format or ""))
        except ValueError as error:
            what = f"expected a format, got {shown(self.format)}: {str(error).lower()}"
            yield Problem("wrong-value", what, at="format")

    def call(self) -> Callable[[Any, Baton], Any]:
        given, unpack = self.format, self.unpack
        get = getter(self.format_path or "", None)

        def call(value: Any, baton: Baton) -> str:
            text = get(baton) if given is None else given
            if not isinstance(text, str):
                raise BatonError(f"expected a format at '{self.format_path}', got {kind_of(text)}")
            try:
                if unpack and isinstance(value, dict):
                    return text.format(**value)
                if unpack and isinstance(value, list | tuple):
                    return text.format(*value)
                return text.format(value)
            except (LookupError, ValueError, TypeError, AttributeError) as error:
                reason = f"{type(error).__name__}: {error}"
                raise BatonError(f"cannot format {shown(text)} ({reason})") from error

        return call
