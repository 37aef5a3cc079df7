"""What a document says of a route for an ASGI application."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import field
from typing import TYPE_CHECKING, Annotated, Any

from piped.errors import Problem
from piped.providers.web.asgi.names import WrongApplication, find_application, find_factory
from piped.spec import Dependency, Duration, Meta, Provider, Size, part
from piped.spec.imports import NotImported

if TYPE_CHECKING:
    from piped.providers.web.targets import Endpoint


@part
class Asgi:
    """An ASGI application: it treats the requests and WebSockets of a path and of all below it.

    Its lifespan begins before the first request and ends after the last one.
    """

    app: Annotated[str, Meta(description="Where it is in Python, as module:name.")]
    factory: Annotated[
        bool, Meta(description="Whether that is a function which returns the application.")
    ] = False
    startup_timeout: Annotated[
        Duration, Meta(description="How long its lifespan may take to start.")
    ] = Duration(60)
    max_message: Annotated[
        Size, Meta(description="The largest message of a WebSocket; else code 1009.")
    ] = Size(1 << 20)
    application: Dependency[Any] = field(init=False)

    def __post_init__(self) -> None:
        self.application = Dependency(f"asgi.{self.app}{'()' if self.factory else ''}")

    @classmethod
    def of(cls, given: str | Asgi) -> Asgi:
        """Return what is given in the short form or in the long one."""
        return given if isinstance(given, Asgi) else cls(app=given)

    def problems(self) -> Iterator[Problem]:
        """Yield what is wrong with it; the module of the application is imported for that."""
        try:
            (find_factory if self.factory else find_application)(self.app)
        except NotImported:
            return
        except WrongApplication as error:
            yield Problem(error.code, f"asgi: {error}", at="asgi", hint=error.hint)

    def endpoint(self) -> Endpoint:
        """Return what gives the requests of the route to the application."""
        from piped.providers.web.asgi.endpoint import AsgiEndpoint

        return AsgiEndpoint(self.application, self.max_message)

    def unit(self) -> Provider:
        """Return what runs the application; routes of the same one share it."""
        from piped.providers.web.asgi.unit import MountedApplication

        unit = MountedApplication(app=self.app, factory=self.factory)
        unit.label, unit.startup_s = self.application.name, self.startup_timeout
        return unit
