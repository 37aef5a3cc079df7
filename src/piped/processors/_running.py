"""Pipelines as parameters of processors: run for their last result."""

from __future__ import annotations

import copy
from collections.abc import Awaitable, Callable
from typing import Any

from piped.spec import InputOutputProcessor, PipelineName


def waits(*names: PipelineName | None) -> bool:
    """Tell whether any of some pipelines must be awaited, as far as is known yet."""
    return any(
        name is not None and name.resource is not None and bool(name.value.is_async)
        for name in names
    )


def certain(step: InputOutputProcessor, *names: PipelineName | None) -> tuple[str, ...]:
    """Return what a step sends each of its inputs through, if it can be sure of its input."""
    if step.input_path and step.skip_if_nonexistent:
        return ()
    return tuple(map(name_of, filter(None, names)))


def name_of(name: PipelineName) -> str:
    """Return the name of a pipeline as people know it."""
    return name.name.removeprefix("pipeline.")


def last(results: list[Any]) -> Any:
    """Return the last result of a pipeline; None where it has none."""
    return results[-1] if results else None


def shallow(value: Any) -> Any:
    """Return a copy of a dict or a list, with the same things in it; any other value as it is."""
    return copy.copy(value) if isinstance(value, dict | list) else value


def now(name: PipelineName) -> Callable[[Any], Any]:
    """Return what sends a value through a pipeline that is not async, and gives its last result."""
    pipeline = name.value
    return lambda value: last(pipeline.now(value))


def later(name: PipelineName) -> Callable[[Any], Awaitable[Any]]:
    """Return what sends a value through any pipeline, and gives its last result."""
    pipeline = name.value

    async def later(value: Any) -> Any:
        return last(await pipeline(value))

    return later
