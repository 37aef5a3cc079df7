"""Values from outside the document: the environment, files and secrets.

They are looked up last, so nobody misses a value that was replaced by an include or an override.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Final

from piped.document.files import Surroundings, existing, read_text
from piped.document.nodes import Mapping, Node, Scalar, Secret
from piped.document.pending import Outside
from piped.document.report import Report
from piped.document.tree import slots
from piped.errors import Problem

_PACKAGE: Final = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_SECRETS: Final = "/run/secrets"


def look_up(root: Mapping, surroundings: Surroundings, report: Report) -> None:
    """Replace every tag that stands for a value from outside by that value.

    What is missing becomes an empty text, and a problem.
    """
    if Outside not in report.kinds:
        return
    lookup = _Lookup(surroundings, report)
    for slot in slots(root, Outside):
        while isinstance(node := slot.node, Outside):
            value = lookup.value(node)
            if isinstance(value, Problem):
                report.add(value.located(node.place, slot.at))
                value = Scalar(node.place, "", external=True)
            slot.put(value)


def path_text(node: Outside, surroundings: Surroundings) -> str | Problem:
    """Return the path that ``!filepath`` or ``!pipedpath`` stands for."""
    path = surroundings.expanded(node.value)
    if node.tag == "!filepath":
        return path
    full = os.path.normpath(os.path.join(_PACKAGE, path))
    if os.path.commonpath([full, _PACKAGE]) != _PACKAGE:
        what = f"expected a path inside the piped package, got '{node.value}'"
        return Problem("path-escapes", what, node.place)
    return full


class _Lookup:
    """Looks values up; a file is read once, however often it is written."""

    def __init__(self, surroundings: Surroundings, report: Report) -> None:
        self._surroundings = surroundings
        self._report = report
        self._read: dict[str, str | Problem] = {}
        self._ways: dict[str, Callable[[Outside], Node | Problem]] = {
            "!env": self._variable,
            "!file": self._file,
            "!secret": self._secret,
            "!filepath": self._path,
            "!pipedpath": self._path,
        }

    def value(self, node: Outside) -> Node | Problem:
        return self._ways[node.tag](node)

    def _variable(self, node: Outside) -> Node | Problem:
        name: str = node.value
        text = self._surroundings.environment.get(name)
        if text is not None:
            return Scalar(node.place, text, external=True)
        default = node.options.get("default") if node.options else None
        if default is not None:
            return default
        hint = f"set it, or write !env {{name: {name}, default: ...}}"
        what = f"the environment variable '{name}' is not set"
        return Problem("missing-variable", what, hint=hint)

    def _file(self, node: Outside) -> Node | Problem:
        path = self._surroundings.expanded(node.value)
        candidates = self._surroundings.candidates(path, node.place)
        found = existing(candidates)
        if found is None:
            looked = ", ".join(map(self._surroundings.shown, candidates))
            return Problem("missing-file", f"no file '{node.value}'", why=f"looked for {looked}")
        text = self._content(found)
        return text if isinstance(text, Problem) else Scalar(node.place, text, external=True)

    def _secret(self, node: Outside) -> Node | Problem:
        name: str = node.value
        text: str | Problem | None = self._surroundings.environment.get(name)
        if text is None:
            text = self._secret_file(name)
        if isinstance(text, Problem):
            return text
        return Scalar(node.place, Secret(text), external=True)

    def _secret_file(self, name: str) -> str | Problem:
        folder = self._surroundings.environment.get("PIPED_SECRETS") or _SECRETS
        path = os.path.join(self._surroundings.absolute(folder), name)
        if os.path.exists(path):
            return self._content(path)
        return Problem(
            "missing-secret",
            f"the secret '{name}' is neither an environment variable nor a file",
            why=f"looked for {self._surroundings.shown(path)}",
            hint=f"set {name}, or name the folder of the file in PIPED_SECRETS",
        )

    def _path(self, node: Outside) -> Node | Problem:
        path = path_text(node, self._surroundings)
        return path if isinstance(path, Problem) else Scalar(node.place, path)

    def _content(self, path: str) -> str | Problem:
        if path not in self._read:
            text = read_text(path, self._surroundings.shown(path), self._report)
            self._read[path] = text if isinstance(text, Problem) else _without_last_newline(text)
        return self._read[path]


def _without_last_newline(text: str) -> str:
    return text.removesuffix("\n").removesuffix("\r")
