"""The one place where all meet: a document becomes a running service.

The same life for the command line, for tests and for embedding:

    async with Service.load("service.yaml") as service:
        results = await service.call("web.compute", {"numbers": [1, 2, 3]})
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterable, Mapping, Sequence, Set
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import structlog

from piped.blueprint import Blueprint
from piped.difference import Difference, difference_of, kept_of
from piped.document import load
from piped.drawing import draw
from piped.engine import Pipeline, Results
from piped.errors import ConfigError, PipedError, suggest
from piped.reload import Exchange, merge
from piped.resources import Life, Resource, Supervisor
from piped.spec import Provider
from piped.wiring import Follower, Role, bind, followers_of, plan_of

log = structlog.get_logger("piped.service")

EXIT_FAILED_FOR_GOOD: Final = 3
"""The exit code when a provider that the service cannot do without has failed for good."""


class UnknownPipeline(PipedError, LookupError):
    """Raised when no pipeline has a name that is asked for at run time."""


class Service:
    """A document that runs: its providers under supervision, its pipelines ready to be called.

    Args:
        blueprint: What is to run; it has no errors that concern it.
        only: Run nothing but these pipelines and what they need: no site listens, nothing ticks.
        work: Be a worker of this pool, and nothing else.
        beside: Providers of no document, which run beside that pool.
        is_debug: Whether the process is being debugged (``-D``).
    """

    def __init__(
        self,
        blueprint: Blueprint,
        *,
        only: Iterable[str] | None = None,
        work: str | None = None,
        beside: Sequence[Provider] = (),
        is_debug: bool = False,
    ) -> None:
        names = None if only is None else tuple(only)
        self._plan = plan_of(blueprint, Role(names, work, tuple(beside), is_debug))
        self.exit_code = 0
        self.resources: dict[str, Resource] = {
            name: Resource(name) for name in sorted(self._plan.needed)
        }
        self._followers = self._wire()
        self._supervisor = Supervisor(
            self._plan.units, self.resources, lambda: self.stop(EXIT_FAILED_FOR_GOOD)
        )
        self._stopping = asyncio.Event()
        self._group = asyncio.TaskGroup()
        self._startup: asyncio.Task[None] | None = None
        self._reloading = asyncio.Lock()
        self._closing_old: asyncio.Task[None] | None = None

    @property
    def blueprint(self) -> Blueprint:
        """What runs: another one after a reload."""
        return self._plan.blueprint

    @property
    def _events(self) -> Any:
        providers = self.blueprint.providers
        return providers.get("system-events") if self._plan.role.is_whole else None

    @classmethod
    def load(
        cls,
        file: str | Path,
        overrides: Mapping[str, Any] | Iterable[str] = (),
        *,
        only: Iterable[str] | None = None,
        is_debug: bool = False,
    ) -> Self:
        """Read, check and wire a document.

        Args:
            file: The document. Its folder is put on Python's import path, for its bundles.
            overrides: Dotted paths and their values, or texts of the form ``path:value``.
            only: See the class.
            is_debug: See the class.

        Raises:
            ConfigError: The document has errors (that concern ``only``); all of them are in it.
        """
        names = None if only is None else tuple(only)
        return cls(_sound(file, overrides, names), only=names, is_debug=is_debug)

    async def __aenter__(self) -> Self:
        """Start everything.

        Raises:
            EssentialFailed: A provider that the service cannot do without has failed for good.
        """
        await self._group.__aenter__()
        try:
            await self._supervisor.start(self._group)
        except BaseException:
            await self._close()
            raise
        if self._events is not None:
            self._startup = self._group.create_task(self._events.fire("startup"), name="startup")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()
        if not isinstance(error, asyncio.CancelledError):
            await self._supervisor.stop_edges()
            if self._events is not None:
                await self._events.fire("shutdown")
        await self._close()

    async def reload(self, blueprint: Blueprint | None = None) -> Difference:
        """Put another document, or the same one read again, in the place of the one that runs.

        What has not changed goes on, and so do the requests that are open. Code that was imported
        stays as it is. The return does not wait for what is drained and closed. Cancel it only when
        the service is to end: nothing is put back then.

        Args:
            blueprint: What is to run, without errors; if there is none, the document is read again.

        Raises:
            ConfigError: The document has errors; the old one goes on.
            CannotReload: Something new cannot be opened; the old document goes on.
        """
        async with self._reloading:
            if blueprint is None:
                document, only = self.blueprint.document, self._plan.role.only
                blueprint = await asyncio.to_thread(_sound, document.file, document.overrides, only)
            if self._closing_old is not None:
                await asyncio.wait([self._closing_old])
            failed = {life.provider for life in self.lives if life.failure is not None}
            plan = plan_of(blueprint, self._plan.role)
            kept = kept_of(self._plan, plan, failed)
            difference = difference_of(self._plan, plan, kept)
            merge(plan, kept)
            self._offer_itself(plan.needed)
            parts = (self._supervisor, self.resources, self._plan, plan, kept, self._followers)
            await self._put(Exchange(*parts))
            counts = {"added": len(difference.added), "changed": len(difference.changed)}
            counts |= {"removed": len(difference.removed), "unchanged": difference.unchanged}
            log.info("reloaded", **counts)
        return difference

    async def _put(self, exchange: Exchange) -> None:
        before, self._plan = self._plan, exchange.new  # pipelines that are found by name are new
        try:
            await exchange.run()
        except BaseException:
            self._plan = before
            raise
        self._followers = exchange.now
        self._closing_old = self._group.create_task(exchange.close_old(), name="close the old")

    def stop(self, exit_code: int | None = None) -> None:
        """Ask the service to end; ``serve`` then drains it and returns."""
        if exit_code is not None:
            self.exit_code = exit_code
        self._stopping.set()

    @property
    def is_stopping(self) -> bool:
        """Whether somebody has asked the service to end."""
        return self._stopping.is_set()

    async def stopped(self) -> int:
        """Wait until somebody has asked the service to end, and return the exit code."""
        await self._stopping.wait()
        return self.exit_code

    async def call(self, name: str, baton: Any = None) -> Results:
        """Run a pipeline by its name, as soon as what it needs is there."""
        resource = self.resources.get(f"pipeline.{name.removeprefix('pipeline.')}")
        if resource is None:
            raise self._unknown(name)
        pipeline: Pipeline = await resource.wait()
        return await pipeline(baton)

    def find(self, name: str) -> Pipeline:
        """Return a pipeline that a baton has named.

        Raises:
            UnknownPipeline: There is none of that name.
        """
        pipeline = self.blueprint.pipelines.get(name.removeprefix("pipeline."))
        if pipeline is None:
            raise self._unknown(name)
        return pipeline

    @property
    def is_ready(self) -> bool:
        """Whether no provider has failed for good and nothing that is needed is lost."""
        lost = any(not each.is_ready for each in self.resources.values())
        return not lost and not self._supervisor.failures

    @property
    def lives(self) -> Sequence[Life]:
        """What has become of each provider that this service runs, in starting order."""
        return self._supervisor.lives

    def _unknown(self, name: str) -> UnknownPipeline:
        if name.removeprefix("pipeline.") in self.blueprint.pipelines:
            return UnknownPipeline(f"nothing uses pipeline '{name}': what it needs is not started")
        hint = suggest(name, self.blueprint.pipelines)
        return UnknownPipeline(f"there is no pipeline '{name}' ({hint})")

    async def _close(self) -> None:
        await self._supervisor.stop()
        for task in (self._startup, self._closing_old):
            if task is not None:
                task.cancel()
        await self._group.__aexit__(None, None, None)

    def _wire(self) -> dict[str, Follower]:
        """Bind all that runs, and have each pipeline follow what it needs."""
        plan = self._plan
        self._offer_itself(plan.needed)
        bind(plan.units, plan.pipelines, self.resources)
        followers = followers_of(plan, self.resources)
        for each in followers.values():
            each.follow()
        return followers

    def _offer_itself(self, needed: Set[str]) -> None:
        for name in needed & {"service", "pipelines"}:
            self.resources.setdefault(name, Resource(name)).ready(self)


def blueprint_of(
    file: str | Path,
    overrides: Mapping[str, Any] | Iterable[str] = (),
    *,
    may_import: bool = True,
) -> Blueprint:
    """Read a document and return its blueprint, with all its problems.

    Its folder is put on Python's import path, for its bundles and namespaces; they are imported
    unless that is forbidden.
    """
    folder = os.path.dirname(os.path.realpath(os.path.expanduser(file)))
    if folder not in sys.path:
        sys.path.insert(0, folder)
    if isinstance(overrides, Mapping):
        overrides = [f"{path}: {_yaml(value)}" for path, value in overrides.items()]
    return draw(load(file, overrides), may_import=may_import)


def _sound(
    file: str | Path, overrides: Mapping[str, Any] | Iterable[str], only: tuple[str, ...] | None
) -> Blueprint:
    """Read a document, and raise ConfigError where it has errors that concern ``only``."""
    blueprint = blueprint_of(file, overrides)
    errors = blueprint.errors if only is None else blueprint.errors_of(only)
    if errors:
        raise ConfigError(errors)
    return blueprint


def _yaml(value: Any) -> str:
    import msgspec

    return msgspec.json.encode(value).decode()
