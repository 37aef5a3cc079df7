"""From definitions to graphs: processors that know their consumers and error consumers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeAlias

from piped.document.nodes import Node
from piped.engine.definition import (
    MAX_TURNS,
    Branches,
    PipelineDefinition,
    StepDefinition,
)
from piped.engine.inlining import refusals
from piped.engine.nodes import Graph, GraphNode, reachable
from piped.engine.reading import DefinitionReader
from piped.errors import Level, Place, Problem, suggest
from piped.spec import (
    INVALID,
    Decoder,
    Dependency,
    PipelineName,
    Processor,
    Spec,
    absolute,
    dependencies_of,
    elsewhere,
)
from piped.spec.imports import NotInstalled

Need: TypeAlias = tuple[Dependency[Any], Place | None, str]
"""A resource that a component needs, and the place and path of the component."""


class GraphBuilder:
    """Builds the graph of any pipeline of a document; collects what is wrong."""

    def __init__(self, reader: DefinitionReader, processors: Mapping[str, Spec]) -> None:
        self.definitions = reader.definitions
        self.processors = processors
        self.problems: list[Problem] = []
        self.needs: list[Need] = []
        self._reader = reader
        self._refused = refusals(self.definitions)
        self._told: set[Problem] = set()
        self._faults = 0
        self._faults_before = 0

    def build_all(self) -> dict[str, Graph]:
        """Return the graphs of all pipelines, those that stand as parameters of steps included."""
        graphs: dict[str, Graph] = {}
        built: set[str] = set()
        while ahead := [name for name in self.definitions if name not in built]:
            if built:  # what was built has parameters that are pipelines
                self._refused = refusals(self.definitions)
            built.update(ahead)
            graphs.update({name: graph for name in ahead if (graph := self.build(name))})
        return graphs

    def build(self, name: str) -> Graph | None:
        """Return the graph of a pipeline, or None where a problem prevents it."""
        definition = self.definitions[name]
        self._faults_before = self._faults
        sources = self.sources(definition)
        if not self.is_sound:
            return None
        max_turns = definition.max_turns
        if max_turns is None and definition.inherits is not None:
            parent = absolute(definition.inherits, definition.home)
            max_turns = self.definitions[parent].max_turns
        return Graph(name, definition.place, definition.at, sources, max_turns or MAX_TURNS)

    @property
    def is_sound(self) -> bool:
        """Whether nothing is wrong with the graph that is being built, as far as it is built."""
        return self._faults == self._faults_before

    def sources(self, definition: PipelineDefinition) -> list[GraphNode]:
        """Return the sources of a new copy of a pipeline's graph."""
        self._faults += not definition.is_sound
        if definition.name in self._refused:
            self._tell(self._refused[definition.name])
            return []
        if definition.inherits is None:
            return _Weaver(self, definition).weave()
        return self._inherited(definition)

    def _inherited(self, definition: PipelineDefinition) -> list[GraphNode]:
        assert definition.inherits is not None
        place, at = definition.inherits_place or definition.place, f"{definition.at}.inherits"
        parent = self.find(definition.inherits, definition.home, place, at)
        if parent is None:
            return []
        if parent.name in self._refused:
            return self.sources(parent)
        if parent.inherits is not None:
            what = f"'{definition.name}' inherits '{parent.name}', which inherits by itself"
            hint = f"inherit '{parent.inherits}' directly"
            self.report("inherits-twice", what, place, at, hint)
            return []
        self._faults += not parent.is_sound
        weaver = _Weaver(self, parent, definition)
        sources = weaver.weave()
        for override in definition.overrides:
            if override not in weaver.used_overrides:
                what = f"'{parent.name}' has no (further) processor '{override.name}' to override"
                self.report("unused-override", what, override.place, override.at)
        return sources

    def find(self, name: str, home: str, place: Place, at: str) -> PipelineDefinition | None:
        """Return the definition that a name means, in the pipeline `home`, or report it."""
        try:
            full = absolute(name, home)
        except ValueError as error:
            self.report("unknown-pipeline", f"{error}", place, at)
            return None
        if full not in self.definitions:
            named = (each.name for each in self.definitions.values() if not each.is_parameter)
            hint = suggest(full, named)
            self.report("unknown-pipeline", f"there is no pipeline '{full}'", place, at, hint)
        return self.definitions.get(full)

    def node(self, step: StepDefinition, name: str, home: str) -> GraphNode | None:
        """Return the node that a step describes, or None where a problem prevents it."""
        try:
            spec = self.processors.get(step.name)
        except NotInstalled as error:
            what = f"'{step.name}' cannot be used: {error}"
            self.report("not-installed", what, step.place, step.at, error.hint)
            return None
        if spec is None:
            what, hint = f"there is no processor '{step.name}'", suggest(step.name, self.processors)
            with suppress(ValueError):
                if absolute(step.name, home) in self.definitions:
                    hint = (
                        f"to run that pipeline, write '- run-pipeline: {{pipeline: {step.name}}}'"
                    )
            self.report("unknown-processor", what, step.place, step.at, hint)
            return None
        decoder = Decoder()
        made = decoder.component(spec, step.options, step.at)
        for problem in decoder.problems:
            self._tell(problem)
        needed = decoder.dependencies if made is INVALID else dependencies_of(made)
        dependencies = tuple(needed)
        for each in dependencies:
            self._resolve(each, home, step)
        if made is INVALID:
            self._faults += 1
            return None
        assert isinstance(made, Processor)
        made.home = home
        away = elsewhere(made)
        here = tuple(each for each in dependencies if each not in away)
        return GraphNode(made, name, step.place, step.at, here)

    def _resolve(self, dependency: Dependency[Any], home: str, step: StepDefinition) -> None:
        """Make the name of a pipeline absolute; note what else a processor needs."""
        if isinstance(dependency, PipelineName) and dependency.inline is not None:
            self._read_parameter(dependency, dependency.inline, home)
        elif isinstance(dependency, PipelineName) or dependency.name.startswith("."):
            place, at = dependency.place or step.place, dependency.at or step.at
            found = self.find(dependency.name, home, place, at)
            dependency.name = f"pipeline.{found.name}" if found else dependency.name
        else:
            self.needs.append((dependency, step.place, step.at))

    def _read_parameter(self, dependency: PipelineName, inline: Node, home: str) -> None:
        name = self._reader.read_parameter(inline, dependency.at, home)
        dependency.name = f"pipeline.{name}"
        definition = self.definitions.get(name)
        self._faults += definition is None or not definition.is_sound

    def report(
        self,
        code: str,
        what: str,
        place: Place,
        at: str,
        hint: str = "",
        level: Level = Level.ERROR,
    ) -> None:
        """Note a problem."""
        self._tell(Problem(code, what, place, at, hint=hint, level=level))

    def _tell(self, problem: Problem) -> None:
        """Note a problem, once: the pieces of an inlined pipeline are read again and again."""
        self._faults += problem.level is Level.ERROR
        if problem not in self._told:
            self._told.add(problem)
            self.problems.append(problem)


