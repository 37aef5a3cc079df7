"""Pipelines: compiled graphs that are called with a baton."""

from __future__ import annotations

import contextvars
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

from piped.batons import Baton
from piped.engine.blocks import Block, Compiler
from piped.engine.counting import SELDOM, StepCount, Tally, clocked, count_again, count_steps
from piped.engine.cycles import groups, is_cycle, way_back
from piped.engine.nodes import Graph, GraphNode
from piped.engine.runners import Results, Runner, depth, run, run_async, run_line
from piped.engine.tracing import traced
from piped.errors import Problem, TooDeep
from piped.spec import (
    DecidingProcessor,
    Dependency,
    PipelineName,
    Processor,
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
    ``tally`` has what is counted of its runs.
    """

    __slots__ = (
        *("_blocks", "_clocked", "_dependencies", "_run", "graph", "is_async", "is_deep"),
        *("is_ready", "is_recursive", "name", "tally"),
    )

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.name = graph.name
        self.is_async = False
        self.is_ready = True
        self.is_recursive = False
        self.is_deep = False  # its calls of calls may be too deep for the engine or for Python
        self.tally = Tally()
        self._blocks: tuple[Block, ...] = ()
        self._clocked: tuple[Block, ...] = ()  # the same for runs that are timed, once there is one
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
        tally = self.tally
        try:
            if tally.ahead < 1:
                return await self._timed_async(baton)
            tally.ahead -= 1
            return await run_async(self._blocks, baton, self.graph.max_turns)
        except BaseException as error:
            tally.fail(error)
            raise
        finally:
            tally.ended += 1

    def now(self, baton: Baton) -> Results:
        """Return the results at once; only for a pipeline that is not async."""
        tally = self.tally
        try:
            if tally.ahead < 1:
                return self._timed(baton)
            tally.ahead -= 1
            return self._run(self._blocks, baton, self.graph.max_turns)
        except BaseException as error:
            tally.fail(error)
            raise

    def _timed(self, baton: Baton) -> Results:
        """Run, and note how long that takes."""
        tally = self.tally
        begun, share = tally.begin(), tally.share
        try:
            if self.is_deep:
                return self._deep(baton)
            return self._run(self._clocked_blocks(), baton, self.graph.max_turns)
        finally:
            tally.end(begun, share)

    async def _timed_async(self, baton: Baton) -> Results:
        tally = self.tally
        begun, share = tally.begin(), tally.share
        try:
            if self.is_deep:
                return await self._deep_async(baton)
            return await run_async(self._clocked_blocks(), baton, self.graph.max_turns)
        finally:
            tally.end(begun, share)

    @property
    def in_flight(self) -> int:
        """How many runs await something."""
        return self.tally.count - self.tally.ended if self.is_async else 0

    def _clocked_blocks(self) -> tuple[Block, ...]:
        if not self._clocked:
            self._clocked = clocked(self._blocks, self.tally)
        return self._clocked

    def _deep(self, baton: Baton) -> Results:
        """Run steps that are not timed, which would make it deeper; tell where it is too deep."""
        token = self._descend()
        try:
            return self._run(self._blocks, baton, self.graph.max_turns)
        except RecursionError as error:
            raise self._too_deep() from error
        finally:
            depth.reset(token)

    async def _deep_async(self, baton: Baton) -> Results:
        token = self._descend()
        try:
            return await run_async(self._blocks, baton, self.graph.max_turns)
        except RecursionError as error:
            raise self._too_deep() from error
        finally:
            depth.reset(token)

    def steps(self) -> Iterator[StepCount]:
        """Yield what was counted of each step that batons can reach."""
        runs = self.tally.count if self._is_line else 0  # which does not count by itself
        return count_steps(self._blocks, self._clocked, runs)

    @property
    def _is_line(self) -> bool:
        return self._run is run_line and not self.is_async

    async def traced(self, baton: Baton) -> tuple[Results, list[dict[str, Any]]]:
        """Return the results and what happened at each step, in order.

        A step tells ``processor`` and ``place``, the ``baton`` it was given and its ``output`` as
        plain copies, ``time_spent`` in seconds, and its ``failure`` as text, or None.
        """
        trace: list[dict[str, Any]] = []
        blocks = Compiler(lambda node, step: traced(node, step, trace)).compile(self.graph.sources)
        tally = self.tally
        begun, share = tally.begin(), tally.share
        try:
            return await run_async(blocks, baton, self.graph.max_turns), trace
        except BaseException as error:
            tally.fail(error)
            raise
        finally:
            tally.ended += 1
            tally.end(begun, share)
            if not self._is_line:
                count_again(self._blocks, blocks)

    def _descend(self) -> contextvars.Token[int]:
        """Count the calls in a cycle; others end by themselves."""
        below = depth.get() + self.is_recursive
        if below > MAX_DEPTH:
            raise self._too_deep(f"more than {MAX_DEPTH}")
        return depth.set(below)

    def _too_deep(self, how: str = "too") -> TooDeep:
        return TooDeep(f"pipelines call one another {how} deep at '{self.name}'")


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
            pipeline.tally.bound(1 if pipeline.is_deep else SELDOM)


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
