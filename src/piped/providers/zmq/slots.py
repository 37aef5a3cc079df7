"""Who treats the messages of a queue: its processor, for a few of them at once."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from contextvars import copy_context
from typing import Any

import structlog

from piped.engine.journey import journey, new_journey
from piped.errors import ResourceError
from piped.providers.zmq.messages import Message
from piped.spec import Dependency

log = structlog.get_logger("piped.zmq")


class Slots:
    """Gives messages to a processor, no more at once than there are slots.

    A pipeline without awaits treats its message at once; for another one a task is made.
    ``wake`` is called when there is room again, ``on_failure`` when the treatment of a message ends
    in an error, with the number of the message.
    """

    __slots__ = (
        "_group",
        "_name",
        "_number",
        "_on_failure",
        "_processor",
        "_tasks",
        "_waiter",
        "_wake",
        "failed",
        "received",
    )

    def __init__(
        self,
        name: str,
        processor: Dependency[Any],
        number: int,
        group: asyncio.TaskGroup,
        wake: Callable[[], None],
        on_failure: Callable[[int], None],
    ) -> None:
        self._name, self._processor, self._number = name, processor, number
        self._group, self._wake, self._on_failure = group, wake, on_failure
        self._tasks: set[asyncio.Task[None]] = set()
        self._waiter: asyncio.Task[None] | None = None
        self.received = 0
        self.failed = 0

    def has_room(self) -> bool:
        """Tell whether a message can be treated now."""
        if len(self._tasks) >= self._number:
            return False
        if self._processor.is_ready:
            return True
        if self._waiter is None:
            self._waiter = self._group.create_task(self._wait_for_processor())
        return False

    def treat(self, message: Message) -> None:
        """Give a message to the processor; an error is logged and counted."""
        self.received += 1
        target = self._processor.value
        if getattr(target, "is_async", True):
            task = self._group.create_task(self._treat(target, message, self.received))
            self._tasks.add(task)
            task.add_done_callback(self._on_done)
        else:  # in a context of its own, so that nothing leaks into the next message
            copy_context().run(self._treat_now, target, message, self.received)

    def close(self) -> None:
        """Wait no longer for the processor."""
        if self._waiter is not None:
            self._waiter.cancel()

    async def treated(self) -> None:
        """Wait until the messages that were taken are treated."""
        if self._tasks:
            await asyncio.wait(self._tasks)

    def cancel(self) -> None:
        """Give up the messages that are being treated."""
        if self._tasks:
            log.warning("messages cancelled", queue=self._name, count=len(self._tasks))
        for task in self._tasks:
            task.cancel()

    async def _wait_for_processor(self) -> None:
        try:
            await self._processor.wait()
        except ResourceError as error:  # for good: the queue stays unread, and the others go on
            log.error("queue is read no more", queue=self._name, reason=str(error))
            return
        self._waiter = None
        self._wake()

    def _treat_now(self, target: Any, message: Message, number: int) -> None:
        journey.set(new_journey())
        try:
            target.now(message)
        except Exception:
            self._fail(number)

    async def _treat(self, target: Any, message: Message, number: int) -> None:
        journey.set(new_journey())
        try:
            result = target(message)
            if inspect.isawaitable(result):
                await result
        except Exception:
            self._fail(number)

    def _fail(self, number: int) -> None:
        self.failed += 1
        log.error("message failed", queue=self._name, exc_info=True)
        self._on_failure(number)

    def _on_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._wake()
