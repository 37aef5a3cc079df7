"""Pipelines that are tried again when they fail."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import field
from typing import Annotated, Any, Final

from piped.batons import Baton
from piped.errors import TooDeep, add_note
from piped.processors._clock import now
from piped.processors._running import certain, later, shallow
from piped.spec import Duration, ErrorTypes, InputOutputProcessor, Meta, PipelineName, processor

LONGEST_S: Final = 86_400.0
"""How long an error may ask to be waited for; one that asks for more is not tried again."""


@processor("retry")
class Retry(InputOutputProcessor):
    """Send the input through a pipeline, and where that fails, try again after a while.

    Each attempt gets the input as it was: a shallow copy of a dict or a list. The output is the
    last result of the attempt that succeeded.

    The wait begins with ``delay`` and grows by ``factor`` up to ``max_delay``; with ``jitter`` it
    is a random part of that. An error with ``retry_after_s`` is waited for at least that long, or
    is not tried again if that is more than a day. An attempt under way is never cut off: that is
    for timeout.

    The last error is raised itself. Its attribute ``attempts`` and a note tell how many there were.

    Example:
        retry: {pipeline: math.double, input_path: n, attempts: 5, delay: 200ms}
        in:  {n: 4}
        out: {n: 8}

    Raises:
        Exception: What the last attempt raised.
    """

    pipeline: Annotated[PipelineName, Meta(description="The pipeline that is tried.")]
    attempts: Annotated[
        int, Meta(ge=1, description="How many attempts there are, with the first one.")
    ] = 3
    delay: Annotated[Duration, Meta(description="The wait after the first attempt.")] = Duration(
        0.1
    )
    factor: Annotated[
        int | float, Meta(ge=1, le=1000, description="By how much each further wait is longer.")
    ] = 2
    max_delay: Annotated[
        Duration, Meta(description="The longest wait, unless an error asks for more.")
    ] = Duration(30.0)
    jitter: Annotated[
        bool, Meta(description="Wait a random time between zero and the wait instead.")
    ] = True
    deadline: Annotated[
        Duration | None,
        Meta(description="How long after the start another attempt may begin."),
    ] = None
    errors: Annotated[
        ErrorTypes, Meta(description="The class, or classes, of exceptions that are tried again.")
    ] = ErrorTypes((Exception,))
    _random: random.Random = field(default_factory=random.Random, init=False)

    @property
    def is_async(self) -> bool:
        return True

    @property
    def certain_calls(self) -> tuple[str, ...]:
        return certain(self, self.pipeline)

    def call(self) -> Callable[[Any, Baton], Awaitable[Any]]:
        attempt = later(self.pipeline)

        async def call(value: Any, _baton: Baton) -> Any:
            given = shallow(value)
            end = math.inf if self.deadline is None else now() + self.deadline
            wait: float = min(self.delay, self.max_delay)
            count = 1
            while True:
                try:
                    return await attempt(shallow(given))
                except TooDeep:
                    raise
                except Exception as error:
                    pause = self._pause(error, wait, count)
                    if now() + pause >= end:
                        _tell(error, count)
                        raise
                await asyncio.sleep(pause)
                wait, count = min(wait * self.factor, self.max_delay), count + 1

        return call

    def _pause(self, error: Exception, wait: float, count: int) -> float:
        """Return how long to wait after an error; for ever, if there is no other attempt."""
        if count >= self.attempts or not isinstance(error, self.errors):
            return math.inf
        asked = _asked(error)
        if asked > LONGEST_S:
            return math.inf
        if not self.jitter:
            return max(asked, wait)
        return asked + self._random.uniform(0, wait)  # all who were told the same do not meet again


def _asked(error: Exception) -> float:
    """Return how long an error asks to be waited for."""
    asked = getattr(error, "retry_after_s", None)
    if isinstance(asked, bool) or not isinstance(asked, int | float) or not asked > 0:
        return 0.0
    return float(min(asked, 2 * LONGEST_S))


def _tell(error: Exception, attempts: int) -> None:
    """Say on an error how many attempts there were, unless it lets nothing be said on it."""
    if attempts == 1 and hasattr(error, "attempts"):
        return  # it tells of those that an inner retry has made
    with suppress(AttributeError, TypeError):
        error.attempts = attempts  # type: ignore[attr-defined] # any exception may get it
    if attempts > 1:
        add_note(error, f"after {attempts} attempts")
