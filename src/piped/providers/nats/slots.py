"""Who treats messages: a pipeline, for a few of them at once."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import structlog

log = structlog.get_logger("piped.nats")


class Slots:
    """Runs what treats messages, no more at once than there are slots."""

    def __init__(self, name: str, number: int, group: asyncio.TaskGroup) -> None:
        self._name, self._number, self._group = name, number, group
        self._tasks: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()

    @property
    def free(self) -> int:
        """How many more can be treated now."""
        return self._number - len(self._tasks)

    async def room(self) -> int:
        """Wait until there is a free slot, and return how many there are."""
        while not self.free:
            self._changed.clear()
            await self._changed.wait()
        return self.free

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Treat a message; there must be a free slot."""
        task = self._group.create_task(work, name=self._name)
        self._tasks.add(task)
        task.add_done_callback(self._on_done)

    async def drain(self, limit_s: float) -> None:
        """Wait for what is being treated, and cancel what takes longer."""
        if not self._tasks:
            return
        _, late = await asyncio.wait(self._tasks, timeout=limit_s)
        if late:
            log.warning("messages given up", source=self._name, count=len(late), after_s=limit_s)
        for task in late:
            task.cancel()

    def _on_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._changed.set()
