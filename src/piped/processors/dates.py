"""Dates and times: read from text, and written as text."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable
from typing import Annotated, Any, Final

from piped.batons import Baton
from piped.errors import BatonError, Problem
from piped.processors._shown import kind_of, shown
from piped.spec import InputOutputProcessor, Meta, processor

SOME_TIME: Final = datetime.datetime(2001, 2, 3, 4, 5, 6, 789, tzinfo=datetime.UTC)
"""A time with all parts, to try formats with."""


@processor("parse-datetime")
class ParseDatetime(InputOutputProcessor):
    """Read a date and time from text, by Python's ``strptime``.

    Takes ``str``, gives a ``datetime``, or a ``date`` with ``as_date: true``. It knows its offset
    from UTC where the format has ``%z``, which takes ``Z``, ``+0100`` and ``+01:00``.

    Example:
        parse-datetime: {input_path: due, format_string: "%Y-%m-%d %H:%M"}
        in:  {due: "2026-01-31 12:30"}
        out: {due: 2026-01-31 12:30:00}

    Raises:
        BatonError: The input is no text, or not of that form.
    """

    format_string: Annotated[
        str, Meta(min_length=1, description="The form of the text, such as '%Y-%m-%d %H:%M'.")
    ]
    as_date: Annotated[bool, Meta(description="Give the date alone.")] = False

    def check(self) -> Iterable[Problem]:
        try:
            written = SOME_TIME.strftime(self.format_string)
            datetime.datetime.strptime(written, self.format_string)
        except (ValueError, re.error) as error:
            what = f"expected a format such as '%Y-%m-%d', got {shown(self.format_string)}"
            yield Problem("wrong-value", what, at="format_string", why=f"{error}")

    def process_input(self, value: Any, baton: Baton) -> datetime.date:
        form = self.format_string
        if not isinstance(value, str):
            raise BatonError(f"expected text of the form {form!r}, got {kind_of(value)}")
        try:
            parsed = datetime.datetime.strptime(value, form)
        except ValueError as error:
            raise BatonError(f"expected text of the form {form!r}, got {shown(value)}") from error
        return parsed.date() if self.as_date else parsed


@processor("format-date")
class FormatDate(InputOutputProcessor):
    """Write a date, a time, or both as text, by Python's ``strftime``.

    Takes a ``date``, ``datetime`` or ``time``, gives ``str``. A time is written as it is, in its
    own time zone; ``%z`` writes its offset from UTC, or nothing where it has none.

    Example:
        format-date: {input_path: due, format_string: "%d.%m.%Y"}
        in:  {due: 2026-01-31}
        out: {due: 31.01.2026}

    Raises:
        BatonError: The input is no date and no time.
    """

    format_string: Annotated[str, Meta(description="The form of the text, such as '%Y-%m-%d'.")]

    def process_input(self, value: Any, baton: Baton) -> str:
        form = self.format_string
        if not isinstance(value, datetime.date | datetime.time):
            hint = " (parse-datetime reads one from text)" if isinstance(value, str) else ""
            kind = kind_of(value)
            raise BatonError(f"expected a date to write as {form!r}, got {kind}{hint}")
        try:
            return value.strftime(form)
        except ValueError as error:
            raise BatonError(f"cannot write {value} as {form!r}: {error}") from error
