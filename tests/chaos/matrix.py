"""The rows of the matrix: a fault each, and what must be true of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Final, TypeAlias

from tests.chaos.ledger import Ledger
from tests.chaos.rig import Rig, rig

LEASE_S: Final = 0.3
NOTICED_S: Final = 0.1
"""How much later than the lease a part may be with another worker."""


@dataclass
class Run:
    """One run of a row: where, how much, and from which seed."""

    folder: Path
    count: int
    random: Random
    mutant: str = ""
    patience_s: float = 8.0
    notes: list[str] = field(default_factory=list)

    @asynccontextmanager
    async def rig(self, *overrides: str, **more: Any) -> AsyncIterator[Rig]:
        """Run the service with three workers."""
        if self.mutant:
            more["CHAOS_MUTANT"] = self.mutant
        async with rig(self.folder, *overrides, **more) as made:
            yield made

    async def load(
        self,
        rig: Rig,
        *faults: Callable[[], Awaitable[object] | None],
        count: int | None = None,
        kind: type[Ledger] = Ledger,
        **more: Any,
    ) -> Ledger:
        """Ask all requests; the first fault is done at a third of them, the next at two thirds."""
        ledger = kind(rig.url, count or self.count, **{"patience_s": self.patience_s, **more})
        async with asyncio.TaskGroup() as group:
            group.create_task(ledger.run())
            for number, fault in enumerate(faults, 1):
                await ledger.reached(number / 3)
                if (done := fault()) is not None:
                    await done
        self.notes.append(f"slowest {ledger.slowest_s * 1000:.0f} ms")
        return ledger


Play: TypeAlias = Callable[[Run], Awaitable[list[str]]]


@dataclass(frozen=True)
class Row:
    """A fault, and the function that does it and returns what was not as it must be."""

    number: str
    title: str
    play: Play


ROWS: Final[dict[str, Row]] = {}


def row(number: str, title: str) -> Callable[[Play], Play]:
    """Mark a function as a row of the matrix."""

    def mark(play: Play) -> Play:
        ROWS[number] = Row(number, title, play)
        return play

    return mark


def lost(ledger: Ledger) -> list[str]:
    """Return what has not been answered well, where all must have been."""
    bad = {name: number for name, number in ledger.ends.items() if name != "ok"}
    return [f"not answered: {bad}"] if bad else []


def slower(ledger: Ledger, most_s: float) -> list[str]:
    """Return what has taken longer than it may."""
    if ledger.slowest_s <= most_s:
        return []
    return [f"slowest {ledger.slowest_s:.3f} s, allowed {most_s:.3f} s"]
