"""YAML text -> nodes, built from PyYAML's events so that every bound holds before it is broken.

PyYAML's own composer is not used: it knows neither duplicate keys nor any bound.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import yaml

from piped.document import scalars, syntax, tags
from piped.document.frames import Frame, ListFrame, MappingFrame
from piped.document.nodes import Mapping, Node, Scalar, Sequence
from piped.document.report import MAX_DEPTH, Report, suggestion, too_deep, too_many_nodes
from piped.document.tree import copy, shortened
from piped.errors import Place, Problem

LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, slots=True)
class Source:
    """A text to read, and where it will stand in the document.

    ``at`` and ``depth`` tell where the text is mounted. ``gap`` is the index of a space that
    nobody wrote (see ``overrides``): columns behind it are counted without it.
    """

    text: str
    file: str
    at: str = ""
    depth: int = 0
    gap: int | None = None

    def place(self, line: int, column: int) -> Place:
        if line == 1 and self.gap is not None and column > self.gap:
            column -= 1
        return Place(self.file, line, column)


def read(source: Source, report: Report) -> Node:
    """Return the node that a text stands for: as much of it as could be read.

    An empty text is a null. What is wrong goes into the report.
    """
    tree = _Tree(source, report)
    text, forbidden = syntax.without_unprintable(source.text)
    if forbidden is not None:
        line, column = syntax.position(source.text, forbidden)
        what = f"the character U+{ord(source.text[forbidden]):04X} is not allowed in YAML"
        tree.stop_at(Problem("yaml-syntax", what, source.place(line, column)))
    try:
        for event in yaml.parse(text, Loader=LOADER):
            if not tree.take(event):
                break
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        problem, known = syntax.explained(error, text)
        tree.stop_at(problem.located(source.place(*known) if known else None, ""))
    return tree.finished()


@dataclass(frozen=True, slots=True)
class _Anchor:
    node: Node
    size: int
    height: int


class _Tree:
    """Grows a node from events; ``take`` returns false when the rest must not be read."""

    def __init__(self, source: Source, report: Report) -> None:
        self.source = source
        self.report = report
        self.place = source.place(1, 1)
        self.root: Node | None = None
        self.frames: list[Frame] = []
        self.anchors: dict[str, _Anchor] = {}
        self.documents = 0

    @cached_property
    def lines(self) -> list[str]:
        """The text, line by line."""
        return self.source.text.splitlines()

    def take(self, event: yaml.Event) -> bool:
        """Take the next event."""
        # Every event of a parser has a mark, though the stubs of PyYAML do not say so.
        mark: Any = event.start_mark
        self.place = self.source.place(mark.line + 1, mark.column + 1)
        match event:
            case yaml.ScalarEvent():
                return self._take_scalar(event)
            case yaml.CollectionStartEvent():
                return self._open(event)
            case yaml.CollectionEndEvent():
                return self._close()
            case yaml.AliasEvent():
                return self._take_alias(event.anchor or "")
            case yaml.DocumentStartEvent():
                return self._start_document()
        return True

    def stop(self, problem: Problem) -> bool:
        """Report something that leaves a part of the text unread; return false."""
        self.report.is_complete = False
        self._add(problem)
        return False

    def stop_at(self, problem: Problem) -> bool:
        """Report broken syntax, of which only the place is sure; return false."""
        self.report.is_complete = False
        self.report.add(problem.located(self.place, ""))
        return False

    def finished(self) -> Node:
        """Close what is open still, and return the root."""
        while self.frames:
            self.frames[-1].tag = None
            self._close()
        return self.root or Scalar(self.source.place(1, 1), None)

    def _add(self, problem: Problem) -> None:
        at = self.source.at
        for frame in self.frames:
            at = frame.path(at)
        self.report.add(problem.located(self.place, at))

    def _start_document(self) -> bool:
        self.documents += 1
        if self.documents < 2:
            return True
        what = "expected one document in a file, got a second one"
        return self.stop(Problem("several-documents", what, hint="remove the second '---'"))

    def _has_room(self, nodes: int, height: int) -> bool:
        if not self.report.has_room(nodes):
            return self.stop(too_many_nodes())
        if self.source.depth + len(self.frames) + height > MAX_DEPTH:
            return self.stop(too_deep())
        return True

    def _take_scalar(self, event: yaml.ScalarEvent) -> bool:
        if not self._has_room(1, 0):
            return False
        if syntax.has_surrogates(event.value):
            return self.stop_at(Problem("yaml-syntax", "an escape stands for no character"))
        place = self.place
        is_plain = event.tag is None and event.implicit[0]
        if is_plain and event.value == "<<" and self._take_merge_key(place):
            return True
        value = self._resolved(event.value) if is_plain else event.value
        node: Node = Scalar(place, value, content=self._content(event))
        if event.tag is not None:
            node = self._tagged(event.tag, node)
        if event.anchor is not None:
            self.anchors[event.anchor] = _Anchor(node, 1, 0)
        return self._attach(node, place, 0)

    def _content(self, event: yaml.ScalarEvent) -> Place | None:
        """Return where the text itself begins: behind its quote, or on the line below its ``|``."""
        mark: Any = event.start_mark
        if event.tag is not None:
            return None
        if event.style in ("'", '"'):
            return self.source.place(mark.line + 1, mark.column + 2)
        if event.style not in ("|", ">"):
            return None
        below = iter(self.lines[mark.line + 1 :])
        first = next((line for line in below if line.strip()), "")
        return self.source.place(mark.line + 2, len(first) - len(first.lstrip(" ")) + 1)

    def _take_merge_key(self, place: Place) -> bool:
        frame = self.frames[-1] if self.frames else None
        if not isinstance(frame, MappingFrame) or not frame.expects_key:
            return False
        for problem in frame.take_merge_key(place):
            self._add(problem)
        return True

    def _resolved(self, text: str) -> Any:
        try:
            return scalars.resolve(text)
        except ValueError as error:
            self._add(Problem("bad-number", str(error), hint="put it in quotes if it is text"))
            return None

    def _tagged(self, tag: str, node: Node) -> Node:
        made = tags.apply(tag, node)
        if isinstance(made, Problem):
            self._add(made)
            return node
        self.report.kinds.add(type(made))
        return made

    def _take_alias(self, name: str) -> bool:
        if any(frame.anchor == name for frame in self.frames):
            what = f"the anchor '{shortened(name)}' contains itself"
            return self.stop(Problem("recursive-anchor", what))
        anchor = self.anchors.get(name)
        if anchor is None:
            what = f"unknown anchor '{shortened(name)}'"
            hint = "put text that begins with '*' in quotes"
            hint = suggestion(name, self.anchors) if self.anchors else hint
            self._add(Problem("unknown-anchor", what, hint=hint))
            anchor = _Anchor(Scalar(self.place, None), 1, 0)
        if not self._has_room(anchor.size, anchor.height):
            return False
        return self._attach(copy(anchor.node), self.place, anchor.height)

    def _open(self, event: yaml.CollectionStartEvent) -> bool:
        nodes = self.report.nodes
        if not self._has_room(1, 1):
            return False
        if isinstance(event, yaml.MappingStartEvent):
            mapping = Mapping(self.place)
            self.frames.append(MappingFrame(mapping, event.tag, event.anchor, nodes))
        else:
            sequence = Sequence(self.place)
            self.frames.append(ListFrame(sequence, event.tag, event.anchor, nodes))
        return True

    def _close(self) -> bool:
        frame = self.frames.pop()
        node: Node = frame.closed()
        place = node.place
        if frame.tag is not None:
            node = self._tagged(frame.tag, node)
        if frame.anchor is not None:
            nodes = self.report.nodes - frame.nodes_before
            self.anchors[frame.anchor] = _Anchor(node, nodes, frame.height)
        return self._attach(node, place, frame.height)

    def _attach(self, node: Node, place: Place, height: int) -> bool:
        if not self.frames:
            self.root = node
            return True
        frame = self.frames[-1]
        frame.height = max(frame.height, height + 1)
        for problem in frame.take(node, place):
            self._add(problem)
        return not self.report.is_full
