"""Answers of other services: read within bounds, and made into what a baton gets."""

from __future__ import annotations

import asyncio
import codecs
import re
import time
import zlib
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, Final, Literal, Protocol, TypeAlias

from piped.errors import BatonError, RequestFailed
from piped.processors import _json
from piped.processors._shown import shown

Output: TypeAlias = Literal["response", "json", "text", "bytes"]

EXCERPT: Final = 65_536
"""How much is read of an answer that is not wanted: more, and the connection is not kept."""

SLACK: Final = 65_536
"""How much longer an answer may be compressed than decompressed."""

EXCERPT_S: Final = 1.0
"""For how long it is read: how it begins is news, but less so than its status."""

_ODD: Final = frozenset({"idna", "punycode", "raw-unicode-escape", "unicode-escape"})
"""Encodings that a service does not name in earnest; long text takes two of them for ever."""

_TEXT: Final = re.compile(r"text/|application/(.*\+)?(xml|javascript|yaml|x-www-form-urlencoded)\b")
_JSON: Final = re.compile(r"application/([\w.!#$&^-]+\+)?json\b")


class Answer(Protocol):
    """What the client gives: the head of an answer, and its body as it comes."""

    status: int
    headers: Mapping[str, str]

    def chunks(self) -> AsyncIterator[bytes]: ...


class BadStatus(RequestFailed):
    """Raised when a service answers with a status that is not expected."""

    def __init__(self, message: str, status: int, retry_after_s: float | None) -> None:
        self.status = status
        self.retry_after_s = retry_after_s
        super().__init__(message)


class UnfitAnswer(RequestFailed):
    """Raised when an answer cannot be used, and another try would bring the same."""


@dataclass(slots=True)
class Reply:
    """A whole answer."""

    status: int
    headers: Mapping[str, str]
    content: bytes


Make: TypeAlias = Callable[[Reply, str, float], Any]


async def read(answer: Answer, max_bytes: int) -> bytes:
    """Return the body of an answer, decompressed.

    Raises:
        UnfitAnswer: It is longer than that, or it is not compressed as it says.
    """
    decoder = None
    async for chunk in answer.chunks():  # what the head says of a body may be of none: by HEAD
        decoder = decoder or _decoder(answer, max_bytes)
        decoder.feed(chunk)
    return b"" if decoder is None else decoder.ended()


async def excerpt(answer: Answer) -> bytes:
    """Return the beginning of the body of an answer that nobody waits for, as far as it came."""
    decoder = None
    try:
        decoder = _Decoder(answer, EXCERPT)
        async with asyncio.timeout(EXCERPT_S):
            async for chunk in answer.chunks():
                decoder.feed(chunk)
    except (RequestFailed, TimeoutError):  # what is left of it is not needed
        pass
    return b"" if decoder is None else decoder.begun()


def _decoder(answer: Answer, max_bytes: int) -> _Decoder:
    """Return what decompresses a body, unless that is known to be too long."""
    decoder, stated = _Decoder(answer, max_bytes), answer.headers.get("content-length", "")
    if decoder.is_plain and stated.isdecimal() and int(stated[:20]) > max_bytes:
        raise UnfitAnswer(f"expected an answer of up to {max_bytes} bytes, got {stated[:20]}")
    return decoder


class _Decoder:
    """Decompresses a body and never makes more of it than is allowed."""

    def __init__(self, answer: Answer, max_bytes: int) -> None:
        coding = answer.headers.get("content-encoding", "").strip().lower()
        if coding not in ("identity", "", "gzip", "x-gzip", "deflate"):
            raise UnfitAnswer(f"expected an answer in gzip or deflate, got {shown(coding)}")
        self._coding = coding.removeprefix("x-")
        self.is_plain = coding in ("identity", "")
        self._max = max_bytes
        self._made = bytearray()
        self._came = 0
        self._inner: Any = None

    def feed(self, data: bytes) -> None:
        if self.is_plain:
            return self._take(data)
        self._came += len(data)
        if self._came > self._max + SLACK:  # compressed, it is hardly longer
            raise UnfitAnswer(f"expected an answer of up to {self._max} bytes, got more")
        try:
            while data:
                data = self._inflated(data)
        except zlib.error:
            raise UnfitAnswer(f"the answer is no {self._coding}") from None

    def ended(self) -> bytes:
        if self._inner is not None and not self._inner.eof:
            raise UnfitAnswer(f"the {self._coding} of the answer ends too early")
        return self.begun()

    def begun(self) -> bytes:
        """Return what has come so far."""
        return bytes(self._made)

    def _inflated(self, data: bytes) -> bytes:
        """Decompress what fits and return the rest: a gzip may follow another one."""
        if self._inner is None or self._inner.eof:
            if self._inner is not None and self._coding == "deflate":
                return b""
            self._inner = zlib.decompressobj(_window(data, self._coding))
        self._take(self._inner.decompress(data, self._max - len(self._made) + 1))
        rest: bytes = self._inner.unused_data
        return rest.lstrip(b"\0") if self._inner.eof else self._inner.unconsumed_tail

    def _take(self, data: bytes) -> None:
        self._made += data
        if len(self._made) > self._max:
            raise UnfitAnswer(f"expected an answer of up to {self._max} bytes, got more")


def _window(data: bytes, coding: str) -> int:
    """Return zlib's word for a format; 'deflate' comes with the head of zlib and without."""
    if coding == "gzip":
        return 16 + zlib.MAX_WBITS
    is_zlib = data[0] & 0x0F == 8 and (len(data) < 2 or (data[0] << 8 | data[1]) % 31 == 0)
    return zlib.MAX_WBITS if is_zlib else -zlib.MAX_WBITS


def maker(output: Output) -> Make:
    """Return what makes an output of an answer, the URL it came from, and its seconds."""
    match output:
        case "bytes":
            return lambda reply, _url, _seconds: reply.content
        case "text":
            return lambda reply, _url, _seconds: _text(reply)
        case "json":
            return lambda reply, _url, _seconds: _read_json(reply)
    return _response


def _response(reply: Reply, url: str, seconds: float) -> dict[str, Any]:
    kind = _kind(reply)
    made: dict[str, Any] = {"status": reply.status, "headers": dict(reply.headers)}
    if not reply.content:
        made["text"] = ""
    elif _JSON.match(kind):
        made["json"] = _read_json(reply)
    elif _TEXT.match(kind) or "charset=" in kind:
        made["text"] = _text(reply)
    else:
        made["bytes"] = reply.content
    return {**made, "url": url, "elapsed_s": seconds}


def _kind(reply: Reply) -> str:
    return reply.headers.get("content-type", "").strip().lower()


def _text(reply: Reply) -> str:
    """Return a body as text; what its encoding does not know is replaced."""
    found = re.search(r"charset=[\"']?([\w.:+-]+)", _kind(reply))
    try:
        name = codecs.lookup(found[1]).name if found else "utf-8"
        name = "utf-8" if name.replace("_", "-") in _ODD else name
        return reply.content.decode(name, errors="replace")
    except (LookupError, ValueError):  # no such encoding, or one that makes no text
        return reply.content.decode(errors="replace")


def _read_json(reply: Reply) -> Any:
    if not reply.content and reply.status == 204:
        return None
    try:
        return _json.decode(reply.content)
    except BatonError as error:
        kind = _kind(reply)
        said = "" if _JSON.match(kind) else f" (content-type {shown(kind)})"
        raise UnfitAnswer(f"the answer is {error}{said}") from error


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return in how many seconds a service wants to be asked again, where it says so."""
    text = headers.get("retry-after", "").strip()
    if text.isdecimal():
        return float(text[:10])
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return None
