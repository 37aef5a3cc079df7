"""Which bytes of a file a client wants (RFC 9110, 14)."""

from __future__ import annotations

import re
from typing import Final

Range = tuple[int, int]
"""The first byte, and the one behind the last."""

MOST: Final = 16
"""How many ranges a request may name: players and readers of PDF need a few; more are ignored."""

GAP: Final = 80
"""Ranges that are no further apart become one: the head of a part is about as long."""

DIGITS: Final = 19  # enough for each file there may be

_RANGE: Final = re.compile(r"[ \t]*(?:([0-9]+)-([0-9]*)|-([0-9]+))[ \t]*")


def read_ranges(text: str, size: int) -> list[Range] | None:
    """Return the ranges that a field asks for; an empty list if the file has none of them.

    None means that the whole file is to be sent: the field is in another unit or makes no sense,
    has too many ranges, or together they would be longer than the file. Of an empty file no part
    can be told in ``content-range``.

    Args:
        text: The value of the field ``range``.
        size: How many bytes the file has.
    """
    unit, equals, given = text.partition("=")
    texts = given.split(",")
    if unit.strip().lower() != "bytes" or not equals or len(texts) > MOST or not size:
        return None
    ranges = []
    for each in texts:
        match = _RANGE.fullmatch(each)
        if match is None or max(map(len, match.groups(""))) > DIGITS:
            return None
        first, last, suffix = match.groups()
        if first and last and int(last) < int(first):
            return None
        if found := _within(first, last, suffix, size):
            ranges.append(found)
    return None if sum(end - start for start, end in ranges) > size else _merged(ranges)


def _within(first: str | None, last: str | None, suffix: str | None, size: int) -> Range | None:
    """Return the part of a range that the file has, if it has any of it."""
    if first is None:
        start, end = max(size - int(suffix or 0), 0), size
    else:
        start, end = int(first), min(int(last) + 1, size) if last else size
    return (start, end) if start < end else None


def _merged(ranges: list[Range]) -> list[Range]:
    """Return ranges that are apart as they were asked for, others in order and merged."""
    merged: list[Range] = []
    for start, end in sorted(ranges):
        if merged and start <= merged[-1][1] + GAP:
            merged[-1] = merged[-1][0], max(merged[-1][1], end)
        else:
            merged.append((start, end))
    return ranges if len(merged) == len(ranges) else merged
