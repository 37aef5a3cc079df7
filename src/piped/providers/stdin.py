"""Standard input: a baton for each line that comes through a pipe, from a file or a terminal."""

from __future__ import annotations

import asyncio
import errno
import os
import select
import sys
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import field
from typing import Annotated, Any, Literal, Self

import structlog

from piped.errors import Misconfigured
from piped.providers._lines import CHUNK, Feed, Format, shape_of
from piped.spec import Dependency, Meta, Provider, Size, provider

log = structlog.get_logger("piped.stdin")


class Reader:
    """Reads a descriptor of any kind, in a thread of its own.

    An event loop would make it non-blocking, and that for all who share it: for the shell that
    started the process, and on a terminal for the process's own output.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._woken, self._wake = os.pipe()
        self._thread = ThreadPoolExecutor(1, "stdin")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        for each in (self._woken, self._wake):
            self._thread.submit(os.close, each)  # when nothing waits for it any more
        self._thread.shutdown(wait=False)

    def stop(self) -> None:
        """End the read that waits, and each that follows, with nothing."""
        os.write(self._wake, b"!")

    async def read(self) -> bytes:
        """Return what comes next; nothing at the end of input.

        Raises:
            Misconfigured: The descriptor is one that cannot be read.
        """
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._read)

    def _read(self) -> bytes:
        poll = select.poll()
        for each in (self._woken, self._descriptor):
            poll.register(each, select.POLLIN)
        while True:
            if self._woken in dict(poll.poll()):
                return b""
            try:
                return os.read(self._descriptor, CHUNK)
            except BlockingIOError:  # another process that shares it was faster
                continue
            except OSError as error:
                if error.errno == errno.EIO:  # the terminal is gone
                    return b""
                reason = (error.strerror or str(error)).lower()
                raise Misconfigured(f"standard input cannot be read: {reason}") from error


@provider("stdin")
class Stdin(Provider):
    """Bring a baton for each line of standard input.

    Batons are ``{line: text}``, without the line's end; what is no UTF-8 in it becomes U+FFFD.
    With ``format: json`` they are ``{line: text, data: value}``, lines that are blank are left
    out, and one that is no JSON counts as failed; with ``format: bytes`` they are ``{line:
    bytes}``.

    Lines are treated in order, one at a time, unless ``in_flight`` says more; no more is read
    meanwhile. One that fails is logged with its number, and reading goes on. One longer than
    ``max_line`` is dropped and logged. Where the processor has failed for good, so has this.

    At the end of input the service ends, when all lines have been treated.
    """

    essential: Annotated[
        bool, Meta(description="Whether the process fails when standard input cannot be read.")
    ] = True
    processor: Annotated[Dependency[Any], Meta(description="What treats the batons.")]
    format: Annotated[Format, Meta(description="What a line is: text, JSON, or bytes.")] = "lines"
    delimiter: Annotated[str, Meta(min_length=1, description="What ends a line.")] = "\n"
    max_line: Annotated[
        Size, Meta(ge=1, description="How long a line may be; a longer one is dropped.")
    ] = Size(1 << 20)
    in_flight: Annotated[
        int, Meta(ge=1, le=10_000, description="How many lines are treated at the same time.")
    ] = 1
    end: Annotated[
        Literal["shutdown", "stay"],
        Meta(description="What the service does at the end of input: it ends, or it stays."),
    ] = "shutdown"
    mark_end: Annotated[
        bool, Meta(description="Bring a last baton, {line: null}, at the end of input.")
    ] = False
    enabled: Annotated[bool, Meta(description="Whether standard input is read at all.")] = True
    _service: Dependency[Any] = field(default_factory=lambda: Dependency("service"), init=False)
    _descriptor: int = field(default=0, init=False)

    def feeds(self) -> bool:
        return self.enabled

    @asynccontextmanager
    async def running(self) -> AsyncIterator[dict[str, Any]]:
        """Read until the end, or until it is left; then wait for the lines being treated."""
        if self._descriptor == 0 and sys.__stdin__ is None:
            raise Misconfigured("standard input is closed")
        feed = Feed(
            source="stdin",
            send=self.processor.deliver,
            shape=shape_of(self.format, self.delimiter),
            max_line=self.max_line,
            delimiter=self.delimiter,
            in_flight=self.in_flight,
        )
        with Reader(self._descriptor) as reader:
            async with asyncio.TaskGroup() as group:
                reading = group.create_task(self._read(feed, reader), name="stdin")
                yield {}
                feed.stop()
                reader.stop()
                await self._drain(reading)

    async def _read(self, feed: Feed, reader: Reader) -> None:
        async def read() -> bytes:
            if chunk := await reader.read():
                await self.processor.wait()  # where it has failed for good, so has this
            return chunk

        await feed.run(read)
        if feed.is_stopped:
            return
        log.info("end of input", lines=feed.number, dropped=feed.dropped)
        if self.mark_end:
            await feed.deliver({"line": None}, feed.number)
        if self.end == "shutdown":
            self._service.value.stop()

    async def _drain(self, reading: asyncio.Task[None]) -> None:
        done, _ = await asyncio.wait([reading], timeout=self.drain_s)
        if not done:
            log.warning("lines given up", after_s=self.drain_s)
            reading.cancel()
