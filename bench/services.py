"""Services under measurement: processes with children, started, looked at and ended."""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

READY_S = 30.0
END_S = 30.0
TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
WORKERS = ("work", "worker.py")  # a process with such a word in its command line is a worker


class NotReady(Exception):
    """Raised when a service does not answer in time."""


class Running:
    """A service that runs: its port, and the processes that it is made of."""

    def __init__(self, started: subprocess.Popen[bytes], port: int) -> None:
        self.port = port
        self._started = started

    @property
    def processes(self) -> list[int]:
        """All of its processes, the first one first."""
        return [*family(self._started.pid)]

    @property
    def workers(self) -> list[int]:
        return [pid for pid in self.processes if set(WORKERS) & set(command_line(pid))]

    def cpu_s(self) -> float:
        """Return the processor time that its living processes have taken."""
        return sum(map(cpu_s, self.processes))

    def rss_mib(self) -> float:
        """Return the memory that its living processes hold."""
        return sum(map(rss_mib, self.processes))

    def wait_until_ready(self) -> None:
        """Return once it gives a good answer.

        Raises:
            NotReady: It has ended, or does not answer.
        """
        until = time.monotonic() + READY_S
        while time.monotonic() < until:
            if self._started.poll() is not None:
                raise NotReady(f"it has ended, with exit code {self._started.returncode}")
            if is_answering(self.port):
                return
            time.sleep(0.02)
        raise NotReady(f"no good answer in {READY_S:.0f} s")

    def end(self) -> None:
        """Ask it to end, and tell of workers left behind: they would spoil what follows."""
        workers = self.workers
        self._started.terminate()
        try:
            self._started.wait(END_S)
        except subprocess.TimeoutExpired:
            self._started.kill()
            self._started.wait()
        for pid in workers:
            if set(WORKERS) & set(command_line(pid)):
                print(f"worker {pid} still runs", file=sys.stderr)


@contextmanager
def running(
    command: Sequence[str],
    port: int,
    folder: Path,
    environment: Mapping[str, str],
    core: int | None = None,
) -> Iterator[Running]:
    """Run a service until the block ends; what it writes is kept, and part of an error.

    With a core, all of its processes run on that one.
    """
    with tempfile.TemporaryFile() as log:
        with pinned(core):
            started = subprocess.Popen(
                command, cwd=folder, env={**os.environ, **environment}, stdout=log, stderr=log
            )
        service = Running(started, port)
        try:
            service.wait_until_ready()
            yield service
        except NotReady as error:
            log.seek(0)
            text = log.read().decode(errors="replace").strip()
            raise NotReady(f"{error}\n{text[-2000:]}") from None
        finally:
            service.end()


@contextmanager
def pinned(core: int | None) -> Iterator[None]:
    """Have processes that are started meanwhile run on one core, or on any."""
    if core is None:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def two_cores() -> tuple[int | None, int | None]:
    """Return one for what is measured and one for who measures, nothing where there is but one."""
    cores = sorted(os.sched_getaffinity(0))
    return (cores[0], cores[1]) if len(cores) > 1 else (None, None)


def is_answering(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/?n=1&n=2")
        return b'"diff"' in connection.getresponse().read()
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def family(pid: int) -> Iterator[int]:
    """Give a process and all that come from it."""
    yield pid
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return
    for child in children:
        yield from family(int(child))


def command_line(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    except OSError:
        return []


def cpu_s(pid: int) -> float:
    """Return the processor time that a process has taken, 0.0 if it is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0.0
    user, system = stat.rpartition(")")[2].split()[11:13]  # fields 14 and 15, counted from 1
    return (int(user) + int(system)) / TICKS_A_SECOND


def rss_mib(pid: int) -> float:
    """Return the memory that a process holds, 0.0 if it is gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    lines = (line for line in status.splitlines() if line.startswith("VmRSS:"))
    return sum(int(line.split()[1]) for line in lines) / 1024


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port
