"""The loops that send a baton through blocks: one that never waits, and one that awaits.

What is still to be done stands on a stack of ``(block, baton, error)``; a loop in the graph is
therefore a jump, not a call. ``error`` is the exception that error consumers are busy with. An
entry without a block is the end of the error scope whose block and input baton it holds.
"""

from __future__ import annotations

from asyncio import CancelledError
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from types import CoroutineType
from typing import Any, Final, TypeAlias

from piped.batons import Baton
from piped.engine.blocks import Block
from piped.engine.nodes import GraphNode
from piped.errors import TooDeep, TooManyTurns, add_note
from piped.spec import undeclared


class Results(list[Any]):
    """The results of a pipeline's sinks, in the order reached.

    ``stopped`` counts the batons whose way a deciding processor has ended.
    """

    stopped: int = 0  # on the class: most pipelines end without a stop, and pay nothing for it


Pending: TypeAlias = list[tuple[Block | None, Any, BaseException | None]]

Runner: TypeAlias = Callable[[Sequence[Block], Baton, int], Results]

depth: Final[ContextVar[int]] = ContextVar("depth", default=0)
"""How many pipelines of a cycle have called one another; 0 outside of cycles."""


def run_line(sources: Sequence[Block], baton: Baton, _max_turns: int) -> Results:
    """Do what ``run`` does where the graph is a single block."""
    block = sources[0]
    step: Any = None
    try:
        for step in block.steps:
            baton = step(baton)
            if baton.__class__ is CoroutineType:
                raise undeclared(baton)
    except Exception as failure:
        blame(failure, block.node_of(step))
        raise
    results = Results()
    results.append(baton)
    return results


def run(sources: Sequence[Block], baton: Baton, max_turns: int) -> Results:
    """Send a baton through blocks that need no awaiting."""
    results = Results()
    pending: Pending = []
    then: Sequence[Block] = sources
    error: BaseException | None = None
    turns = 0
    block: Block | None
    while then or pending:
        if then:
            block = then[0]
            if len(then) > 1:
                for following in then[:0:-1]:
                    pending.append((following, baton, error))
        else:
            block, baton, error = pending.pop()
            if block is None:  # the end of an error scope
                continue
        block.entered += 1
        if block.on_error:
            pending.append((None, (block, baton), error))
        if block.is_loop_head:
            turns += 1
            if turns > max_turns:
                raise _too_many(max_turns, block)
            if block.is_main:
                error = None
        step: Any = None
        try:
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
            then = ()
            continue
        if not then:
            results.append(baton)
            if block.choose:
                results.stopped += 1
    return results


async def run_async(sources: Sequence[Block], baton: Baton, max_turns: int) -> Results:
    """Send a baton through blocks, awaiting the steps that ask for it."""
    results = Results()
    pending: Pending = []
    then: Sequence[Block] = sources
    error: BaseException | None = None
    turns = 0
    block: Block | None
    while then or pending:
        if then:
            block = then[0]
            if len(then) > 1:
                for following in then[:0:-1]:
                    pending.append((following, baton, error))
        else:
            block, baton, error = pending.pop()
            if block is None:  # the end of an error scope
                continue
        block.entered += 1
        if block.on_error:
            pending.append((None, (block, baton), error))
        if block.is_loop_head:
            turns += 1
            if turns > max_turns:
                raise _too_many(max_turns, block)
            if block.is_main:
                error = None
        step: Any = None
        try:
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
        except CancelledError:
            if error is None:
                block.node_of(step).cancelled += 1
            raise
        except Exception as failure:
            if error is None:
                blame(failure, block.node_of(step))
            _unwind(pending, failure)
            then = ()
            continue
        if not then:
            results.append(baton)
            if block.choose:
                results.stopped += 1
    return results


def _too_many(max_turns: int, head: Block) -> TooManyTurns:
    """Return the error that no error consumer of the pipeline gets: they may be the loop."""
    error = TooManyTurns(f"a loop has not ended after {max_turns} turns (see 'max_turns')")
    blame(error, head.nodes[0])
    return error


def _unwind(pending: Pending, failure: Exception) -> None:
    """Go back to the nearest error scope and put its consumers on the stack; else raise.

    Inside of a cycle of pipelines no error consumer gets ``TooDeep``: each may call the cycle
    again, and where every call makes two there is no end to that.
    """
    if isinstance(failure, TooDeep | RecursionError) and depth.get():
        raise failure
    while pending:
        block, held, _ = pending.pop()
        if block is None:
            scope, given = held
            pending += [(consumer, given, failure) for consumer in reversed(scope.on_error)]
            return
    raise failure


def _run_handling(error: BaseException, block: Block, baton: Baton) -> Any:
    """Run an error consumer's block while the error is Python's current exception."""
    traceback, context = error.__traceback__, error.__context__
    step: Any = None
    try:
        raise error
    except Exception:
        error.__traceback__, error.__context__ = traceback, context
        try:
            for step in block.steps:
                baton = step(baton)
                if baton.__class__ is CoroutineType:
                    raise undeclared(baton)
            step = None
            return baton, block.chosen(baton) if block.choose else block.then
        except Exception as failure:
            blame(failure, block.node_of(step), error)
            raise


async def _run_handling_async(error: BaseException, block: Block, baton: Baton) -> Any:
    """Do the same as ``_run_handling`` for a block that may have to be awaited."""
    traceback, context = error.__traceback__, error.__context__
    step: Any = None
    try:
        raise error
    except Exception:
        error.__traceback__, error.__context__ = traceback, context
        try:
            for steps, waiting in block.runs:
                for step in steps:
                    baton = step(baton)
                    if baton.__class__ is CoroutineType:
                        raise undeclared(baton)
                if waiting is not None:
                    step = waiting
                    baton = await waiting(baton)
            step = None
            return baton, block.chosen(baton) if block.choose else block.then
        except CancelledError:
            block.node_of(step).cancelled += 1
            raise
        except Exception as failure:
            blame(failure, block.node_of(step), error)
            raise


def blame(failure: BaseException, node: GraphNode, handled: BaseException | None = None) -> None:
    """Note on an exception where it was raised; one that is raised again keeps its first place."""
    node.failed += 1
    if failure is handled:
        return
    add_note(failure, f"in {node.at} ({node.place}){_line(failure, node)}")


def _line(failure: BaseException, node: GraphNode) -> str:
    """Return the line of the step's own code that failed, where that is not its first line."""
    line = node.place.line
    trace = failure.__traceback__
    trace = trace and trace.tb_next  # the first entry is the runner itself
    while trace and trace.tb_frame.f_code.co_filename != __file__:  # there another step begins
        is_own = trace.tb_frame.f_code.co_filename == node.place.file
        if is_own and trace.tb_lineno >= node.place.line:
            line = trace.tb_lineno
        trace = trace.tb_next
    return "" if line == node.place.line else f", line {line}"
