"""The one place where all meet: a document becomes a running service.

The same life for the command line, for tests and for embedding:

    async with Service.load("service.yaml") as service:
        results = await service.call("web.compute", {"numbers": [1, 2, 3]})
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeAlias

import structlog

from piped.blueprint import Blueprint
from piped.document import load
from piped.drawing import draw
from piped.engine import Pipeline, Results
from piped.errors import ConfigError, PipedError, suggest
from piped.resources import Life, Resource, Supervisor
from piped.spec import Dependency, PipelineName, Provider, dependencies_of

log = structlog.get_logger("piped.service")

Needs: TypeAlias = Mapping[str, frozenset[str]]
"""What each pipeline needs that is no pipeline."""


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
        self.blueprint = blueprint
        self._work, self._beside = work, beside
        blueprint.units.extend(beside)
        self._is_whole = only is None and work is None
        self.exit_code = 0
        self.resources: dict[str, Resource] = {}
        self._stopping = asyncio.Event()
        self._events: Any = blueprint.providers.get("system-events") if self._is_whole else None
        self._group = asyncio.TaskGroup()
        self._startup: asyncio.Task[None] | None = None
        self._supervisor = Supervisor(
            self._wire(only, is_debug), self.resources, lambda: self.stop(EXIT_FAILED_FOR_GOOD)
        )

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
        blueprint = blueprint_of(file, overrides)
        errors = blueprint.errors if only is None else blueprint.errors_of(only)
        if errors:
            raise ConfigError(errors)
        return cls(blueprint, only=only, is_debug=is_debug)

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
        if self._startup is not None:
            self._startup.cancel()
        await self._group.__aexit__(None, None, None)

    def _wire(self, only: Iterable[str] | None, is_debug: bool) -> list[Provider]:
        """Bind every dependency that is needed, and return the providers in starting order."""
        blueprint = self.blueprint
        feeding = self._feeding()
        roots = [each for unit in feeding for each in dependencies_of(unit)]
        roots += [Dependency(f"pipeline.{name}") for name in only or ()]
        if all(each.name == "service" for each in roots):  # no source of batons: call what you like
            roots += [Dependency(f"pipeline.{name}") for name in blueprint.pipelines]
        needed = blueprint.needed_by(roots)
        needs = blueprint.needs_of_pipelines()
        if self._is_whole:
            needed |= self._callable(needed, needs)
        self.resources.update({name: Resource(name) for name in sorted(needed)})
        for name in ("service", "pipelines"):
            if name in self.resources:
                self.resources[name].ready(self)
        for unit in blueprint.units:
            unit.is_feeding, unit.is_debug = unit in feeding, is_debug
            unit.document = (str(blueprint.document.file), blueprint.document.overrides)
            unit.needed = frozenset(needed.intersection(unit.offers()))
        running = [unit for unit in blueprint.units if unit.is_feeding or unit.needed]
        self._bind_all(running, needs)
        return self._in_starting_order(running)

    def _feeding(self) -> list[Provider]:
        """Return what brings batons by itself; for a worker, that is its pool."""
        if self._work is None:
            return [unit for unit in self.blueprint.units if self._is_whole and unit.feeds()]
        workers: Any = self.blueprint.providers["workers"]
        for name, pool in workers.pools.items():
            pool.role = "worker" if name == self._work else "inner"
        return [workers.pools[self._work], *self._beside]

    def _callable(self, needed: set[str], needs: Needs) -> set[str]:
        """Return the pipelines that nobody uses and that need nothing more than is there anyway."""
        found: set[str] = set()
        for name, own in needs.items():
            if own <= needed | {"service"}:
                found |= {f"pipeline.{name}", *own}
        return found

    def _bind_all(self, running: Iterable[Provider], needs: Needs) -> None:
        pipelines = [p for p in self.blueprint.pipelines.values() if self._is_needed(p)]
        dependencies = [each for unit in running for each in _needs_of(unit)]
        for pipeline in pipelines:  # which know one another already
            own = pipeline.dependencies()
            dependencies += [each for each in own if not isinstance(each, PipelineName)]
        for dependency in dependencies:
            dependency.resource = self.resources[dependency.name]
        for pipeline in pipelines:
            pipeline.compile()
        for pipeline in pipelines:
            self._follow(pipeline, needs[pipeline.name])

    def _is_needed(self, pipeline: Pipeline) -> bool:
        return f"pipeline.{pipeline.name}" in self.resources or "pipelines" in self.resources

    def _follow(self, pipeline: Pipeline, names: Iterable[str]) -> None:
        """Make a pipeline ready while all that it needs, directly or not, is ready."""
        needs = [self.resources[name] for name in sorted(names)]
        name = f"pipeline.{pipeline.name}"
        resource = self.resources.setdefault(name, Resource(name))

        def update() -> None:
            lost = [each for each in needs if not each.is_ready]
            failed = [each for each in lost if each.has_failed]
            pipeline.is_ready = not lost
            if failed:
                resource.failed(f"'{failed[0].name}' has failed for good: {failed[0].reason}")
            elif lost:
                resource.lost(f"'{lost[0].name}' is lost: {lost[0].reason}")
            else:
                resource.ready(pipeline)

        for each in needs:
            each.watch(update)
        update()

    def _in_starting_order(self, units: list[Provider]) -> list[Provider]:
        """Order providers: first what others need, sites last; they are closed the other way.

        What all others run under is first of all; what runs pipelines of others comes after all
        that only serves.
        """
        offers = self.blueprint.offers()
        order: list[Provider] = []
        open_: list[Provider] = []

        def visit(unit: Provider) -> None:
            if unit in order or unit in open_:
                return
            open_.append(unit)
            for name in sorted(self.blueprint.needed_by(_needs_of(unit), offers)):
                if (other := offers.get(name)) in units and other is not None:
                    visit(other)
            open_.remove(unit)
            order.append(unit)

        def turn(unit: Provider) -> tuple[bool, ...]:
            return (not unit.is_first, unit.is_edge, unit.is_feeding, unit.runs_pipelines)

        for unit in sorted(units, key=turn):
            visit(unit)
        return order


def _needs_of(unit: Provider) -> Iterable[Dependency[Any]]:
    return dependencies_of(unit) if unit.is_feeding else unit.requires()


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


def _yaml(value: Any) -> str:
    import msgspec

    return msgspec.json.encode(value).decode()
