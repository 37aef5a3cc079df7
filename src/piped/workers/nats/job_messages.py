"""What the streams of a pool's jobs have in them: jobs, dead letters, attempts.

To what is a struct here, fields may only be added, at its end and with a default: fronts of
neighbouring versions read what the others have written.
"""

from __future__ import annotations

from dataclasses import replace

import msgspec
from nats.js.api import RawStreamMsg

from piped.workers.failures import Failure
from piped.workers.store import Job, Letter


class Kept(msgspec.Struct, array_like=True, frozen=True):
    """A job in the queue; ``letter`` is the place of the dead letter that it was."""

    job: Job
    submitted_at: float
    letter: int = 0


class Dead(msgspec.Struct, array_like=True, frozen=True):
    """A dead letter."""

    job: Job
    kind: str
    failure: Failure
    submitted_at: float
    died_at: float

    def letter(self, *, is_whole: bool = True) -> Letter:
        """Return it for people; its payload is left out if it need not be whole."""
        job = self.job if is_whole else replace(self.job, payload=b"")
        return Letter(job, self.kind, self.failure, self.submitted_at, self.died_at)


def encoded(what: Kept | Dead | int) -> bytes:
    return msgspec.msgpack.encode(what)


def fitting(dead: Dead, most: int) -> bytes:
    """Return a dead letter in so many bytes: what is said of its end is cut if need be."""
    data = encoded(dead)
    if len(data) <= most:
        return data
    short = Failure(dead.failure.type_name, dead.failure.message)
    return encoded(msgspec.structs.replace(dead, failure=short))


def kept_in(data: bytes | None) -> Kept:
    """Return a job of the queue, or raise MsgspecError."""
    return msgspec.msgpack.decode(data or b"", type=Kept)


def dead_in(found: RawStreamMsg) -> Dead:
    """Return a dead letter."""
    return msgspec.msgpack.decode(found.data or b"", type=Dead)


def attempts_in(tried: RawStreamMsg | None) -> int:
    """Return how often a job was begun."""
    return msgspec.msgpack.decode(tried.data or b"", type=int) if tried else 0
