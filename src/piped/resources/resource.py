"""A named resource: ready with a value, or lost with a reason, perhaps for good."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from piped.errors import Misconfigured, Unavailable


class Resource:
    """Something that a provider brings and others depend on, under a dotted name.

    It begins lost. Whoever watches it is told of each change, and only of changes.
    """

    __slots__ = ("_failed", "_ready", "_reason", "_value", "_watchers", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self._ready = False
        self._failed = False
        self._reason = "not started yet"
        self._value: Any = None
        self._watchers: list[Callable[[], None]] = []

    def __repr__(self) -> str:
        state = "failed" if self._failed else "lost"
        state = "ready" if self._ready else f"{state}: {self._reason}"
        return f"<Resource {self.name} ({state})>"

    @property
    def is_ready(self) -> bool:
        return self._ready

    @property
    def has_failed(self) -> bool:
        """Whether it is lost for good."""
        return self._failed

    @property
    def reason(self) -> str:
        """Why it is lost; empty while it is ready."""
        return self._reason

    @property
    def value(self) -> Any:
        """The resource itself.

        Raises:
            Unavailable: It is lost, or not started yet.
        """
        if not self._ready:
            raise Unavailable(f"'{self.name}' is not available: {self._reason}")
        return self._value

    def ready(self, value: Any) -> None:
        """Say that the resource can be used, and tell those who watch."""
        self._value, self._reason = value, ""
        self._change(is_ready=True)

    def lost(self, reason: str) -> None:
        """Say that the resource cannot be used, and tell those who watch."""
        self._value, self._reason = None, reason
        self._change()

    def failed(self, reason: str) -> None:
        """Say that the resource is lost for good, so that nobody waits for it."""
        self._value, self._reason = None, reason
        self._change(has_failed=True)

    def watch(self, on_change: Callable[[], None]) -> None:
        """Have a function called whenever the resource becomes ready or lost."""
        self._watchers.append(on_change)

    def unwatch(self, on_change: Callable[[], None]) -> None:
        """Undo ``watch``; nothing happens where it was not watched."""
        if on_change in self._watchers:
            self._watchers.remove(on_change)

    async def wait(self) -> Any:
        """Wait until the resource is ready, and return it.

        Raises:
            Misconfigured: It is lost for good.
        """
        while not self._ready:
            if self._failed:
                raise Misconfigured(f"'{self.name}' has failed for good: {self._reason}")
            changed = asyncio.Event()
            self.watch(changed.set)
            try:
                await changed.wait()
            finally:
                self.unwatch(changed.set)
        return self._value

    def _change(self, *, is_ready: bool = False, has_failed: bool = False) -> None:
        if (is_ready, has_failed) == (self._ready, self._failed):
            return
        self._ready, self._failed = is_ready, has_failed
        for tell in tuple(self._watchers):
            tell()
