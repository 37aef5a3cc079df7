"""Where in a document a problem of a component is, which knows its parameters only."""

from __future__ import annotations

from dataclasses import replace

from piped.document.nodes import Mapping, Node, Scalar, Sequence
from piped.errors import Place, Problem


def placed(problem: Problem, node: Node, at: str) -> Problem:
    """Return a problem that names what it is about below a node with its place and whole path."""
    place = problem.place
    if place is None or not place.file:
        nearest = _nearest(node, problem.at)
        place = nearest.place if place is None else _inside(nearest, place)
    return replace(problem, place=place, at=".".join(filter(None, (at, problem.at))))


def _inside(node: Node, place: Place) -> Place:
    """Return the place in the document of a place in the text of a node, which names no file.

    Where a text goes on in the document is known of the first line, and of a block behind `|`.
    """
    content = node.content if isinstance(node, Scalar) else None
    if content and (place.line == 1 or content.line > node.place.line):
        return content.moved(place.line - 1, place.column - 1)
    return node.place


def _nearest(node: Node, path: str) -> Node:
    """Return the node that a path below a node leads to, as far as it leads."""
    children: list[tuple[str, Node]] = []
    if isinstance(node, Mapping):
        children = [(str(key), entry.node) for key, entry in node.items()]
    elif isinstance(node, Sequence):
        children = [(f"[{i}]", item) for i, item in enumerate(node.items)]
    for name, child in sorted(children, key=lambda each: -len(each[0])):
        if path == name or path.startswith((f"{name}.", f"{name}[")):
            return _nearest(child, path[len(name) :].removeprefix("."))
    return node
