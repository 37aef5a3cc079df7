"""What a document says of its pipelines: names, steps and their consumers, not yet a graph."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, Literal

from piped.document.nodes import Mapping
from piped.engine.keys import FLOW
from piped.errors import Place
from piped.spec import absolute

MAX_TURNS: Final = 1_000_000


@dataclass(slots=True, eq=False)
class Branches:
    """Where batons go from a step or into a pipeline: each list in the order of the document."""

    consumers: list[StepDefinition] = field(default_factory=list)
    chained_consumers: list[StepDefinition] = field(default_factory=list)
    error_consumers: list[StepDefinition] = field(default_factory=list)
    chained_error_consumers: list[StepDefinition] = field(default_factory=list)

    def sources(self) -> list[StepDefinition]:
        """Return the steps that batons are sent to without an error."""
        return [*self.chained_consumers, *self.consumers]

    def steps(self) -> Iterator[StepDefinition]:
        """Yield every step below, with all that is nested in them."""
        for step, _ in self.nested():
            yield step

    def nested(self, depth: int = 1) -> Iterator[tuple[StepDefinition, int]]:
        """Yield every step below, and how deep it is nested."""
        for name in FLOW:
            for step in getattr(self, name):
                yield step, depth
                yield from step.branches.nested(depth + 1)


@dataclass(slots=True, eq=False)
class StepDefinition:
    """One step as it is written: a processor, an inlined pipeline, or a step that exists."""

    kind: Literal["processor", "inline-pipeline", "existing"]
    name: str
    place: Place
    at: str
    options: Mapping
    id: str | None = None
    branches: Branches = field(default_factory=Branches)


@dataclass(slots=True, eq=False)
class PipelineDefinition:
    """One pipeline as it is written."""

    name: str
    place: Place
    at: str
    branches: Branches = field(default_factory=Branches)
    home: str = ""  # where relative names in it begin: its own name, unless it is a parameter
    inherits: str | None = None
    inherits_place: Place | None = None
    overrides: list[StepDefinition] = field(default_factory=list)
    max_turns: int | None = None
    is_sound: bool = True  # nothing in it was wrong, so nothing of it is left out

    @property
    def is_parameter(self) -> bool:
        """Whether it stands in place of a name, as the parameter of a step."""
        return self.home != self.name

    def parts(self) -> Iterator[tuple[str, int]]:
        """Yield the full names of the pipelines copied into this one, and how deep they stand."""
        steps = self.branches.nested()
        inlined = [(step.name, depth) for step, depth in steps if step.kind == "inline-pipeline"]
        inherited = [] if self.inherits is None else [(self.inherits, 1)]
        for name, depth in [*inlined, *inherited]:
            with suppress(ValueError):  # too many dots: the graph builder reports it
                yield absolute(name, self.home), depth
