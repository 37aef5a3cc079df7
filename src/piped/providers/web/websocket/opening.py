"""The opening handshake (RFC 6455, 4.2): who may open a session, and the answer that opens it."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterable, Sequence
from typing import Final
from urllib.parse import urlsplit

from piped.errors import PipedError
from piped.providers.web.request import Request

GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
"""What a server adds to the client's key, to show that it speaks WebSocket (RFC 6455, 1.3)."""

KEY_BYTES: Final = 16
PORTS: Final = {"http": ":80", "https": ":443", "ws": ":80", "wss": ":443"}


class NotOpened(PipedError):
    """Raised when a request cannot open a session; ``http_status`` is what it is answered."""

    def __init__(self, status: int, what: str) -> None:
        self.http_status = status
        super().__init__(what)


def check_opening(request: Request, origins: Iterable[str] = ()) -> None:
    """Let a request through that may open a session.

    Args:
        request: What the client has sent.
        origins: Pages of which sites may open one, beside this site's own: ``https://a.example``;
            ``*`` is any.

    Raises:
        NotOpened: It may not.
    """
    if request.method != "GET":
        raise NotOpened(405, "expected GET")
    if not _is_proposed(request):
        raise NotOpened(426, "expected a request that proposes WebSocket")
    if request.headers.get("sec-websocket-version", "").strip() != "13":
        raise NotOpened(426, "expected version 13 of WebSocket")
    if not _is_key(request.headers.get("sec-websocket-key", "")):
        raise NotOpened(400, "expected a key of 16 bytes in base64")
    if not _is_origin_allowed(request, origins):
        raise NotOpened(403, "a page of another site must not open a session")
    if not request.is_upgrade:  # RFC 9110, 7.8: it has a body, or is of HTTP/1.0
        raise NotOpened(400, "expected a request without a body")


def _is_proposed(request: Request) -> bool:
    return "websocket" in _words(request, "upgrade") and "upgrade" in _words(request, "connection")


def _words(request: Request, name: str) -> list[str]:
    return [each.strip().lower() for each in request.headers.get(name, "").split(",")]


def _is_key(key: str) -> bool:
    try:
        return len(base64.b64decode(key.strip(), validate=True)) == KEY_BYTES
    except (binascii.Error, ValueError):
        return False


def _is_origin_allowed(request: Request, origins: Iterable[str]) -> bool:
    """Tell whether the page that opens a session may: browsers let every page do so (10.2)."""
    origin = request.headers.get("origin")
    if origin is None:  # it is no browser
        return True
    origin = origin.strip().lower()
    if any(each in ("*", origin) for each in map(str.lower, origins)):
        return True
    try:
        scheme, authority, *_ = urlsplit(origin)
    except ValueError:
        return False
    port = PORTS.get(scheme, "")
    host = request.headers.get("host", "").lower()
    return bool(authority) and authority.removesuffix(port) == host.removesuffix(port)


def choose_subprotocol(request: Request, known: Sequence[str]) -> str | None:
    """Return the first subprotocol that the client has proposed and the route knows."""
    proposed = request.headers.get("sec-websocket-protocol", "").split(",")
    return next((name for each in proposed if (name := each.strip()) in known), None)


def accepting_head(request: Request, subprotocol: str | None) -> bytes:
    """Return the head that switches protocols, but for its date."""
    key = request.headers["sec-websocket-key"].strip().encode("latin-1")
    proof = base64.b64encode(hashlib.sha1(key + GUID, usedforsecurity=False).digest())
    head = b"upgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-accept: %b\r\n" % proof
    if subprotocol is not None:
        head += f"sec-websocket-protocol: {subprotocol}\r\n".encode()
    return head
