"""Threads for steps that keep Python busy, or wait where nothing can be awaited."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from contextvars import copy_context
from functools import partial
from queue import SimpleQueue
from typing import Annotated, Any, TypeAlias, TypeVar

import structlog

from piped.errors import QueueFull, ResourceError, Unavailable
from piped.spec import Meta, Provider, provider

T = TypeVar("T")

Outcome: TypeAlias = tuple[Any, BaseException | None]
Work: TypeAlias = tuple[Callable[[], Any], asyncio.Future[Outcome]]

log = structlog.get_logger("piped.threads")


class Executor:
    """Runs functions outside of the event loop, ``size`` at a time; so many more may wait.

    A thread cannot be stopped. Who is cancelled leaves it running, and its place is taken until it
    ends. The threads are daemons: one that never ends does not keep the process from ending.
    """

    def __init__(self, size: int, max_waiting: int) -> None:
        self.waiting = 0
        self._size, self._max_waiting = size, max_waiting
        self._places = asyncio.Semaphore(size)
        self._works: SimpleQueue[Work | None] = SimpleQueue()  # of those that have a place
        self._running: set[asyncio.Future[Outcome]] = set()
        self._left: set[asyncio.Future[Outcome]] = set()  # of these, what nobody waits for
        self._loop = asyncio.get_running_loop()
        self._threads = 0
        self._is_closed = False

    @property
    def running(self) -> int:
        """How many threads are busy."""
        return len(self._running)

    @property
    def stuck(self) -> int:
        """How many of them were left by who had called them."""
        return len(self._left)

    async def run(self, function: Callable[..., T], *args: Any) -> T:
        """Call a function in a thread, with the context variables of now, and return its result.

        Raises:
            QueueFull: All threads are busy, and ``max_waiting`` others wait for one.
            Unavailable: The threads are closed.
        """
        self._fail_if_closed()
        if self._places.locked() and self.waiting >= self._max_waiting:
            raise QueueFull(f"{self._size} threads are busy, and {self.waiting} steps wait for one")
        call = partial(copy_context().run, function, *args)
        self.waiting += 1
        try:
            await self._places.acquire()
        finally:
            self.waiting -= 1
        try:
            self._fail_if_closed()
            self._start_thread_if_needed()
        except ResourceError:
            self._places.release()
            raise
        future = self._start(call)
        try:
            result, error = await future
        except asyncio.CancelledError:
            self._left |= self._running & {future}
            raise
        if error is not None:
            try:
                raise error
            finally:
                del error, future  # its traceback holds this frame
        value: T = result
        return value

    def _start(self, call: Callable[[], Any]) -> asyncio.Future[Outcome]:
        future: asyncio.Future[Outcome] = self._loop.create_future()
        self._running.add(future)
        self._works.put((call, future))
        return future

    def _fail_if_closed(self) -> None:
        if self._is_closed:
            raise Unavailable("the threads are closed")

    def _start_thread_if_needed(self) -> None:
        if self.running < self._threads:
            return
        name = f"code-{self._threads + 1}"
        try:
            threading.Thread(target=self._serve, name=name, daemon=True).start()
        except RuntimeError as error:  # the system has none left
            raise Unavailable(f"no thread can be started: {error}") from error
        self._threads += 1

    def _serve(self) -> None:
        """Be one of the threads."""
        while (work := self._works.get()) is not None:
            call, future = work
            outcome = _outcome(call)
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                self._loop.call_soon_threadsafe(self._done, future, outcome)
            del work, call, future, outcome  # or it would keep the last baton until the next

    def _done(self, future: asyncio.Future[Outcome], outcome: Outcome) -> None:
        self._running.discard(future)
        self._left.discard(future)
        self._places.release()
        if not future.done():
            future.set_result(outcome)

    async def drain(self, limit_s: float) -> None:
        """Wait for all that runs and all that waits; what takes longer is left alone."""
        try:
            async with asyncio.timeout(limit_s):
                for _ in range(self._size):
                    await self._places.acquire()
        except TimeoutError:
            log.warning("threads given up", threads=self.running, after_s=limit_s)

    def close(self) -> None:
        """Start no more, and wait for nobody."""
        self._is_closed = True
        self._places.release()  # for who waits still, to be told
        for _ in range(self._threads):
            self._works.put(None)


def _outcome(call: Callable[[], Any]) -> Outcome:
    # Not as a future's exception: it takes no StopIteration, and its waiter would wait for ever.
    try:
        return call(), None
    except BaseException as error:  # it is raised again where it is awaited
        return None, error


@provider("threads")
class Threads(Provider):
    """Run code that keeps Python busy, or waits without await, beside the event loop.

    It is there without a section of its own as soon as a step says ``blocking: true``. When the
    service ends it waits for what runs, within the drain.
    """

    size: Annotated[int, Meta(ge=1, le=1000, description="How many steps may run at a time.")] = 8
    max_waiting: Annotated[
        int, Meta(ge=0, description="How many more may wait for a thread; others are refused.")
    ] = 64

    def offers(self) -> Iterable[str]:
        return ("threads",)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[dict[str, Any]]:
        """Yield the threads; at the end, drain them."""
        executor = Executor(self.size, self.max_waiting)
        try:
            yield {"threads": executor}
            await executor.drain(self.drain_s)
        finally:
            executor.close()
