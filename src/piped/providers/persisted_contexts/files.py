"""Files that keep a context: found, locked, read once, and then written by this process only."""

from __future__ import annotations

import errno
import fcntl
import stat
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import IO, Any, Final, Protocol

from piped.errors import Misconfigured, ResourceError, Unavailable
from piped.providers.persisted_contexts.snapshots import NotStorable, Snapshot, snapshot

FORMATS: Final = {
    ".json": "json",
    ".sqlite": "sqlite",
    ".sqlite3": "sqlite",
    ".db": "sqlite",
}

HOPELESS: Final = frozenset(
    {
        *(errno.EACCES, errno.EPERM, errno.EROFS),
        *(errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG),
    }
)
"""Failures that another try does not mend."""


class NotSaved(ResourceError):
    """Raised when a file could not be written; what was in it is in it still."""


class Store(Protocol):
    """One format: how a context is read from its file and written to it."""

    def load(self, max_size: int) -> dict[str, Any] | None:
        """Return what is in the file; None where there is nothing yet.

        Raises:
            Misconfigured: It is not what it should be. It is left as it is.
        """

    def save(self, before: Snapshot, after: Snapshot) -> None:
        """Write it all or nothing, and return when the disk has it.

        Raises:
            NotSaved: It could not be written.
        """

    def close(self) -> None:
        """Let the file go."""


class Opened:
    """A file in the hands of this process: no other one can have it until it is closed.

    It does what threads ask of it in their order: a save that nobody waits for any more ends
    before the file is let go.

    Raises:
        Misconfigured: The file is not what it should be, or another process has it.
        Unavailable: It cannot be read for now.
    """

    def __init__(self, path: Path, kind: str, max_size: int) -> None:
        self.path = path
        self._turn = threading.Lock()
        with _told(path), ExitStack() as held:
            held.enter_context(_locked(path))
            self._store = held.enter_context(closing(_store(path, kind)))
            self.found = self._store.load(max_size)
            self.saved = None if self.found is None else _snapshot(self.found, path, max_size)
            self._held = held.pop_all()

    def save(self, before: Snapshot, after: Snapshot) -> None:
        """See ``Store``."""
        with self._turn:
            self._store.save(before, after)

    def close(self) -> None:
        """Let the file go."""
        with self._turn:
            self._held.close()


def _snapshot(found: dict[str, Any], path: Path, max_size: int) -> Snapshot:
    try:
        return snapshot(found, {}, max_size)
    except NotStorable as error:
        at = f" at '{error.at}'" if error.at else ""
        raise Misconfigured(f"'{path}' could not be saved again{at}: {error}") from error


def real_path(file: str) -> Path:
    """Return where a file is, links followed as far as they lead."""
    try:
        return Path(file).expanduser().resolve()
    except (OSError, RuntimeError, ValueError):  # links in a circle, no such home, a null
        return Path(file).absolute()


def _store(path: Path, kind: str) -> Store:
    if kind == "sqlite":
        from piped.providers.persisted_contexts.sqlite_file import SqliteFile

        return SqliteFile(path)
    from piped.providers.persisted_contexts.json_file import JsonFile

    return JsonFile(path)


def _locked(path: Path) -> IO[bytes]:
    """Return the open lock beside a file: the system opens it when the process dies."""
    if not path.parent.is_dir():
        raise Misconfigured(f"there is no folder for '{path}'")
    if path.exists() and not stat.S_ISREG(path.stat().st_mode):
        raise Misconfigured(f"expected a file, got something else at '{path}'")
    lock = path.with_name(f"{path.name}.lock").open("ab")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise Misconfigured(f"'{path}' is used by another process") from None
    except BaseException:
        lock.close()
        raise
    return lock


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Say of failures of the system whether they are worth another try."""
    try:
        yield
    except OSError as error:
        kind = Misconfigured if error.errno in HOPELESS else Unavailable
        raise kind(f"'{path}' cannot be used: {error.strerror}") from error
