"""The arguments of a request, from its query and its form."""

from __future__ import annotations

from typing import ClassVar
from urllib.parse import unquote_plus

from piped.errors import BatonError, PipedError
from piped.providers.web.limits import FORM_FIELDS


class BadRequest(BatonError):
    """Raised when what a client sent cannot be read; it is answered 400."""

    http_status: ClassVar[int] = 400


class MissingArgument(KeyError, PipedError):
    """Raised when a client did not send an argument that is needed; it is answered 400."""

    http_status: ClassVar[int] = 400

    def __str__(self) -> str:
        return f"the request has no argument '{self.args[0]}'"


class Args(dict[str, list[str]]):
    """The arguments of a request: name -> values, of the query first, then of a form."""

    __slots__ = ()

    def __missing__(self, name: str) -> list[str]:
        raise MissingArgument(name)


def read_fields(encoded: bytes | bytearray) -> dict[str, list[str]]:
    """Return the fields of a query or a form: name -> values.

    Raises:
        BadRequest: There are more than a thousand.
    """
    if not encoded:
        return {}
    text = encoded.decode("utf-8", "replace")
    pairs, is_plain = text.split("&", FORM_FIELDS), not ("%" in text or "+" in text)
    if len(pairs) > FORM_FIELDS:
        raise BadRequest(f"expected at most {FORM_FIELDS} fields in a query or form")
    fields: dict[str, list[str]] = {}
    for pair in pairs:  # as urllib's `parse_qs`, which takes three times as long
        if not pair:
            continue
        name, _, value = pair.partition("=")
        if not is_plain:
            name, value = unquote_plus(name), unquote_plus(value)
        if name in fields:
            fields[name].append(value)
        else:
            fields[name] = [value]
    return fields
