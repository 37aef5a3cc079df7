"""CSV by RFC 4180: rows as dicts or lists, and their text."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from piped.errors import BatonError, InvalidBaton
from piped.processors._shown import kind_of, shown
from piped.processors._text import encoded, scalar_text, text_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Csv:
    """Text with a line for each row; what is in it is always text."""

    delimiter: str = ","
    header: bool | list[str] | None = None
    encoding: str | None = None

    def decode(self, value: Any) -> list[Any]:
        text = text_of(value, self.encoding or "utf-8").removeprefix("\ufeff")
        lines = self._lines(text)
        if self.header is False:
            return [row for _, row in lines]
        if isinstance(self.header, list):
            return _dicts(self.header, lines)
        _, names = next(lines, (0, []))
        return _dicts(_unique(names), lines)

    def _lines(self, text: str) -> Iterator[tuple[int, list[str]]]:
        """Yield the number of the last line of each row, and the row; empty lines are none."""
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=self.delimiter, strict=True)
        try:
            for row in reader:
                if row:
                    yield reader.line_num, row
        except csv.Error as error:
            raise InvalidBaton([f"not CSV: {error} at line {reader.line_num}"]) from None

    def encode(self, value: Any) -> str | bytes:
        if not isinstance(value, list | tuple):
            raise BatonError(f"expected a list of rows, got {kind_of(value)}")
        text = io.StringIO(newline="")
        writer = csv.writer(text, delimiter=self.delimiter)
        for number, row in enumerate(self._rows(value), 1):
            if not row:
                raise BatonError(f"cannot encode as CSV a row without fields: row {number}")
            writer.writerow(row)
        made = text.getvalue()
        return made if self.encoding is None else encoded(made, self.encoding)

    def _rows(self, rows: list[Any] | tuple[Any, ...]) -> Iterable[list[str]]:
        names = self.header if isinstance(self.header, list) else None
        if all(isinstance(row, list | tuple) for row in rows) and self.header is not True:
            yield from self._of_lists(names, rows)
            return
        for number, row in enumerate(rows, 1):
            if not isinstance(row, Mapping):
                raise BatonError(f"expected a dict as row {number}, got {kind_of(row)}")
        columns = dict.fromkeys(names or (key for row in rows for key in row))
        if self.header is not False and columns:
            yield [scalar_text(name, "the name of a column") for name in columns]
        for number, row in enumerate(rows, 1):
            if unknown := row.keys() - columns.keys():
                what = shown(min(unknown, key=str))
                raise BatonError(f"row {number} has {what}, which is no column of the header")
            yield [_field(row.get(name), number, name) for name in columns]

    def _of_lists(self, names: list[str] | None, rows: Iterable[Any]) -> Iterable[list[str]]:
        if names:
            yield names
        for number, row in enumerate(rows, 1):
            if names and len(row) != len(names):
                raise BatonError(f"expected {len(names)} fields in row {number}, got {len(row)}")
            yield [_field(each, number, place) for place, each in enumerate(row)]


def _dicts(names: list[str], lines: Iterable[tuple[int, list[str]]]) -> list[dict[str, str]]:
    rows = []
    for line, row in lines:
        if len(row) != len(names):
            what = f"expected {len(names)} fields, got {len(row)} at line {line}"
            raise InvalidBaton([f"not CSV: {what}"])
        rows.append(dict(zip(names, row, strict=True)))
    return rows


def _unique(names: list[str]) -> list[str]:
    seen = set()
    for name in names:
        if name in seen:
            raise InvalidBaton([f"not CSV: two columns are named {shown(name)}"])
        seen.add(name)
    return names


def _field(value: Any, row: int, column: Any) -> str:
    return scalar_text(value, f"a field of CSV: row {row}, {shown(column)}")
