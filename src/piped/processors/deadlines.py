"""Pipelines that have to be in time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import field
from typing import Annotated, Any

import structlog

from piped.batons import Baton
from piped.errors import DeadlineExceeded
from piped.processors._running import certain, later, name_of, now, shallow, waits
from piped.spec import Duration, InputOutputProcessor, Meta, PipelineName, processor

log = structlog.get_logger("piped.flow")


@processor("timeout")
class Timeout(InputOutputProcessor):
    """Send the input through a pipeline, and stop waiting for it after some time.

    The pipeline gets a shallow copy if the input is a dict or a list. When the time is over it is
    cancelled, and ``otherwise`` gets the input as it was given, while the error is Python's current
    exception; without it the error is raised. A ``TimeoutError`` of the pipeline's own goes on.

    A pipeline can be stopped where it awaits something. One that awaits nothing is never stopped;
    the log says so, once.

    Example:
        timeout: {input_path: n, pipeline: math.double, after: 2s}
        in:  {n: 4}
        out: {n: 8}

    Raises:
        DeadlineExceeded: The time is over.
    """

    pipeline: Annotated[PipelineName, Meta(description="The pipeline that has to be in time.")]
    after: Annotated[Duration, Meta(gt=0, description="How long to wait, such as 250ms or 2s.")]
    otherwise: Annotated[
        PipelineName | None, Meta(description="The pipeline if it is not in time.")
    ] = None
    _is_told: bool = field(default=False, init=False)

    @property
    def is_async(self) -> bool:
        return waits(self.pipeline)

    @property
    def certain_calls(self) -> tuple[str, ...]:
        return certain(self, self.pipeline)

    def call(self) -> Callable[[Any, Baton], Any]:
        if not self.is_async:
            return self._unlimited()
        send, after = later(self.pipeline), self.after
        otherwise = later(self.otherwise) if self.otherwise else None

        async def call(value: Any, _baton: Baton) -> Any:
            late = DeadlineExceeded(f"expected an answer within {after:g}s")
            try:
                return await _in_time(send(shallow(value)), after, late)
            except DeadlineExceeded as error:
                if error is not late or otherwise is None:
                    raise
                return await otherwise(shallow(value))

        return call

    def _unlimited(self) -> Callable[[Any, Baton], Any]:
        attempt = now(self.pipeline)
        if not self._is_told:  # a graph may be compiled more than once
            pipeline = name_of(self.pipeline)
            log.warning("timeout cannot stop what awaits nothing", pipeline=pipeline)
            self._is_told = True
        return lambda value, _baton: attempt(shallow(value))


async def _in_time(work: Awaitable[Any], limit_s: float, late: DeadlineExceeded) -> Any:
    """Return what a work gives; raise ``late`` where the limit, and nothing else, has ended it."""
    own: TimeoutError | None = None
    try:
        async with asyncio.timeout(limit_s):
            try:
                return await work
            except TimeoutError as error:
                own = error
                raise
    except TimeoutError as error:
        if error is own:
            raise
    raise late
