"""A client that keeps a ledger: each request has a nonce, and comes to exactly one end."""

from __future__ import annotations

import asyncio
import json
import secrets
import socket
import struct
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from time import perf_counter
from typing import Final
from urllib.parse import urlencode, urlsplit

CONNECTIONS: Final = 24
ENDS: Final = {200: "ok", 503: "refused", 504: "expired"}


class Connection:
    """A connection that asks one thing after the other."""

    def __init__(
        self, host: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._host, self._reader, self.writer = host, reader, writer
        self.is_over = False  # the server has said that it closes

    @classmethod
    async def open(cls, url: str) -> Connection:
        parts = urlsplit(url)
        return cls(parts.netloc, *await asyncio.open_connection(parts.hostname, parts.port))

    def send(self, path: str) -> None:
        self.writer.write(f"GET {path} HTTP/1.1\r\nhost: {self._host}\r\n\r\n".encode())

    async def get(self, path: str) -> tuple[int, bytes]:
        """Return the status and the body of the answer."""
        self.send(path)
        head = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        self.is_over = b"\r\nconnection: close" in head
        length = head.partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0]
        return int(head.split(b" ", 2)[1]), await self._reader.readexactly(int(length))

    def close(self) -> None:
        self.writer.close()

    def reset(self) -> None:
        """Leave at once, by RST."""
        raw = self.writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


async def get(url: str, path: str = "/") -> tuple[int, bytes]:
    """Ask one thing."""
    connection = await Connection.open(url)
    try:
        return await connection.get(path)
    finally:
        connection.close()


@dataclass
class Ledger:
    """What has become of many requests."""

    url: str
    count: int
    pipeline: str = "work"
    more: dict[str, str] = field(default_factory=dict)
    patience_s: float = 8.0
    connections: int = CONNECTIONS
    ends: Counter[str] = field(default_factory=Counter)
    right: set[str] = field(default_factory=set)  # the nonces that were answered well
    times: list[float] = field(default_factory=list)
    done: int = 0
    faults: list[str] = field(default_factory=list)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> Ledger:
        """Ask all of it; each connection asks again when it has its answer."""
        nonces = (secrets.token_hex(16) for _ in range(self.count))
        async with asyncio.TaskGroup() as group:
            for _ in range(self.connections):
                group.create_task(self._ask_all(nonces))
        return self

    async def reached(self, share: float) -> None:
        """Wait until a share of the requests has come to an end."""
        while self.done < share * self.count:
            self._changed.clear()
            await self._changed.wait()

    @property
    def slowest_s(self) -> float:
        return max(self.times, default=0.0)

    async def _ask_all(self, nonces: Iterator[str]) -> None:
        connection: Connection | None = None
        for nonce in nonces:
            began = perf_counter()
            try:
                async with asyncio.timeout(self.patience_s):
                    connection = connection or await Connection.open(self.url)
                    status, body = await connection.get(self._path(nonce))
                self._judge(nonce, status, body)
                self.times.append(perf_counter() - began)
                if connection.is_over:
                    connection = _closed(connection)
            except TimeoutError:
                self._end("silent")
                connection = _closed(connection)
            except ConnectionRefusedError:
                self._end("unreachable")
                await asyncio.sleep(0.05)  # it is down; the load goes on when it is back
            except (OSError, EOFError):
                self._end("cut")
                connection = _closed(connection)
        _closed(connection)

    def _path(self, nonce: str) -> str:
        return "/?" + urlencode({"nonce": nonce, "pipeline": self.pipeline, **self.more})

    def _judge(self, nonce: str, status: int, body: bytes) -> None:
        if status == 200 and json.loads(body)["nonce"] != nonce:
            self.faults.append(f"crossed: {nonce} got {body.decode()}")
        elif status == 200:
            self.right.add(nonce)
        self._end(ENDS.get(status, f"status {status}"))

    def _end(self, name: str) -> None:
        self.ends[name] += 1
        self.done += 1
        self._changed.set()


def _closed(connection: Connection | None) -> Connection | None:
    """Close a connection, and return what is left of it."""
    if connection is not None:
        connection.close()
    return None
