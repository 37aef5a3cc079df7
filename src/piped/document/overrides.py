"""Overrides, ``path:value``: they replace what stands at a path of the merged document."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from collections.abc import Mapping as Environment
from typing import Any, Final

from piped.document.aliases import resolve
from piped.document.nodes import Entry, Mapping, Node, Scalar, Sequence
from piped.document.reader import Source, read
from piped.document.report import MAX_BYTES, MAX_DEPTH, Report, too_deep
from piped.document.tree import described, extended, height, key_like, shortened
from piped.errors import Place, Problem

OPTION: Final = "-O"
VARIABLE: Final = "PIPED_CONFIGURATION_OVERRIDES"

_INDEX: Final = re.compile(r"(?<=[^.])(\[\d{1,6}\])(?=[.\[]|$)")


def override(
    root: Mapping, given: Iterable[str], environment: Environment[str, str], report: Report
) -> None:
    """Apply the overrides of the environment, then those given, each in its order.

    An alias in an override is resolved at once, so that a later one reaches into its copy.
    """
    sources = [(VARIABLE, text) for text in _from_environment(environment, report)]
    sources += [(OPTION, text) for text in given]
    for file, text in sources:
        for problem in _apply(root, text, file, report):
            report.add(problem)
        resolve(root, report)


def _from_environment(environment: Environment[str, str], report: Report) -> Iterator[str]:
    text = environment.get(VARIABLE)
    if not text:
        return
    try:
        texts = json.loads(text)
    except (ValueError, RecursionError):
        texts = None
    if isinstance(texts, list) and all(isinstance(each, str) for each in texts):
        yield from texts
        return
    what = f"expected a JSON list of texts in '{VARIABLE}', got {shortened(repr(text))}"
    hint = """write it like this: ["web.site.port:8080"]"""
    report.add(Problem("bad-override", what, Place(VARIABLE, 1, 1), hint=hint))


def _apply(root: Mapping, text: str, file: str, report: Report) -> Iterator[Problem]:
    if len(text) > MAX_BYTES:
        what = f"an override is larger than {MAX_BYTES} characters"
        yield Problem("bad-override", what, Place(file, 1, 1))
        return
    known = len(report.problems)
    node = read(_source(text, file), report)
    if len(report.problems) > known:
        return
    if not isinstance(node, Mapping):
        expected = "expected 'path:value'"
        what = f"invalid override specification: {expected}, got {shortened(repr(text))}"
        yield Problem("bad-override", what, Place(file, 1, 1))
        return
    for path, entry in node.items():
        yield from _replace(root, path, entry)


def _source(text: str, file: str) -> Source:
    colon = text.find(":")
    if colon < 0 or text[colon + 1 : colon + 2].strip() == "":
        return Source(text, file)
    return Source(f"{text[: colon + 1]} {text[colon + 1 :]}", file, gap=colon + 1)


def _replace(root: Mapping, path: object, entry: Entry) -> Iterator[Problem]:
    place = entry.key_place
    if not isinstance(path, str) or not all(path.split(".")):
        expected = "expected a dotted path"
        what = f"invalid override specification: {expected}, got {shortened(repr(path))}"
        yield Problem("bad-override", what, place)
        return
    if path == "includes" or path.startswith(("includes.", "includes[")):
        what = "includes cannot be overridden: they are read before overrides are applied"
        yield Problem("bad-override", what, place)
        return
    parts = _INDEX.sub(r".\1", path)  # what problems call `a[0].b` is `a.[0].b` in here
    if parts.count(".") + 1 + height(entry.node) > MAX_DEPTH:
        yield too_deep(place, path)
        return
    refusal = _put(root, parts, entry)
    if refusal:
        yield Problem("bad-override", refusal, place, path)


def _put(root: Mapping, rest: str, entry: Entry) -> str:
    """Put an entry where a path leads to, or return why it leads nowhere."""
    holder: Node = root
    at = ""
    while True:
        part = _dotted_key(holder, rest) or rest.partition(".")[0]
        rest = rest[len(part) + 1 :]
        index = int(part[1:-1]) if _INDEX.match(f"_{part}", 1) else None
        if isinstance(holder, Sequence) and index is not None:
            if index >= len(holder.items):
                return f"expected one of the {len(holder.items)} items at '{at}', got {part}"
            if not rest:
                holder.items[index] = entry.node
                return ""
            holder, at = holder.items[index], f"{at}{part}"
        elif isinstance(holder, Mapping) and index is None:
            key = key_like(holder, part)
            if not rest:
                holder.entries[key] = entry
                return ""
            holder, at = _below(holder, key, entry.key_place, rest), extended(at, key)
        else:
            kind = "mapping" if index is None else "list"
            return f"expected a {kind} at '{at}' to override in, got {described(holder)}"


def _dotted_key(holder: Node, rest: str) -> str:
    """Return the longest key with dots in it that a path begins with, or an empty text."""
    if not isinstance(holder, Mapping):
        return ""
    dotted = (key for key in holder.entries if isinstance(key, str) and "." in key)
    return max((key for key in dotted if f"{rest}.".startswith(f"{key}.")), key=len, default="")


def _below(holder: Mapping, key: Any, place: Place, rest: str) -> Node:
    """Return what stands at a key; where that is nothing, a new mapping for new keys."""
    below = holder.get(key) or Scalar(place, None)
    if type(below) is Scalar and below.value is None and not rest.startswith("["):
        below = Mapping(place)
        holder.entries[key] = Entry(place, below)
    return below
