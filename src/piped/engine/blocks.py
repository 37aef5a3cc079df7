"""A compiled graph: blocks of plain functions.

A block is a straight run of steps. It ends where the graph branches or joins, at a processor that
chooses its consumers, and before a processor with error consumers: so an error scope always begins
at the head of a block and covers the block and all that follows it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from types import CoroutineType
from typing import Any, Final, TypeAlias

from piped.batons import Baton
from piped.engine.nodes import GraphNode, reachable
from piped.errors import PipelineError
from piped.spec import DecidingProcessor, Step, undeclared


@dataclass(slots=True, eq=False)
class Block:
    """A straight run of steps and what comes after it.

    ``runs`` are the steps cut at those that must be awaited: plain ones, then one to await (or
    None). ``is_main`` tells the blocks that batons reach without an error; where such a block is
    the head of a loop, error consumers that lead back to it have dealt with their error.
    ``entered`` counts the batons, but for those of a graph that is nothing but a block.
    """

    nodes: tuple[GraphNode, ...]
    steps: tuple[Step, ...]
    runs: tuple[tuple[tuple[Step, ...], Step | None], ...]
    choose: Callable[[Baton, int], Sequence[int]] | None = None
    then: tuple[Block, ...] = ()
    on_error: tuple[Block, ...] = ()
    is_main: bool = True
    is_loop_head: bool = False
    entered: int = 0

    def node_of(self, step: Step | None) -> GraphNode:
        """Return the node of one of the steps; of the last one for what is no step."""
        return self.nodes[self.steps.index(step)] if step in self.steps else self.nodes[-1]

    @property
    def is_line(self) -> bool:
        """Whether a graph that begins here is nothing but this block."""
        return not (self.choose or self.then or self.on_error)

    def chosen(self, baton: Baton) -> tuple[Block, ...]:
        """Return the blocks that go on with the baton.

        Raises:
            PipelineError: The processor chose a consumer that does not exist.
        """
        assert self.choose is not None
        then = self.then
        choice: Any = self.choose(baton, len(then))
        if choice.__class__ is CoroutineType:
            raise undeclared(choice)
        try:
            return tuple(then[index] for index in choice)
        except IndexError as error:
            what = f"chose a consumer that does not exist: there are {len(then)}"
            raise PipelineError(what) from error


END: Final = Block((), (), ())
"""What a deciding processor without consumers decides about: the end of the way, or a stop."""

Wrap: TypeAlias = Callable[[GraphNode, Step], Step]


@dataclass(slots=True, eq=False)
class Compiler:
    """Compiles a graph into blocks; ``wrap`` puts something around each step, such as a trace."""

    wrap: Wrap | None = None
    blocks: dict[GraphNode, Block] = field(default_factory=dict)
    _heads: set[GraphNode] = field(default_factory=set)
    _loops: set[GraphNode] = field(default_factory=set)
    _main: set[GraphNode] = field(default_factory=set)

    def compile(self, sources: Sequence[GraphNode]) -> tuple[Block, ...]:
        """Return a block for each source."""
        nodes = list(reachable(sources))
        self._heads = _heads(sources, nodes)
        self._loops = _loop_heads(nodes)
        self._main = set(reachable(sources, errors=False))
        todo = [node for node in nodes if node in self._heads]
        for head in todo:
            self.blocks[head] = self._block(head)
        for head, block in self.blocks.items():
            block.then = tuple(self.blocks[node] for node in block.nodes[-1].consumers)
            if block.choose and not block.then:
                block.then = (END,)
            block.on_error = tuple(self.blocks[node] for node in head.error_consumers)
        return tuple(self.blocks[node] for node in sources)

    def _block(self, head: GraphNode) -> Block:
        line = [head]
        while len(line[-1].consumers) == 1 and line[-1].consumers[0] not in self._heads:
            line.append(line[-1].consumers[0])
        stepping: list[tuple[GraphNode, Step]] = []
        runs: list[tuple[tuple[Step, ...], Step | None]] = []
        plain: list[Step] = []
        for node in line:
            if type(node.processor).process is DecidingProcessor.process:
                continue  # it only chooses
            step = node.processor.step()
            step = self.wrap(node, step) if self.wrap else step
            stepping.append((node, step))
            if node.processor.is_async:
                runs.append((tuple(plain), step))
                plain = []
            else:
                plain.append(step)
        if plain or not runs:
            runs.append((tuple(plain), None))
        last = line[-1].processor
        return Block(
            nodes=(*(node for node, _ in stepping), line[-1]),
            steps=tuple(step for _, step in stepping),
            runs=tuple(runs),
            choose=last.choose if isinstance(last, DecidingProcessor) else None,
            is_main=head in self._main,
            is_loop_head=head in self._loops,
        )


def _heads(sources: Iterable[GraphNode], nodes: Iterable[GraphNode]) -> set[GraphNode]:
    """Return the nodes at which a block must begin."""
    heads, seen = set(sources), set[GraphNode]()
    for node in nodes:
        heads.update(node.error_consumers)
        if node.error_consumers:
            heads.add(node)
        branches = len(node.consumers) != 1 or isinstance(node.processor, DecidingProcessor)
        for consumer in node.consumers:
            if branches or consumer in seen:
                heads.add(consumer)
            seen.add(consumer)
    return heads


def _loop_heads(nodes: Iterable[GraphNode]) -> set[GraphNode]:
    """Return the nodes that some way leads back to."""
    state: dict[GraphNode, bool] = {}  # whether the node is on the way that is being walked
    loops = set()
    for start in nodes:
        if start in state:
            continue
        state[start] = True
        way = [(start, iter((*start.consumers, *start.error_consumers)))]
        while way:
            node, ahead = way[-1]
            following = next(ahead, None)
            if following is None:
                state[node] = False
                way.pop()
            elif state.get(following):
                loops.add(following)
            elif following not in state:
                state[following] = True
                way.append((following, iter((*following.consumers, *following.error_consumers))))
    return loops
