"""Lines on their way to a file: written in batches by a thread, so that no disk stops the loop."""

from __future__ import annotations

import errno
import os
import select
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import Final, TypeAlias

MODE: Final = 0o640
"""Who may read a file that is made: lines about requests name people."""

READY_S: Final = 1.0
"""How long to wait at a time for whoever reads the other end of a pipe."""

OnDone: TypeAlias = Callable[[int, int, str], object]
"""Is told how many bytes were taken from the queue, how many lines of them are lost, and why."""


class Sink:
    """Where lines go: a file that is made anew when it was renamed, or the standard output.

    Args:
        path: The file; None is the standard output.

    Raises:
        OSError: It cannot be opened.
    """

    def __init__(self, path: str | None) -> None:
        self._path = path
        self._fd = _open(path)
        self._is_torn = False  # the last line is not whole

    def write(self, lines: bytes) -> None:
        """Write some lines.

        Raises:
            Unwritten: Not all of them could be written.
        """
        rest = memoryview(lines)
        try:
            self._follow()
            while self._is_torn:
                self._is_torn = self._write_some(memoryview(b"\n")) == 0
            while rest:
                rest = rest[self._write_some(rest) :]
        except OSError as error:
            written = lines[: len(lines) - len(rest)]
            self._is_torn |= bool(written) and not written.endswith(b"\n")
            raise Unwritten(bytes(rest).count(b"\n"), error) from error

    def _write_some(self, lines: memoryview) -> int:
        try:
            return os.write(self._fd, lines)
        except BlockingIOError:  # whoever shares a terminal or pipe with us may have chosen that
            ready = select.poll()  # select knows no number from 1024 on
            ready.register(self._fd, select.POLLOUT)
            ready.poll(READY_S * 1000)
            return 0

    def _follow(self) -> None:
        """Make the file anew where it was renamed or removed, as logrotate does."""
        if self._path is None:
            return
        try:
            now = os.stat(self._path)
        except FileNotFoundError:
            now = None
        if now is None or not os.path.samestat(now, os.fstat(self._fd)):
            fresh = _open(self._path)
            self.close()
            self._fd, self._is_torn = fresh, False

    def close(self) -> None:
        """Let go of it."""
        with suppress(OSError):  # a server of files may tell so late that its disk is full
            os.close(self._fd)  # which frees the number even then


class Unwritten(Exception):
    """Raised when lines could not be written: how many, and why."""

    def __init__(self, lines: int, error: OSError) -> None:
        super().__init__(lines, error)
        self.lines, self.reason = lines, (error.strerror or str(error)).lower()


class LineWriter:
    """Writes to one sink after another, in a thread; nobody who gives it lines ever waits.

    The thread does not keep the process from ending.

    Args:
        on_done: Is called in the thread, for each batch.
        on_end: Is called in the thread, as the last thing that it does.
    """

    def __init__(self, on_done: OnDone, on_end: Callable[[], object]) -> None:
        self._on_done, self._on_end = on_done, on_end
        self._queue: SimpleQueue[bytes | Sink | None] = SimpleQueue()
        threading.Thread(target=self._go_on, name="access-log", daemon=True).start()

    def write(self, lines: bytes) -> None:
        """Have some lines written."""
        self._queue.put(lines)

    def write_to(self, sink: Sink) -> None:
        """Have what follows written to another sink, and the one before closed."""
        self._queue.put(sink)

    def end(self) -> None:
        """Have the thread end when all is written."""
        self._queue.put(None)

    def _go_on(self) -> None:
        sink: Sink | None = None
        while (item := self._queue.get()) is not None:
            if isinstance(item, Sink):
                if sink is not None:
                    sink.close()
                sink = item
            elif sink is not None:
                self._write(sink, item)
        if sink is not None:
            sink.close()
        self._on_end()

    def _write(self, sink: Sink, lines: bytes) -> None:
        lost, reason = 0, ""
        try:
            sink.write(lines)
        except Unwritten as error:
            lost, reason = error.lines, error.reason
        self._on_done(len(lines), lost, reason)


def _open(path: str | None) -> int:
    if path is not None:
        if "\0" in path:
            raise OSError(errno.EINVAL, "there is a null byte in its name")
        # Without O_NONBLOCK, a pipe that nobody reads would keep us here.
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
        return os.open(path, flags, MODE)
    if sys.__stdout__ is None:  # its number may be that of a socket
        raise OSError(errno.EBADF, "there is no standard output")
    return os.dup(1)
