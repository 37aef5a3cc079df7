"""What of a blueprint runs, in which order it starts, and what it is bound to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from piped.blueprint import Blueprint
from piped.engine import Pipeline
from piped.resources import Resource
from piped.spec import Dependency, PipelineName, Provider, dependencies_of

Resources: TypeAlias = dict[str, Resource]
Needs: TypeAlias = Mapping[str, frozenset[str]]
"""What each pipeline needs that is no pipeline."""


@dataclass(frozen=True, slots=True)
class Role:
    """What of a document a process is to run.

    Args:
        only: Nothing but these pipelines and what they need: no site listens, nothing ticks.
        work: Be a worker of this pool, and nothing else.
        beside: Providers of no document, which run beside that pool.
        is_debug: Whether the process is being debugged.
    """

    only: tuple[str, ...] | None = None
    work: str | None = None
    beside: tuple[Provider, ...] = ()
    is_debug: bool = False

    @property
    def is_whole(self) -> bool:
        """Whether all of the document runs."""
        return self.only is None and self.work is None


@dataclass(frozen=True, slots=True)
class Said:
    """What a document says of each unit, by its label, and of each pipeline, to be compared."""

    units: Mapping[str, Any]
    pipelines: Mapping[str, Any]


@dataclass(slots=True)
class Plan:
    """A blueprint in its role: the units that run, in starting order, and what is needed."""

    blueprint: Blueprint
    role: Role
    needed: set[str] = field(default_factory=set)  # names of resources
    needs: Needs = field(default_factory=dict)
    units: list[Provider] = field(default_factory=list)
    said: Said | None = None  # kept at a reload: units and pipelines of before have old places

    @property
    def pipelines(self) -> list[Pipeline]:
        """The pipelines that somebody may call."""
        every = "pipelines" in self.needed  # those that batons name
        pipelines = self.blueprint.pipelines.items()
        return [each for name, each in pipelines if every or f"pipeline.{name}" in self.needed]


def plan_of(blueprint: Blueprint, role: Role) -> Plan:
    """Decide what of a blueprint runs, and tell each of its units."""
    blueprint.units.extend(each for each in role.beside if each not in blueprint.units)
    plan = Plan(blueprint, role, needs=blueprint.needs_of_pipelines())
    feeding = _feeding(plan)
    roots = [each for unit in feeding for each in dependencies_of(unit)]
    roots += [Dependency(f"pipeline.{name}") for name in role.only or ()]
    if all(each.name == "service" for each in roots):  # no source of batons: call what you like
        roots += [Dependency(f"pipeline.{name}") for name in blueprint.pipelines]
    plan.needed = blueprint.needed_by(roots)
    if role.is_whole:
        plan.needed |= _callable(plan)
    document = blueprint.document
    for unit in blueprint.units:
        unit.is_feeding, unit.is_debug = unit in feeding, role.is_debug
        unit.document = (str(document.file), document.overrides)
        unit.needed = frozenset(plan.needed.intersection(unit.offers()))
    running = [unit for unit in blueprint.units if unit.is_feeding or unit.needed]
    plan.units = _in_starting_order(blueprint, running)
    return plan


def _feeding(plan: Plan) -> list[Provider]:
    """Return what brings batons by itself; for a worker, that is its pool."""
    blueprint, role = plan.blueprint, plan.role
    if role.work is None:
        return [unit for unit in blueprint.units if role.is_whole and unit.feeds()]
    workers: Any = blueprint.providers["workers"]
    for name, pool in workers.pools.items():
        pool.role = "worker" if name == role.work else "inner"
    return [workers.pools[role.work], *role.beside]


def _callable(plan: Plan) -> set[str]:
    """Return the pipelines that nobody uses and that need nothing more than is there anyway."""
    found: set[str] = set()
    for name, own in plan.needs.items():
        if own <= plan.needed | {"service"}:
            found |= {f"pipeline.{name}", *own}
    return found


def _needs_of(unit: Provider) -> Iterable[Dependency[Any]]:
    """Return what a unit depends on in its present part."""
    return dependencies_of(unit) if unit.is_feeding else unit.requires()


def _in_starting_order(blueprint: Blueprint, units: list[Provider]) -> list[Provider]:
    """Order providers: first what others need, sites last; they are closed the other way.

    What all others run under is first of all; what runs pipelines of others comes after all
    that only serves.
    """
    offers = blueprint.offers()
    order: list[Provider] = []
    open_: list[Provider] = []

    def visit(unit: Provider) -> None:
        if unit in order or unit in open_:
            return
        open_.append(unit)
        for name in sorted(blueprint.needed_by(_needs_of(unit), offers)):
            if (other := offers.get(name)) in units and other is not None:
                visit(other)
        open_.remove(unit)
        order.append(unit)

    def turn(unit: Provider) -> tuple[bool, ...]:
        return (not unit.is_first, unit.is_edge, unit.is_feeding, unit.runs_pipelines)

    for unit in sorted(units, key=turn):
        visit(unit)
    return order


def bind(units: Iterable[Provider], pipelines: Sequence[Pipeline], resources: Resources) -> None:
    """Lead every dependency to its resource, and compile the pipelines."""
    dependencies = [each for unit in units for each in _needs_of(unit)]
    for pipeline in pipelines:  # which know one another already
        own = pipeline.dependencies()
        dependencies += [each for each in own if not isinstance(each, PipelineName)]
    for dependency in dependencies:
        dependency.resource = resources[dependency.name]
    for pipeline in pipelines:
        pipeline.compile()


class Follower:
    """Makes a pipeline ready while all that it needs, directly or not, is ready."""

    __slots__ = ("_needs", "_resource", "pipeline")

    def __init__(self, pipeline: Pipeline, resource: Resource, needs: Iterable[Resource]) -> None:
        self.pipeline = pipeline
        self._resource, self._needs = resource, tuple(needs)

    def follow(self) -> None:
        """Begin; the pipeline is what its resource leads to from now on."""
        for each in self._needs:
            each.watch(self._update)
        self._update()

    def leave(self) -> None:
        """Let another pipeline take its place."""
        for each in self._needs:
            each.unwatch(self._update)

    def _update(self) -> None:
        lost = [each for each in self._needs if not each.is_ready]
        failed = [each for each in lost if each.has_failed]
        self.pipeline.is_ready = not lost
        if failed:
            reason = f"'{failed[0].name}' has failed for good: {failed[0].reason}"
            self._resource.failed(reason)
        elif lost:
            self._resource.lost(f"'{lost[0].name}' is lost: {lost[0].reason}")
        else:
            self._resource.ready(self.pipeline)


def followers_of(plan: Plan, resources: Resources) -> dict[str, Follower]:
    """Return what keeps each pipeline that somebody may call, by its name; none follows yet."""
    found = {}
    for pipeline in plan.pipelines:
        name = f"pipeline.{pipeline.name}"
        resource = resources.setdefault(name, Resource(name))
        needs = [resources[each] for each in sorted(plan.needs[pipeline.name])]
        found[pipeline.name] = Follower(pipeline, resource, needs)
    return found
