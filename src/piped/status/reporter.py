"""The report of status tests: a tree of modules, classes and tests, and a summary."""

from __future__ import annotations

import asyncio
import sys
import traceback
from collections import Counter
from typing import Any, Final, Protocol

import structlog

from piped.spec import Dependency
from piped.status.outcomes import Outcome, Status

WIDTH: Final = 79
DELIVERY_S: Final = 10.0
MAX_TOLD: Final = 1000  # tests without success that are kept until somebody asks for the summary

MARKS: Final = {
    Status.SUCCESS: "[OK]",
    Status.FAILURE: "[FAIL]",
    Status.ERROR: "[ERROR]",
    Status.SKIPPED: "[SKIPPED]",
    Status.EXPECTED_FAILURE: "[TODO]",
    Status.TODONE: "[SUCCESS!?!]",
}

COUNTED_AS: Final = {
    Status.SKIPPED: "skips",
    Status.EXPECTED_FAILURE: "expectedFailures",
    Status.FAILURE: "failures",
    Status.ERROR: "errors",
    Status.TODONE: "unexpectedSuccesses",
    Status.SUCCESS: "successes",
}

log = structlog.get_logger("piped.status")


class Writable(Protocol):
    """Where a report goes: a stream, or anything else that takes text."""

    def write(self, text: str, /) -> Any: ...


class Identified(Protocol):
    """What a reporter wants to know of a test."""

    def id(self) -> str:
        """Return the full dotted name of the test."""


class Reporter:
    """Tells of tests as they run, and sums them up.

    One reporter may serve many rounds: ``summary`` tells of what came since the last one.

    Args:
        stream: Where the report goes; stdout if not given.
        processor: Gets a baton for each test that has ended:
            ``{test, status, reporter}`` and, where there are any, ``failure`` (the exception),
            ``todo`` (why it was expected) and ``reason`` (why it was skipped).
    """

    def __init__(
        self, stream: Writable | None = None, processor: Dependency[Any] | None = None
    ) -> None:
        self.stream = stream
        self.processor = processor
        self.has_failed = False
        self._module = self._case = ""
        self._counts: Counter[Status] = Counter()
        self._seconds = 0.0
        self._told: list[tuple[Status, str, str]] = []

    def begin(self, test: Identified) -> None:
        """Tell that a test begins."""
        kind, name = type(test), test.id().rpartition(".")[2]
        if kind.__module__ != self._module:
            self._write(f"{kind.__module__}\n")
            self._module, self._case = kind.__module__, ""
        if kind.__qualname__ != self._case:
            self._write(f"  {kind.__name__}\n")
            self._case = kind.__qualname__
        self._write(_heading(name))

    async def end(self, test: Identified, outcome: Outcome) -> None:
        """Tell how a test ended, here and to the processor of results."""
        mark = MARKS[outcome.status]
        free = WIDTH - len(_heading(test.id().rpartition(".")[2]))
        self._write(f"{mark:>{max(free, len(mark) + 1)}}\n")
        self._counts[outcome.status] += 1
        self._seconds += outcome.seconds
        self.has_failed = self.has_failed or outcome.status.is_bad
        if outcome.status is not Status.SUCCESS and len(self._told) < MAX_TOLD:
            self._told.append((outcome.status, _explanation(outcome), test.id()))
        if self.processor is not None:
            await self._deliver(self.processor, test, outcome)

    def summary(self) -> None:
        """Tell of all that was no success, and sum up; then begin to count anew."""
        self._write(_blocks(self._told))
        rule, ran = "-" * WIDTH, self._counts.total()
        self._write(f"\n{rule}\nRan {ran} tests in {self._seconds:.3f}s\n\n")
        self._write(f"{_verdict(self._counts)}\n")
        self._counts.clear()
        self._told.clear()
        self._seconds, self._module = 0.0, ""

    async def _deliver(
        self, processor: Dependency[Any], test: Identified, outcome: Outcome
    ) -> None:
        baton = {"test": test, "status": str(outcome.status), "reporter": self}
        if outcome.errors:
            baton["failure"] = outcome.errors[0]
        if outcome.reason:
            baton["reason" if outcome.status is Status.SKIPPED else "todo"] = outcome.reason
        try:
            async with asyncio.timeout(DELIVERY_S):
                await processor.deliver(baton)
        except Exception:
            log.exception("test result not delivered", test=test.id(), to=processor.name)

    def _write(self, text: str) -> None:
        stream = sys.stdout if self.stream is None else self.stream
        stream.write(text)
        flush = getattr(stream, "flush", None)
        if flush is not None:
            flush()


def _heading(name: str) -> str:
    return f"    {name} ..."


def _blocks(told: list[tuple[Status, str, str]]) -> str:
    """Return a block for each reason, with all tests that have the same one."""
    grouped: dict[tuple[Status, str], list[str]] = {}
    for status, why, test in told:
        grouped.setdefault((status, why), []).append(test)
    return "".join(
        "\n".join(["", "=" * WIDTH, MARKS[status], why, *tests, ""])
        for (status, why), tests in grouped.items()
    )


def _verdict(counts: Counter[Status]) -> str:
    has_failed = any(status.is_bad for status in counts)
    shown = [f"{name}={counts[status]}" for status, name in COUNTED_AS.items() if counts[status]]
    if counts.total() == 0:
        return "PASSED (successes=0): no test was run"
    return f"{'FAILED' if has_failed else 'PASSED'} ({', '.join(shown)})"


def _explanation(outcome: Outcome) -> str:
    texts = [outcome.reason] if outcome.reason else []
    texts += ["".join(traceback.format_exception(each)) for each in outcome.errors]
    return "\n".join(texts)
