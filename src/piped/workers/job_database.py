"""How the file of a pool's jobs is made, opened, held by one process, and what may be wrong."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar, Final, TypeAlias

from piped.errors import Misconfigured, Unavailable

Do: TypeAlias = Callable[..., sqlite3.Cursor]

OURS: Final = 0x5049504A
"""The application_id in the head of our files: PIPJ."""

VERSION: Final = 1
PATIENCE_S: Final = 5.0
"""How long a change waits for one of another process."""

BROKEN: Final = (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT)
PRIVATE: Final = 0o700  # payloads may be personal
PRIVATE_FILE: Final = 0o600

SCHEMA: Final = (
    """CREATE TABLE jobs (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        key TEXT NOT NULL UNIQUE,
        state TEXT NOT NULL,
        kind TEXT NOT NULL,
        pipeline TEXT NOT NULL,
        format TEXT NOT NULL,
        then_name TEXT NOT NULL,
        journey INTEGER NOT NULL,
        attempts INTEGER NOT NULL,
        due REAL NOT NULL,
        submitted_at REAL NOT NULL,
        updated_at REAL NOT NULL,
        error TEXT NOT NULL,
        payload BLOB NOT NULL
    )""",
    "CREATE INDEX jobs_in_line ON jobs (state, kind, number)",
    """CREATE TABLE finished (
        number INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL UNIQUE, at REAL NOT NULL
    )""",
    "CREATE INDEX finished_at ON finished (at)",
    f"PRAGMA application_id = {OURS}",
    f"PRAGMA user_version = {VERSION}",
)


class NotStored(Unavailable):
    """Raised when a job could not be written, or not be read; nothing was taken or changed."""

    http_status: ClassVar[int] = 503


class JobDatabase:
    """A file that is opened when it is needed first; all of it is used in one thread.

    A file that is away is opened, or made, anew: what was acknowledged must be where the next
    process finds it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._connection: sqlite3.Connection | None = None
        self._file_id: tuple[int, int] | None = None
        self._lock: int | None = None

    def opened(self, *, make: bool = False) -> sqlite3.Connection | None:
        """Return the open file; None where there is none, unless it is to be made.

        Raises:
            NotStored: It cannot be opened for now.
            Misconfigured: It is not what it should be.
        """
        if self._connection is not None and self._file_id == _id_of(self.path):
            return self._connection
        self.close()
        with self.told():
            if make:
                self._make()
            elif not self.path.exists():
                return None
            self._connection = self._connected()
        self._file_id = _id_of(self.path)
        return self._connection

    @contextmanager
    def changing(self, *, make: bool = False) -> Iterator[Do]:
        """Yield what does statements; all of them are on the disk at the end, or none is.

        Raises:
            NotStored: They could not be written, or there is no file any more.
        """
        connection = self.opened(make=make)
        if connection is None:
            raise NotStored(f"'{self.path}' is not there any more")
        with self.told(), _transaction(connection):
            yield connection.execute

    @contextmanager
    def told(self) -> Iterator[None]:
        """Say what a failure means, and what to do about a file that is broken."""
        try:
            yield
        except OSError as error:
            why = (error.strerror or str(error)).lower()
            raise NotStored(f"'{self.path}' cannot be used: {why}") from error
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF in BROKEN:
                what = f"'{self.path}' cannot be read: {error}: move it away, or restore it"
                raise Misconfigured(what) from error
            raise NotStored(f"'{self.path}' cannot be used: {error}") from error

    def hold(self) -> bool:
        """Tell whether this process runs the jobs: it does until it ends, if no other one does."""
        if self._lock is not None:
            return True
        with self.told():
            lock = os.open(f"{self.path}.lock", os.O_RDWR | os.O_CREAT, PRIVATE_FILE)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(lock)
                return False
            except OSError:
                os.close(lock)
                raise
        self._lock = lock
        return True

    def close(self) -> None:
        """Let the file go."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _make(self) -> None:
        folder = self.path.parent
        for each in reversed([folder, *folder.parents]):
            if not each.exists():
                each.mkdir(PRIVATE, exist_ok=True)
        if not self.path.exists():
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, PRIVATE_FILE))
            _synchronize(folder)

    def _connected(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=PATIENCE_S, isolation_level=None)
        try:
            ask = connection.execute
            with _transaction(connection):  # another process may be about to fill it
                if ask("SELECT count(*) FROM sqlite_master").fetchone() == (0,):
                    for each in SCHEMA:
                        ask(each)
            self._fail_if_strange(connection)
            _use_log(connection)
            ask("PRAGMA synchronous = FULL")
        except BaseException:
            connection.close()
            raise
        return connection

    def _fail_if_strange(self, connection: sqlite3.Connection) -> None:
        [owner] = connection.execute("PRAGMA application_id").fetchone()
        [version] = connection.execute("PRAGMA user_version").fetchone()
        if owner != OURS:
            raise Misconfigured(f"'{self.path}' is a database of somebody else: move it away")
        if version > VERSION:
            what = f"'{self.path}' was written by a later version of Piped"
            known = f"expected form {VERSION}, got {version}"
            raise Misconfigured(f"{what} ({known}): install that one, or move the file away")


def _use_log(connection: sqlite3.Connection) -> None:
    """Switch to the write-ahead log: SQLite itself does not wait for others who do so too."""
    until = time.monotonic() + PATIENCE_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            is_busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
            if not is_busy or time.monotonic() > until:
                raise
            time.sleep(0.01)


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # some failures have ended it already
            connection.execute("ROLLBACK")
        raise


def _id_of(path: Path) -> tuple[int, int] | None:
    """Return what tells a file from one that has taken its place; None where there is none."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _synchronize(folder: Path) -> None:
    """Have the name of a new file on the disk, not only what is in it."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
