"""Python by its dotted name, and in which line of a user's module an error was raised."""

from __future__ import annotations

import builtins
import importlib
import re
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from types import ModuleType
from typing import Any, Final

BROKEN: Final = (Exception, SystemExit)
"""What a user's module may raise while it is imported or asked: anything but an interrupt."""


class _UnknownName(ValueError):
    """Raised when nothing has a dotted name."""


class NotImported(Exception):
    """Raised where a module of the user would have to be imported, and nothing may be."""


_may_import: Final[ContextVar[bool]] = ContextVar("may_import", default=True)


@contextmanager
def without_imports() -> Iterator[None]:
    """Have `find_python` refuse what is neither Python's own nor ours."""
    token = _may_import.set(False)
    try:
        yield
    finally:
        _may_import.reset(token)


def may_import() -> bool:
    """Tell whether modules of the user may be imported."""
    return _may_import.get()


def find_python(dotted: str) -> Any:
    """Import and return what a dotted Python name means, such as ``time.time``.

    Raises:
        ValueError: Nothing has that name, or its module cannot be imported.
        NotImported: It is of a module of the user, and nothing may be imported.
    """
    name = dotted.removeprefix("exceptions.")  # Python 2's name of what is in builtins now
    parts = name.split(".")
    if not all(parts):
        raise _UnknownName(f"expected a dotted Python name, got {dotted!r}")
    if len(parts) == 1 and hasattr(builtins, name):
        return getattr(builtins, name)
    if name != dotted:
        raise _UnknownName(f"'builtins' has no '{name}'")
    if not may_import() and parts[0] not in (*sys.stdlib_module_names, "piped"):
        raise NotImported(dotted)
    try:
        return _imported(parts)
    except _UnknownName:
        raise
    except BROKEN as error:
        raise ValueError(f"cannot import '{dotted}': {told(error, parts[0])}") from error


def _imported(parts: list[str]) -> Any:
    for split in range(len(parts), 0, -1):
        name = ".".join(parts[:split])
        try:
            found: Any = importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{name}.".startswith(f"{error.name}."):
                raise
            continue
        for part in parts[split:]:
            if not hasattr(found, part):
                raise _UnknownName(f"'{name}' has no '{part}'")
            found = getattr(found, part)
        return found
    raise _UnknownName(f"no module '{parts[0]}'")


class NotInstalled(ImportError):
    """Raised when a component of Piped needs a library that is not installed."""

    def __init__(self, library: str) -> None:
        extra = _extra_with(library)
        self.hint = f"install piped-server[{extra}]" if extra else f"install {library}"
        super().__init__(f"the library '{library}' is not installed", name=library)


def import_shipped(module: str) -> ModuleType:
    """Import a module of Piped.

    Raises:
        NotInstalled: A library that it needs is missing.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        library = (error.name or "").partition(".")[0]
        if library in ("", "piped"):
            raise
        raise NotInstalled(library) from error


def _extra_with(library: str) -> str:
    """Return which extra of ours brings a library; '' if none does."""
    from importlib.metadata import requires

    for requirement in requires("piped-server") or ():
        match = re.match(r"([\w.-]+).*extra == ['\"]([\w-]+)['\"]", requirement)
        if match and match[2] != "all" and library in re.split(r"[-_.]", match[1].lower()):
            return match[2]
    return ""


def told(error: BaseException, package: str) -> str:
    """Return the kind of an error, its text, and the last line of a package that it went through.

    Args:
        error: What was raised.
        package: The first part of the names of the user's modules.
    """
    text = error.msg if isinstance(error, SyntaxError) else f"{error}"
    where = _line_of(error, package)
    return ": ".join(filter(None, (type(error).__name__, text))) + (f" ({where})" if where else "")


def _line_of(error: BaseException, package: str) -> str:
    found = ""
    for frame, line in traceback.walk_tb(error.__traceback__):
        if str(frame.f_globals.get("__name__")).partition(".")[0] == package:
            found = _shown(frame.f_code.co_filename, line) or found
    if isinstance(error, SyntaxError):
        found = _shown(error.filename or "", error.lineno or 1) or found
    return found


def _shown(file: str, line: int) -> str:
    if not file or file.startswith("<"):
        return ""
    path, here = Path(file), Path.cwd()
    return f"{path.relative_to(here) if path.is_relative_to(here) else path}:{line}"
