"""What a client knows of a file already (RFC 9110, 8.8 and 13)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import formatdate, parsedate
from typing import Final

_TAG: Final = re.compile(r'(W/)?("[\x21\x23-\x7e\x80-\xff]*")')
_DATE: Final = re.compile(r"\w+, .* GMT|\w{3} \w{3} [ \d]\d [\d:]{8} \d{4}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Validators:
    """What tells a version of a file from another one."""

    tag: str
    modified: int  # in whole seconds since 1970

    @classmethod
    def of(cls, mtime_ns: int, size: int, now: float) -> Validators:
        """Return those of a file; it was changed after 1969, and not later than now (8.8.2.1)."""
        return cls(f'"{mtime_ns:x}-{size:x}"', max(min(mtime_ns // 10**9, int(now)), 0))

    @property
    def date(self) -> str:
        return formatdate(self.modified, usegmt=True)

    def status(self, headers: Mapping[str, str]) -> int:
        """Return what a GET or a HEAD with such fields comes to: 200, 304 or 412 (13.2.2)."""
        if (tags := headers.get("if-match")) is not None:
            is_wanted = self._is_among(tags, weakly=False)
        else:
            since = read_date(headers.get("if-unmodified-since", ""))
            is_wanted = since is None or self.modified <= since
        if not is_wanted:
            return 412
        if (tags := headers.get("if-none-match")) is not None:
            is_known = self._is_among(tags, weakly=True)
        else:
            since = read_date(headers.get("if-modified-since", ""))
            is_known = since is not None and self.modified <= since
        return 304 if is_known else 200

    def fits(self, if_range: str | None) -> bool:
        """Tell whether a client may get ranges: it has none yet, or of this version (13.1.5)."""
        if if_range is None:
            return True
        if if_range.startswith(('"', "W/")):
            return if_range == self.tag
        return read_date(if_range) == self.modified

    def _is_among(self, tags: str, *, weakly: bool) -> bool:
        if tags.strip() == "*":
            return True
        return any(tag == self.tag and (weakly or not weak) for weak, tag in _TAG.findall(tags))


def read_date(text: str) -> int | None:
    """Return the seconds of a date in a form of HTTP (5.6.7); None if it is none."""
    text = text.strip()
    parsed = parsedate(text) if _DATE.fullmatch(text) else None
    if parsed is None:
        return None
    try:
        return int(datetime(*parsed[:6], tzinfo=UTC).timestamp())
    except (OverflowError, ValueError):  # the 30th of February, the year 10**20
        return None
