"""How a status test ended."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum


class Status(StrEnum):
    """How a test ended, in the words of the batons that tell of it."""

    SUCCESS = "success"
    FAILURE = "failure"
    ERROR = "error"
    SKIPPED = "skipped"
    EXPECTED_FAILURE = "expected_failure"
    TODONE = "todone"  # expected to fail, and did not

    @property
    def is_bad(self) -> bool:
        """Whether it makes the whole run fail."""
        return self in (Status.FAILURE, Status.ERROR, Status.TODONE)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one test ended: the reason of a skip or todo, and the errors, the first one first."""

    status: Status
    reason: str = ""
    errors: tuple[BaseException, ...] = ()
    seconds: float = 0.0

    def lasting(self, seconds: float) -> Outcome:
        """Return the same outcome with the time that the test took."""
        return replace(self, seconds=seconds)
