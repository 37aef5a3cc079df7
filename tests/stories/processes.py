"""Processes of `piped`, started as a user starts them, and looked at from outside."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Final

import pytest

PIPED: Final = str(Path(sys.executable).with_name("piped"))
PATIENCE_S: Final = 15.0


class Process:
    """A running `piped`, whose lines are kept as they come."""

    def __init__(
        self,
        *arguments: str | Path,
        cwd: Path,
        within: Sequence[str] = (),
        **environment: str,
    ) -> None:
        """Start it; ``within`` begins a command that becomes it, in another place."""
        inherited = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        self._popen = subprocess.Popen(
            [*within, PIPED, *map(str, arguments)],
            cwd=cwd,
            env={**inherited, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.pid = self._popen.pid
        self._changed = threading.Condition()
        self._lines: dict[str, list[str]] = {"stdout": [], "stderr": []}
        self._readers = [
            threading.Thread(target=self._read, args=(name, stream), daemon=True)
            for name, stream in (("stdout", self._popen.stdout), ("stderr", self._popen.stderr))
        ]
        for each in self._readers:
            each.start()

    def _read(self, name: str, stream: IO[str]) -> None:
        with stream:
            for line in stream:
                with self._changed:
                    self._lines[name].append(line)
                    self._changed.notify_all()
        with self._changed:
            self._lines[name].append("")  # the end
            self._changed.notify_all()

    @property
    def stdout(self) -> str:
        """What it has printed so far; all of it after ``ended``."""
        return "".join(self._lines["stdout"])

    @property
    def stderr(self) -> str:
        return "".join(self._lines["stderr"])

    def told(self, pattern: str, within_s: float = PATIENCE_S) -> re.Match[str]:
        """Wait until standard error matches a pattern."""
        until = time.monotonic() + within_s
        with self._changed:
            while not (match := re.search(pattern, self.stderr)):
                left_s = until - time.monotonic()
                is_over = self._lines["stderr"][-1:] == [""]
                if left_s <= 0 or is_over:
                    pytest.fail(f"nothing like {pattern!r} in the log:\n{self.stderr}")
                self._changed.wait(left_s)
            return match

    def started(self) -> Process:
        """Wait until it says that it runs."""
        self.told('"event":"started"')
        return self

    def url(self, site: str = '[^"]*') -> str:
        """Return the address that a site tells, by default the first one."""
        return self.told(f'"event":"listening".*"site":"{site}","url":"([^"]*)"')[1]

    @property
    def has_ended(self) -> bool:
        return self._popen.poll() is not None

    def send(self, number: signal.Signals) -> None:
        self._popen.send_signal(number)

    def freeze(self) -> None:
        """Stop it, and wait until it stands still."""
        self.send(signal.SIGSTOP)
        os.waitpid(self.pid, os.WUNTRACED)

    def thaw(self) -> None:
        self.send(signal.SIGCONT)

    def ended(self, within_s: float = PATIENCE_S) -> int:
        """Wait until it has ended, and return its exit code."""
        try:
            code = self._popen.wait(within_s)
        except subprocess.TimeoutExpired:
            pytest.fail(f"process {self.pid} does not end:\n{self.stderr}")
        for each in self._readers:
            each.join(within_s)
        return code

    def terminated(self, within_s: float = PATIENCE_S) -> int:
        """Ask it to end, wait until it has, and return its exit code."""
        self.send(signal.SIGTERM)
        return self.ended(within_s)

    def kill(self) -> None:
        """End it at once, whatever it does."""
        if not self.has_ended:
            self._popen.kill()
        self.ended()


class Processes:
    """Starts processes, and sees that none outlives its test."""

    def __init__(self) -> None:
        self._all: list[Process] = []

    def __call__(
        self, *arguments: str | Path, cwd: Path, within: Sequence[str] = (), **environment: str
    ) -> Process:
        self._all.append(Process(*arguments, cwd=cwd, within=within, **environment))
        return self._all[-1]

    def kill(self) -> None:
        for each in self._all:
            each.kill()


def processes() -> Iterator[Processes]:
    """The body of the fixtures that start processes."""
    made = Processes()
    try:
        yield made
    finally:
        made.kill()


def skip_if_taken(ports: Iterable[int]) -> None:
    """Skip a test whose documents name ports that somebody else listens at."""
    for port in ports:
        with contextlib.closing(socket.socket()) as each:
            each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                each.bind(("0.0.0.0", port))
                each.listen()
            except OSError as error:
                pytest.skip(f"port {port} is not free: {error.strerror}")


def is_alive(pid: int) -> bool:
    """Tell whether a process runs; one that nobody has waited for does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listens at."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
