"""The head that a client sends again and again: it has been parsed and let through before."""

from __future__ import annotations

import re
from typing import Final

GET: Final = re.compile(rb"GET (/[\w\-.~%!$&'()*+,;=:@/?]*)", re.ASCII)
"""A request line up to its version, with a target that RFC 3986 leaves no doubt about."""

VERSION: Final = b" HTTP/1.1\r\n"


class Habit:
    """Knows what followed the target in the last GET of a connection that came in one piece.

    A client that keeps its connection mostly sends the same bytes with each request, but for the
    target. Such a head needs no parser and no gate.
    """

    __slots__ = ("_longest", "_rest", "fields")

    def __init__(self) -> None:
        self.fields: list[tuple[bytes, bytes]] = []
        self._rest: bytes | None = None
        self._longest = 0

    def learn(self, data: bytes, fields: list[tuple[bytes, bytes]], longest: int) -> None:
        """Take a head that was let through.

        Args:
            data: All of the request; nothing else.
            fields: Its header fields.
            longest: How many bytes another such head may have.
        """
        self.fields, self._longest = fields, longest
        self._rest = data.partition(VERSION)[2]

    def forget(self) -> None:
        """Let the next head be looked at, whatever it is."""
        self._rest = None

    def target_of(self, data: bytes) -> bytes | None:
        """Return the target of a request that is like the last one otherwise; else None."""
        line, _, rest = data.partition(VERSION)
        if rest != self._rest or len(data) > self._longest:
            return None
        found = GET.fullmatch(line)
        return None if found is None else found[1]
