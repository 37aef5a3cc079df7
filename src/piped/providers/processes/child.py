"""One process that was started: its pipes, its group, and what became of it."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from typing import Any, Final, cast

import structlog

from piped.errors import BatonError, Misconfigured, Unavailable
from piped.providers._lines import CHUNK

LINGER_S: Final = 1.0
"""How long a pipe may be silent, that somebody else holds when the process has ended."""
KILL_S: Final = 5.0
"""How long a process that was killed may take to be gone."""
FOR_NOW: Final = (errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE)

log = structlog.get_logger("piped.processes")


class Output:
    """What a process writes, read no faster than it is treated."""

    def __init__(self) -> None:
        self.stream = asyncio.StreamReader(limit=CHUNK)
        self._silence: asyncio.Timeout | None = None
        self._is_last = False

    async def read(self) -> bytes:
        """Return what comes next; nothing at the end."""
        limit = LINGER_S if self._is_last else None
        try:
            async with asyncio.timeout(limit) as self._silence:
                return await self.stream.read(CHUNK)
        except TimeoutError:
            return b""
        finally:
            self._silence = None

    def end_soon(self) -> None:
        """Take a silence for the end from now on."""
        self._is_last = True
        if self._silence is not None:
            self._silence.reschedule(asyncio.get_running_loop().time() + LINGER_S)


class Input(asyncio.BaseProtocol):
    """What a process reads, written no faster than it does."""

    def __init__(self) -> None:
        self.is_open = True
        self.transport: asyncio.WriteTransport | None = None
        self._room = asyncio.Event()
        self._room.set()
        self._turn = asyncio.Lock()

    async def write(self, data: bytes) -> bool:
        """Write as soon as there is room; tell whether it was still open."""
        async with self._turn:
            await self._room.wait()
            if self.is_open and self.transport is not None:
                self.transport.write(data)
            return self.is_open

    def end(self) -> None:
        """Let nobody write, or wait for room, any more."""
        self.is_open = False
        self._room.set()

    def pause_writing(self) -> None:
        self._room.clear()

    def resume_writing(self) -> None:
        self._room.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.end()


class Child(asyncio.SubprocessProtocol):
    """A process that runs: the resource ``process.<name>``.

    It leads a session and a group of its own: no terminal ends it, and whoever is left of the
    group when it has ended is killed.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.exited = asyncio.Event()
        self.outputs: dict[str, Output] = {}
        self._input: Input | None = None
        self._transport: asyncio.SubprocessTransport | None = None
        self._pid = 0
        self._pipes: list[asyncio.BaseTransport] = []

    @property
    def pid(self) -> int:
        """The number of the process, which is that of its group too."""
        return self._pid

    @property
    def code(self) -> int | None:
        """The exit code, or a signal's number below zero; None while it runs."""
        return self._transport.get_returncode() if self._transport else None

    async def write(self, line: str | bytes) -> None:
        """Write a line to its standard input, as soon as there is room.

        Args:
            line: Text is sent as UTF-8; a line feed is added where there is none at the end.

        Raises:
            BatonError: It is neither text nor bytes.
            Misconfigured: Its section does not say ``stdin: true``.
            Unavailable: It has ended, or reads no more.
        """
        if not isinstance(line, str | bytes):
            raise BatonError(f"expected text or bytes, got {type(line).__name__}")
        if self._input is None:
            raise Misconfigured(f"'{self.name}' has no input: it needs 'stdin: true'")
        data = line.encode() if isinstance(line, str) else line
        if not await self._input.write(data if data.endswith(b"\n") else data + b"\n"):
            raise Unavailable(f"'{self.name}' reads no more")

    async def start(
        self,
        command: Sequence[str],
        *,
        cwd: str | None,
        env: Mapping[str, str],
        has_input: bool,
        stderr: int | None,
    ) -> None:
        """Start the process; ``stderr`` may be another place for its errors than a pipe.

        Raises:
            Misconfigured: It can never be started so.
            Unavailable: The system has no room for it now.
        """
        if "\0" in "".join((*command, *env.values(), *env)):  # uvloop would cut it off there
            raise Misconfigured("cannot be started: there is a null byte in what it is given")
        loop = asyncio.get_running_loop()
        with ExitStack() as its, ExitStack() as ours:
            # Not asyncio's PIPE, which is a socket on uvloop: /dev/stdout cannot be opened there.
            stdin = pipe(its, ours, is_input=True) if has_input else None
            stdout = pipe(its, ours)
            errors = pipe(its, ours) if stderr is None else None
            try:
                await loop.subprocess_exec(
                    lambda: self,
                    *command,
                    stdin=stdin[0] if stdin else asyncio.subprocess.DEVNULL,
                    stdout=stdout[0],
                    stderr=errors[0] if errors else stderr,
                    cwd=cwd,
                    env=dict(env),
                    start_new_session=True,
                )
            except (OSError, ValueError) as error:
                raise refusal(error) from error
            ours.pop_all()
        if stdin:
            await self._connect_input(stdin[1])
        await self._connect_output("stdout", stdout[1])
        if errors:
            await self._connect_output("stderr", errors[1])

    async def _connect_input(self, descriptor: int) -> None:
        self._input = own = Input()
        transport, _ = await asyncio.get_running_loop().connect_write_pipe(
            lambda: own, os.fdopen(descriptor, "wb", 0)
        )
        own.transport = transport
        self._pipes.append(transport)

    async def _connect_output(self, name: str, descriptor: int) -> None:
        self.outputs[name] = output = Output()
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(output.stream), os.fdopen(descriptor, "rb", 0)
        )
        self._pipes.append(transport)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.SubprocessTransport, transport)  # on uvloop it only acts so
        self._pid = self._transport.get_pid()

    def process_exited(self) -> None:
        kill_group(self._pid)
        self.exited.set()
        if self._input is not None:
            self._input.end()
        for output in self.outputs.values():
            output.end_soon()

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal to the process and to all of its group; nothing happens if it has ended."""
        if not self.exited.is_set():
            kill_group(self._pid, number)

    async def close(self) -> None:
        """Kill what still runs, and close all pipes."""
        if self._transport is None:
            return
        try:
            self.send_signal(signal.SIGKILL)
            async with asyncio.timeout(KILL_S):
                await self.exited.wait()
        except TimeoutError:
            log.error("process cannot be killed", process=self.name, pid=self.pid)
        finally:
            for each in (*self._pipes, self._transport):
                each.close()


def pipe(its: ExitStack, ours: ExitStack, *, is_input: bool = False) -> tuple[int, int]:
    """Open a pipe and return the end of the process and our own."""
    reading, writing = os.pipe()
    ends = (reading, writing) if is_input else (writing, reading)
    its.callback(os.close, ends[0])
    ours.callback(os.close, ends[1])
    return ends


def kill_group(pid: int, number: signal.Signals = signal.SIGKILL) -> None:
    """Send a signal to the process that leads a group, and to all of the group."""
    if pid > 1:  # 0 and 1 would be our own group, and everybody
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, number)


def refusal(error: OSError | ValueError) -> Exception:
    """Return what it means that a process cannot be started."""
    if isinstance(error, OSError) and error.errno in FOR_NOW:
        return Unavailable(f"cannot be started now: {(error.strerror or str(error)).lower()}")
    reason = getattr(error, "strerror", None) or str(error)
    return Misconfigured(f"cannot be started: {reason[:1].lower()}{reason[1:]}")


def told(code: int | None) -> str:
    """Return in words how a process has ended."""
    if code is None or code >= 0:
        return f"ended with exit code {code}"
    return f"was ended by {signal_name(-code)}"


def end_of(code: int | None) -> dict[str, Any]:
    """Return how a process has ended, as keys of a line in the log."""
    if code is None or code >= 0:
        return {"exit_code": code}
    return {"signal": signal_name(-code)}


def signal_name(number: int) -> str:
    """Return the name of a signal, or its number where it has none."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