class _Weaver:
    """Makes the nodes of one definition and joins them; an inlined one is woven anew each time."""

    def __init__(
        self,
        builder: GraphBuilder,
        definition: PipelineDefinition,
        heir: PipelineDefinition | None = None,
    ) -> None:
        self.builder = builder
        self.definition = definition
        self.heir = heir or definition  # whose overrides replace options
        self.nodes: dict[StepDefinition, GraphNode] = {}
        self.ids: dict[str, GraphNode] = {}
        self.used_overrides: set[StepDefinition] = set()

    def weave(self) -> list[GraphNode]:
        """Return the sources."""
        for step in _breadth_first(self.definition):
            if step.kind == "processor":
                self._make(step)
        branches = self.definition.branches
        sources = [*self._chain(branches.chained_consumers), *self._each(branches.consumers)]
        self._join_errors(sources, self._errors(branches), self.definition)
        return sources

    def _make(self, step: StepDefinition) -> None:
        wanted, home = step, self.definition.home
        for override in self.heir.overrides:
            if override not in self.used_overrides and override.name == step.name:
                self.used_overrides.add(override)
                wanted, home = override, self.heir.home
                break
        node = self.builder.node(wanted, step.name, home)
        if node is None:
            return
        self.nodes[step] = node
        if step.id is None:
            return
        if step.id in self.ids:
            what = f"two steps have the id '{step.id}', the other one at {self.ids[step.id].place}"
            self.builder.report("duplicate-id", what, step.place, step.at)
        self.ids[step.id] = node

    def _chain(self, steps: Iterable[StepDefinition]) -> list[GraphNode]:
        """Join steps one after the other; return where the chain begins."""
        begin: list[GraphNode] | None = None
        ends: list[GraphNode] = []
        for step in steps:
            entries, exits = self._weave_step(step)
            if begin is None:
                begin = entries
            else:
                self._join(ends, entries, step)
            ends = exits
        return begin or []

    def _each(self, steps: Iterable[StepDefinition]) -> list[GraphNode]:
        return [entry for step in steps for entry in self._weave_step(step)[0]]

    def _errors(self, branches: Branches) -> list[GraphNode]:
        return [
            *self._chain(branches.chained_error_consumers),
            *self._each(branches.error_consumers),
        ]

    def _weave_step(self, step: StepDefinition) -> tuple[list[GraphNode], list[GraphNode]]:
        """Return where batons enter a step and where they leave it."""
        if step.kind == "existing":
            node = self.ids.get(step.name)
            if node is None:
                what, hint = f"no step has the id '{step.name}'", suggest(step.name, self.ids)
                self.builder.report("unknown-id", what, step.place, step.at, hint)
            return ([node], [node]) if node else ([], [])
        if step.kind == "inline-pipeline":
            entries, exits = self._inlined(step)
        else:
            node = self.nodes.get(step)
            entries, exits = ([node], [node]) if node else ([], [])
        branches = step.branches
        self._join(exits, self._chain(branches.chained_consumers), step)
        self._join(exits, self._each(branches.consumers), step)
        self._join_errors(entries, self._errors(branches), step)
        return entries, exits

    def _inlined(self, step: StepDefinition) -> tuple[list[GraphNode], list[GraphNode]]:
        other = self.builder.find(step.name, self.definition.home, step.place, step.at)
        sources = self.builder.sources(other) if other else []
        return sources, [node for node in reachable(sources) if not node.consumers]

    def _join(
        self, producers: Sequence[GraphNode], consumers: list[GraphNode], step: StepDefinition
    ) -> None:
        if consumers and producers and all(each.processor.is_end for each in producers):
            what = f"no baton reaches '{consumers[0].name}': '{producers[0].name}' always fails"
            where = (consumers[0].place, consumers[0].at)
            self.builder.report("unreachable-step", what, *where, level=Level.WARNING)
        if consumers and not producers and self.builder.is_sound:
            what = f"no baton reaches '{consumers[0].name}': what it follows has no end"
            hint = (
                "let a processor in the inlined pipeline decide, so that its last step is reached"
            )
            where = (consumers[0].place, consumers[0].at)
            self.builder.report("unreachable-step", what, *where, hint, Level.WARNING)
        for producer in producers:
            for consumer in consumers:
                if consumer in producer.consumers:
                    self._is_already(consumer, "a consumer", producer, step)
                else:
                    producer.consumers.append(consumer)

    def _join_errors(
        self,
        entries: Iterable[GraphNode],
        consumers: list[GraphNode],
        owner: StepDefinition | PipelineDefinition,
    ) -> None:
        for entry in dict.fromkeys(entries):
            for consumer in consumers:
                if consumer in entry.error_consumers:
                    self._is_already(consumer, "an error consumer", entry, owner)
                else:
                    entry.error_consumers.append(consumer)

    def _is_already(
        self,
        consumer: GraphNode,
        role: str,
        producer: GraphNode,
        where: StepDefinition | PipelineDefinition,
    ) -> None:
        what = f"'{consumer.name}' is {role} of '{producer.name}' already"
        self.builder.report("duplicate-consumer", what, where.place, where.at)


def _breadth_first(definition: PipelineDefinition) -> Iterator[StepDefinition]:
    level = list(_children(definition.branches))
    while level:
        yield from level
        level = [child for step in level for child in _children(step.branches)]


def _children(branches: Branches) -> Iterator[StepDefinition]:
    for key in ("chained_consumers", "consumers", "chained_error_consumers", "error_consumers"):
        yield from getattr(branches, key)
