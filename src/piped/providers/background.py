"""Work that goes on after the step that started it has returned."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Annotated, Any, ClassVar, TypeAlias

import structlog

from piped.errors import QueueFull, Unavailable
from piped.spec import Meta, Provider, provider

Work: TypeAlias = Callable[[], Awaitable[Any]]

log = structlog.get_logger("piped.background")


class Tasks:
    """What runs in the background of a service: tasks that processors have started."""

    def __init__(self, group: asyncio.TaskGroup, max_tasks: int) -> None:
        self._group = group
        self._max_tasks = max_tasks
        self._running: set[asyncio.Task[None]] = set()
        self._endings: dict[asyncio.Task[None], Callable[[], object]] = {}
        self._is_ending = False
        self._is_over = False

    def start(self, work: Work, name: str) -> None:
        """Do a work beside all others; where it fails, that is logged.

        Raises:
            QueueFull: There are ``max_tasks`` already.
            Unavailable: The service ends, and has no time left.
        """
        if self._is_over:
            raise Unavailable("the service ends: nothing begins in the background any more")
        if len(self._running) >= self._max_tasks:
            raise QueueFull(f"{self._max_tasks} tasks run in the background already")
        task = self._group.create_task(_done(work, name), name=name)
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    def on_end(self, asked: Work, act: Callable[[], object]) -> None:
        """Have a function called once: as soon as ``asked`` returns, at the latest when it drains.

        What a request waits for must come to its end while the sites wait for the request.
        """
        if self._is_ending:
            act()
            return

        async def watch() -> None:
            await asked()
            act()

        self._endings[self._group.create_task(watch(), name="watch for the end")] = act

    async def drain(self, limit_s: float) -> None:
        """Wait for all tasks, and cancel those that take longer."""
        self._is_ending = True
        for watch, act in self._endings.items():
            if watch.cancel():
                act()
        end = asyncio.get_running_loop().time() + limit_s
        while running := {task for task in self._running if not task.done()}:
            left = end - asyncio.get_running_loop().time()
            if left <= 0:
                log.warning("tasks given up", tasks=len(running), after_s=limit_s)
                await self._give_up()
                return
            await asyncio.wait(running, timeout=left)

    async def _give_up(self) -> None:
        self._is_over = True
        await asyncio.sleep(0)  # a task that is cancelled before it has begun cleans nothing up
        for task in self._running:
            task.cancel()


async def _done(work: Work, name: str) -> None:
    try:
        await work()
    except Exception:
        log.exception("background task failed", task=name)


@provider("background")
class Background(Provider):
    """Run what goes on after its step: the copies of wire-tap, the timers of batch.

    It is there without a section of its own as soon as a processor needs it. When the service ends
    it waits for the tasks that run, within the drain.
    """

    runs_pipelines: ClassVar[bool] = True

    max_tasks: Annotated[
        int, Meta(ge=1, description="How many tasks may run at the same time; more are refused.")
    ] = 10_000

    def offers(self) -> Iterable[str]:
        return ("background",)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[dict[str, Any]]:
        """Yield the tasks; at the end, drain them."""
        async with asyncio.TaskGroup() as group:
            tasks = Tasks(group, self.max_tasks)
            yield {"background": tasks}
            await tasks.drain(self.drain_s)
