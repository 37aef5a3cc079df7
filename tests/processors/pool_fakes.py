"""A pool of workers whose parts a test answers by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from piped.batons import MISSING

Answers = Callable[[str, Any], Any]


class Sent:
    """A part that nobody has answered yet."""

    def __init__(self, pipeline: str, value: Any, deadline_s: float | None) -> None:
        self.pipeline, self.value, self.deadline_s = pipeline, value, deadline_s
        self.future: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()

    @property
    def is_cancelled(self) -> bool:
        return self.future.cancelled()

    def answer(self, *results: Any) -> None:
        self.future.set_result([*results])

    def fail(self, error: Exception) -> None:
        self.future.set_exception(error)


class FakeFront:
    """The resource of a pool.

    Parts wait for the test to answer them, unless ``answers`` does: what it returns is the one
    result, what it raises the failure. ``refuse`` is raised at once, from the part on that is told.
    """

    def __init__(self, answers: Answers | None = None, fallback: Any = MISSING) -> None:
        self.answers = answers
        self.fallback = fallback
        self.sent: list[Sent] = []
        self.jobs: list[tuple[str, Any, str, str]] = []
        self.refuse: dict[int, Exception] = {}

    def call(
        self, pipeline: str, value: Any, deadline_s: float | None = None
    ) -> asyncio.Future[list[Any]]:
        if error := self.refuse.get(len(self.sent)):
            raise error
        part = Sent(pipeline, value, deadline_s)
        self.sent.append(part)
        if self.answers is not None:
            try:
                part.answer(self.answers(pipeline, value))
            except Exception as error:
                part.fail(error)
        return part.future

    async def submit(self, pipeline: str, value: Any, *, key: str = "", then: str = "") -> str:
        self.jobs.append((pipeline, value, key, then))
        return key or "made-up"


class Parts:
    """The resource of all pools: what a pipeline may ask about the part it is run for."""

    def __init__(self, key: str) -> None:
        self.key = key

    def idempotency_key(self) -> str:
        return self.key
