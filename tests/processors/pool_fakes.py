"""A pool of workers whose parts a test answers by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, cast

from piped.batons import MISSING
from piped.workers.parts import Gathered, Part

Answers = Callable[[str, Any], Any]


class Sent:
    """A part that nobody has answered yet."""

    def __init__(self, pipeline: str, value: Any, deadline_s: float | None) -> None:
        self.pipeline, self.value, self.deadline_s = pipeline, value, deadline_s
        self.place = 0
        self.future: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()

    @property
    def is_cancelled(self) -> bool:
        return self.future.cancelled()

    def answer(self, *results: Any) -> None:
        self.future.set_result([*results])

    def fail(self, error: Exception) -> None:
        self.future.set_exception(error)


def gathered(parts: list[Sent]) -> Gathered:
    """Return what waits for parts as a pool does."""
    all_of_them = Gathered(asyncio.get_running_loop().create_future(), _cancel)
    for part in parts:
        all_of_them.add(cast("Part", part))
        part.future.add_done_callback(partial(_tell, all_of_them, part))
    return all_of_them


def _cancel(part: Part) -> None:
    cast("Sent", part).future.cancel()


def _tell(all_of_them: Gathered, part: Sent, future: asyncio.Future[list[Any]]) -> None:
    if future.cancelled():
        return
    error = future.exception()
    if isinstance(error, Exception):
        all_of_them.fail(cast("Part", part), error)
    else:
        all_of_them.take(cast("Part", part), future.result())


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

    def call_all(
        self, calls: Iterable[tuple[str, Any]], deadline_s: float | None = None
    ) -> Gathered:
        before, calls = len(self.sent), list(calls)
        for index in range(before, before + len(calls)):
            if error := self.refuse.get(index):
                raise error  # all are taken, or none
        for pipeline, value in calls:
            self.call(pipeline, value, deadline_s)
        return gathered(self.sent[before:])

    async def submit(self, pipeline: str, value: Any, *, key: str = "", then: str = "") -> str:
        self.jobs.append((pipeline, value, key, then))
        return key or "made-up"


class Parts:
    """The resource of all pools: what a pipeline may ask about the part it is run for."""

    def __init__(self, key: str) -> None:
        self.key = key

    def idempotency_key(self) -> str:
        return self.key
