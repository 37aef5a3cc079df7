"""Answers as bytes: one piece each, with its length, written at once."""

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
    status = request.status
    parts = [status_line(status), date]
    has_kind = False
    for name, line in request.answer_lines:
        has_kind = has_kind or name == "content-type"
        parts.append(line)
    if status in (204, 304):
        body = b""
    else:
        if body and not has_kind:
            parts.append(_DEFAULT_KIND)
        parts.append(b"content-length: %d\r\n" % len(body))
    if not is_kept:
        parts.append(b"connection: close\r\n")
    elif request.is_old:
        parts.append(b"connection: keep-alive\r\n")
    parts.append(b"\r\n")
    if request.method != "HEAD":
        parts.append(body)
    return b"".join(parts)


def head_bytes(request: Request, length: int | None, date: bytes, is_kept: bool) -> bytes:
    """Return the head of an answer whose body comes in pieces.

    Args:
        request: Knows the status and the header fields.
        length: How long the body will be; None is not known, and the body is chunked.
        date: The header field of that name.
        is_kept: Whether the connection is kept for the next request.
    """
    parts = [status_line(request.status), date, *(line for _, line in request.answer_lines)]
    if request.status not in (204, 304):  # RFC 9110, 8.6 and RFC 9112, 6.1
        if length is not None:
            parts.append(b"content-length: %d\r\n" % length)
        elif not request.is_old and request.method != "HEAD":
            parts.append(b"transfer-encoding: chunked\r\n")
    if not is_kept:
        parts.append(b"connection: close\r\n")
    elif request.is_old:
        parts.append(b"connection: keep-alive\r\n")
    parts.append(b"\r\n")
    return b"".join(parts)


def switching_bytes(head: bytes, date: bytes) -> bytes:
    """Return the answer after which another protocol is spoken (RFC 9110, 15.2.2)."""
    return b"%b%b%b\r\n" % (status_line(101), date, head)


def refusal_bytes(status: int, number: int, date: bytes, accept: str = "") -> bytes:
    """Return the answer of what broke a rule; it is the last of its connection."""
    kind, body = page(status, number, accept)
    parts = [status_line(status), date, b"content-type: %b\r\n" % kind.encode()]
    if status == 503:
        parts.append(b"retry-after: 1\r\n")
    parts.append(b"content-length: %d\r\nconnection: close\r\n\r\n" % len(body))
    parts.append(body)
    return b"".join(parts)
