"""Answers as bytes: whole ones, with their length, and the heads of those in pieces."""

from __future__ import annotations

from email.utils import formatdate
from http import HTTPStatus
from typing import Final

from piped.providers.web.pages import page
from piped.providers.web.request import Request

CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"

_STATUS_LINES: Final = {
    each.value: b"HTTP/1.1 %d %b\r\n" % (each.value, each.phrase.encode()) for each in HTTPStatus
}

BODILESS: Final = (204, 304)
"""Statuses whose answers have no body, nor its length (RFC 9110, 8.6 and RFC 9112, 6.1)."""

_HEAD_ENDS: Final = {  # by whether the connection is kept, and whether HTTP/1.0 is spoken
    (True, False): b"\r\n",
    (True, True): b"connection: keep-alive\r\n\r\n",
    (False, False): b"connection: close\r\n\r\n",
    (False, True): b"connection: close\r\n\r\n",
}

_DEFAULT_KIND: Final = b"content-type: text/html; charset=utf-8\r\n"


def date_line() -> bytes:
    """Return the header field that says what time it is."""
    return b"date: %b\r\n" % formatdate(usegmt=True).encode()


def status_line(status: int) -> bytes:
    """Return the first line of an answer."""
    return _STATUS_LINES.get(status) or b"HTTP/1.1 %d Unknown\r\n" % status


def answer_bytes(request: Request, body: bytes, date: bytes, is_kept: bool) -> bytes:
    """Return the answer of a request.

    Args:
        request: Knows the status and the header fields.
        body: What the answer says; HEAD gets its length only.
        date: The header field of that name.
        is_kept: Whether the connection is kept for the next request.
    """
    status = request._status
    parts = [_STATUS_LINES.get(status) or status_line(status), date]
    has_kind = False
    for name, line in request.answer_lines:
        has_kind = has_kind or name == "content-type"
        parts.append(line)
    if status in BODILESS:
        body = b""
    else:
        if body and not has_kind:
            parts.append(_DEFAULT_KIND)
        parts.append(b"content-length: %d\r\n" % len(body))
    parts.append(_HEAD_ENDS[is_kept, request.is_old])
    if request.method != "HEAD":
        parts.append(body)
    return b"".join(parts)


def head_bytes(request: Request, length: int | None, is_chunked: bool, date: bytes) -> bytes:
    """Return the head of an answer whose body comes in pieces.

    Args:
        request: Knows the status, the header fields, and whether its connection is kept.
        length: How long the body will be, if that is known.
        is_chunked: Whether the pieces themselves tell how long they are.
        date: The header field of that name.
    """
    parts = [status_line(request.status), date, *(line for _, line in request.answer_lines)]
    if is_chunked:
        parts.append(b"transfer-encoding: chunked\r\n")
    elif length is not None and request.status not in BODILESS:
        parts.append(b"content-length: %d\r\n" % length)
    parts.append(_HEAD_ENDS[request.is_kept_alive, request.is_old])
    return b"".join(parts)


def switching_bytes(head: bytes, date: bytes) -> bytes:
    """Return the answer after which another protocol is spoken (RFC 9110, 15.2.2)."""
    return b"%b%b%b\r\n" % (status_line(101), date, head)


def refusal_bytes(status: int, number: int, date: bytes, accept: str) -> bytes:
    """Return the answer of what broke a rule; it is the last of its connection."""
    kind, body = page(status, number, accept)
    parts = [status_line(status), date, b"content-type: %b\r\n" % kind.encode()]
    if status == 503:
        parts.append(b"retry-after: 1\r\n")
    parts.append(b"content-length: %d\r\nconnection: close\r\n\r\n" % len(body))
    parts.append(body)
    return b"".join(parts)
