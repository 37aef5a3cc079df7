"""The processes of the demo, and the lines of its story."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections import deque
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeAlias

import click

Event: TypeAlias = dict[str, Any]
"""A line of a log: ``event`` is its name, and other keys are what it says of that."""

MAX_EVENTS: Final = 1000
END_S: Final = 0.5
"""How long a process that is not needed any more may take, before it is told again."""


class NotAsSaid(Exception):
    """Raised when the demo does not see what it has promised."""


@dataclass(slots=True)
class Child:
    """One process of the service, and the end of its log."""

    name: str
    process: asyncio.subprocess.Process
    events: deque[Event] = field(default_factory=lambda: deque(maxlen=MAX_EVENTS))
    lines: deque[str] = field(default_factory=lambda: deque(maxlen=20))
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    async def read(self) -> None:
        """Keep the log, until the process has ended."""
        assert self.process.stderr is not None
        try:
            async for line in self.process.stderr:
                self.lines.append(line.decode(errors="replace").rstrip())
                with suppress(ValueError):
                    event = json.loads(line)
                    if isinstance(event, dict) and "event" in event:
                        self.events.append(event)
                self._news.set()
        finally:
            self.ended.set()
            self._news.set()

    async def told(self, event: str, **facts: str) -> Event:
        """Wait, while it starts, until the log tells of an event, and return what it says.

        Raises:
            NotAsSaid: It has ended without that.
        """
        wanted = {"event": event, **facts}.items()
        while True:
            for each in self.events:
                if wanted <= {key: str(value) for key, value in each.items()}.items():
                    return each
            if self.ended.is_set():
                raise NotAsSaid(f"{self.name} did not start")
            self._news.clear()
            await self._news.wait()

    async def end(self) -> None:
        """End the process where it still runs, and wait for the end of its log.

        It is asked to drain, then to hurry, and killed in the end: it may be frozen.
        """
        for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGKILL):
            if self.process.returncode is None:
                self.process.send_signal(number)
                with suppress(TimeoutError):
                    async with asyncio.timeout(END_S):
                        await self.process.wait()
        await self.ended.wait()


async def start(
    name: str, document: Path, options: Iterable[str] = (), environment: Mapping[str, str] = {}
) -> Child:
    """Run a document in a process of its own."""
    arguments = ("-m", "piped", "run", *options, str(document))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, *arguments),
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, **environment},
    )
    say("starting", f"{name:8} process {process.pid}")
    return Child(name, process)


async def stop(children: Iterable[Child], what: str = "all processes") -> None:
    """Ask each process to end, and see that it ends well."""
    say("stopping", what)
    for child in children:
        child.process.send_signal(signal.SIGTERM)
    for child in children:
        code = await child.process.wait()
        if code != 0:
            raise NotAsSaid(f"{child.name} ended with exit code {code}")


def say(what: str, text: str) -> None:
    """Print one line of the story."""
    click.echo(f"{what:10} {text}")


def duration(seconds: float) -> str:
    """Return a duration as people read it."""
    return f"{seconds:.1f} s" if seconds >= 1 else f"{seconds * 1000:.1f} ms"
