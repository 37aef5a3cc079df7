"""Ticks: batons at regular intervals, and at the moments of a schedule."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import field
from typing import Annotated

from piped.providers.ticks.cron import Cron
from piped.providers.ticks.interval import Interval
from piped.providers.ticks.timer import Ticking
from piped.spec import Meta, Provider, provider

__all__ = ["Cron", "Interval", "Ticking", "Ticks"]


@provider("ticks")
class Ticks(Provider):
    """Bring batons by the clock: each entry of ``interval`` and of ``cron`` ticks on its own."""

    enabled: Annotated[bool, Meta(description="Whether anything ticks at all.")] = True
    interval: Annotated[
        dict[str, Interval], Meta(description="The intervals, by the names that users give them.")
    ] = field(default_factory=dict)
    cron: Annotated[
        dict[str, Cron], Meta(description="The schedules, by the names that users give them.")
    ] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for entries in (self.interval, self.cron):
            for name, each in entries.items():
                each.named(name)
                each.enabled = each.enabled and self.enabled

    def units(self) -> Iterator[Provider]:
        yield from self.interval.values()
        yield from self.cron.values()
