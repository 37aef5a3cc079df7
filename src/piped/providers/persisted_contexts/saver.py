"""Saves a context while it is in use: looks for changes, and writes them off the loop."""

from __future__ import annotations

import asyncio
from typing import Final

import structlog

from piped.providers.persisted_contexts.files import NotSaved, Opened
from piped.providers.persisted_contexts.snapshots import (
    NotStorable,
    Snapshot,
    fingerprint,
    snapshot,
)
from piped.resources.context import Context

LONGEST_PAUSE_S: Final = 30.0
"""How long it waits at most until it tries again to write."""

log = structlog.get_logger("piped.persisted_contexts")


class Saver:
    """Keeps a file as its context is.

    Changes deep inside are nobody's event, so the context is compared with what was saved: as
    JSON, in the loop, in one go: no save has half of what a pipeline does without waiting.
    """

    def __init__(
        self, name: str, context: Context, opened: Opened, save_within_s: float, max_size: int
    ) -> None:
        self._name = name
        self._context = context
        self._opened = opened
        self._save_within_s = self._pause_s = save_within_s
        self._max_size = max_size
        self._told: tuple[str, dict[str, str]] | None = None
        self._saved: Snapshot | None = opened.saved
        self._mark: bytes | None = None  # of what is saved

    async def save_until(self, stopping: asyncio.Event) -> None:
        """Save soon after each change, and once more at the end."""
        while not stopping.is_set():
            try:
                async with asyncio.timeout(self._pause_s):
                    await stopping.wait()
            except TimeoutError:
                pass
            await self.save()
        await self.save()  # what has changed while the last one was written
        if self._told:
            reason, facts = self._told
            log.error("changes are lost", context=self._name, reason=reason, **facts)

    async def save(self) -> None:
        """Write what has changed; where that fails, say so once, and try less often."""
        mark = fingerprint(self._context)
        if mark is None or mark != self._mark:
            try:
                now = snapshot(self._context, self._saved or {}, self._max_size)
            except NotStorable as error:
                self._fail(f"cannot be stored: {error}", error.at)
                return
            if now != self._saved and not await self._written(now):
                return
            self._mark = mark
        self._succeed()

    async def _written(self, now: Snapshot) -> bool:
        try:
            await asyncio.to_thread(self._opened.save, self._saved or {}, now)
        except NotSaved as error:
            self._fail(f"{error}")
            longest = max(LONGEST_PAUSE_S, self._save_within_s)
            self._pause_s = min(2 * self._pause_s, longest)
            return False
        self._saved = now
        size = sum(map(len, now.values()))
        log.debug("context saved", context=self._name, keys=len(now), size_bytes=size)
        return True

    def _fail(self, reason: str, at: str = "") -> None:
        facts = {"at": at} if at else {}
        if (reason, facts) != self._told:
            file = str(self._opened.path)
            log.error("context not saved", context=self._name, file=file, reason=reason, **facts)
        self._told = (reason, facts)

    def _succeed(self) -> None:
        if self._told:
            log.info("context can be saved again", context=self._name)
        self._told, self._pause_s = None, self._save_within_s
