"""A child process of a worker: ``python -m piped.cli._offspring POOL FILE [OVERRIDE ...]``.

It reads the document, opens what the pipelines of the pool need, and runs one part after the
other in its event loop, which they may keep as long as they like. A thread listens to the worker
meanwhile: when the worker is gone, so is the child, and all that it has started.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from io import TextIOWrapper
from typing import Final, NoReturn

from piped.app import Service, blueprint_of
from piped.cli._stdin import taken
from piped.engine.journey import journey
from piped.errors import BatonError, ConfigError, PipedError
from piped.observe.logs import configure
from piped.workers import Pool
from piped.workers.crossing import Crossing
from piped.workers.failures import failure_of
from piped.workers.frames import MAX_FRAME
from piped.workers.offspring import HEADER, Done, Failed, Job, Ready, Said, framed, job_in
from piped.workers.pool import UnknownPool, pool_of
from piped.workers.worker import idempotency_key

EXIT_CANNOT_START: Final = 2
PR_SET_PDEATHSIG: Final = 1


class Pipes:
    """What leads to the worker: taken away from standard input and output, which are the user's."""

    def __init__(self) -> None:
        self._jobs: asyncio.Queue[Job | None] = asyncio.Queue()
        self._reading, self._writing = taken(), os.dup(1)
        os.dup2(2, 1)
        assert isinstance(sys.stdout, TextIOWrapper)
        sys.stdout.reconfigure(line_buffering=True)

    def listen(self) -> None:
        """Begin to hear the worker."""
        own = (asyncio.get_running_loop(),)
        threading.Thread(target=self._listen, args=own, daemon=True, name="worker").start()

    async def job(self) -> Job | None:
        """Return the next job; None where the worker wants no more."""
        return await self._jobs.get()

    def say(self, what: Said) -> None:
        """Tell the worker something."""
        rest = memoryview(framed(what))
        while rest:
            rest = rest[os.write(self._writing, rest) :]

    def _listen(self, loop: asyncio.AbstractEventLoop) -> None:
        while size := int.from_bytes(self._read(HEADER), "big"):
            loop.call_soon_threadsafe(self._jobs.put_nowait, job_in(self._read(size)))
        loop.call_soon_threadsafe(self._jobs.put_nowait, None)
        self._read(HEADER)

    def _read(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            more = os.read(self._reading, size - len(data))
            if not more:
                perish()
            data += more
        return data


def perish() -> NoReturn:
    """End at once, with all that we have started."""
    with suppress(OSError):
        if os.getpgrp() == os.getpid():
            os.killpg(0, signal.SIGKILL)
    os._exit(1)


def die_with_worker() -> None:
    """Have the system kill us with the worker, where a part lets no other thread run."""
    if sys.platform == "linux":
        import ctypes

        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def heed_no_signals() -> None:
    """Let the worker alone decide when we end.

    They are handled and not ignored: programs that a part starts would inherit that.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda _number, _frame: None)


def service_of(file: str, overrides: Sequence[str], name: str) -> Service:
    """Return the service that runs the pipelines of a pool; other pools stay in this process.

    Raises:
        ConfigError: The document has errors that concern them.
        UnknownPool: It has no such pool.
    """
    blueprint = blueprint_of(file, overrides)
    try:
        names = tuple(pool_of(blueprint.units, name).served)
    except UnknownPool:
        if blueprint.errors:  # it may be written, and not understood
            raise ConfigError(blueprint.errors) from None
        raise
    if errors := blueprint.errors_of(names):
        raise ConfigError(errors)
    for unit in blueprint.units:
        if isinstance(unit, Pool):
            unit.role, unit.blocking = "inner", False
    return Service(blueprint, only=names)


async def work(pipes: Pipes, service: Service) -> None:
    """Run parts until the worker wants no more."""
    pipes.listen()
    async with service, asyncio.TaskGroup() as group:
        pipes.say(Ready())
        while (job := await pipes.job()) is not None:
            pipes.say(await group.create_task(answer_to(job, service), name=job.pipeline))


async def answer_to(job: Job, service: Service) -> Said:
    """Run a part, in a context of its own."""
    journey.set(job.journey)
    idempotency_key.set(job.key)
    crossing = Crossing(job.format)
    try:
        results = await service.call(job.pipeline, crossing.decode(job.payload))
        payload = crossing.encode(list(results))
        if len(payload) > MAX_FRAME:
            raise BatonError(f"expected results of at most {MAX_FRAME} bytes, got {len(payload)}")
    except Exception as error:
        return Failed(failure_of(error))
    return Done(payload)


def main(pool: str, file: str, *overrides: str) -> int:
    """Run parts of a pool; return the exit code."""
    pipes = Pipes()
    heed_no_signals()
    die_with_worker()
    configure(is_terminal=False)
    try:
        asyncio.run(work(pipes, service_of(file, overrides, pool)))
    except PipedError as error:
        print(error, file=sys.stderr)
        return EXIT_CANNOT_START
    return 0


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
