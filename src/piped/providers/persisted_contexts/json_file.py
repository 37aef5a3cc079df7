"""A context as a file of JSON, one line a key, replaced as a whole."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import msgspec

from piped.errors import Misconfigured
from piped.providers.persisted_contexts.files import NotSaved
from piped.providers.persisted_contexts.snapshots import Snapshot, whole

NEW: Final = 0o666  # less the umask, as any file


class JsonFile:
    """See ``Store``. The file is never open for writing: a new one takes its name."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self, max_size: int) -> dict[str, Any] | None:
        try:
            size = self._path.stat().st_size
        except FileNotFoundError:
            return None
        if size > max_size:
            raise Misconfigured(f"'{self._path}' has {size} bytes, more than {max_size}")
        content = self._path.read_bytes()
        try:
            found = msgspec.json.decode(content)
        except (ValueError, RecursionError) as error:
            raise Misconfigured(f"'{self._path}' is not JSON: {_fault(content, error)}") from error
        if not isinstance(found, dict):
            kind = type(found).__name__
            raise Misconfigured(f"expected a mapping in '{self._path}', got {kind}")
        return found

    def save(self, before: Snapshot, after: Snapshot) -> None:
        try:
            write_whole(self._path, whole(after))
        except OSError as error:
            raise NotSaved(error.strerror or f"{error}") from error

    def close(self) -> None:
        """Nothing is open."""


def write_whole(path: Path, content: bytes) -> None:
    """Replace a file, all or nothing, also where the power fails; who may read it stays.

    Raises:
        OSError: It could not be written; the old one is untouched.
    """
    fresh = path.with_name(f".{path.name}.new")
    fresh.unlink(missing_ok=True)  # of a process that was killed: nobody else writes here
    try:
        handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, NEW)
        with open(handle, "wb") as file:
            _make_alike(handle, path)
            file.write(content)
            file.flush()
            os.fsync(handle)
        fresh.replace(path)
    except BaseException:
        with suppress(OSError):
            fresh.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _make_alike(handle: int, path: Path) -> None:
    """Give an open file the owner and the mode of another one, as far as that is allowed."""
    try:
        old = path.stat()
    except FileNotFoundError:
        return
    new = os.fstat(handle)
    if (new.st_uid, new.st_gid) != (old.st_uid, old.st_gid):
        with suppress(PermissionError):
            os.fchown(handle, old.st_uid, old.st_gid)
    os.fchmod(handle, old.st_mode & 0o7777)


def _fault(content: bytes, error: Exception) -> str:
    """Return what is wrong with a text, and where."""
    if isinstance(error, RecursionError):
        return "it is nested too deep"
    if isinstance(error, UnicodeDecodeError):
        return f"a text in it is not UTF-8{_place(content, _not_utf_8(content))}"
    if "truncated" in f"{error}":
        return f"it ends too early{_place(content, len(content))}"
    match = re.search(r"([a-z][\w ,'`]*) \(byte (\d+)\)", f"{error}")
    if match is None:
        what = f"{error}".partition(" - at ")[0]
        return what[:1].lower() + what[1:]
    is_past = match[1] == "trailing characters"  # told is what comes after the first of them
    return f"{match[1]}{_place(content, int(match[2]) - is_past)}"


def _not_utf_8(content: bytes) -> int:
    try:
        content.decode()
    except UnicodeDecodeError as error:
        return error.start
    return 0


def _place(content: bytes, offset: int) -> str:
    before = content[:offset]
    line = before.count(b"\n") + 1
    column = len(before[before.rfind(b"\n") + 1 :].decode(errors="replace")) + 1
    return f", line {line}, column {column}"
