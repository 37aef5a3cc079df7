"""A mounted application as a resource: ``asgi.shop:app``, running as long as a site leads to it.

It is no part of the site: at a reload it goes on if nothing is said otherwise of it; a new one has
started before any request is led there, and an old one ends after its requests.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import field
from typing import Annotated, ClassVar

from piped.errors import Misconfigured
from piped.providers.web.asgi.application import Running
from piped.providers.web.asgi.lifespan import lifespan
from piped.providers.web.asgi.names import (
    Application,
    application_of,
    find_application,
    find_factory,
)
from piped.spec import Meta, Provider, part
from piped.spec.imports import BROKEN, told


@part
class MountedApplication(Provider):
    """Runs the lifespan of an application, and lets routes lead to it."""

    overlaps: ClassVar[bool] = True

    app: Annotated[str, Meta(description="Where it is in Python, as module:name.")]
    factory: Annotated[bool, Meta(description="Whether that returns the application.")] = False
    startup_s: float = field(default=60.0, init=False)

    def offers(self) -> Iterable[str]:
        return (self.label,)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[dict[str, Running]]:
        running = Running(self._make(), self.app)
        async with (
            asyncio.TaskGroup() as tasks,
            lifespan(running, tasks, self.startup_s, self.drain_s),
        ):
            yield {self.label: running}
            await running.dismiss()

    def _make(self) -> Application:
        """Return the application.

        Raises:
            Misconfigured: There is none, or the factory fails.
        """
        if not self.factory:
            return find_application(self.app)
        factory = find_factory(self.app)
        try:
            made = factory()
        except BROKEN as error:
            why = told(error, self.app.partition(":")[0].partition(".")[0])
            raise Misconfigured(f"the factory '{self.app}' failed: {why}") from error
        return application_of(made, f"{self.app}()")
