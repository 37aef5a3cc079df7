"""What an application is told of a request: its scope."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from piped.providers.web.asgi.names import Message
from piped.providers.web.request import Request

VERSION: Final = {"version": "3.0", "spec_version": "2.4"}
"""2.4: to send to a client that has left raises an OSError."""

WEBSOCKET: Final = {"http": "ws", "https": "wss"}


def http_scope(request: Request, state: dict[str, Any]) -> Message:
    """Return the scope of a request.

    ``root_path`` is that of the route, and ``path`` begins with it.
    """
    scope = _scope(request, state)
    scope["type"], scope["method"], scope["scheme"] = "http", request.method, request.scheme
    return scope


def websocket_scope(request: Request, state: dict[str, Any]) -> Message:
    """Return the scope of a request that proposes a WebSocket."""
    scope = _scope(request, state)
    scope["type"], scope["scheme"] = "websocket", WEBSOCKET[request.scheme]
    scope["subprotocols"] = subprotocols_of(request)
    scope["extensions"]["websocket.http.response"] = {}
    return scope


def subprotocols_of(request: Request) -> list[str]:
    """Return the names that a client has proposed, which likes the first one best."""
    proposed = request.headers.get("sec-websocket-protocol", "").split(",")
    return [name for each in proposed if (name := each.strip())]


def _scope(request: Request, state: dict[str, Any]) -> Message:
    raw_path, _, query = request._target.partition(b"?")
    transport = request.transport
    return {
        "asgi": {**VERSION},
        "http_version": "1.0" if request.is_old else "1.1",
        "path": request.path,
        "raw_path": raw_path,
        "query_string": query,
        "root_path": "".join(f"/{each}" for each in request.prepath),
        "headers": [*request._fields],
        "client": _client(request, transport),
        "server": _server(transport),
        "state": state.copy(),
        "extensions": {},
    }


def _client(request: Request, transport: asyncio.Transport | None) -> tuple[str, int] | None:
    """Return the address of the client; where a proxy tells it, its port is not known: 0."""
    if not request.client_ip:
        return None
    peer = transport.get_extra_info("peername") if transport is not None else None
    if isinstance(peer, tuple) and peer[0] == request.client_ip:
        return request.client_ip, peer[1]
    return request.client_ip, 0


def _server(transport: asyncio.Transport | None) -> tuple[str, int | None] | None:
    """Return where the client has connected to; a unix socket has a path, and no port."""
    own = transport.get_extra_info("sockname") if transport is not None else None
    if isinstance(own, tuple):
        return own[0], own[1]
    return (own, None) if own else None
