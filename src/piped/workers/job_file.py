"""The jobs of a pool in an SQLite file: queued, running, dead, and the keys of those done.

What is acknowledged is on the disk: each change is a transaction of its own in the write-ahead log,
synchronized. Jobs are run by one process only, which holds a lock beside the file; others submit,
look and mend meanwhile, and take over when that one ends. Network file systems have no such logs.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from piped.errors import PipedError, QueueFull, suggest
from piped.workers.crossing import Format
from piped.workers.failures import Failure
from piped.workers.job_database import Do, JobDatabase

REMEMBERED_S: Final = 24 * 3600.0
REMEMBERED: Final = 100_000
"""How long, and how many of them, the keys of finished jobs are known."""

IS_KNOWN: Final = """
    SELECT 1 FROM jobs WHERE key = ? UNION SELECT 1 FROM finished WHERE key = ? AND at > ?"""
INSERT: Final = """
    INSERT INTO jobs (
        key, pipeline, format, then_name, journey, attempts, payload, state, kind, error,
        submitted_at, updated_at, due
    ) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0)"""
COUNT_QUEUED: Final = "SELECT count(*) FROM jobs WHERE state != 'dead'"
COUNT_DEAD: Final = "SELECT count(*) FROM jobs WHERE state = 'dead' AND kind = 'job'"
DROP_PARTS: Final = """
    DELETE FROM jobs WHERE state = 'dead' AND kind = 'part' AND number NOT IN (
        SELECT number FROM jobs WHERE state = 'dead' AND kind = 'part'
        ORDER BY number DESC LIMIT ?)"""

TAKE_OVER: Final = "UPDATE jobs SET state = 'queued', due = 0 WHERE state IN ('queued', 'running')"
FIND_DUE: Final = """
    SELECT number FROM jobs WHERE state = 'queued' AND due <= ? ORDER BY number LIMIT ?"""
BEGIN: Final = """
    UPDATE jobs SET state = 'running', attempts = attempts + 1, updated_at = ? WHERE number = ?
    RETURNING key, pipeline, format, then_name, journey, attempts, payload"""
AGAIN: Final = """
    UPDATE jobs SET state = 'queued', due = ?, error = ?, updated_at = ?
    WHERE key = ? AND state = 'running'"""
LATER: Final = """
    UPDATE jobs SET state = 'queued', due = ?, attempts = attempts - 1, updated_at = ?
    WHERE key = ? AND state = 'running'"""
BURY: Final = """
    UPDATE jobs SET state = 'dead', attempts = ?, error = ?, updated_at = ?
    WHERE key = ? AND state = 'running'"""
FORGET: Final = """
    DELETE FROM finished WHERE at <= ? OR number <= (SELECT max(number) FROM finished) - ?"""

LIST: Final = """
    SELECT key, pipeline, format, then_name, journey, attempts, x'', kind, error, submitted_at,
        updated_at FROM jobs WHERE state = 'dead' ORDER BY updated_at, number"""
SHOW: Final = """
    SELECT key, pipeline, format, then_name, journey, attempts, payload, kind, error, submitted_at,
        updated_at FROM jobs WHERE state = 'dead' AND key = ?"""
IS_DEAD: Final = "SELECT 1 FROM jobs WHERE state = 'dead' AND key = ?"
REQUEUE: Final = """
    UPDATE jobs SET state = 'queued', kind = 'job', attempts = 0, due = 0
    WHERE state = 'dead' AND (?1 IS NULL OR key = ?1)"""
DROP: Final = "DELETE FROM jobs WHERE state = 'dead' AND (?1 IS NULL OR key = ?1)"


class UnknownLetter(PipedError, LookupError):
    """Raised when no dead letter has a key that is asked for."""


@dataclass(frozen=True, slots=True)
class Job:
    """Work whose answer comes later; ``attempts`` is how often it was begun."""

    key: str
    pipeline: str
    format: Format = "json"
    then: str = ""
    journey: int = 0
    attempts: int = 0
    payload: bytes = b""


@dataclass(frozen=True, slots=True)
class Letter:
    """A job that is dead, or a part that was set aside (``kind``), with its cause.

    Times are in seconds since 1970. In lists the payload is left out.
    """

    job: Job
    kind: str
    failure: Failure
    submitted_at: float
    died_at: float


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a file keeps; beyond, a job is refused, and of the parts the oldest is dropped."""

    jobs: int = 10_000
    dead: int = 10_000
    parts: int = 1_000
    size_bytes: int = 1 << 30


