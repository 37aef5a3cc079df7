"""Lines: what the providers share that make batons of bytes which come bit by bit."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias

import msgspec
import structlog

from piped.batons import MISSING
from piped.engine.journey import journey, new_journey
from piped.errors import BatonError

CHUNK: Final = 1 << 16
TURN_S: Final = 0.001
"""How long lines are treated before the rest of the process has its turn."""

Format: TypeAlias = Literal["lines", "json", "bytes"]
Shape: TypeAlias = Callable[[bytes], Any]

log = structlog.get_logger("piped.lines")


class Cutter:
    """Cuts what comes bit by bit into lines, and keeps no more of one than it may have."""

    __slots__ = ("_delimiter", "_is_too_long", "_rest", "max_bytes")

    def __init__(self, delimiter: bytes, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._delimiter = delimiter
        self._rest = bytearray()
        self._is_too_long = False

    def cut(self, chunk: bytes) -> list[bytes | None]:
        """Return the lines that end in a chunk; None stands for one that is too long."""
        overlap = len(self._delimiter) - 1
        begin = max(0, len(self._rest) - overlap)
        self._rest += chunk
        lines: list[bytes | None] = []
        if self._rest.find(self._delimiter, begin) >= 0:
            *whole, rest = bytes(self._rest).split(self._delimiter)
            self._rest = bytearray(rest)
            lines = [each if len(each) <= self.max_bytes else None for each in whole]
            if self._is_too_long:
                lines[0], self._is_too_long = None, False
        if self._is_too_long or len(self._rest) > self.max_bytes + overlap:
            self._is_too_long = True
            del self._rest[: len(self._rest) - overlap]
        return lines

    def end(self) -> list[bytes | None]:
        """Return the last line where no delimiter ends it."""
        rest, self._rest = bytes(self._rest), bytearray()
        is_too_long, self._is_too_long = self._is_too_long, False
        if is_too_long or len(rest) > self.max_bytes:
            return [None]
        return [rest] if rest else []


def text_of(line: bytes) -> str:
    """Return a line as text; what is no UTF-8 in it becomes U+FFFD."""
    return line.decode("utf-8", "replace")


def shape_of(format_: Format, delimiter: str = "\n") -> Shape:
    """Return what makes a baton of a line, or MISSING of one that is none.

    Where a line feed ends a line, a carriage return before it is no part of the line.
    """
    tail = b"\r" if delimiter == "\n" else b""

    def text(line: bytes) -> dict[str, Any]:
        return {"line": text_of(line.removesuffix(tail))}

    def json(line: bytes) -> Any:
        baton = text(line)
        if not baton["line"].strip():
            return MISSING
        try:
            return {**baton, "data": msgspec.json.decode(line)}
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            what = f"expected JSON, got {_shown(baton['line'])}: {_why(error)}"
            raise BatonError(what) from error

    def raw(line: bytes) -> dict[str, Any]:
        return {"line": line}

    return {"lines": text, "json": json, "bytes": raw}[format_]


def _why(error: Exception) -> str:
    match error:
        case RecursionError():
            return "it is nested too deep"
        case UnicodeDecodeError():
            return "it is not UTF-8"
    reason = str(error).removeprefix("JSON is malformed: ")
    return f"{reason[:1].lower()}{reason[1:]}"


def _shown(text: str) -> str:
    return repr(text) if len(text) <= 80 else f"{text[:77]!r}..."


@dataclass(slots=True, kw_only=True, eq=False)
class Feed:
    """Sends each line of a source to what treats it, and goes on where one fails.

    With ``in_flight`` 1 the lines are treated one after the other; with more, so many at once. No
    more is read meanwhile.
    """

    source: str
    send: Callable[[Any], Awaitable[Any]]
    shape: Shape
    max_line: int
    delimiter: str = "\n"
    in_flight: int = 1
    has_journeys: bool = True  # a line that is only logged begins none
    number: int = field(default=0, init=False)  # of lines that have come
    dropped: int = field(default=0, init=False)
    is_stopped: bool = field(default=False, init=False)
    _free: asyncio.Semaphore = field(init=False)

    def stop(self) -> None:
        """Take no more lines; those that are being treated come to their end."""
        self.is_stopped = True

    async def run(self, read: Callable[[], Awaitable[bytes]]) -> None:
        """Treat all lines until ``read`` gives nothing more, or until it is stopped."""
        cutter = Cutter(self.delimiter.encode(), self.max_line)
        self._free = asyncio.Semaphore(self.in_flight)
        async with asyncio.TaskGroup() as group:
            while not self.is_stopped and (chunk := await read()):
                await self._take(cutter.cut(chunk), group)
            if not self.is_stopped:
                await self._take(cutter.end(), group)

    async def _take(self, lines: list[bytes | None], group: asyncio.TaskGroup) -> None:
        now = asyncio.get_running_loop().time
        until = now() + TURN_S
        for index, line in enumerate(lines):
            if self.is_stopped:
                log.warning("lines not treated", source=self.source, count=len(lines) - index)
                return
            self.number += 1
            if line is None:
                self._drop()
            elif self.in_flight == 1:
                await self._treat(line, self.number)
            else:
                await self._free.acquire()
                group.create_task(self._treat_beside(line, self.number), name=self.source)
            if now() > until:
                await asyncio.sleep(0)
                until = now() + TURN_S

    def _drop(self) -> None:
        self.dropped += 1
        log.warning(
            "line dropped",
            source=self.source,
            number=self.number,
            longer_than_bytes=self.max_line,
            dropped=self.dropped,
        )

    async def _treat_beside(self, line: bytes, number: int) -> None:
        try:
            await self._treat(line, number)
        finally:
            self._free.release()

    async def _treat(self, line: bytes, number: int) -> None:
        try:
            baton = self.shape(line)
        except BatonError as error:
            log.error("line failed", source=self.source, number=number, reason=str(error))
            return
        if baton is not MISSING:
            await self.deliver(baton, number)

    async def deliver(self, baton: Any, number: int) -> None:
        """Send a baton on its journey; where it fails, that is logged."""
        token = journey.set(new_journey() if self.has_journeys else 0)
        try:
            await self.send(baton)
        except Exception:
            log.exception("line failed", source=self.source, number=number)
        finally:
            journey.reset(token)
