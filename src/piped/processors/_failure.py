"""Failures as plain values, which can stand in a baton."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

from piped.errors import AllPipelinesFailed, add_note

NOTE: Final = re.compile(r"in (pipelines\..+?) \((.*)\)(?:, line \d+)?")
"""What the engine notes on an exception: the path of the step that raised it, and its place."""

BRANCH: Final = re.compile(r"(?:\.(?:chained_)?(?:error_)?consumers)?\[.*")
"""What follows the name of the pipeline in the path of a step."""

MAX_TOLD: Final = 5
"""Of how many causes, and of how many failures among many, more is told than their number."""


def note_of(error: BaseException) -> str:
    """Return the note that says where an exception was raised first; '' where there is none."""
    notes = getattr(error, "__notes__", ())
    return next((note for note in notes if note.startswith("in pipelines.")), "")


def report_of(error: BaseException) -> dict[str, str]:
    """Return what an exception is, what it says, and which step raised it."""
    return {
        "type": type(error).__name__,
        "message": str(error),
        "at": note_of(error).removeprefix("in "),
    }


def origin_of(error: BaseException, home: str) -> dict[str, str]:
    """Return the name of the pipeline in which an exception was raised, and the step's place.

    One that no step has raised yet, such as that of a timeout, is from the pipeline at home.
    """
    note = NOTE.fullmatch(note_of(error))
    path, place = (note[1].removeprefix("pipelines."), note[2]) if note else (home, "")
    return {"pipeline": BRANCH.sub("", path), "place": place}


def cause_of(error: BaseException, more: int = MAX_TOLD) -> dict[str, Any] | None:
    """Return what has led to an exception, with what has led to that in turn; None if nothing."""
    cause = error.__cause__
    if cause is None and not error.__suppress_context__:
        cause = error.__context__
    if cause is None or not more:
        return None
    return report_of(cause) | {"cause": cause_of(cause, more - 1)}


def all_failed(failures: Sequence[Exception]) -> AllPipelinesFailed:
    """Return the error that tells of all failures, and notes the places of the first ones."""
    error = AllPipelinesFailed(failures)
    for failure in failures[:MAX_TOLD]:
        told = report_of(failure)
        if told["at"]:
            add_note(error, f"{told['type']} in {told['at']}")
    return error
