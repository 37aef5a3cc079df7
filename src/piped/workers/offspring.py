"""One child process of a worker, as the worker sees it; and what they say to each other.

A frame is four bytes, its length, and a MessagePack array; an empty one asks the child to end. A
child that reads the end of its pipe instead is an orphan, and dies at once.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias, cast

import msgspec

from piped.errors import visible
from piped.providers.processes.child import kill_group, refusal, told
from piped.workers.crossing import Format
from piped.workers.errors import ChildDied
from piped.workers.failures import Failure
from piped.workers.frames import MAX_FRAME
from piped.workers.logs import Lines, said_by, tell

HEADER: Final = 4
MAX_BYTES: Final = MAX_FRAME + 4096
"""How long a frame may be: what is sent to a front, and a little around it."""
LINGER_S: Final = 1.0
"""How long pipes are read on that somebody else holds when the process has ended."""
LAST_LINES: Final = 20


class Ready(msgspec.Struct, array_like=True, tag=1):
    """Child: I am ready for the first part."""


class Done(msgspec.Struct, array_like=True, tag=2):
    """Child: these are the results."""

    payload: bytes


class Failed(msgspec.Struct, array_like=True, tag=3):
    """Child: this is why there are none."""

    failure: Failure


class Job(msgspec.Struct, array_like=True):
    """Worker: run this pipeline with this baton."""

    pipeline: str
    payload: bytes
    format: Format
    key: str = ""
    journey: int = 0


Said: TypeAlias = Ready | Done | Failed

_ENCODE: Final = msgspec.msgpack.Encoder().encode
_SAID: Final = msgspec.msgpack.Decoder(Said)
_JOB: Final = msgspec.msgpack.Decoder(Job)

END: Final = bytes(HEADER)
"""The frame that asks a child to end."""


def framed(what: Said | Job) -> bytes:
    """Return a frame as it is written."""
    body = _ENCODE(what)
    return len(body).to_bytes(HEADER, "big") + body


def job_in(body: bytes) -> Job:
    """Return the job that a frame holds."""
    return _JOB.decode(body)


class Offspring(asyncio.SubprocessProtocol):
    """A child process: it is given one part at a time, and killed with all that it has started.

    ``on_end`` is called when it is gone and all that it wrote is read, or could not be started.
    """

    def __init__(self, pool: str, on_end: Callable[[Offspring], object]) -> None:
        self.gone = asyncio.Event()
        self.is_ready = False
        self.is_stuck = False  # it was killed, and is not yet gone
        self.pid = 0
        self._pool, self._on_end = pool, on_end
        self._transport: asyncio.SubprocessTransport | None = None
        self._answer: asyncio.Future[Said] | None = None
        self._buffer = bytearray()
        self._lines = Lines()  # of its log
        self._last: deque[str] = deque(maxlen=LAST_LINES)
        self._linger: asyncio.TimerHandle | None = None

    def __repr__(self) -> str:
        return f"<Offspring {self.pid} of '{self._pool}'>"

    @property
    def code(self) -> int | None:
        """The exit code, or a signal's number below zero; None while it runs."""
        return self._transport.get_returncode() if self._transport else None

    async def start(self, command: Sequence[str]) -> None:
        """Start it and wait until it is ready.

        Raises:
            ChildDied: It has ended before.
            Misconfigured: It can never be started so.
            Unavailable: The system has no room for it now.
        """
        self._answer = answer = asyncio.get_running_loop().create_future()
        pipe = asyncio.subprocess.PIPE
        try:
            await asyncio.get_running_loop().subprocess_exec(
                lambda: self, *command, stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True
            )
        except BaseException as error:
            answer.cancel()  # nobody waits for it any more
            if isinstance(error, OSError | ValueError):
                self._end()
                raise refusal(error) from error
            raise  # it was started all the same, and the loop will tell of it
        await answer
        self.is_ready = True

    async def ask(self, job: Job) -> bytes | Failure:
        """Have it run a pipeline, and return the encoded results, or why there are none.

        Raises:
            ChildDied: It has ended before.
        """
        if self.gone.is_set():
            raise self._death()
        assert self._transport is not None
        self._answer = asyncio.get_running_loop().create_future()
        self._write(framed(job))
        said = await self._answer
        assert isinstance(said, Done | Failed)  # it has said Ready before
        return said.payload if isinstance(said, Done) else said.failure

    @property
    def last_words(self) -> str:
        """The last lines that it wrote before it was ready, and that are no events of its log."""
        return "\n".join(self._last)

    def end(self) -> None:
        """Ask it to end."""
        self._write(END)

    def kill(self) -> None:
        """End it, whatever it does, and all that it has started."""
        if self.code is None:
            kill_group(self.pid)

    def _write(self, frame: bytes) -> None:
        if self._transport is not None:
            cast(asyncio.WriteTransport, self._transport.get_pipe_transport(0)).write(frame)

    # What the event loop tells.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.SubprocessTransport, transport)
        self.pid = self._transport.get_pid()
        if self.is_stuck:
            self.kill()

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        if fd == 1:
            self._buffer += data
            self._read_frames()
        else:
            for each in self._lines.cut(data):
                self._heard(each)

    def process_exited(self) -> None:
        kill_group(self.pid)  # whoever is left of it
        assert self._transport is not None
        loop = asyncio.get_running_loop()
        self._linger = loop.call_later(LINGER_S, self._transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        assert self._transport is not None
        if self._linger is not None:
            self._linger.cancel()
        self._transport.close()
        self._heard(self._lines.rest)
        self._end()

    def _heard(self, line: bytes) -> None:
        if not self.is_ready and line.strip() and said_by(line) is None:
            self._last.append(visible(line.decode("utf-8", "replace").rstrip()))
        tell(line, f"{self._pool}.{self.pid}")

    def _read_frames(self) -> None:
        while len(self._buffer) >= HEADER:
            size = int.from_bytes(self._buffer[:HEADER], "big")
            if size > MAX_BYTES:
                self._misspoke(f"a frame of {size} bytes")
                return
            if len(self._buffer) < HEADER + size:
                return
            body = bytes(self._buffer[HEADER : HEADER + size])
            del self._buffer[: HEADER + size]
            try:
                said: Said = _SAID.decode(body)
            except (msgspec.MsgspecError, ValueError, RecursionError):
                self._misspoke("what cannot be read")
                return
            if self._answer is not None and not self._answer.done():
                self._answer.set_result(said)

    def _misspoke(self, what: str) -> None:
        self._buffer.clear()
        self.kill()
        self._fail(ChildDied(f"a process of pool '{self._pool}' has sent {what}, and was killed"))

    def _end(self) -> None:
        self.gone.set()
        self._fail(self._death())
        self._on_end(self)

    def _death(self) -> ChildDied:
        return ChildDied(f"a process of pool '{self._pool}' {told(self.code)}")

    def _fail(self, error: Exception) -> None:
        answer: Any = self._answer
        if answer is not None and not answer.done():
            answer.set_exception(error)
