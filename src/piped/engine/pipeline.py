"""Pipelines: compiled graphs that are called with a baton."""

from __future__ import annotations

import contextvars
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from piped.batons import Baton
from piped.engine.blocks import Block, Compiler
from piped.engine.graph import Graph, GraphNode
from piped.engine.runners import Results, Runner, run, run_async, run_line
from piped.errors import Problem, TooDeep
from piped.spec import (
    DecidingProcessor,
    Dependency,
    PipelineName,
    Processor,
    Step,
    dependencies_of,
)

MAX_DEPTH: Final = 100
"""How deep pipelines may call one another in a cycle."""

_depth: contextvars.ContextVar[int] = contextvars.ContextVar("depth", default=0)


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

    __slots__ = ("_blocks", "_run", "graph", "is_async", "is_ready", "is_recursive", "name")

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.name = graph.name
        self.is_async = False
        self.is_ready = True
        self.is_recursive = False
        self._blocks: tuple[Block, ...] = ()
        self._run: Runner = run

    def __repr__(self) -> str:
        return f"<Pipeline {self.name}>"

    def processors(self) -> Iterator[Processor]:
        """Yield each processor once."""
        for node in self.graph.nodes():
            yield node.processor

    def dependencies(self) -> Iterator[Dependency[Any]]:
        """Yield each dependency of each processor."""
        for processor in self.processors():
            yield from dependencies_of(processor)

    def compile(self) -> None:
        """Make the plain functions that batons will go through; all dependencies are bound."""
        self._blocks = Compiler().compile(self.graph.sources)
        if len(self._blocks) == 1 and self._blocks[0].is_line:
            self._run = run_line

    async def __call__(self, baton: Baton) -> Results:
        if not self.is_async:
            return self.now(baton)
        if not self.is_recursive:
            return await run_async(self._blocks, baton, self.graph.max_turns)
        token = self._descend()
        try:
            return await run_async(self._blocks, baton, self.graph.max_turns)
        finally:
            _depth.reset(token)

    def now(self, baton: Baton) -> Results:
        """Return the results at once; only for a pipeline that is not async."""
        if not self.is_recursive:
            return self._run(self._blocks, baton, self.graph.max_turns)
        token = self._descend()
        try:
            return self._run(self._blocks, baton, self.graph.max_turns)
        finally:
            _depth.reset(token)

    async def traced(self, baton: Baton) -> tuple[Results, list[dict[str, Any]]]:
        """Return the results and what happened at each step, in order.

        A step tells ``processor`` and ``place``, the ``baton`` it was given and its ``output`` as
        plain copies, ``time_spent`` in seconds, and its ``failure`` as text, or None.
        """
        trace: list[dict[str, Any]] = []
        blocks = Compiler(lambda node, step: _traced(node, step, trace)).compile(self.graph.sources)
        return await run_async(blocks, baton, self.graph.max_turns), trace

    def _descend(self) -> contextvars.Token[int]:
        depth = _depth.get()
        if depth >= MAX_DEPTH:
            raise TooDeep(f"pipelines call one another more than {MAX_DEPTH} deep at '{self.name}'")
        return _depth.set(depth + 1)


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
    changed = True
    while changed:  # a fixed point: who calls an async pipeline is async
        changed = False
        for pipeline in pipelines.values():
            if not pipeline.is_async and any(each.is_async for each in pipeline.processors()):
                pipeline.is_async = changed = True
    for pipeline in pipelines.values():
        pipeline.is_recursive = pipeline.name in _reached(calls, calls[pipeline.name])


def _reached(calls: Mapping[str, Iterable[str]], start: Iterable[str]) -> set[str]:
    reached: set[str] = set()
    ahead = list(start)
    while ahead:
        name = ahead.pop()
        if name not in reached:
            reached.add(name)
            ahead += calls.get(name, ())
    return reached


def endless_calls(graphs: Mapping[str, Graph]) -> Iterator[Problem]:
    """Yield a problem for each cycle of pipelines that cannot end.

    A call is certain where no processor decides about it and the called pipeline needs no input
    path; a cycle of certain calls never comes to an end.
    """
    certain = {name: dict(_certain_calls(graph)) for name, graph in graphs.items()}
    told: set[str] = set()
    for name in graphs:
        cycle = _cycle(certain, name)
        if cycle is None or told & set(cycle):
            continue
        told |= set(cycle)
        nodes = [certain[caller][called] for caller, called in _pairs(cycle)]
        chain = " -> ".join([*cycle, cycle[0]])
        why = ", ".join(f"called at {node.place}" for node in nodes)
        what = f"these pipelines call one another without end: {chain}"
        hint = "let a 'stop', a 'lambda-decider' or 'run-pipeline-if' decide about one of the calls"
        yield Problem("endless-calls", what, nodes[0].place, nodes[0].at, why, hint)


def _certain_calls(graph: Graph) -> Iterator[tuple[str, GraphNode]]:
    seen: set[GraphNode] = set()
    ahead = list(graph.sources)
    while ahead:
        node = ahead.pop()
        if node in seen:
            continue
        seen.add(node)
        if (called := getattr(node.processor, "certain_call", None)) is not None:
            yield called.removeprefix("pipeline."), node
        if not isinstance(node.processor, DecidingProcessor):
            ahead += node.consumers


def _cycle(certain: Mapping[str, Mapping[str, Any]], start: str) -> list[str] | None:
    """Return the names on a way of certain calls from a pipeline back to itself."""
    ways: list[list[str]] = [[start]]
    seen: set[str] = set()
    while ways:
        way = ways.pop()
        for called in certain.get(way[-1], ()):
            if called == start:
                return way
            if called not in seen:
                seen.add(called)
                ways.append([*way, called])
    return None


def _pairs(cycle: Sequence[str]) -> Iterator[tuple[str, str]]:
    yield from zip(cycle, [*cycle[1:], cycle[0]], strict=True)
