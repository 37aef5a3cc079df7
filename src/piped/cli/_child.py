"""Processes that `piped run --watch` starts, and how they end."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

PYTHON: Final = (sys.executable, "-B", "-P", "-m")  # -B: two changes in one second are two


class Child:
    """The service, and a pipe over which it is told to reload, and sees when nobody watches."""

    def __init__(self, process: asyncio.subprocess.Process, pipe: int, patience_s: float) -> None:
        self._process = process
        self._pipe = pipe
        self._patience_s = patience_s
        self._told = 0

    @classmethod
    async def start(cls, arguments: Iterable[str], patience_s: float) -> Child:
        """Run `piped run` in a process that the keys of a terminal do not interrupt."""
        lifeline, pipe = os.pipe()
        command = (*PYTHON, "piped", "run", f"--lifeline={lifeline}", *arguments)
        try:
            with signals_kept():
                process = await asyncio.create_subprocess_exec(*command, pass_fds=[lifeline])
        except BaseException:
            os.close(pipe)
            raise
        finally:
            os.close(lifeline)
        return cls(process, pipe, patience_s)

    async def ended(self) -> int:
        """Wait for its end and return its exit code."""
        code = await self._process.wait()
        return code if code >= 0 else 128 - code

    def reload(self, patience_s: float) -> None:
        """Have it read its document again, which changes how long it may take to end."""
        self._patience_s = patience_s
        with suppress(OSError):
            os.write(self._pipe, b"\n")

    def tell(self, times: int) -> None:
        """Tell it to end, as often as it was not yet told: it drains, then hurries, then breaks."""
        while self._told < times:
            self._told += 1
            with suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGTERM)

    async def end(self) -> int:
        """Have it drain, wait for its end, and return its exit code."""
        self.tell(1)
        try:
            async with asyncio.timeout(self._patience_s):
                return await self.ended()
        except TimeoutError:
            self._process.kill()
            return await self.ended()

    def close(self) -> None:
        os.close(self._pipe)


@contextmanager
def signals_kept() -> Iterator[None]:
    """Have processes started that get none of the signals which a terminal sends to all of them.

    They inherit the mask: it is us who tell them to end, once, whatever the way we were told.
    """
    old = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGHUP))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, old)
