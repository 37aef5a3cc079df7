"""Finding files, reading them, and how they are called in messages."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from piped.document.report import MAX_BYTES, Report
from piped.document.syntax import position
from piped.errors import Place, Problem

_VARIABLE: Final = re.compile(r"\$(?:([A-Za-z_][A-Za-z0-9_]*)|\{([^}]*)\})")


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a document is loaded in: the environment and the working directory."""

    environment: Mapping[str, str]
    folder: str

    @classmethod
    def here(cls, environment: Mapping[str, str] | None) -> Surroundings:
        """Return those of this process; the environment may be another one."""
        try:
            folder = os.getcwd()
        # The working directory may have been removed.
        except OSError:
            folder = os.path.sep
        return cls(os.environ if environment is None else environment, folder)

    def expanded(self, text: str) -> str:
        """Return a path with ``~``, ``$VAR`` and ``${VAR}`` replaced; what is unknown stays."""
        text = _VARIABLE.sub(
            lambda found: self.environment.get(found[1] or found[2], found[0]), text
        )
        home = self.environment.get("HOME")
        if home and (text == "~" or text.startswith("~/")):
            return home + text[1:]
        try:
            return os.path.expanduser(text)
        # No user has a name with such characters in it.
        except ValueError:
            return text

    def absolute(self, path: str) -> str:
        return os.path.join(self.folder, path)

    def shown(self, path: str) -> str:
        """Return a path as messages show it: relative where it lies below the working directory."""
        full = os.path.normpath(self.absolute(path))
        inside = self.folder.rstrip(os.path.sep) + os.path.sep
        return full.removeprefix(inside)

    def candidates(self, path: str, writer: Place) -> list[str]:
        """Return the places where a path may mean a file, the nearest to its writer first."""
        beside = os.path.join(self.absolute(os.path.dirname(writer.file)), path)
        return list(dict.fromkeys((beside, self.absolute(path))))


def existing(candidates: list[str]) -> str | None:
    """Return the first path that is a file, or else the first that is anything."""
    return next(filter(os.path.isfile, candidates), None) or next(
        filter(os.path.exists, candidates), None
    )


def read_text(path: str, shown: str, report: Report) -> str | Problem:
    """Return the text of a file and list it in the report, or say why it cannot be read."""
    try:
        mode = os.stat(path).st_mode
        if stat.S_ISDIR(mode):
            return Problem("unreadable-file", f"expected a file, got the folder '{shown}'")
        if not stat.S_ISREG(mode):
            # Reading a pipe or a device may never end.
            return Problem("unreadable-file", f"expected a regular file, got '{shown}'")
        with open(path, "rb") as stream:
            content = stream.read(MAX_BYTES + 1)
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        return Problem("unreadable-file", f"cannot read '{shown}': {reason}")
    report.files[Path(os.path.normpath(path))] = None
    if len(content) > MAX_BYTES:
        what = f"'{shown}' is larger than {MAX_BYTES} bytes"
        return Problem("file-too-large", what, Place(shown, 1, 1))
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        return _not_utf_8(content, error, shown)


def _not_utf_8(content: bytes, error: UnicodeDecodeError, shown: str) -> Problem:
    # Only the place is told, never the bytes: this may be the file of a secret.
    readable = content[: error.start].decode("utf-8", errors="replace")
    line, column = position(readable, len(readable))
    place = Place(shown, line, column)
    what = f"'{shown}' is not UTF-8 from this place on"
    return Problem("not-utf-8", what, place, hint="save the file as UTF-8")
