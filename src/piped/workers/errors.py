"""What may go wrong between a caller and the workers of a pool.

PipedError
├── BatonError
│   └── CannotCross         a baton is not made of plain data only
├── Unavailable
│   └── NoWorkers           nobody is there to do it
├── DeadlineExceeded
│   └── NeverRan            no worker had it before its time was over
├── NotServed               its pool does not serve its pipeline
├── PartSetAside            it has killed too many workers
├── AttemptsUsed            it was tried as often as it may be
├── ChildDied               the process that ran it is dead
├── Garbled                 what has come cannot be read
└── RemoteError             what went wrong at a worker, told here
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from piped.errors import BatonError, DeadlineExceeded, PipedError, Unavailable


class CannotCross(BatonError):
    """Raised when a baton cannot go to a worker; ``path`` is where in it the odd value is."""

    http_status: ClassVar[int] = 500

    def __init__(self, path: str, what: str) -> None:
        self.path = path
        where = f"{path}: " if path else ""
        super().__init__(f"cannot cross to a worker: {where}{what}")


class NoWorkers(Unavailable):
    """Raised when a pool has no worker, and its document says not to wait for one."""

    http_status: ClassVar[int] = 503
    retry_after_s: ClassVar[float] = 1.0


class NeverRan(DeadlineExceeded):
    """Raised when no worker has had a part before its time was over."""


class NotServed(PipedError, LookupError):
    """Raised when a part is for a pipeline that its pool does not serve."""


class PartSetAside(PipedError):
    """Raised when a part has killed so many workers that no other one gets it."""

    http_status: ClassVar[int] = 500


class AttemptsUsed(PipedError):
    """Raised when no worker has come to the end of a part, as often as it may be tried."""

    http_status: ClassVar[int] = 502


class ChildDied(PipedError):
    """Raised when the process that runs a pipeline for a worker ends before the pipeline."""

    http_status: ClassVar[int] = 502


class Garbled(PipedError):
    """Raised when the bytes of a baton, of results or of a failure cannot be read."""

    http_status: ClassVar[int] = 502


class RemoteError(PipedError):
    """Raised for, or as the cause of, what was raised at a worker.

    ``type_name`` is dotted (``ValueError``, ``shop.orders.TooMany``), ``message`` what it said,
    ``place`` where in the worker's document, ``notes`` all that was noted on it there.
    """

    http_status: int = 500

    def __init__(
        self,
        type_name: str,
        message: str = "",
        *,
        worker: str = "",
        place: str = "",
        notes: Sequence[str] = (),
    ) -> None:
        self.type_name = type_name
        self.message = message
        self.worker = worker
        self.place = place
        self.notes = tuple(notes)
        what = f"{type_name}: {message}" if message else type_name
        super().__init__(f"worker '{worker}': {what}" if worker else what)
