"""System events: batons when the service has started and when it ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import field
from typing import Annotated, Any, Final, Literal

import structlog

from piped.engine.journey import journey, new_journey
from piped.spec import Dependency, Meta, Provider, provider

SHUTDOWN_S: Final = 10.0

log = structlog.get_logger("piped.events")


@provider("system-events")
class SystemEvents(Provider):
    """Bring a baton when the service has started, and one when it is about to end.

    Batons are ``{event_type: startup}`` and ``{event_type: shutdown}``. All that is named for an
    event gets its own baton, at the same time as the others and as soon as it is ready. One that
    fails is logged, and the process goes on. At the end the process waits for all of them, but no
    longer than 10 seconds.
    """

    startup: Annotated[
        dict[str, Dependency[Any]],
        Meta(description="What treats the start of the service, by labels of your own."),
    ] = field(default_factory=dict)
    shutdown: Annotated[
        dict[str, Dependency[Any]],
        Meta(description="What treats the end of the service, by labels of your own."),
    ] = field(default_factory=dict)

    def feeds(self) -> bool:
        return bool(self.startup or self.shutdown)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[dict[str, Any]]:
        """Provide nothing: the application fires the events."""
        yield {}

    async def fire(self, event_type: Literal["startup", "shutdown"]) -> None:
        """Send the batons of an event, and return when all have been treated or given up."""
        if not self.is_feeding:
            return
        named = self.startup if event_type == "startup" else self.shutdown
        limit = SHUTDOWN_S if event_type == "shutdown" else None
        async with asyncio.TaskGroup() as group:
            for label, processor in named.items():
                group.create_task(_send(event_type, label, processor, limit))


async def _send(
    event_type: str, label: str, processor: Dependency[Any], limit: float | None
) -> None:
    journey.set(new_journey())
    try:
        async with asyncio.timeout(limit) as deadline:
            await processor.deliver({"event_type": event_type})
    except Exception as error:
        event = f"{event_type}.{label}"
        if isinstance(error, TimeoutError) and deadline.expired():
            log.error("system event given up", event_name=event, after_s=limit)
        else:
            log.exception("system event failed", event_name=event)
