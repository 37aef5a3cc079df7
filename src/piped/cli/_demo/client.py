"""A client of the demo: as much HTTP as our own services speak, and a load of requests."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, Final
from urllib.parse import urlsplit

CONNECTIONS: Final = 16
PATIENCE_S: Final = 10.0
BROKEN: Final = (OSError, EOFError, ValueError)  # TimeoutError is an OSError


async def get(url: str, query: str = "") -> tuple[int, bytes]:
    """Return the status and the body of an answer.

    Raises:
        OSError: There is none.
    """
    connection = await Connection.open(url)
    try:
        return await connection.get(query)
    except (EOFError, ValueError) as error:
        raise OSError(f"no answer: {type(error).__name__}") from error
    finally:
        connection.close()


class Connection:
    """A connection that asks one thing after the other."""

    def __init__(
        self, path: str, host: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._path, self._host = path, host
        self._reader, self._writer = reader, writer

    @classmethod
    async def open(cls, url: str) -> Connection:
        """Connect to where a URL leads, for whatever is asked of its path."""
        parts = urlsplit(url)
        streams = await asyncio.open_connection(parts.hostname, parts.port)
        return cls(parts.path, parts.netloc, *streams)

    async def get(self, query: str) -> tuple[int, bytes]:
        """Return the status and the body of an answer."""
        target = f"{self._path}?{query}" if query else self._path
        self._writer.write(f"GET {target} HTTP/1.1\r\nhost: {self._host}\r\n\r\n".encode())
        head = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        length = head.partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0]
        return int(head.split(b" ", 2)[1]), await self._reader.readexactly(int(length))

    def close(self) -> None:
        self._writer.close()


@dataclass(slots=True)
class Load:
    """Many requests, each with numbers of its own; an answer that is not right is lost."""

    url: str
    count: int
    answered: int = 0
    lost: int = 0
    slowest_s: float = 0.0
    is_half_done: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        """Ask all of it on a few connections, each of which asks when it has its answer."""
        numbers = iter(range(self.count))
        async with asyncio.TaskGroup() as group:
            for _ in range(CONNECTIONS):
                group.create_task(self._ask(numbers))

    async def _ask(self, numbers: Iterator[int]) -> None:
        connection: Connection | None = None
        for number in numbers:
            began = perf_counter()
            try:
                async with asyncio.timeout(PATIENCE_S):
                    connection = connection or await Connection.open(self.url)
                    answer = await connection.get(query(number, 3, 5))
                self._judge(answer, right(number, 3, 5), perf_counter() - began)
            except BROKEN:
                self.lost += 1
                if connection is not None:
                    connection.close()
                connection = None
            if 2 * (self.answered + self.lost) >= self.count:
                self.is_half_done.set()
        if connection is not None:
            connection.close()

    def _judge(self, answer: tuple[int, bytes], expected: Any, took_s: float) -> None:
        status, body = answer
        if status != 200 or json.loads(body) != expected:
            self.lost += 1
            return
        self.answered += 1
        self.slowest_s = max(self.slowest_s, took_s)


def query(*numbers: int) -> str:
    """Return the query that asks for the sums of some numbers."""
    return "&".join(f"n={each}" for each in numbers)


def right(*numbers: int) -> dict[str, int]:
    """Return the right answer to that."""
    total, square = sum(each * each for each in numbers), sum(numbers) ** 2
    return {"sum": total, "square": square, "diff": square - total}
