"""Exceptions as data: told by a worker, raised again at the caller.

An exception crosses as the name of its type, what it says, and what was noted on it. It is made
anew only where its type is one of Python's, one of Piped's, or of a module that is imported here
already: nothing is imported, and no constructor is run, because of what a worker has sent.
"""

from __future__ import annotations

import builtins
import math
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from types import ModuleType
from typing import Any, Final

import msgspec

from piped.errors import PipedError, add_note
from piped.workers.errors import Garbled, RemoteError

MAX_TEXT: Final = 4096
MAX_NOTES: Final = 20
MAX_CAUSES: Final = 3
MAX_PARTS: Final = 20

NEVER_ANEW: Final = (
    *(ExceptionGroup, UnicodeError),  # they are nothing without their arguments
    *(StopIteration, StopAsyncIteration),  # no future takes them: who waits would wait for ever
    RemoteError,  # it would lack what it knows
)

PLACE: Final = "in pipelines."
"""What the note begins with that says where an exception was raised."""


class Failure(msgspec.Struct, array_like=True):
    """An exception as plain data."""

    type_name: str
    message: str = ""
    notes: tuple[str, ...] = ()
    status: int | None = None
    retry_after_s: float | None = None
    cause: Failure | None = None

    def __str__(self) -> str:
        return f"{self.type_name}: {self.message}" if self.message else self.type_name

    @property
    def place(self) -> str:
        """Where it was raised: a step, and its place in the document; '' where it is not known."""
        return next((each[3:] for each in self.notes if each.startswith(PLACE)), "")


class Passed(PipedError):
    """Raised in place of an exception that is plain data already, and is told as it is."""

    def __init__(self, failure: Failure) -> None:
        self.failure = failure
        super().__init__(f"{failure.type_name}: {failure.message}")


_ENCODER: Final = msgspec.msgpack.Encoder()
_DECODER: Final = msgspec.msgpack.Decoder(Failure)


def failure_of(error: BaseException, causes: int = MAX_CAUSES) -> Failure:
    """Return what an exception is and says, cut where it says too much.

    It never fails, whatever the exception is: who calls it has no other way to tell.
    """
    if isinstance(error, Passed):
        return error.failure
    cause = error.__cause__ if causes else None
    return Failure(
        _dotted(type(error)),
        _said(error),
        _notes(error),
        int(status) if (status := _number(error, "http_status")) is not None else None,
        _number(error, "retry_after_s"),
        failure_of(cause, causes - 1) if cause is not None else None,
    )


def failure_bytes(error: BaseException) -> bytes:
    """Return an exception as a worker sends it."""
    return _ENCODER.encode(failure_of(error))


def error_in(payload: bytes, worker: str) -> Exception:
    """Return the exception that some bytes of a worker tell of."""
    try:
        failure = _DECODER.decode(payload)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        return Garbled(f"worker '{worker}' has failed, and said of it what cannot be read: {error}")
    return error_of(failure, worker)


def error_of(failure: Failure, worker: str) -> Exception:
    """Return the exception that a failure tells of, caused by what tells where it was.

    It is of the type it had at the worker, where that is known here; else a RemoteError.
    """
    told = _remote(failure, worker)
    error = _anew(failure) or _remote(failure, worker)
    for name, value in (("http_status", failure.status), ("retry_after_s", failure.retry_after_s)):
        if value is not None:
            with suppress(AttributeError, TypeError):
                setattr(error, name, value)
    for note in sorted(failure.notes, key=lambda each: not each.startswith(PLACE)):
        add_note(error, note)
    told.__cause__ = error_of(failure.cause, worker) if failure.cause else None
    error.__cause__ = told
    return error


def _remote(failure: Failure, worker: str) -> RemoteError:
    name, message, notes = failure.type_name, failure.message, failure.notes
    return RemoteError(name, message, worker=worker, place=failure.place, notes=notes)


def _anew(failure: Failure) -> Exception | None:
    """Return an exception of a type that is known here, without running its constructor."""
    kind = _known(failure.type_name)
    if kind is None or issubclass(kind, NEVER_ANEW):
        return None
    with suppress(Exception):
        error: Exception = kind.__new__(kind, failure.message)
        error.args = (failure.message,)
        if str(error) in (failure.message, repr(failure.message)):
            return error
    return None


def _known(dotted: str) -> type[Exception] | None:
    """Return a class of exceptions that is here already.

    It is looked for in what modules hold, not asked for: some import what they are asked for.
    """
    parts = dotted.split(".")
    module = next((m for m in _homes(parts) if m in sys.modules), "")
    found: Any = sys.modules[module] if module else builtins
    for part in dotted.removeprefix(f"{module}.").split("."):
        found = vars(found).get(part) if isinstance(found, type | ModuleType) else None
    return found if isinstance(found, type) and issubclass(found, Exception) else None


def _homes(parts: Sequence[str]) -> Iterator[str]:
    """Yield the modules that a dotted name may be in, the longest name first."""
    for end in range(min(len(parts) - 1, MAX_PARTS), 0, -1):
        yield ".".join(parts[:end])


def _dotted(kind: type) -> str:
    name, module = kind.__qualname__, kind.__module__
    return _plain(name if module == "builtins" else f"{module}.{name}")


def _said(error: BaseException) -> str:
    """Return what an exception says; of a KeyError the key alone."""
    if isinstance(error, KeyError) and len(error.args) == 1:
        return _text(error.args[0])
    return _text(error)


def _notes(error: BaseException) -> tuple[str, ...]:
    notes = getattr(error, "__notes__", ())
    return tuple(map(_text, notes[:MAX_NOTES])) if isinstance(notes, list) else ()


def _text(what: object) -> str:
    try:
        text = str(what)
    except Exception as broken:
        text = f"({type(broken).__name__} in its text)"
    return _plain(text)


def _plain(text: str) -> str:
    """Return a text as it may be sent: not too long, and without halves of signs."""
    return text[:MAX_TEXT].encode("utf-8", "backslashreplace")[:MAX_TEXT].decode("utf-8", "ignore")


def _number(error: BaseException, name: str) -> float | None:
    with suppress(Exception):  # a property of the user's may do anything
        value: Any = getattr(error, name, None)
        return value if type(value) in (int, float) and math.isfinite(value) else None
    return None
