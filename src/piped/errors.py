"""All exceptions of Piped, and the problems that a document may have.

The family tree:

    PipedError
    ├── ConfigError             a document cannot be started; carries every Problem
    ├── BatonError              a baton is not what a processor needs
    │   └── InvalidBaton        it breaks a schema; carries what is wrong with it
    ├── PipelineError           a pipeline broke a rule of the engine
    │   ├── UndeclaredAwait     a synchronous step returned an awaitable
    │   ├── TooManyTurns        a loop inside a graph did not end
    │   └── TooDeep             pipelines called one another without end
    ├── AllPipelinesFailed      a fan-out that needed one success had none
    ├── ResourceError
    │   ├── Unavailable         the peer is away; worth another try
    │   └── Misconfigured       it will never work as it is written
    ├── QueueFull               a bounded buffer refused a message
    ├── Throttled               it comes sooner than its rate allows
    ├── CircuitOpen             what failed too often is not tried for a while
    ├── DeadlineExceeded        it took longer than it may
    └── RequestFailed           a request to another service failed
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import ClassVar, Final


@dataclass(frozen=True, slots=True)
class Place:
    """Where something was written: a file, a line and a column, both counted from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"

    def moved(self, lines: int, columns: int) -> Place:
        """Return the place so many lines below and columns to the right."""
        return Place(self.file, self.line + lines, self.column + columns)


class Level(StrEnum):
    """How much a problem weighs: only errors keep a document from starting."""

    ERROR = "error"
    WARNING = "warning"
    HINT = "hint"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a document: what, where, why, and what to do now.

    ``code`` is kebab-case and never reused; ``at`` is the dotted path in the merged document.
    """

    code: str
    what: str
    place: Place | None = None
    at: str = ""
    why: str = ""
    hint: str = ""
    level: Level = Level.ERROR

    def __str__(self) -> str:
        where = f"{self.place}: " if self.place else ""
        lines = [f"{where}{self.level}[{self.code}]: {self.what}"]
        lines += [
            f"    {label}: {text}"
            for label, text in (("at", self.at), ("why", self.why), ("hint", self.hint))
            if text
        ]
        return "\n".join(map(visible, lines))

    def located(self, place: Place | None, at: str) -> Problem:
        """Return the same problem with what it does not know yet of its place filled in."""
        return replace(self, place=self.place or place, at=self.at or at)


LONGEST: Final = 1000
"""How many signs of a line are shown: a value that a message repeats may be very long."""


def visible(text: str) -> str:
    """Return a text on one line: a sign that cannot be seen, or moves a cursor, as its escape."""
    if len(text) > LONGEST:
        text = f"{text[: LONGEST - 3]}..."
    if text.isprintable():
        return text
    return "".join(
        sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text
    )


SHOWN: Final = 12
"""How many known names a hint shows; of more, those that are most like the unknown one."""

COMPARED: Final = 500
"""With how many known names an unknown one is compared, and how long a name may be for that."""

NEAR: Final = 0.6


def suggest(name: str, known: Iterable[str], prefix: str = "") -> str:
    """Return a hint for an unknown name: the nearest known one, and what is known if that is short.

    Args:
        name: The unknown name.
        known: The known ones.
        prefix: What all names begin with; it is shown and not compared.
    """
    names = sorted(set(known))
    if not names:
        return "known: none"
    likeness = _likeness(name, names[:COMPARED])
    shown = [each for _, each in likeness] or names[:SHOWN]
    more = ", ..." if len(names) > SHOWN else ""
    listed = f"known: {', '.join(f'{prefix}{each}' for each in sorted(shown))}{more}"
    if not likeness or likeness[0][0] < NEAR:
        return listed
    near = f"did you mean '{prefix}{likeness[0][1]}'?"
    return f"{near} {listed}" if 1 < len(names) <= SHOWN else near


def _likeness(name: str, names: Sequence[str]) -> list[tuple[float, str]]:
    """Return the names that are most like another one, and how much, the nearest first.

    What bounds a likeness is cheap to find; it is looked at closely only where that may matter.
    """
    if len(name) > COMPARED:
        return []
    matcher = difflib.SequenceMatcher(b=name)
    bounds = []
    for each in names:
        matcher.set_seq1(each)
        bounds.append((matcher.quick_ratio(), each))
    found: list[tuple[float, str]] = []
    for bound, each in sorted(bounds, reverse=True):
        if len(found) == SHOWN and bound < found[-1][0]:
            break
        matcher.set_seq1(each)
        found = sorted([*found, (matcher.ratio(), each)], reverse=True)[:SHOWN]
    return found


class PipedError(Exception):
    """The root of all errors that Piped raises."""


class ConfigError(PipedError):
    """Raised when a document cannot be started; ``problems`` holds everything that is wrong."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


class BatonError(PipedError):
    """Raised when a baton is not what a processor needs."""


class InvalidBaton(BatonError):
    """Raised when a baton breaks a schema; ``problems`` holds all that is wrong with it."""

    http_status: ClassVar[int] = 400

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(self.problems))


class PipelineError(PipedError):
    """Raised when a pipeline breaks a rule of the engine while it runs."""


class UndeclaredAwait(PipelineError):
    """Raised when a synchronous step returns an awaitable, which nobody would await."""


class TooManyTurns(PipelineError):
    """Raised when a loop inside a graph runs more than its ``max_turns``."""


class TooDeep(PipelineError):
    """Raised when pipelines call one another deeper than the engine allows."""


class AllPipelinesFailed(PipedError):
    """Raised when all pipelines of a fan-out failed; ``failures`` holds their exceptions."""

    def __init__(self, failures: Sequence[BaseException]) -> None:
        self.failures = tuple(failures)
        kinds = ", ".join(f"{type(each).__name__}: {each}" for each in self.failures[:5])
        super().__init__(f"all {len(self.failures)} pipelines failed ({kinds})")


class ResourceError(PipedError):
    """Raised when a resource cannot be used."""


class Unavailable(ResourceError):
    """Raised when a resource is away for now: its peer is down, or it is not started yet."""


class Misconfigured(ResourceError):
    """Raised when a resource can never work as it is written, such as an address in use."""


class QueueFull(ResourceError):
    """Raised when a bounded backlog is full; the message was not taken."""

    http_status: ClassVar[int] = 503
    retry_after_s: ClassVar[float] = 1.0


class Throttled(PipedError):
    """Raised when a baton comes sooner than the rate allows; worth another try later."""

    http_status: ClassVar[int] = 429

    def __init__(self, message: str, retry_after_s: float) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(message)


class CircuitOpen(PipedError):
    """Raised instead of trying what has failed too often; worth another try later."""

    http_status: ClassVar[int] = 503

    def __init__(self, message: str, retry_after_s: float) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(message)


class DeadlineExceeded(PipedError, TimeoutError):
    """Raised when something took longer than it may."""

    http_status: ClassVar[int] = 504


class RequestFailed(PipedError):
    """Raised when a request to another service failed, or was answered with an error."""

    http_status: ClassVar[int] = 502


def add_note(error: BaseException, note: str) -> None:
    """Note something on an error, once; one that takes no notes, such as a frozen one, has none."""
    if note not in getattr(error, "__notes__", ()):
        with suppress(Exception):
            error.add_note(note)


def unwrapped(error: BaseException) -> BaseException:
    """Return the one error in a group of one, which is how a TaskGroup tells of it.

    The places that were noted on the group are noted on the error too.
    """
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        inner = error.exceptions[0]
        for note in getattr(error, "__notes__", ()):
            add_note(inner, note)
        error = inner
    return error
