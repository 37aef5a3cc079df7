"""Reading a document together with all files that it includes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from piped.batons import BatonPath
from piped.document.external import path_text
from piped.document.files import Surroundings, existing, read_text
from piped.document.nodes import Entry, Mapping, Node, Scalar, Sequence
from piped.document.pending import Outside
from piped.document.reader import Source, read
from piped.document.report import MAX_DEPTH, MAX_FILES, Report, too_deep
from piped.document.tree import described
from piped.errors import Level, Place, Problem

# Each file of a chain of includes takes a few frames of Python's stack.
MAX_CHAIN: Final = 64


@dataclass(frozen=True, slots=True)
class _Include:
    """One element of ``includes``: a path as it was written, and what it means."""

    place: Place
    written: str
    path: str
    prefix: tuple[str, ...]
    mount: Place


class Includes:
    """Reads files, each one over what it includes; what is wrong goes into the report."""

    def __init__(self, surroundings: Surroundings, report: Report) -> None:
        self._surroundings = surroundings
        self._report = report
        self._chain: list[str] = []
        self._order: list[str] = []
        self._seen: set[str] = set()
        self._repeated: set[str] = set()

    def read(self, path: str) -> Mapping:
        """Return the merged mappings of a document and of all that it includes."""
        found = existing([self._surroundings.absolute(path)])
        shown = self._surroundings.shown(path)
        if found is not None:
            return self._read_file(found, (), Place(shown, 1, 1))
        hint = f"check the path; the working directory is {self._surroundings.folder}"
        self._lose(Problem("missing-file", f"no file '{path}'", Place(shown, 1, 1), hint=hint))
        return Mapping(Place(shown, 1, 1))

    def _read_file(self, path: str, prefix: tuple[str, ...], asked: Place) -> Mapping:
        shown = self._surroundings.shown(path)
        at = ".".join(prefix)
        self._order.append(shown)
        self._seen.add(os.path.realpath(path))
        text = read_text(path, shown, self._report)
        if isinstance(text, Problem):
            self._lose(text.located(asked, at))
            return Mapping(Place(shown, 1, 1))
        own = self._root_of(Source(text, shown, at, len(prefix)))
        self._chain.append(path)
        merged = Mapping(own.place)
        includes = own.entries.pop("includes", None)
        for include in self._elements(includes.node) if includes else ():
            content = self._include(include, prefix)
            if content is not None:
                merge(merged, mounted(content, include))
        self._chain.pop()
        merge(merged, own)
        return merged

    def _root_of(self, source: Source) -> Mapping:
        known = len(self._report.problems)
        root = read(source, self._report)
        if isinstance(root, Mapping):
            return root
        is_empty = type(root) is Scalar and root.value is None
        if not is_empty and len(self._report.problems) == known:
            what = f"expected a mapping at the root of the file, got {described(root)}"
            self._lose(Problem("root-not-mapping", what, root.place, source.at))
        return Mapping(source.place(1, 1))

    def _elements(self, node: Node) -> Iterator[_Include]:
        match node:
            case Sequence():
                for item in node.items:
                    yield from self._element(item)
            case Scalar(value=None):
                return
            case _:
                yield from self._element(node)

    def _element(self, node: Node) -> Iterator[_Include]:
        if not isinstance(node, Mapping):
            yield from self._path_element(node, (), node.place)
            return
        for key, entry in node.items():
            prefix = tuple(key.split(".")) if isinstance(key, str) else ("",)
            if all(prefix):
                yield from self._path_element(entry.node, prefix, entry.key_place)
            else:
                what = f"expected a dotted path to include at, got '{key}'"
                self._lose(Problem("bad-includes", what, entry.key_place, "includes"))

    def _path_element(
        self, node: Node, prefix: tuple[str, ...], mount: Place
    ) -> Iterator[_Include]:
        match node:
            case Outside(tag="!filepath" | "!pipedpath"):
                path = path_text(node, self._surroundings)
                if isinstance(path, Problem):
                    self._lose(path.located(node.place, "includes"))
                else:
                    yield _Include(node.place, node.value, path, prefix, mount)
            case Scalar(value=str(written)) if _is_text(node) and written:
                path = self._surroundings.expanded(written)
                yield _Include(node.place, written, path, prefix, mount)
            case _:
                what = f"expected the path of a file to include, got {described(node)}"
                hint = "paths may contain $VAR" if type(node) is Outside else ""
                self._lose(Problem("bad-includes", what, node.place, "includes", hint=hint))

    def _include(self, include: _Include, above: tuple[str, ...]) -> Mapping | None:
        """Return the content of an included file, or None where there is none."""
        prefix = above + include.prefix
        candidates = self._surroundings.candidates(include.path, include.place)
        found = existing(candidates)
        problem = self._refusal(found, include, prefix)
        if problem:
            self._lose(problem)
            return None
        if found is None:
            self._lose(self._missing(include, candidates))
            return None
        self._warn_if_repeated(found, include)
        return self._read_file(found, prefix, include.place)

    def _missing(self, include: _Include, candidates: list[str]) -> Problem:
        looked = ", ".join(map(self._surroundings.shown, candidates))
        return Problem(
            "missing-include",
            f"no file '{include.written}' to include",
            include.place,
            "includes",
            why=f"looked for {looked}",
            hint="a path starts at the folder of the file that includes, or the working directory",
        )

    def _refusal(
        self, found: str | None, include: _Include, prefix: tuple[str, ...]
    ) -> Problem | None:
        place = include.place
        if found and any(os.path.realpath(found) == os.path.realpath(path) for path in self._chain):
            files = " -> ".join(map(self._surroundings.shown, [*self._chain, found]))
            hint = "remove one of these includes"
            return Problem("include-loop", f"include loop: {files}", place, "includes", hint=hint)
        if len(self._order) >= MAX_FILES or len(self._chain) >= MAX_CHAIN:
            what = f"more than {MAX_FILES} files included, or {MAX_CHAIN} one in another"
            return Problem("too-many-files", what, place, "includes")
        return too_deep(place, "includes") if len(prefix) >= MAX_DEPTH else None

    def _warn_if_repeated(self, found: str, include: _Include) -> None:
        real = os.path.realpath(found)
        if real not in self._seen or real in self._repeated:
            return
        self._repeated.add(real)
        order = ", ".join([*self._order, self._surroundings.shown(found)])
        self._report.add(
            Problem(
                "repeated-include",
                f'configuration file loaded multiple times: "{include.written}"',
                include.place,
                "includes",
                why=f"the files were read in this order: {order}",
                level=Level.WARNING,
            )
        )

    def _lose(self, problem: Problem) -> None:
        """Report a problem for which a part of the document is missing."""
        self._report.is_complete = False
        self._report.add(problem)


def _is_text(node: Scalar) -> bool:
    return type(node) is Scalar and not isinstance(node.value, BatonPath)


def merge(under: Mapping, over: Mapping) -> None:
    """Put one mapping over another: mappings merge, everything else is replaced."""
    under.place = over.place
    for key, entry in over.items():
        below = under.get(key)
        if isinstance(below, Mapping) and isinstance(entry.node, Mapping):
            merge(below, entry.node)
            under.entries[key] = Entry(entry.key_place, below)
        else:
            under.entries[key] = entry


def mounted(content: Mapping, include: _Include) -> Mapping:
    """Return the content of a file below the dotted path where it is included."""
    for part in reversed(include.prefix):
        content = Mapping(include.mount, {part: Entry(include.mount, content)})
    return content
