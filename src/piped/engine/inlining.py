"""Which pipelines no graph can be made of: they contain themselves, or too much."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from piped.engine.cycles import groups, is_cycle, way_back
from piped.engine.definition import PipelineDefinition
from piped.errors import Problem

MAX_DEPTH: Final = 64
"""How many steps may stand inside one another in a graph."""
MAX_STEPS: Final = 10_000
"""How many steps a graph may have."""


def refusals(definitions: Mapping[str, PipelineDefinition]) -> dict[str, Problem]:
    """Return, by name, the pipelines of which no graph can be made, and why.

    A refused pipeline counts for nothing in those that inline it: they are broken by it, and are
    refused only for what they add.
    """
    parts = {
        name: [(part, depth) for part, depth in each.parts() if part in definitions]
        for name, each in definitions.items()
    }
    ways = {name: [part for part, _ in each] for name, each in parts.items()}
    refused: dict[str, Problem] = {}
    steps, depths = dict.fromkeys(definitions, 0), dict.fromkeys(definitions, 0)
    for group in groups(ways):
        for name in group:
            definition = definitions[name]
            if is_cycle(group, ways):
                refused[name] = _contains_itself(definition, way_back(ways, name))
                continue
            own = sum(1 for _ in definition.branches.steps())  # what inlines is work too
            steps[name] = own + sum(steps[part] for part in ways[name])
            depths[name] = max((depth + depths[part] for part, depth in parts[name]), default=1)
            if steps[name] > MAX_STEPS or depths[name] > MAX_DEPTH:
                refused[name] = _too_large(definition, depths[name] > MAX_DEPTH)
                steps[name] = depths[name] = 0
    return refused


def _contains_itself(definition: PipelineDefinition, way: list[str]) -> Problem:
    what = f"pipeline '{definition.name}' contains itself: {' -> '.join(way)}"
    if len(way) == 2 and definition.inherits is not None:
        what = f"pipeline '{definition.name}' inherits itself"
    return Problem("inline-cycle", what, definition.place, definition.at)


def _too_large(definition: PipelineDefinition, is_deep: bool) -> Problem:
    has = f"is nested deeper than {MAX_DEPTH} levels" if is_deep else f"has over {MAX_STEPS} steps"
    what = f"pipeline '{definition.name}' {has}, inlined pipelines included"
    hint = "run some of them with 'run-pipeline' instead of inlining them"
    return Problem("inlines-too-much", what, definition.place, definition.at, hint=hint)
