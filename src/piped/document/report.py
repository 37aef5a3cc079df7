"""What is found while a document is loaded, and how much of its bounds is used up."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Final

from piped.errors import Place, Problem, suggest

MAX_BYTES: Final = 1024 * 1024
MAX_DEPTH: Final = 64
MAX_NODES: Final = 100_000
MAX_FILES: Final = 256
MAX_PROBLEMS: Final = 200

_MAX_NAMES: Final = 500
_MAX_NAME: Final = 100
_ONCE: Final = ("too-many-nodes", "too-many-files")


class Report:
    """The problems of one document, each told once, its files, and the number of its nodes.

    ``is_complete`` turns false when a part of the document could not be read: what seems to be
    missing then may stand in that part, so nobody complains about it. ``kinds`` are the classes of
    the nodes that tags made: nobody need walk through a document for those that are not there.
    ``aliased`` are the keys of the root that aliases point to or into.
    """

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.files: dict[Path, None] = {}
        self.nodes = 0
        self.is_complete = True
        self.kinds: set[type] = set()
        self.aliased: set[str] = set()
        self._told: set[tuple[str, Place | None, str]] = set()

    @property
    def is_full(self) -> bool:
        return len(self.problems) > MAX_PROBLEMS

    def add(self, problem: Problem) -> None:
        """Keep a problem, unless it is known already or there are too many of them."""
        place = None if problem.code in _ONCE else problem.place
        key = (problem.code, place, problem.what)
        if key in self._told or self.is_full:
            return
        self._told.add(key)
        if len(self.problems) == MAX_PROBLEMS:
            self.is_complete = False
            problem = too_many_problems(problem.place)
        self.problems.append(problem)

    def has_room(self, nodes: int) -> bool:
        """Count nodes, and say whether the document may have that many."""
        self.nodes += nodes
        return self.nodes <= MAX_NODES


def suggestion(name: str, known: Iterable[str]) -> str:
    """Return a hint for an unknown name; comparing very many or very long ones takes too long."""
    names = [each for each in islice(known, _MAX_NAMES) if len(each) <= _MAX_NAME]
    return suggest(name, names) if len(name) <= _MAX_NAME else ""


def too_many_problems(place: Place | None) -> Problem:
    """Say that nobody wants to read more problems."""
    what = f"more than {MAX_PROBLEMS} problems; the rest of them is not shown"
    return Problem("too-many-problems", what, place)


def too_many_nodes(place: Place | None = None, at: str = "") -> Problem:
    """Say that the document is too large; the place may be filled in later."""
    return Problem(
        "too-many-nodes",
        f"the document has more than {MAX_NODES} nodes, aliases included",
        place,
        at,
        hint="split the service, or keep its data outside the document",
    )


def too_deep(place: Place | None = None, at: str = "") -> Problem:
    """Say that something is nested too deeply; the place may be filled in later."""
    return Problem("too-deep", f"nested deeper than {MAX_DEPTH} levels", place, at)
