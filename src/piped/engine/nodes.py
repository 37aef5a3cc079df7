"""A graph: processors that know their consumers and error consumers."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from piped.errors import Place
from piped.spec import Dependency, Processor


@dataclass(slots=True, eq=False)
class GraphNode:
    """One processor in a graph, with the place it was written at, and what is counted of it."""

    processor: Processor
    name: str
    place: Place
    at: str
    dependencies: tuple[Dependency[Any], ...] = ()
    consumers: list[GraphNode] = field(default_factory=list)
    error_consumers: list[GraphNode] = field(default_factory=list)
    failed: int = 0
    cancelled: int = 0
    spent_s: float = 0.0  # reckoned from some runs

    def __str__(self) -> str:
        return f"{self.at} ({self.place})"


@dataclass(slots=True, eq=False)
class Graph:
    """The processors of one pipeline; batons enter at its sources."""

    name: str
    place: Place
    at: str
    sources: list[GraphNode]
    max_turns: int

    def nodes(self) -> Iterator[GraphNode]:
        """Yield each node once, breadth first, error consumers included."""
        yield from reachable(self.sources)


def reachable(sources: Iterable[GraphNode], errors: bool = True) -> Iterator[GraphNode]:
    """Yield each node that batons can reach, once, breadth first."""
    queue, seen = deque(sources), set()
    while queue:
        node = queue.popleft()
        if node not in seen:
            seen.add(node)
            yield node
            queue += node.consumers
            queue += node.error_consumers if errors else ()
