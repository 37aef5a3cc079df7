"""What the tests of mounted applications share: a service with one, on a free port."""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, TypeAlias

from piped.app import Service
from piped.providers.web import Server
from tests.providers.web.websocket.support import Talker

Scope: TypeAlias = dict[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[dict[str, Any]]]
Send: TypeAlias = Callable[[dict[str, Any]], Awaitable[None]]

START = {"type": "http.response.start", "status": 200}
TEXT = (b"content-type", b"text/plain")


@dataclass
class Mounted:
    service: Service
    server: Server

    async def connect(self, **options: Any) -> Talker:
        return Talker(*await asyncio.open_connection("127.0.0.1", self.server.port, **options))


@contextmanager
def module(**names: Any) -> Iterator[None]:
    """Let `shop` be a module with some names, as if it lay beside the document."""
    made = ModuleType("shop")
    vars(made).update(names)
    sys.modules["shop"] = made
    try:
        yield
    finally:
        del sys.modules["shop"]


def http(function: Callable[[Scope, Receive, Send], Awaitable[None]]) -> Any:
    """Return an application that treats requests, and knows no lifespan."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] != "lifespan"
        await function(scope, receive, send)

    return app


def document(folder: Path, routing: Any, site: dict[str, Any] | None = None) -> Path:
    """Write a document with one site, and return its path."""
    file = folder / "service.yaml"
    sites = {"site": {"port": 0, "routing": routing, **(site or {})}}
    file.write_text(json.dumps({"web": sites, "drain": "5s"}))
    return file


@asynccontextmanager
async def mounting(
    app: Any,
    *,
    at: str = "",
    node: dict[str, Any] | None = None,
    asgi: Any = "shop:app",
    site: dict[str, Any] | None = None,
) -> AsyncIterator[Mounted]:
    """Run a service that mounts an application.

    Args:
        app: The application, or a factory of it.
        at: The segment of the path; '' is the root.
        node: What the node of the tree says beside `asgi`.
        asgi: What it says of that.
        site: More parameters of the site.
    """
    tree = {"__config__": {"asgi": asgi, **(node or {})}}
    with module(app=app), tempfile.TemporaryDirectory() as folder:
        file = document(Path(folder), {at: tree} if at else tree, site)
        async with Service.load(file) as service:
            yield Mounted(service, server_of(service))


def server_of(service: Service) -> Server:
    (server,) = (
        each
        for life in service.lives
        for each in (life.brought or {}).values()
        if isinstance(each, Server)
    )
    return server
