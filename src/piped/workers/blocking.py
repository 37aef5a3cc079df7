"""Runs pipelines outside of the event loop, so that what keeps Python busy does not stop it.

Threads share the memory of the service, and one interpreter; nobody can stop them. Children are
processes of their own: each runs one part at a time, and is killed with it.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from contextvars import copy_context
from typing import Any, Final

import structlog

from piped.engine.journey import journey
from piped.errors import Misconfigured, Unavailable
from piped.providers.processes.child import told
from piped.workers.crossing import Format
from piped.workers.errors import ChildDied
from piped.workers.failures import Failure
from piped.workers.offspring import Job, Offspring

START_S: Final = 30.0
"""How long a child may take to read its document and to open what its pipelines need."""
END_S: Final = 5.0
"""How long idle children may take to close what they have opened."""
PAUSE_S: Final = 0.1
LONGEST_PAUSE_S: Final = 30.0

COMMAND: Final = (sys.executable, "-P", "-m", "piped.cli._offspring")

log = structlog.get_logger("piped.workers")


class Threads:
    """Runs pipelines that never wait, each in a thread of its own.

    A thread cannot be stopped: who is cancelled leaves it running, and its place is taken until it
    ends.
    """

    def __init__(self, size: int) -> None:
        self._executor = ThreadPoolExecutor(size, thread_name_prefix="part")
        self._awaited = 0
        self.stuck = 0  # threads whose callers have left them

    @property
    def busy(self) -> int:
        """How many places are taken."""
        return self._awaited + self.stuck

    async def run(self, pipeline: Any, value: Any) -> list[Any]:
        """Send a value through a pipeline, and return the pipeline's results."""
        loop = asyncio.get_running_loop()
        running = self._executor.submit(copy_context().run, _now, pipeline, value)
        self._awaited += 1
        try:
            return await asyncio.wrap_future(running)
        except asyncio.CancelledError:
            if not running.cancel() and not running.done():
                self.stuck += 1
                running.add_done_callback(lambda _: self._left(loop))
            raise
        finally:
            self._awaited -= 1

    def _left(self, loop: asyncio.AbstractEventLoop) -> None:
        with suppress(RuntimeError):  # the loop may be closed before the thread ends
            loop.call_soon_threadsafe(self._unstick)

    def _unstick(self) -> None:
        self.stuck -= 1

    def close(self) -> None:
        """Start no more, and wait for nobody."""
        self._executor.shutdown(wait=False, cancel_futures=True)


def _now(pipeline: Any, value: Any) -> list[Any]:
    try:
        results: list[Any] = pipeline.now(value)
    except StopIteration as error:  # no future takes one: who waits would wait for ever
        raise RuntimeError(f"{type(error).__name__}: {error}") from error
    return results


class Children:
    """Runs pipelines in processes that read the same document; each is started when it is needed.

    Args:
        document: The file.
        overrides: Texts of the form ``path:value``.
        pool: The name of the pool whose pipelines they run.
        size: How many there may be.
    """

    def __init__(self, document: str, overrides: Sequence[str], pool: str, size: int) -> None:
        self._command = (*COMMAND, pool, os.path.abspath(document), *overrides)
        self._pool = pool
        self._slots = asyncio.Semaphore(size)
        self._all: set[Offspring] = set()
        self._idle: list[Offspring] = []
        self._deaths = 0  # since a part was done
        self._start_at = 0.0
        self._is_closed = False
        self.stuck = 0  # processes that were killed and are not yet gone

    @property
    def busy(self) -> int:
        """How many processes there are that cannot be given a part now."""
        return len(self._all) - len(self._idle)

    async def run(
        self,
        pipeline: str,
        payload: bytes,
        format: Format,  # noqa: A002 - as the document names it
        key: str = "",
    ) -> bytes | Failure:
        """Send an encoded baton through a pipeline; return its encoded results, or its failure.

        Who is cancelled, or has waited long enough, kills the process that runs it.

        Raises:
            ChildDied: The process has ended before the pipeline has.
            Misconfigured: No process can be started; what it has written is in the text.
            Unavailable: A process was not ready in time, or they are closed.
        """
        await self._slots.acquire()
        child: Offspring | None = None
        try:
            child = self._idle.pop() if self._idle else await self._new()
            if not child.is_ready:
                await self._start(child)
            answer = await child.ask(Job(pipeline, payload, format, key, journey.get()))
        except BaseException as error:
            if not isinstance(error, asyncio.CancelledError):
                self._note_death()
            self._give_up(child)
            raise
        self._deaths = 0
        self._idle.append(child)
        self._slots.release()
        return answer

    async def close(self) -> None:
        """Let idle children close what they have opened, and kill the others."""
        self._is_closed = True
        idle, self._idle = self._idle, []
        for child in tuple(self._all):
            if child in idle:
                child.end()
            else:
                child.kill()
        try:
            async with asyncio.timeout(END_S):
                for child in tuple(self._all):
                    await child.gone.wait()
        finally:
            for child in self._all:
                log.warning("process killed", pool=self._pool, pid=child.pid, after_s=END_S)
                child.kill()

    async def _new(self) -> Offspring:
        """Return a child that is not started, after a pause where others have died."""
        pause_s = self._start_at - asyncio.get_running_loop().time()
        if pause_s > 0:
            await asyncio.sleep(pause_s)
        if self._is_closed:
            raise Unavailable(f"the processes of pool '{self._pool}' are closed")
        child = Offspring(self._pool, self._ended)
        self._all.add(child)
        return child

    async def _start(self, child: Offspring) -> None:
        try:
            async with asyncio.timeout(START_S):
                await child.start(self._command)
        except TimeoutError as error:
            what = f"a process of pool '{self._pool}' was not ready within {START_S:g} s"
            raise Unavailable(what) from error
        except ChildDied as error:
            if child.code is None or child.code < 0:
                raise
            how = f": {child.last_words}" if child.last_words else f", it {told(child.code)}"
            raise Misconfigured(f"a process of pool '{self._pool}' cannot start{how}") from error

    def _give_up(self, child: Offspring | None) -> None:
        """Kill a child; its place is free when it is gone."""
        if child is None or child.gone.is_set():
            self._slots.release()
            return
        self.stuck += 1
        child.is_stuck = True
        child.kill()

    def _ended(self, child: Offspring) -> None:
        self._all.discard(child)
        if child in self._idle:
            self._idle.remove(child)
            log.warning("idle process died", pool=self._pool, pid=child.pid, how=told(child.code))
        if child.is_stuck:
            self.stuck -= 1
            self._slots.release()

    def _note_death(self) -> None:
        pause_s = min(PAUSE_S * 2.0 ** min(self._deaths, 10), LONGEST_PAUSE_S)
        self._deaths += 1
        self._start_at = asyncio.get_running_loop().time() + pause_s
