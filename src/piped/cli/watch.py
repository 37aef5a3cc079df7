"""`piped run --watch`: the service in a process of its own, which reloads its document.

Where a module has changed, a new process takes the place of the old one: what was imported stays
as it was. Nothing of the document is read or imported here: a fresh interpreter looks at it.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Coroutine, Iterable, Iterator
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import click
import msgspec
from watchfiles import awatch

from piped.cli._child import PYTHON, Child, signals_kept
from piped.cli._look import Look, Stamp, stamp
from piped.cli.options import EXIT_CANNOT_START

STEP_MS: Final = 100
POLL_S: Final = 1.0
GRACE_S: Final = 20.0  # for what is left to do when a service has drained
SHOWN: Final = 5
SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def watch(file: str, overrides: Iterable[str], options: Iterable[str], also: Iterable[str]) -> int:
    """Run a document, and run it anew when it has changed; return the last exit code.

    Args:
        file: The document.
        overrides: Texts of the form ``path:value``.
        options: Other options of `piped run`.
        also: Files that make no part of the document, and are watched with it.
    """
    always = tuple(os.path.abspath(os.path.expanduser(each)) for each in (file, *also))
    watcher = Watcher(file, tuple(overrides), tuple(options), always)
    with asyncio.Runner() as runner:
        return runner.run(watcher.watch())


@dataclass(slots=True)
class Watcher:
    """Runs a document as long as nothing changes, and looks at it when something has."""

    file: str
    overrides: tuple[str, ...]
    options: tuple[str, ...]
    always: tuple[str, ...]
    _child: Child | None = None
    _exit_code: int = EXIT_CANNOT_START
    _look: Look = field(default_factory=Look)
    _stamps: dict[str, Stamp | None] = field(default_factory=dict)
    _names: set[str] = field(default_factory=set)
    _signals: int = 0
    _can_reload: bool = True  # nothing but the document has changed since the service has read it

    async def watch(self) -> int:
        """Watch until a signal comes, or the service ends by itself with exit code 0."""
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None

        def on_signal() -> None:
            self._signals += 1
            if self._child is not None:
                self._child.tell(self._signals)
            if self._signals == 1:
                task.cancel()

        for each in SIGNALS:
            loop.add_signal_handler(each, on_signal)
        try:
            await self._run()
        except asyncio.CancelledError:
            if not self._signals:
                raise
            await self._end_child()
        return self._exit_code

    async def _run(self) -> None:
        self._stamps = dict.fromkeys(self.always)
        while True:
            await self._look_at_it()
            if not self._look.is_good:
                left = "the service goes on as it was" if self._child else "waiting for a change"
                say(left)
            elif self._child is not None and self._can_reload:
                self._child.reload(self._look.drain_s + GRACE_S)
            else:
                await self._end_child()
                if changed := self._changed():  # while the old one drained
                    self._tell(changed)
                    continue
                arguments = (f"--conf={self.file}", *self.options)
                arguments += tuple(f"--override={each}" for each in self.overrides)
                self._child = await Child.start(arguments, self._look.drain_s + GRACE_S)
                self._can_reload = True
            if await self._is_over():
                return

    async def _look_at_it(self) -> None:
        """Ask for problems and files, again if something changes meanwhile."""
        while True:
            self._stamps = {path: stamp(path) for path in self._stamps}
            self._names = set(self._new_names())
            changed, found = await first(self._change(), look(self.file, self.overrides))
            if found is None:
                self._tell(changed)
                continue
            kept = self.always if found.is_good else self._stamps  # what is lost may come back
            self._stamps = {**{path: self._stamps[path] for path in kept}, **found.files}
            self._look = found
            self._names = set(self._new_names())
            return

    async def _is_over(self) -> bool:
        """Wait for a change, and tell it; True where the service has ended well before."""
        if self._child is not None:
            changed, code = await first(self._change(), self._child.ended())
            if changed is None:
                await self._end_child()
                if code == 0:
                    return True
                say(f"the service has ended with exit code {code}; waiting for a change")
        else:
            changed = None
        self._tell(changed or await self._change())
        return False

    def _tell(self, changed: list[str]) -> None:
        """Print which files have changed, and remember whether one of them is no document."""
        tell_changed(changed)
        other = {*self.always[1:]}
        self._can_reload &= not any(each.endswith(".py") or each in other for each in changed)

    async def _end_child(self) -> None:
        if self._child is not None:
            self._exit_code = await self._child.end()
            self._child.close()
            self._child = None

    async def _change(self) -> list[str]:
        """Wait until a file has changed, and return the paths of all that have."""
        while not (changed := self._changed()):
            await wake(self._folders())
        return changed

    def _changed(self) -> list[str]:
        changed = [path for path, old in self._stamps.items() if stamp(path) != old]
        return changed + [path for path in self._new_names() if path not in self._names]

    def _folders(self) -> set[str]:
        return set(map(os.path.dirname, self._stamps))

    def _new_names(self) -> Iterator[str]:
        """Yield what may become a part: modules in packages; any file while something is wrong."""
        for folder in self._folders():
            is_package = os.path.join(folder, "__init__.py") in self._stamps
            if not (is_package or not self._look.is_good):
                continue
            with suppress(OSError), os.scandir(folder) as entries:
                for each in entries:
                    if is_module(each) or not (self._look.is_good or is_of_an_editor(each.name)):
                        yield each.path


def is_module(entry: os.DirEntry[str]) -> bool:
    return entry.name.endswith(".py") or os.path.exists(os.path.join(entry.path, "__init__.py"))


def is_of_an_editor(name: str) -> bool:
    """Whether a name is one that editors give to what they keep for a moment."""
    return name.startswith((".", "#", "__")) or name.endswith("~") or name.isdigit()


async def look(file: str, overrides: Iterable[str]) -> Look:
    """Look at a document in a fresh interpreter, which may die of it."""
    with signals_kept():
        process = await asyncio.create_subprocess_exec(
            *(*PYTHON, "piped.cli._look", file, *overrides),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
        )
    try:
        output, _ = await process.communicate()
    except BaseException:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        raise
    try:
        return msgspec.json.decode(output.splitlines()[-1], type=Look)
    except (IndexError, msgspec.DecodeError):
        say(f"cannot check '{file}': the check has ended with exit code {process.returncode}")
        return Look()


async def wake(folders: Iterable[str]) -> None:
    """Wait until something may have happened in folders, a second at most."""
    if known := [*filter(os.path.isdir, folders)]:
        changes = awatch(
            *known,
            watch_filter=None,
            recursive=False,
            step=STEP_MS,
            yield_on_timeout=True,
            rust_timeout=int(POLL_S * 1000),
        )
        with suppress(OSError):  # no more watches than the system allows: then by the clock
            async with aclosing(changes):
                await anext(changes)
                return
    await asyncio.sleep(POLL_S)


async def first(*ways: Coroutine[Any, Any, Any]) -> list[Any]:
    """Run all, until the first has ended; return the results, None for each that has not ended."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(each) for each in ways]
        _, late = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for each in late:
            each.cancel()
    return [None if each.cancelled() else each.result() for each in tasks]


def tell_changed(paths: list[str]) -> None:
    """Print which files have changed, as they are seen from here."""
    here = Path.cwd()
    names = [str(Path(p).relative_to(here)) if Path(p).is_relative_to(here) else p for p in paths]
    more = [f"{len(names) - SHOWN} more"] if len(names) > SHOWN else []
    say(f"changed: {', '.join([*sorted(names)[:SHOWN], *more])}")


def say(text: str) -> None:
    """Print a line to standard error, where the log goes."""
    with suppress(OSError):
        click.echo(text, err=True)
