"""Header fields: those of a request, read without regard to case, and those of an answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache

from piped.errors import BatonError
from piped.spec.headers import CONTROL, OF_THE_SITE, TOKEN


class Headers(Mapping[str, str]):
    """The header fields of a request: ``headers["Content-Type"]``, in any case.

    A field that was sent several times is one text, joined by commas (``cookie``: semicolons).
    """

    __slots__ = ("_fields",)

    def __init__(self, fields: Sequence[tuple[bytes, bytes]]) -> None:
        self._fields: dict[str, str] = {}
        for raw_name, raw_value in fields:
            name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
            if name in self._fields:
                value = self._fields[name] + ("; " if name == "cookie" else ", ") + value
            self._fields[name] = value

    def __getitem__(self, name: str) -> str:
        return self._fields[name.lower()]

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)

    def __repr__(self) -> str:
        return f"Headers({self._fields!r})"


@lru_cache(maxsize=1024)
def header_line(name: str, value: str) -> bytes:
    """Return a header field of an answer as it is sent.

    Raises:
        BatonError: The name or the value would break out of its line, or is the site's own.
    """
    if not TOKEN.fullmatch(name):
        raise BatonError(f"expected the name of a header, got {name!r}")
    if name.lower() in OF_THE_SITE:
        raise BatonError(f"the header '{name.lower()}' is set by the site itself")
    if CONTROL.search(value):
        raise BatonError(f"the header '{name}' must not have control signs, got {value!r}")
    try:
        return f"{name}: {value}\r\n".encode("latin-1")
    except UnicodeEncodeError:
        raise BatonError(f"the header '{name}' must be latin-1, got {value!r}") from None
