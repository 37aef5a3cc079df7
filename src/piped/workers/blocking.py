"""Runs pipelines outside of the event loop, so that what keeps Python busy does not stop it.

Threads share the memory of the service, and one interpreter; nobody can stop them. Children are
processes of their own: each runs one part at a time, and is killed with it.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Sequence
from typing import Any, Final

import structlog

from piped.errors import Misconfigured, Unavailable
from piped.providers.processes.child import told
from piped.providers.threads import Executor
from piped.workers.crossing import Crossing, Format
from piped.workers.errors import ChildDied
from piped.workers.failures import Failure, Passed
from piped.workers.frames import Work
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
    """Runs parts of pipelines that never wait, each in a thread of its own."""

    def __init__(self, size: int, format: Format) -> None:  # noqa: A002 - as the document names it
        self._executor = Executor(size, max_waiting=sys.maxsize)  # no worker has more than it can
        self._crossing = Crossing(format)

    @property
    def stuck(self) -> int:
        """How many threads are left that run on."""
        return self._executor.stuck

    async def run(self, work: Work, pipeline: Any) -> bytes:
        """Run a part, and return its encoded results."""
        value = self._crossing.decode(work.payload)
        return self._crossing.encode(list(await self._executor.run(_now, pipeline, value)))

    async def close(self) -> None:
        """Start no more, and wait for nobody."""
        self._executor.close()


def _now(pipeline: Any, value: Any) -> list[Any]:
    try:
        results: list[Any] = pipeline.now(value)
    except StopIteration as error:  # no coroutine can raise one
        raise RuntimeError(f"{type(error).__name__}: {error}") from error
    return results


class Children:
    """Runs parts in processes that read the same document; each is started when it is needed.

    Args:
        document: The file.
        overrides: Texts of the form ``path:value``.
        pool: The name of the pool whose pipelines they run.
        size: How many there may be.
        format: How batons cross.
    """

    def __init__(
        self,
        document: str,
        overrides: Sequence[str],
        pool: str,
        size: int,
        format: Format,  # noqa: A002 - as the document names it
    ) -> None:
        self._command = (*COMMAND, pool, os.path.abspath(document), *overrides)
        self._pool, self._format = pool, format
        self._slots = asyncio.Semaphore(size)
        self._all: set[Offspring] = set()
        self._idle: list[Offspring] = []
        self._pause_s = 0.0  # after the last death, since a part was done
        self._start_at = 0.0
        self._is_closed = False

    @property
    def stuck(self) -> int:
        """How many processes were killed and are not yet gone."""
        return sum(each.is_stuck for each in self._all)

    async def run(self, work: Work, pipeline: Any) -> bytes:
        """Run a part in a process, which has the pipeline too; return its encoded results.

        Who is cancelled, or has waited long enough, kills the process that runs it.

        Raises:
            Passed: The pipeline has failed.
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
            answer = await child.ask(
                Job(work.pipeline, work.payload, self._format, work.key, work.journey)
            )
        except BaseException as error:
            if not isinstance(error, asyncio.CancelledError):
                self._note_death()
            self._give_up(child)
            raise
        self._pause_s = 0.0
        self._idle.append(child)
        self._slots.release()
        if isinstance(answer, Failure):
            raise Passed(answer)
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
        child.is_stuck = True
        child.kill()

    def _ended(self, child: Offspring) -> None:
        self._all.discard(child)
        if child in self._idle:
            self._idle.remove(child)
            log.warning("idle process died", pool=self._pool, pid=child.pid, how=told(child.code))
        if child.is_stuck:
            self._slots.release()

    def _note_death(self) -> None:
        self._pause_s = min(max(PAUSE_S, 2 * self._pause_s), LONGEST_PAUSE_S)
        self._start_at = asyncio.get_running_loop().time() + self._pause_s
