"""Work at the same time: tasks that belong to one step."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextvars import ContextVar
from typing import Final, TypeAlias, TypeVar

T = TypeVar("T")

Work: TypeAlias = Callable[[], Awaitable[T]]

MAX_TASKS: Final = 1000
"""How many tasks a step may have, with those of the steps in its tasks, before these go without.

Without it, pipelines that call themselves several times at once would fill the memory, long before
the engine finds that they are too deep.
"""


class _Crowd:
    size = 0


_crowd: ContextVar[_Crowd | None] = ContextVar("crowd", default=None)


async def at_once(works: Sequence[Work[T]]) -> list[T]:
    """Do several works at the same time and return their results, in order.

    The first failure cancels the others and is raised itself, not in a group. Among error consumers
    each work sees the failure that is being treated, as ``sys.exc_info()``. Inside of works that
    have ``MAX_TASKS`` already, it does one work after the other.
    """
    outer = _crowd.get()
    crowd = outer or _Crowd()
    if outer and outer.size + len(works) > MAX_TASKS:
        return [await work() for work in works]
    token = _crowd.set(crowd)
    crowd.size += len(works)
    try:
        return await _in_tasks(works)
    finally:
        crowd.size -= len(works)
        _crowd.reset(token)


async def _in_tasks(works: Sequence[Work[T]]) -> list[T]:
    handled = sys.exc_info()[1]
    failure: Exception | None = None
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(_handling(handled, work)) for work in works]
    except ExceptionGroup as failures:
        failure = failures.exceptions[0]
    if failure is not None:
        raise failure
    return [task.result() for task in tasks]


async def _handling(handled: BaseException | None, work: Work[T]) -> T:
    """Do a work while an exception is Python's current one, which a new task does not inherit."""
    if handled is None:
        return await work()
    traceback = handled.__traceback__
    try:
        raise handled
    except BaseException:
        handled.__traceback__ = traceback
        return await work()
