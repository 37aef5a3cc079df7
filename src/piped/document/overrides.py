"""Overrides, ``path:value``: they replace what stands at a path of the merged document."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from collections.abc import Mapping as Environment
from typing import Final

from piped.document.aliases import resolve
from piped.document.nodes import Entry, Mapping, Scalar
from piped.document.reader import Source, read
from piped.document.report import MAX_BYTES, MAX_DEPTH, Report, too_deep
from piped.document.tree import described, height, key_like, shortened
from piped.errors import Place, Problem

OPTION: Final = "-O"
VARIABLE: Final = "PIPED_CONFIGURATION_OVERRIDES"


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
    if path == "includes" or path.startswith("includes."):
        what = "includes cannot be overridden: they are read before overrides are applied"
        yield Problem("bad-override", what, place)
        return
    if path.count(".") + 1 + height(entry.node) > MAX_DEPTH:
        yield too_deep(place, path)
        return
    yield from _put(root, path, entry)


def _put(root: Mapping, path: str, entry: Entry) -> Iterator[Problem]:
    holder, rest = root, path
    while rest not in holder.entries and "." in rest:
        part, _, rest = rest.partition(".")
        key = key_like(holder, part)
        below = holder.get(key)
        if below is None or (type(below) is Scalar and below.value is None):
            below = Mapping(entry.key_place)
            holder.entries[key] = Entry(entry.key_place, below)
        if not isinstance(below, Mapping):
            above = path.removesuffix(f".{rest}")
            what = f"expected a mapping at '{above}' to override in, got {described(below)}"
            yield Problem("bad-override", what, entry.key_place, path)
            return
        holder = below
    holder.entries[key_like(holder, rest)] = entry
