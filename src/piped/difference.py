"""What has changed between two plans: which units and pipelines may stay as they are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, fields
from typing import Any, Final

from piped.blueprint import Blueprint
from piped.document import Mapping as MappingNode
from piped.document import Node, Scalar, Sequence
from piped.engine import Pipeline
from piped.errors import Place
from piped.spec import Dependency, Provider
from piped.wiring import Plan, Said

NOTHING: Final = None
"""The text of what was left out, or is not written at all."""


@dataclass(frozen=True, slots=True)
class Difference:
    """The names of units and pipelines that a reload has added, replaced and taken away."""

    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    unchanged: int = 0

    def lines(self) -> Iterator[str]:
        """Yield a line for each name, and one for all that is as it was."""
        for sign, names in (("+", self.added), ("~", self.changed), ("-", self.removed)):
            yield from (f"{sign} {name}" for name in names)
        yield f"= {self.unchanged} unchanged"


@dataclass(frozen=True, slots=True)
class Kept:
    """What goes on: the old units by the new ones they stand for, and pipelines by their names."""

    units: Mapping[Provider, Provider]
    pipelines: Mapping[str, Pipeline]


def kept_of(old: Plan, new: Plan, failed: Set[Provider]) -> Kept:
    """Return what of an old plan is the same in a new one.

    Args:
        old: What runs.
        new: What is to run.
        failed: The old units that have failed for good: they are tried again.
    """
    old.said = was = old.said or _said_of(old)
    new.said = now = _said_of(new)
    pipelines = _same_pipelines(old, new, was, now)
    before = {unit.label: unit for unit in old.units if unit not in failed}
    units: dict[Provider, Provider] = {}
    for unit in new.units:
        other = before.get(unit.label)
        if other is unit or (
            other is not None
            and type(other) is type(unit)
            and was.units[unit.label] == now.units[unit.label]
            and _is_used_alike(other, unit)
        ):
            units[unit] = other
    while stale := [*_stale(new, units, pipelines)]:
        for unit in stale:
            del units[unit]
    return Kept(units, pipelines)


def _said_of(plan: Plan) -> Said:
    """Return what the document of a plan says; nothing of another plan is in it yet."""
    texts = _texts_of_units(plan.blueprint)
    units = {unit.label: texts.get(unit, _values(unit)) for unit in plan.units}
    return Said(units, _texts_of_pipelines(plan))


def _is_used_alike(old: Provider, new: Provider) -> bool:
    """Tell whether two units bring the same; where one brings one thing, it brings that."""
    is_alike = old.is_feeding == new.is_feeding
    return is_alike and (old.needed == new.needed or len({*new.offers()}) < 2)


def _values(unit: Provider) -> dict[str, Any]:
    """Return the parameters of a unit that no document describes."""
    values = {each.name: getattr(unit, each.name) for each in fields(unit) if each.init}
    return {name: each for name, each in values.items() if not isinstance(each, Dependency)}


def _stale(
    new: Plan, units: Mapping[Provider, Provider], pipelines: Mapping[str, Pipeline]
) -> Iterator[Provider]:
    """Yield the units whose processes do what only the old document says."""
    changed = {name for each in new.units if each not in units for name in each.offers()}
    changed |= {f"pipeline.{name}" for name in new.blueprint.pipelines if name not in pipelines}
    for unit in units:
        copied = new.blueprint.needed_by(Dependency(name) for name in unit.copies())
        if not copied.isdisjoint(changed):
            yield unit


def difference_of(old: Plan, new: Plan, kept: Kept) -> Difference:
    """Return what is told of a reload."""
    before, after = _names(old), _names(new)
    same = {unit.label for unit in kept.units} | {f"pipeline.{name}" for name in kept.pipelines}
    return Difference(
        added=tuple(name for name in after if name not in before),
        changed=tuple(name for name in after if name in before and name not in same),
        removed=tuple(name for name in before if name not in after),
        unchanged=sum(name in before and name in same for name in after),
    )


def _names(plan: Plan) -> dict[str, None]:
    """Return the names of what runs; pipelines in place of a name are part of another one."""
    own = plan.blueprint.pipeline_names
    pipelines = [f"pipeline.{each.name}" for each in plan.pipelines if each.name in own]
    return dict.fromkeys([*(unit.label for unit in plan.units), *pipelines])


def _same_pipelines(old: Plan, new: Plan, was: Said, now: Said) -> dict[str, Pipeline]:
    """Return the old pipelines that are as they were, and call only such as are."""
    before = {each.name: each for each in old.pipelines}
    same = {name for name, text in now.pipelines.items() if was.pipelines.get(name) == text}
    calls = new.blueprint.calls()
    while different := {name for name in same if not calls[name] <= same}:
        same -= different
    return {name: before[name] for name in same}


def _texts_of_pipelines(plan: Plan) -> dict[str, Any]:
    """Return all that the document says of each pipeline, and what it was understood as."""
    blueprint = plan.blueprint
    section = blueprint.document.root.get("pipelines")
    nodes: dict[Place, list[Node]] = {}
    for node in _below(section):
        nodes.setdefault(node.place, []).append(node)
    own = {
        name: [_frozen(node) for node in nodes.get(pipeline.graph.place, ())]
        for name, pipeline in blueprint.pipelines.items()
    }
    texts = {}
    for each in plan.pipelines:
        made_of = sorted(blueprint.made_of([f"pipeline.{each.name}"]))
        kinds = [type(processor) for processor in each.processors()]
        ways = (each.is_async, each.is_recursive, each.is_deep, each.graph.max_turns)
        texts[each.name] = ([(part, own.get(part)) for part in made_of], kinds, ways)
    return texts


def _below(node: Node | None) -> Iterator[Node]:
    """Yield each list and mapping of a tree."""
    match node:
        case Sequence():
            yield node
            for item in node.items:
                yield from _below(item)
        case MappingNode():
            yield node
            for _, entry in node.items():
                yield from _below(entry.node)


def _texts_of_units(blueprint: Blueprint) -> dict[Provider, Any]:
    """Return all that the document says of each unit: its section without the other units."""
    texts: dict[Provider, Any] = {}
    for provider in blueprint.providers.values():
        node = blueprint.document.root.get(provider.at)
        units = [*provider.units()]
        places = {unit.place for unit in units if unit.place is not None}
        for unit in units:
            own = {unit.place, None if node is None else node.place}
            texts[unit] = NOTHING if node is None else _frozen(node, places - own)
    return texts


def _frozen(node: Node, without: Set[Place] = frozenset()) -> Any:
    """Return what a node says, to be compared: places do not matter, but ``1`` is not ``true``.

    Args:
        node: The node.
        without: The places of what is left out, with the mappings that have nothing else.
    """
    match node:
        case Scalar():
            return type(node.value), node.value
        case Sequence():
            items = (_frozen(each, without) for each in node.items if each.place not in without)
            return "list", *items
        case MappingNode():
            entries = [
                (type(key), key, text)
                for key, entry in node.items()
                if entry.node.place not in without
                and (text := _frozen(entry.node, without)) is not NOTHING
            ]
            return NOTHING if node.entries and not entries else ("mapping", *entries)