class JobFile:
    """See the module. The file is opened when it is needed first, and made by the first job.

    Everything may raise NotStored, where the disk refuses; and Misconfigured, where the file is not
    what it should be.
    """

    def __init__(self, path: Path, limits: Limits | None = None) -> None:
        self._database = JobDatabase(path)
        self._limits = limits or Limits()
        self._taken_over: object = None  # the open file whose jobs this process runs

    # What happens to jobs.

    def submit(self, job: Job) -> bool:
        """Keep a job; tell whether its key is new.

        Raises:
            QueueFull: There are as many as there may be.
        """
        since = time.time() - REMEMBERED_S
        with self._database.changing(make=True) as do:
            if do(IS_KNOWN, (job.key, job.key, since)).fetchone():
                return False
            self._fail_if_full(do)
            self._insert(do, job, "queued", "job", "")
        return True

    def take(self, count: int, now: float) -> list[Job]:
        """Return the oldest jobs that are due, begun: each has one attempt more.

        They are nobody's where another process has the file. ``now`` is of the clock of the process
        that has it, as are the times until which jobs wait: they are due at its start.
        """
        if not self._is_ours():
            return []
        numbers = self._found(FIND_DUE, now, count)
        if not numbers:
            return []
        with self._database.changing() as do:
            began = [do(BEGIN, (time.time(), number)).fetchall() for [number] in numbers]
        return [Job(*row) for rows in began for row in rows]

    def done(self, key: str) -> None:
        """Forget a job, and remember its key."""
        now = time.time()
        with self._database.changing() as do:
            do("DELETE FROM jobs WHERE key = ?", (key,))
            do("INSERT OR REPLACE INTO finished (key, at) VALUES (?, ?)", (key, now))
            do(FORGET, (now - REMEMBERED_S, REMEMBERED))

    def failed(self, key: str, failure: Failure, due: float) -> None:
        """Queue a job again that has failed."""
        self._set(key, AGAIN, due, _text(failure))

    def later(self, key: str, due: float) -> None:
        """Queue a job again that no worker has begun: the attempt does not count."""
        self._set(key, LATER, due)

    def bury(self, job: Job, failure: Failure) -> None:
        """Make a job a dead letter."""
        self._set(job.key, BURY, job.attempts, _text(failure))

    def set_aside(self, job: Job, failure: Failure) -> int:
        """Keep a part that killed its workers; return how many older ones were dropped for it."""
        with self._database.changing(make=True) as do:
            if do(IS_KNOWN, (job.key, "", 0)).fetchone():
                return 0
            self._insert(do, job, "dead", "part", _text(failure))
            return do(DROP_PARTS, (self._limits.parts,)).rowcount

    # What people do with dead letters.

    def dead(self) -> list[Letter]:
        """Return the dead letters, the oldest first, without their payloads."""
        return [_letter(row) for row in self._found(LIST)]

    def show(self, key: str) -> Letter:
        """Return a dead letter.

        Raises:
            UnknownLetter: There is none of that key.
        """
        found = self._found(SHOW, key)
        if not found:
            raise self._unknown(key)
        return _letter(found[0])

    def requeue(self, keys: Sequence[str] | None) -> int:
        """Make jobs of dead letters, as if they were new; return of how many.

        Args:
            keys: Of all or none of these; of every one if None.

        Raises:
            UnknownLetter: One of them is unknown.
        """
        return self._of_dead(REQUEUE, keys)

    def drop(self, keys: Sequence[str] | None) -> int:
        """Forget dead letters (see ``requeue``): their keys are unknown again."""
        return self._of_dead(DROP, keys)

    def close(self) -> None:
        """Let the file go."""
        self._database.close()

    # How it is done.

    def _is_ours(self) -> bool:
        """Tell whether this process runs the jobs; what ran in one that died is queued again."""
        connection = self._database.opened()
        if connection is None or not self._database.hold():
            return False
        if self._taken_over is not connection:
            with self._database.changing() as do:
                do(TAKE_OVER)
            self._taken_over = connection
        return True

    def _fail_if_full(self, do: Do) -> None:
        limits = self._limits
        [queued] = do(COUNT_QUEUED).fetchone()
        [dead] = do(COUNT_DEAD).fetchone()
        names = ("page_count", "freelist_count", "page_size")
        pages, free, size = (do(f"PRAGMA {each}").fetchone()[0] for each in names)
        if queued >= limits.jobs:
            raise QueueFull(f"{queued} jobs are queued already")
        if dead >= limits.dead:
            raise QueueFull(f"{dead} dead letters are kept already: requeue or drop some")
        if (pages - free) * size >= limits.size_bytes:
            raise QueueFull(f"the jobs have {(pages - free) * size} bytes already")

    def _insert(self, do: Do, job: Job, state: str, kind: str, error: str) -> None:
        now = time.time()
        own = (job.key, job.pipeline, job.format, job.then, job.journey, job.attempts, job.payload)
        do(INSERT, (*own, state, kind, error, now, now))

    def _set(self, key: str, change: str, *values: Any) -> None:
        with self._database.changing() as do:
            do(change, (*values, time.time(), key))

    def _found(self, question: str, *values: Any) -> list[Any]:
        connection = self._database.opened()
        if connection is None:
            return []
        with self._database.told():
            return connection.execute(question, values).fetchall()

    def _of_dead(self, change: str, keys: Sequence[str] | None) -> int:
        for key in keys or ():
            if not self._found(IS_DEAD, key):
                raise self._unknown(key)
        if self._database.opened() is None:
            return 0
        with self._database.changing() as do:
            asked = [None] if keys is None else keys
            return sum(do(change, (key,)).rowcount for key in asked)

    def _unknown(self, key: str) -> UnknownLetter:
        hint = suggest(key, (each.job.key for each in self.dead()))
        return UnknownLetter(f"there is no dead letter '{key}' ({hint})")


def _text(failure: Failure) -> str:
    return msgspec.json.encode(failure).decode()


def _letter(row: Sequence[Any]) -> Letter:
    failure = msgspec.json.decode(row[8], type=Failure)
    return Letter(Job(*row[:7]), row[7], failure, *row[9:])
