"""Web sites: requests in, pipelines, answers out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import field
from typing import Annotated

from piped.providers.web.arguments import Args, BadRequest, MissingArgument
from piped.providers.web.request import Request
from piped.providers.web.routes import Route, RouteConfig
from piped.providers.web.server import Server
from piped.providers.web.site import Debug, Site
from piped.providers.web.websocket.unit import OpenSockets
from piped.spec import Meta, Provider, provider


@provider("web", entries="sites")
class Web(Provider):
    """Web sites by name, each with its own address and tree of paths."""

    sites: Annotated[dict[str, Site], Meta(description="The sites, by name.")] = field(
        default_factory=dict
    )

    def units(self) -> Iterator[Provider]:
        for name, site in self.sites.items():
            if site.enabled:
                site.label = f"web.{name}"
                if any(True for _ in site.routing.websockets()):
                    sockets = OpenSockets()
                    sockets.label, sockets.sockets = f"websockets.{name}", site.sockets
                    yield sockets
                yield site


__all__ = [
    "Args",
    "BadRequest",
    "Debug",
    "MissingArgument",
    "Request",
    "Route",
    "RouteConfig",
    "Server",
    "Site",
    "Web",
]
