"""A compiled graph: blocks of plain functions, and the two loops that run them.

A block is a straight run of steps. It ends where the graph branches or joins, at a processor that
chooses its consumers, and before a processor with error consumers: so an error scope always begins
at the head of a block and covers the block and all that follows it.

What is still to be done stands on a stack of ``(block, baton, error)``; a loop in the graph is
therefore a jump, not a call. ``error`` is the exception that error consumers are busy with. An
entry without a block is the end of the error scope whose block and input baton it holds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from types import CoroutineType
from typing import Any, Final, TypeAlias

from piped.batons import Baton
from piped.engine.graph import GraphNode, reachable
from piped.errors import PipelineError, TooManyTurns
from piped.spec import DecidingProcessor, Step, undeclared


class Results(list[Any]):
    """The results of a pipeline's sinks, in the order reached.

    ``stopped`` counts the batons whose way a deciding processor has ended.
    """

    __slots__ = ("stopped",)

    def __init__(self) -> None:
        self.stopped = 0


@dataclass(slots=True, eq=False)
class Block:
    """A straight run of steps and what comes after it.

    ``runs`` are the steps cut at those that must be awaited: plain ones, then one to await (or
    None). ``is_main`` tells the blocks that batons reach without an error.
    """

    nodes: tuple[GraphNode, ...]
    steps: tuple[Step, ...]
    runs: tuple[tuple[tuple[Step, ...], Step | None], ...]
    choose: Callable[[Baton, int], Sequence[int]] | None = None
    then: tuple[Block, ...] = ()
    on_error: tuple[Block, ...] = ()
    is_main: bool = True
    is_loop_head: bool = False

    def node_of(self, step: Step | None) -> GraphNode:
        """Return the node of one of the steps; of the last one for what is no step."""
        return self.nodes[self.steps.index(step)] if step in self.steps else self.nodes[-1]

    def chosen(self, baton: Baton) -> tuple[Block, ...]:
        """Return the blocks that go on with the baton.

        Raises:
            PipelineError: The processor chose a consumer that does not exist.
        """
        assert self.choose is not None
        then = self.then
        try:
            return tuple(then[index] for index in self.choose(baton, len(then)))
        except IndexError as error:
            what = f"chose a consumer that does not exist: there are {len(then)}"
            raise PipelineError(what) from error


Pending: TypeAlias = list[tuple[Block | None, Any, BaseException | None]]

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


def run(sources: Sequence[Block], baton: Baton, max_turns: int) -> Results:
    """Send a baton through blocks that need no awaiting."""
    results = Results()
    pending: Pending = [(block, baton, None) for block in reversed(sources)]
    turns = 0
    while pending:
        block, baton, error = pending.pop()
        if block is None:
            continue
        if block.on_error:
            pending.append((None, (block, baton), error))
        if block.is_loop_head:
            turns += 1
        step: Any = None
        if block.is_main:
            error = None
        try:
            if turns > max_turns:
                raise _too_many(max_turns)
            if error is None:
                for step in block.steps:
                    baton = step(baton)
                if baton.__class__ is CoroutineType:
                    raise undeclared(baton)
                step = None
                then = block.chosen(baton) if block.choose else block.then
            else:
                baton, then = _run_handling(error, block, baton)
        except Exception as failure:
            if error is None:
                blame(failure, block.node_of(step))
            _unwind(pending, failure)
            continue
        if then:
            pending += [(following, baton, error) for following in reversed(then)]
        else:
            results.append(baton)
            results.stopped += block.choose is not None
    return results


async def run_async(sources: Sequence[Block], baton: Baton, max_turns: int) -> Results:
    """Send a baton through blocks, awaiting the steps that ask for it."""
    results = Results()
    pending: Pending = [(block, baton, None) for block in reversed(sources)]
    turns = 0
    while pending:
        block, baton, error = pending.pop()
        if block is None:
            continue
        if block.on_error:
            pending.append((None, (block, baton), error))
        if block.is_loop_head:
            turns += 1
        step: Any = None
        if block.is_main:
            error = None
        try:
            if turns > max_turns:
                raise _too_many(max_turns)
            if error is None:
                for steps, waiting in block.runs:
                    for step in steps:
                        baton = step(baton)
                    if baton.__class__ is CoroutineType:
                        raise undeclared(baton)
                    if waiting is not None:
                        step = waiting
                        baton = await waiting(baton)
                step = None
                then = block.chosen(baton) if block.choose else block.then
            else:
                baton, then = await _run_handling_async(error, block, baton)
        except Exception as failure:
            if error is None:
                blame(failure, block.node_of(step))
            _unwind(pending, failure)
            continue
        if then:
            pending += [(following, baton, error) for following in reversed(then)]
        else:
            results.append(baton)
            results.stopped += block.choose is not None
    return results


def _too_many(max_turns: int) -> TooManyTurns:
    return TooManyTurns(f"a loop has not ended after {max_turns} turns (see 'max_turns')")


def _unwind(pending: Pending, failure: Exception) -> None:
    """Go back to the nearest error scope and put its consumers on the stack; else raise."""
    while pending:
        block, held, _ = pending.pop()
        if block is None:
            scope, given = held
            pending += [(consumer, given, failure) for consumer in reversed(scope.on_error)]
            return
    raise failure


def _run_handling(error: BaseException, block: Block, baton: Baton) -> Any:
    """Run an error consumer's block while the error is Python's current exception."""
    traceback = error.__traceback__
    step: Any = None
    try:
        raise error
    except Exception:
        error.__traceback__ = traceback
        try:
            for step in block.steps:
                baton = step(baton)
            step = None
            return baton, block.chosen(baton) if block.choose else block.then
        except Exception as failure:
            blame(failure, block.node_of(step), error)
            raise


async def _run_handling_async(error: BaseException, block: Block, baton: Baton) -> Any:
    """Do the same as ``_run_handling`` for a block that may have to be awaited."""
    traceback = error.__traceback__
    step: Any = None
    try:
        raise error
    except Exception:
        error.__traceback__ = traceback
        try:
            for steps, waiting in block.runs:
                for step in steps:
                    baton = step(baton)
                if waiting is not None:
                    step = waiting
                    baton = await waiting(baton)
            step = None
            return baton, block.chosen(baton) if block.choose else block.then
        except Exception as failure:
            blame(failure, block.node_of(step), error)
            raise


NOTE: Final = "in {at} ({place})"


def blame(failure: BaseException, node: GraphNode, handled: BaseException | None = None) -> None:
    """Note on an exception where it was raised; one that is raised again keeps its first place."""
    note = NOTE.format(at=node.at, place=node.place)
    notes = getattr(failure, "__notes__", ())
    if failure is not handled and note not in notes:
        failure.add_note(note)
