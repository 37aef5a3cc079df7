"""Persisted contexts: named dicts that all pipelines share, and that outlive the process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Set
from contextlib import asynccontextmanager
from dataclasses import field
from pathlib import Path
from typing import Annotated, Any, Literal

from piped.errors import Problem
from piped.providers.persisted_contexts.files import FORMATS, Opened, real_path
from piped.providers.persisted_contexts.saver import Saver
from piped.providers.persisted_contexts.snapshots import NotStorable, snapshot
from piped.resources.context import Context
from piped.spec import Duration, Meta, Provider, Size, part, provider

__all__ = ["PersistedContext", "PersistedContexts"]


@part
class PersistedContext(Provider):
    """A dict in a file: read at the start, written soon after each change, and at the end.

    Pipelines get the dict itself and change it as any other, at its top or deep inside. A process
    that is killed loses what changed since the last save, and never more: the file is always whole.
    Values are those of JSON: text, numbers, true, false, null, lists, and mappings with text as
    keys. What would not come back as it was is an error in the log, and the last good state stays
    in the file. Where the file cannot be written, the service goes on in memory, says so, and
    tries again.

    A file that is not what it should be is never overwritten: the context has failed for good
    then, as where another process uses the file.
    """

    file: Annotated[
        str,
        Meta(min_length=1, description="Where it is kept, from the working directory; ~ is home."),
    ]
    initial: Annotated[
        dict[str, Any], Meta(description="What is in it as long as there is no file.")
    ] = field(default_factory=dict)
    format: Annotated[
        Literal["json", "sqlite"] | None,
        Meta(description="How it is written; by default by the extension of the file."),
    ] = None
    save_within: Annotated[
        Duration, Meta(ge=0.01, description="How soon after a change it is saved.")
    ] = Duration(1.0)
    max_size: Annotated[Size, Meta(ge=2, description="The most bytes of JSON it may become.")] = (
        Size(64 << 20)
    )
    _name: str = field(default="", init=False)
    _context: Context | None = field(default=None, init=False)

    def named(self, name: str) -> None:
        """Tell the context its name in the document."""
        self._name = f"persisted_context.{name}"
        self.label = f"persisted_contexts.{name}"

    @property
    def path(self) -> Path:
        """The file itself, links followed."""
        return real_path(self.file)

    @property
    def _kind(self) -> str | None:
        return self.format or FORMATS.get(Path(self.file).suffix.lower())

    def offers(self) -> Iterable[str]:
        return (self._name,)

    def unused(self, needed: Set[str]) -> Iterable[str]:
        return () if self._name in needed else ("",)

    def check(self) -> Iterator[Problem]:
        if self._kind is None:
            what = f"expected a file named .json or .sqlite, or a format, got '{self.file}'"
            hint = "add format: json"
            yield Problem("wrong-value", what, at="file", hint=hint)
        try:
            snapshot(self.initial, {}, self.max_size)
        except NotStorable as error:
            at = ".".join(filter(None, ("initial", error.at)))
            yield Problem("wrong-value", f"cannot be stored: {error}", at=at)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[dict[str, Any]]:
        """Yield the dict, and save it until it is left: the same dict each time.

        Raises:
            Misconfigured: The file is not what it should be, or used by another process.
            Unavailable: It cannot be read for now.
        """
        kind = self._kind or "json"
        opened = await asyncio.to_thread(Opened, self.path, kind, self.max_size)
        try:
            if self._context is None:
                found = self.initial if opened.found is None else opened.found
                self._context = Context(found)
            saver = Saver(self._name, self._context, opened, self.save_within, self.max_size)
            if opened.found is None:
                await saver.save()
            async with asyncio.TaskGroup() as group:
                stopping = asyncio.Event()
                group.create_task(saver.save_until(stopping), name=f"save {self._name}")
                yield {self._name: self._context}
                stopping.set()
        finally:
            await asyncio.to_thread(opened.close)


@provider("persisted_contexts", entries="contexts")
class PersistedContexts(Provider):
    """Share dicts between all pipelines of the process, and keep them in files.

    Each key of the section is a context with its file; it is the resource
    ``persisted_context.<name>``. A context can be changed while another pipeline goes through it,
    lists and mappings inside of it are plain.
    """

    contexts: Annotated[
        dict[str, PersistedContext], Meta(description="The contexts, by their names.")
    ] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, each in self.contexts.items():
            each.named(name)

    def units(self) -> Iterator[Provider]:
        yield from self.contexts.values()

    def check(self) -> Iterator[Problem]:
        names: dict[Path, str] = {}
        for name, each in self.contexts.items():
            other = names.setdefault(each.path, name)
            if other != name:
                what = f"'{other}' and '{name}' are kept in one file, '{each.file}'"
                yield Problem("shared-file", what, at=f"{name}.file")
