"""Web sites: requests in, pipelines, answers out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import field
from typing import Annotated

from piped.providers.web.arguments import Args, BadRequest, MissingArgument
from piped.providers.web.debug import Debug
from piped.providers.web.request import Request
from piped.providers.web.routes import Route, RouteConfig
from piped.providers.web.server import Server
from piped.providers.web.site import Site
from piped.providers.web.websocket.unit import OpenSockets
from piped.spec import Meta, Provider, provider


@provider("web", entries="sites")
class Web(Provider):
    """Web sites by name, each with its own address and tree of paths."""

    sites: Annotated[dict[str, Site], Meta(description="The sites, by name.")] = field(
        default_factory=dict
    )

    def units(self) -> Iterator[Provider]:
        applications: dict[str, Provider] = {}
        for name, site in self.sites.items():
            if site.enabled:
                for each in site.routing.mounts():
                    unit = applications.get(each.application.name)
                    if unit is None:
                        unit = applications[each.application.name] = each.unit()
                        yield unit
                    unit.essential = unit.essential or site.essential
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
