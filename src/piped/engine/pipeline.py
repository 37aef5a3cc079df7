"""Pipelines: compiled graphs that are called with a baton."""

from __future__ import annotations

import contextvars
import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

import msgspec

from piped.batons import Baton
from piped.engine.blocks import Block, Compiler
from piped.engine.cycles import groups, is_cycle, way_back
from piped.engine.nodes import Graph, GraphNode
from piped.engine.runners import Results, Runner, depth, run, run_async, run_line
from piped.errors import Problem, TooDeep
from piped.spec import (
    DecidingProcessor,
    Dependency,
    PipelineName,
    Processor,
    Step,
)

MAX_DEPTH: Final = 100
"""How deep pipelines may call one another in a cycle."""

TALL: Final = 50
"""How many pipelines may stand one below the other before Python's own bound may be reached."""


class Linked:
    """A pipeline as other pipelines see it: always there."""

    __slots__ = ("value",)
    is_ready: Final = True

    def __init__(self, value: Pipeline) -> None:
        self.value = value

    async def wait(self) -> Pipeline:
        return self.value


class Pipeline:
    """A compiled graph; ``await pipeline(baton)`` gives the list of its sinks' results.

    ``is_async`` tells whether anything in it must be awaited. If not, ``now(baton)`` gives the
    results without a coroutine. ``is_ready`` tells whether all that its processors need is there.
    """

    __slots__ = (
        *("_blocks", "_dependencies", "_run", "graph", "is_async", "is_deep", "is_ready"),
        *("is_recursive", "name"),
    )

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.name = graph.name
        self.is_async = False
        self.is_ready = True
        self.is_recursive = False
        self.is_deep = False  # its calls of calls may be too deep for the engine or for Python
        self._blocks: tuple[Block, ...] = ()
        self._dependencies = tuple(each for node in graph.nodes() for each in node.dependencies)
        self._run: Runner = run

    def __repr__(self) -> str:
        return f"<Pipeline {self.name}>"

    def processors(self) -> Iterator[Processor]:
        """Yield each processor once."""
        for node in self.graph.nodes():
            yield node.processor

    def dependencies(self) -> Sequence[Dependency[Any]]:
        """Return each dependency of each processor."""
        return self._dependencies

    def compile(self) -> None:
        """Make the plain functions that batons will go through; all dependencies are bound."""
        self._blocks = Compiler().compile(self.graph.sources)
        if len(self._blocks) == 1 and self._blocks[0].is_line:
            self._run = run_line

    async def __call__(self, baton: Baton) -> Results:
        if not self.is_async:
            return self.now(baton)
        if not self.is_deep:
            return await run_async(self._blocks, baton, self.graph.max_turns)
        token = self._descend()
        try:
            return await run_async(self._blocks, baton, self.graph.max_turns)
        except RecursionError as error:
            raise self._too_deep() from error
        finally:
            depth.reset(token)

    def now(self, baton: Baton) -> Results:
        """Return the results at once; only for a pipeline that is not async."""
        if not self.is_deep:
            return self._run(self._blocks, baton, self.graph.max_turns)
        token = self._descend()
        try:
            return self._run(self._blocks, baton, self.graph.max_turns)
        except RecursionError as error:
            raise self._too_deep() from error
        finally:
            depth.reset(token)

    async def traced(self, baton: Baton) -> tuple[Results, list[dict[str, Any]]]:
        """Return the results and what happened at each step, in order.

        A step tells ``processor`` and ``place``, the ``baton`` it was given and its ``output`` as
        plain copies, ``time_spent`` in seconds, and its ``failure`` as text, or None.
        """
        trace: list[dict[str, Any]] = []
        blocks = Compiler(lambda node, step: _traced(node, step, trace)).compile(self.graph.sources)
        return await run_async(blocks, baton, self.graph.max_turns), trace

    def _descend(self) -> contextvars.Token[int]:
        """Count the calls in a cycle; others end by themselves."""
        below = depth.get() + self.is_recursive
        if below > MAX_DEPTH:
            raise self._too_deep(f"more than {MAX_DEPTH}")
        return depth.set(below)

    def _too_deep(self, how: str = "too") -> TooDeep:
        return TooDeep(f"pipelines call one another {how} deep at '{self.name}'")


