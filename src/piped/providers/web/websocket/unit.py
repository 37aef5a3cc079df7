"""The open sessions of a site as a resource: ``websockets.chat`` for the site ``chat``.

It is no part of the site: pipelines that the site leads to may send to its sessions, and what a
site leads to must be ready before it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import field
from typing import Any

from piped.providers.web.websocket.sockets import Sockets
from piped.spec import Provider, part


@part
class OpenSockets(Provider):
    """Lets pipelines send to all sessions of a site; it opens nothing by itself."""

    sockets: Sockets = field(default_factory=Sockets, init=False)

    def offers(self) -> Iterable[str]:
        return (self.label,)

    def feeds(self) -> bool:  # it is always there, so that it stays the same at a reload
        return True

    @asynccontextmanager
    async def running(self) -> AsyncIterator[dict[str, Any]]:
        yield {self.label: self.sockets}
