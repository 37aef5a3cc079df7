"""A chart of a document: what brings batons, the steps they take, and what these call and use."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from piped.blueprint import Blueprint
from piped.engine import GraphNode, Pipeline
from piped.spec import Dependency, Provider, dependencies_of

Kind: TypeAlias = Literal["source", "step", "pipeline", "resource"]
Way: TypeAlias = Literal["next", "error", "calls", "uses", "brings"]


@dataclass(frozen=True, slots=True)
class Box:
    """One thing in a chart; ``label`` is short, ``name`` tells it from all others."""

    name: str
    label: str
    kind: Kind


@dataclass(frozen=True, slots=True)
class Arrow:
    """A way from one box to another, by their names."""

    source: str
    target: str
    way: Way


@dataclass(slots=True)
class Chart:
    """Boxes, those of each pipeline together, and the arrows between them."""

    pipelines: dict[str, list[Box]] = field(default_factory=dict)
    others: list[Box] = field(default_factory=list)
    arrows: list[Arrow] = field(default_factory=list)


def chart_of(blueprint: Blueprint, pipeline: str | None = None) -> Chart:
    """Return the chart of a document; of one pipeline with what it calls and uses, if one is named.

    Pipelines that stand as parameters of steps are pipelines of their own, named by their paths.
    """
    names = [*blueprint.pipelines]
    if pipeline is not None:
        below = (f"{pipeline}[", f"{pipeline}.")
        names = [name for name in names if name == pipeline or name.startswith(below)]
    return _Drawer(blueprint, names).chart(with_sources=pipeline is None)


class _Drawer:
    def __init__(self, blueprint: Blueprint, names: list[str]) -> None:
        self.blueprint = blueprint
        self.ids = {name: _ids(blueprint.pipelines[name]) for name in names}
        self.made = Chart()
        self._outside: dict[str, Box] = {}

    def chart(self, with_sources: bool) -> Chart:
        for unit in self.blueprint.units if with_sources else ():
            for dependency in (each for each in dependencies_of(unit) if each.at):  # it is written
                label = dependency.at.removesuffix(".processor").removesuffix(".__config__")
                if unit.feeds():
                    self._bring(Box(dependency.at, label, "source"), dependency)
                elif dependency.name.startswith("pipeline."):
                    self._serve(unit, dependency)
        for name in self.ids:
            self._pipeline(name)
        self.made.others += self._outside.values()
        return self.made

    def _bring(self, box: Box, dependency: Dependency[object]) -> None:
        self.made.others.append(box)
        self._arrows(box.name, self._targets(dependency.name), "brings")

    def _serve(self, unit: Provider, dependency: Dependency[object]) -> None:
        """Draw what a resource does with batons that steps give it, as a pool of workers."""
        for name in unit.offers():
            box = self._outside.setdefault(name, Box(name, name, "resource"))
            self._arrows(box.name, self._targets(dependency.name), "brings")

    def _pipeline(self, name: str) -> None:
        ids = self.ids[name]
        self.made.pipelines[name] = [Box(own, _label(node), "step") for node, own in ids.items()]
        for node, own in ids.items():
            self._arrows(own, (ids[each] for each in node.consumers), "next")
            self._arrows(own, (ids[each] for each in node.error_consumers), "error")
            for dependency in node.dependencies:
                is_call = dependency.name.startswith("pipeline.")
                way: Way = "calls" if is_call else "uses"
                self._arrows(own, self._targets(dependency.name), way)

    def _arrows(self, source: str, targets: Iterable[str], way: Way) -> None:
        for target in dict.fromkeys(targets):
            self.made.arrows.append(Arrow(source, target, way))

    def _targets(self, resource: str) -> Iterator[str]:
        """Yield the names of the boxes that stand for a resource."""
        name = resource.removeprefix("pipeline.")
        if name in self.ids and name != resource:
            sources = self.blueprint.pipelines[name].graph.sources
            yield from (self.ids[name][source] for source in sources)
            return
        kind: Kind = "resource" if name == resource else "pipeline"
        box = self._outside.setdefault(resource, Box(resource, name, kind))
        yield box.name


def _ids(pipeline: Pipeline) -> dict[GraphNode, str]:
    """Return a name for each step: an inlined pipeline may bring the same path twice."""
    return {node: f"{pipeline.name}#{number}" for number, node in enumerate(pipeline.graph.nodes())}


def _label(node: GraphNode) -> str:
    return node.processor.node_name or node.name
