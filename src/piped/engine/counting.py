"""What a pipeline counts of its runs: each of them, and of some how long every step takes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any, Final

from piped.batons import Baton
from piped.engine.blocks import Block
from piped.engine.nodes import GraphNode
from piped.sampling import Samples
from piped.spec import Step

OFTEN_S: Final = 0.1
SELDOM: Final = 64
"""How many runs a timed one stands for at most; see ``Samples``."""


class Tally(Samples):
    """The runs of a pipeline: how many were not good, and are over, and how long all took."""

    __slots__ = ("cancelled", "ended", "failed", "spent_s")

    def __init__(self) -> None:
        super().__init__(SELDOM, OFTEN_S)
        self.failed = self.cancelled = 0
        self.ended = 0  # of those that await something
        self.spent_s = 0.0  # reckoned from those that were timed

    def fail(self, error: BaseException) -> None:
        """Count a run that has not come to its end."""
        if isinstance(error, asyncio.CancelledError):
            self.cancelled += 1
        else:
            self.failed += 1

    def end(self, begun: float, share: int) -> None:
        """Be told that a timed run is over, and for how many it stands."""
        self.spent_s += (perf_counter() - begun) * share


def clocked(sources: Sequence[Block], tally: Tally) -> tuple[Block, ...]:
    """Return a copy of blocks that note of each step how long it takes."""
    copies = {block: _clocked_block(block, tally) for block in blocks_of(sources)}
    for block, copy in copies.items():
        copy.then = tuple(copies[each] for each in block.then)
        copy.on_error = tuple(copies[each] for each in block.on_error)
    return tuple(copies[each] for each in sources)


def blocks_of(sources: Sequence[Block]) -> list[Block]:
    """Return each block that can be reached, once."""
    found: dict[Block, None] = {}
    ahead = [*sources]
    while ahead:
        block = ahead.pop()
        if block not in found:
            found[block] = None
            ahead += (*block.then, *block.on_error)
    return [*found]


def _clocked_block(block: Block, tally: Tally) -> Block:
    pairs = zip(block.nodes, block.steps, strict=False)  # the last node may only choose
    steps = tuple(_clocked_step(node, step, tally) for node, step in pairs)
    ahead = iter(steps)
    runs = tuple(
        (tuple(next(ahead) for _ in plain), None if waiting is None else next(ahead))
        for plain, waiting in block.runs
    )
    return replace(block, steps=steps, runs=runs, entered=0)


def _clocked_step(node: GraphNode, step: Step, tally: Tally) -> Step:
    def clocked_step(baton: Baton) -> Any:
        begun = perf_counter()
        try:
            return step(baton)
        finally:
            node.spent_s += (perf_counter() - begun) * tally.share

    async def clocked_async_step(baton: Baton) -> Any:
        begun, share = perf_counter(), tally.share
        try:
            return await step(baton)
        finally:
            node.spent_s += (perf_counter() - begun) * share

    return clocked_async_step if node.processor.is_async else clocked_step


def count_again(sources: Sequence[Block], copies: Sequence[Block]) -> None:
    """Add to blocks what copies of them have counted, which nobody keeps."""
    for block, copy in zip(blocks_of(sources), blocks_of(copies), strict=True):
        if copy is not block:  # the end of a way is one for all
            block.entered += copy.entered


@dataclass(frozen=True, slots=True)
class StepCount:
    """How often a step was begun, how often it failed, and the time of all times, as reckoned."""

    node: GraphNode
    begun: int
    failed: int
    spent_s: float


def count_steps(
    sources: Sequence[Block], copies: Sequence[Block], runs: int
) -> Iterator[StepCount]:
    """Yield what was counted of each step; ``runs`` are those of a block that counts none.

    A straight run is counted where it begins: a step of it was begun as often as that, but for the
    times that one before it did not come to its end.
    """
    again = blocks_of(copies)
    for number, block in enumerate(blocks_of(sources)):
        begun = runs + block.entered + (again[number].entered if again else 0)
        for node in dict.fromkeys(block.nodes):
            yield StepCount(node, begun, node.failed, node.spent_s)
            begun -= node.failed + node.cancelled
