"""Pools of workers: ``workers`` in a document."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import field
from typing import Annotated, Any, Final

from piped.errors import Problem
from piped.spec import Meta, Provider, provider
from piped.workers.pool import Pool

__all__ = ["Parts", "Pool", "Workers"]

_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]+")
"""What NATS takes as one part of a subject, and in the name of a stream."""


class Parts:
    """What a pipeline may ask about the part that it is run for: the resource ``workers``."""

    def idempotency_key(self) -> str:
        """Return the key of the part, the same in each attempt; '' outside of parts."""
        from piped.workers.worker import idempotency_key

        return idempotency_key.get()


@provider("workers", entries="pools")
class Workers(Provider):
    """Pools of workers by name: the same pipelines here, in other processes, on other machines.

    Run the document with ``piped run``; add workers with ``piped work POOL FILE``, or have them
    started and looked after with ``piped run FILE --spawn POOL:2``.
    """

    pools: Annotated[dict[str, Pool], Meta(description="The pools, by name.")] = field(
        default_factory=dict
    )

    def __post_init__(self) -> None:
        for name, pool in self.pools.items():
            pool.named(name)

    def check(self) -> Iterator[Problem]:
        for name, pool in self.pools.items():
            if pool.transport == "nats" and not _TOKEN.fullmatch(name):
                what = f"expected letters, digits, '-' and '_' in a name for NATS, got '{name}'"
                yield Problem("wrong-value", what, at=name)

    def units(self) -> Iterator[Provider]:
        yield self
        yield from self.pools.values()

    def offers(self) -> Iterable[str]:
        return ("workers",)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[dict[str, Any]]:
        yield {"workers": Parts()}
