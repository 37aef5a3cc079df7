"""What `piped run --watch` asks a fresh interpreter: is a document right, and what is it made of?

    python -m piped.cli._look FILE [OVERRIDE ...]

prints the problems of a document with errors, and one line of JSON for the process that watches.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from contextlib import redirect_stdout
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeAlias

import click
import msgspec

import piped
from piped.app import blueprint_of
from piped.cli.options import set_up_logs, show_problems
from piped.errors import Level

Stamp: TypeAlias = tuple[int, int, int]
"""When a file was changed, its size, and which file it is: editors replace files by others."""

KINDS: Final = ("stdlib", "platstdlib", "purelib", "platlib")
LIBRARIES: Final = (
    os.path.dirname(os.path.abspath(piped.__file__)),
    *filter(None, map(sysconfig.get_path, KINDS)),
)
INSTALLED: Final = {"site-packages", "dist-packages"}


class Look(msgspec.Struct):
    """What is known of a document; ``files`` has each file as it was when it was read."""

    is_good: bool = False
    drain_s: float = 0.0
    files: dict[str, Stamp | None] = {}


def stamp(path: str) -> Stamp | None:
    """Return what changes with a file; None where there is none."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def look(file: str, overrides: Iterable[str]) -> Look:
    """Read a document and import its bundles; print its problems where there is an error."""
    opened: dict[str, Stamp | None] = {}
    sys.addaudithook(partial(note, opened))
    blueprint = blueprint_of(file, overrides)
    if blueprint.errors:
        show_problems(blueprint.problems, down_to=Level.WARNING)
    paths = [*map(os.path.abspath, blueprint.document.files), *own_modules(opened)]
    files = {path: opened[path] if path in opened else stamp(path) for path in paths}
    return Look(not blueprint.errors, blueprint.drain_s, files)


def note(opened: dict[str, Stamp | None], event: str, arguments: tuple[Any, ...]) -> None:
    """Keep how a file was when it was opened; modules that cannot be imported are seen so too."""
    if event != "open" or not isinstance(arguments[0], str):
        return
    path = os.path.abspath(arguments[0])
    if path.endswith(".pyc"):
        try:
            path = importlib.util.source_from_cache(path)
        except ValueError:
            return
    if path not in opened:
        opened[path] = stamp(path)


def own_modules(opened: Iterable[str]) -> Iterator[str]:
    """Yield the files that are modules of the user, and of no library."""
    for path in opened:
        is_library = path.startswith(tuple(f"{each}{os.sep}" for each in LIBRARIES))
        is_library = is_library or not INSTALLED.isdisjoint(Path(path).parts)
        if path.endswith(".py") and not is_library:
            yield path


def main() -> None:
    """Look at the document that the command line names."""
    output = sys.stdout
    with redirect_stdout(sys.stderr):  # a bundle may print while it is imported
        set_up_logs()
        found = look(sys.argv[1], sys.argv[2:])
    click.echo(msgspec.json.encode(found), file=output)


if __name__ == "__main__":
    main()