def _traced(node: GraphNode, step: Step, trace: list[dict[str, Any]]) -> Step:
    def begin(baton: Baton) -> dict[str, Any]:
        entry = {"processor": node.at, "place": str(node.place), "baton": snapshot(baton)}
        trace.append(entry | {"output": None, "time_spent": time.perf_counter(), "failure": None})
        return trace[-1]

    def end(entry: dict[str, Any], output: Any, failure: BaseException | None) -> None:
        entry["time_spent"] = time.perf_counter() - entry["time_spent"]
        entry["output"] = snapshot(output)
        entry["failure"] = f"{type(failure).__name__}: {failure}" if failure else None

    def traced_step(baton: Baton) -> Any:
        entry, output, failure = begin(baton), None, None
        try:
            output = step(baton)
            return output
        except BaseException as error:
            failure = error
            raise
        finally:
            end(entry, output, failure)

    async def traced_async_step(baton: Baton) -> Any:
        entry, output, failure = begin(baton), None, None
        try:
            output = await step(baton)
            return output
        except BaseException as error:
            failure = error
            raise
        finally:
            end(entry, output, failure)

    return traced_async_step if node.processor.is_async else traced_step


def snapshot(baton: Baton) -> Any:
    """Return a plain copy of a baton for people to look at; odd objects as their ``repr``."""
    try:
        return msgspec.to_builtins(baton, enc_hook=repr, str_keys=True)
    except (RecursionError, TypeError, ValueError):
        return repr(baton)


def link(pipelines: Mapping[str, Pipeline]) -> None:
    """Bind the pipelines that name one another, decide which are async, and find the cycles."""
    calls: dict[str, set[str]] = {}
    for pipeline in pipelines.values():
        calls[pipeline.name] = set()
        for dependency in pipeline.dependencies():
            if dependency.name == "pipelines":  # named by batons: it may be any
                calls[pipeline.name] |= pipelines.keys()
            target = pipelines.get(dependency.name.removeprefix("pipeline."))
            if target is None or not dependency.name.startswith("pipeline."):
                continue
            calls[pipeline.name].add(target.name)
            if isinstance(dependency, PipelineName):
                dependency.resource = Linked(target)
    heights: dict[str, int] = {}
    for group in groups(calls):
        called = {name for caller in group for name in calls[caller]}.difference(group)
        height = len(group) + max((heights[name] for name in called), default=0)
        members = [pipelines[name] for name in group]
        _spread_async(members)
        for pipeline in members:
            heights[pipeline.name] = height
            pipeline.is_recursive = is_cycle(group, calls)
            pipeline.is_deep = pipeline.is_recursive or height > TALL


def _spread_async(pipelines: Sequence[Pipeline]) -> None:
    """Make those async that await something; a fixed point, since they may call one another."""
    changed = True
    while changed:
        changed = False
        for pipeline in pipelines:
            if not pipeline.is_async and any(each.is_async for each in pipeline.processors()):
                pipeline.is_async = changed = True


def endless_calls(graphs: Mapping[str, Graph]) -> Iterator[Problem]:
    """Yield a problem for each cycle of pipelines that cannot end.

    A call is certain where no processor decides about it and the called pipeline needs no input
    path; a cycle of certain calls never comes to an end.
    """
    certain = {name: dict(_certain_calls(graph)) for name, graph in graphs.items()}
    ways = {name: [*calls] for name, calls in certain.items()}
    first = {name: number for number, name in enumerate(graphs)}
    for group in groups(ways):
        if not is_cycle(group, ways):
            continue
        cycle = way_back(ways, min(group, key=first.__getitem__))
        nodes = [certain[caller][called] for caller, called in pairwise(cycle)]
        why = ", ".join(f"called at {node.place}" for node in nodes)
        what = f"these pipelines call one another without end: {' -> '.join(cycle)}"
        hint = "let a 'when', a 'switch' or a 'stop' decide about one of the calls"
        yield Problem("endless-calls", what, nodes[0].place, nodes[0].at, why, hint)


def _certain_calls(graph: Graph) -> Iterator[tuple[str, GraphNode]]:
    seen: set[GraphNode] = set()
    ahead = list(graph.sources)
    while ahead:
        node = ahead.pop()
        if node in seen:
            continue
        seen.add(node)
        for called in node.processor.certain_calls:
            yield called, node
        if not isinstance(node.processor, DecidingProcessor):
            ahead += node.consumers
