"""URLs of requests: taken apart once, and filled so that no value leaves its place."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias
from urllib.parse import quote, unquote, urljoin, urlsplit
from uuid import UUID

from piped.batons import MISSING, Baton, getter
from piped.errors import BatonError
from piped.processors._shown import kind_of, shown

TOO_LARGE: Final = 10**4300  # Python writes no more digits
PORTS: Final = {"http": 80, "https": 443}

_KEPT: Final = "%/?:@!$&'()*+,;=-._~"
_HOST: Final = re.compile(r"[a-z0-9_]([a-z0-9._-]*[a-z0-9_.])?|\[[0-9a-f:.]+\]")
_PATH: Final = re.compile(r"[^.{}\[\]!:\s]+(\.[^.{}\[\]!:\s]+)*")
_TOKEN: Final = re.compile(r"(?P<escaped>\{\{|\}\})|\{(?P<path>[^{}]*)\}|(?P<lost>[{}])")

Fill: TypeAlias = Callable[[Baton], "Url"]


class WrongUrl(ValueError):
    """Raised when text is no URL that can be asked; it says why, and shows no secret."""


@dataclass(frozen=True, slots=True)
class Url:
    """An absolute URL in ASCII, in its parts; ``port`` is never left open."""

    scheme: str
    host: str
    port: int
    path: str
    query: str

    @property
    def place(self) -> str:
        """The URL without its query: what errors show."""
        port = "" if self.port == PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{self.host}{port}{self.path}"

    def __str__(self) -> str:
        return f"{self.place}?{self.query}" if self.query else self.place

    def with_query(self, pairs: Iterable[tuple[str, str]]) -> Url:
        """Return the URL with more arguments behind its own."""
        more = "&".join(f"{quoted(name)}={quoted(value)}" for name, value in pairs)
        query = "&".join(filter(None, (self.query, more)))
        return Url(self.scheme, self.host, self.port, self.path, query)

    def joined(self, reference: str) -> Url:
        """Return the URL that a reference in an answer leads to.

        Raises:
            WrongUrl: It leads nowhere.
        """
        try:
            return parse(urljoin(str(self), reference))
        except ValueError as error:
            raise error if isinstance(error, WrongUrl) else WrongUrl("it is no URL") from None

    def is_like(self, other: Url) -> bool:
        """Tell whether another URL is of the same service; TLS may be new to it."""
        if self.host != other.host:
            return False
        if (self.scheme, self.port) == (other.scheme, other.port):
            return True
        return (self.scheme, self.port, other.scheme, other.port) == ("http", 80, "https", 443)


def quoted(text: str) -> str:
    """Return text percent-encoded so that it is one segment of a path, or one value."""
    try:
        return quote(text, safe="")
    except UnicodeEncodeError:
        raise BatonError(f"expected Unicode in a url, got {shown(text)}") from None


def parse(text: str) -> Url:
    """Return the parts of an absolute URL; a fragment is dropped.

    Raises:
        WrongUrl: It is none, or it carries a name and a password.
    """
    if re.search(r"[\x00-\x1f\x7f\\]", text):
        raise WrongUrl("it has signs that no URL has")
    try:
        parts = urlsplit(text.strip(" "))
        scheme, port = parts.scheme.lower(), parts.port
    except ValueError:
        raise WrongUrl("it is no URL") from None
    if scheme not in PORTS:
        raise WrongUrl("it begins neither with http:// nor with https://")
    if "@" in parts.netloc:
        raise WrongUrl("it carries a name or a password, which belong to 'auth'")
    host = ascii_host(parts.hostname or "")
    try:
        path, query = quote(parts.path or "/", safe=_KEPT), quote(parts.query, safe=_KEPT)
    except UnicodeEncodeError:
        raise WrongUrl("it is no Unicode") from None
    return Url(scheme, host, port or PORTS[scheme], path, query)


def ascii_host(host: str) -> str:
    """Return a host as DNS knows it, in lower case.

    Raises:
        WrongUrl: There is no such host.
    """
    host = f"[{host}]" if ":" in host and not host.startswith("[") else host
    if not host.isascii():
        host = _idna(host)
    host = host.lower().removesuffix(".")
    if not _HOST.fullmatch(host):
        raise WrongUrl(f"it has no host that there can be: {shown(host)}")
    return host


def _idna(host: str) -> str:
    import httpx

    try:
        return httpx.URL(scheme="https", host=host).raw_host.decode("ascii")
    except (httpx.InvalidURL, UnicodeError):
        raise WrongUrl(f"it has no host that there can be: {shown(host)}") from None


@dataclass(frozen=True, slots=True)
class _Piece:
    """Text of the document, or the place of a value of the baton."""

    text: str = ""
    path: str = ""


def _pieces(template: str) -> list[_Piece]:
    pieces, text, end = [], "", 0
    for token in _TOKEN.finditer(template):
        text += template[end : token.start()]
        end = token.end()
        if token["escaped"]:
            text += token["escaped"][0]
        elif token["lost"]:
            raise WrongUrl(
                f"it has a '{token['lost']}' alone (for the sign itself, write it twice)"
            )
        elif not _PATH.fullmatch(token["path"]):
            raise WrongUrl(f"expected a path into the baton in braces, got '{token[0]}'")
        else:
            pieces += [_Piece(text), _Piece(path=token["path"])]
            text = ""
    return [each for each in [*pieces, _Piece(text + template[end:])] if each.text or each.path]


def compiled(template: str) -> tuple[Fill, Url]:
    """Return what fills a URL with values of a baton, and the URL up to the first of them.

    Values stand in the path and in the query only: each is percent-encoded, so it remains one
    segment, or one value, whatever it holds.

    Raises:
        WrongUrl: The template is no URL, or has a value where none can be.
    """
    pieces = _pieces(template)
    lead = pieces[0].text if pieces else ""
    base = parse(lead)
    if len(pieces) == 1:
        return (lambda _baton: base), base
    start = re.match(r"[^:]+://[^/?#]+(?=[/?])", lead)
    if start is None:
        raise WrongUrl("it has a value of the baton in its host")
    if any("#" in each.text for each in pieces):
        raise WrongUrl("it has a value of the baton and a fragment")
    pieces[0] = _Piece(lead[start.end() :])
    path, query = _halves(pieces)
    segments = [_joined(each, is_segment=True) for each in _split(path)]
    fill_query = _joined(query, is_segment=False)

    def fill(baton: Baton) -> Url:
        filled = "/".join([segment(baton) for segment in segments]) or "/"
        return Url(base.scheme, base.host, base.port, filled, fill_query(baton))

    return fill, base


def _halves(pieces: Sequence[_Piece]) -> tuple[list[_Piece], list[_Piece]]:
    """Return the pieces of the path, and those of the query."""
    for i, each in enumerate(pieces):
        path, mark, query = each.text.partition("?")
        if mark:
            return [*pieces[:i], _Piece(path)], [_Piece(query), *pieces[i + 1 :]]
    return list(pieces), []


def _split(pieces: Iterable[_Piece]) -> list[list[_Piece]]:
    """Return the pieces of each segment of a path."""
    segments: list[list[_Piece]] = [[]]
    for each in pieces:
        if each.path:
            segments[-1].append(each)
            continue
        first, *more = each.text.split("/")
        segments[-1].append(_Piece(first))
        segments += [[_Piece(text)] for text in more]
    return segments


def _joined(pieces: Iterable[_Piece], is_segment: bool) -> Callable[[Baton], str]:
    parts: list[Callable[[Baton], str]] = []
    paths = [each.path for each in pieces if each.path]
    for each in pieces:
        parts.append(_value(each.path) if each.path else _constant(each.text))
    if not paths or not is_segment:
        return lambda baton: "".join([part(baton) for part in parts])

    def segment(baton: Baton) -> str:
        text = "".join([part(baton) for part in parts])
        if unquote(text) in ("", ".", ".."):
            what = f"expected a segment of a path at '{paths[0]}', got {shown(unquote(text))}"
            raise BatonError(what)
        return text

    return segment


def _constant(text: str) -> Callable[[Baton], str]:
    kept = quote(text, safe=_KEPT)
    return lambda _baton: kept


def _value(path: str) -> Callable[[Baton], str]:
    get = getter(path)
    return lambda baton: quoted(text_of(get(baton), path))


def text_of(value: Any, path: str) -> str:
    """Return a value of the baton as text for a URL, a form or a header.

    Raises:
        BatonError: It has no text of its own.
    """
    match value:
        case str():
            return str.__str__(value)
        case bool():
            return "true" if value else "false"
        case UUID():
            return str(value)
        case float() if math.isfinite(value):
            return repr(value)
        case int() if abs(value) < TOO_LARGE:
            return str(int(value))
    if value is MISSING:
        raise BatonError(f"there is nothing at '{path}'")
    got = shown(value) if isinstance(value, int | float) else kind_of(value)
    raise BatonError(f"expected text or a number at '{path}', got {got}")


def has_dots(url: Url) -> bool:
    """Tell whether the path of a URL leads upwards."""
    return any(unquote(each) in (".", "..") for each in url.path.split("/"))


def admits(patterns: Iterable[str], host: str) -> bool:
    """Tell whether a host is one of those allowed: by its name, or by ``*.`` and a domain."""
    return any(
        host.endswith(each[1:]) if each.startswith("*.") else host == each for each in patterns
    )
