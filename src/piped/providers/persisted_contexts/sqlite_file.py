"""A context as an SQLite database: a row a key, and only what has changed is written."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import msgspec

from piped.errors import Misconfigured, Unavailable
from piped.providers.persisted_contexts.files import NotSaved
from piped.providers.persisted_contexts.snapshots import Snapshot

OURS: Final = 0x50495044
"""The application_id in the head of our databases: PIPD."""

FOR_NOW: Final = frozenset(
    {
        *(sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_NOMEM),
        *(sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL, sqlite3.SQLITE_CANTOPEN),
    }
)
"""Failures that another try may mend."""

PATIENCE_S: Final = 5.0
"""How long a save waits for somebody who looks into the database."""


class SqliteFile:
    """See ``Store``. A transaction a save, in the write-ahead log, and on the disk at its end."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._connection = sqlite3.connect(
                path, timeout=PATIENCE_S, isolation_level=None, check_same_thread=False
            )
        except sqlite3.Error as error:
            raise Unavailable(f"'{path}' cannot be opened: {error}") from error

    def load(self, max_size: int) -> dict[str, Any] | None:
        try:
            return self._found(max_size)
        except sqlite3.Error as error:
            kind = Unavailable if _is_for_now(error) else Misconfigured
            raise kind(f"'{self._path}' cannot be read: {error}") from error

    def _found(self, max_size: int) -> dict[str, Any] | None:
        ask = self._connection.execute
        is_new = ask("SELECT count(*) FROM sqlite_master").fetchone() == (0,)
        if not is_new and ask("PRAGMA application_id").fetchone() != (OURS,):
            raise Misconfigured(f"'{self._path}' is a database of somebody else")
        ask("PRAGMA journal_mode = WAL")
        ask("PRAGMA synchronous = FULL")
        if is_new:
            return None
        [size] = ask("SELECT total(length(CAST(value AS BLOB))) FROM context").fetchone()
        if size > max_size:
            raise Misconfigured(f"'{self._path}' has {size:.0f} bytes, more than {max_size}")
        rows = ask("SELECT key, value FROM context ORDER BY rowid")
        return {key: self._decoded(key, value) for key, value in rows}

    def _decoded(self, key: str, value: str) -> Any:
        try:
            return msgspec.json.decode(value)
        except (TypeError, ValueError, RecursionError) as error:
            raise Misconfigured(f"'{self._path}' has no JSON at '{key}': {error}") from error

    def save(self, before: Snapshot, after: Snapshot) -> None:
        changed = [(key, text.decode()) for key, text in after.items() if before.get(key) != text]
        gone = [(key,) for key in before.keys() - after.keys()]
        try:
            with self._transaction() as do:
                do.executemany("DELETE FROM context WHERE key = ?", gone)
                do.executemany(
                    "INSERT INTO context (key, value) VALUES (?, ?)"
                    " ON CONFLICT (key) DO UPDATE SET value = excluded.value",
                    changed,
                )
        except sqlite3.Error as error:
            raise NotSaved(f"{error}") from error

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        connection = self._connection
        connection.execute("BEGIN IMMEDIATE")
        try:
            connection.execute(f"PRAGMA application_id = {OURS}")
            connection.execute(
                "CREATE TABLE IF NOT EXISTS context (key TEXT PRIMARY KEY, value TEXT NOT NULL)"
            )
            yield connection
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:  # some failures have ended it already
                connection.execute("ROLLBACK")
            raise

    def close(self) -> None:
        self._connection.close()


def _is_for_now(error: sqlite3.Error) -> bool:
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF in FOR_NOW
