"""Clients that are slow, too large or ambiguous, and what each of them sees."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from services import Running

OPEN_FILES = 256
IDLE = 300  # connections; more than there are descriptors
DRIP_S = 0.2  # between two bytes of a slow client
MIB = 1 << 20
HOST = b"Host: localhost\r\n"
GET = b"GET /?n=1&n=2 HTTP/1.1\r\n"
POST = b"POST /length HTTP/1.1\r\n"


@dataclass(frozen=True)
class Patience:
    """What servers are told, and how long clients wait to see whether they hold to it."""

    limit_s: int
    wait_s: float


class Slow:
    """A client that says something, then goes on byte by byte, or not at all."""

    def __init__(self, said: bytes, drip: bytes = b"") -> None:
        self._said, self._drip = said, drip

    async def __call__(self, service: Running, patience: Patience) -> str:
        reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
        begin = time.perf_counter()
        try:
            async with asyncio.timeout(patience.wait_s):
                writer.write(self._said)
                status = await self._heard(reader, writer)
        except TimeoutError:
            return f"**open after {patience.wait_s:g} s**"
        finally:
            writer.transport.abort()
        return f"{status} after {time.perf_counter() - begin:.1f} s"

    async def _heard(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str:
        while True:
            try:
                async with asyncio.timeout(DRIP_S):
                    return status_of(await reader.read(4096))
            except TimeoutError:
                writer.write(self._drip)
            except ConnectionError:
                return "closed"


async def reads_too_little(service: Running, patience: Patience, drip: int = 0) -> str:
    """Ask for 16 MiB and read little of it; the server's descriptors tell when it has let go."""
    await asyncio.sleep(1)  # until the client that saw it ready has left
    before = descriptors(service)
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", service.port))
        client.setblocking(False)
        client.send(b"GET /big HTTP/1.1\r\n" + HOST + b"\r\n")
        begin = time.perf_counter()
        await until_taken(service, before)
        while (took := time.perf_counter() - begin) < patience.wait_s:
            if descriptors(service) <= before:
                return f"closed after {took:.1f} s"
            await asyncio.sleep(DRIP_S)
            try:
                client.recv(drip)
            except (BlockingIOError, ConnectionError):
                continue
    return f"**open after {patience.wait_s:g} s**"


async def until_taken(service: Running, before: int) -> None:
    for _ in range(500):
        if descriptors(service) > before:
            return
        await asyncio.sleep(0.01)


async def drips(service: Running, patience: Patience) -> str:
    return await reads_too_little(service, patience, 20)


class Large:
    """A client that sends a large head, and waits for what becomes of it."""

    def __init__(self, begin: bytes, piece: bytes, count: int, end: bytes = b"") -> None:
        self._begin, self._piece, self._count, self._end = begin, piece, count, end
        self._sent = 0

    async def __call__(self, service: Running, patience: Patience) -> str:
        before, self._sent = service.rss_mib(), 0
        reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
        async with asyncio.TaskGroup() as group:
            sending = group.create_task(self._send(writer))
            try:
                async with asyncio.timeout(patience.wait_s):
                    status = status_of(await reader.read(4096))
            except TimeoutError:
                status = "**no answer**"
            except ConnectionError:
                status = "closed"
            sending.cancel()
        grown = service.rss_mib() - before
        writer.transport.abort()
        return f"{status}; took {self._sent / MIB:.0f} MiB, {max(grown, 0):+.0f} MiB of memory"

    async def _send(self, writer: asyncio.StreamWriter) -> None:
        writer.write(GET + HOST + self._begin)
        try:
            for _ in range(self._count):
                writer.write(self._piece)
                await writer.drain()
                self._sent += len(self._piece)
                await asyncio.sleep(0)  # an answer may be there, though there was room for more
            writer.write(self._end)
        except ConnectionError:
            return


async def idle(service: Running, patience: Patience) -> str:
    """Open more connections than there are descriptors, say nothing, and ask by one more."""
    opened = []
    for _ in range(IDLE):
        try:
            async with asyncio.timeout(DRIP_S):
                opened.append(await asyncio.open_connection("127.0.0.1", service.port))
        except (TimeoutError, OSError):
            break
    ask = Slow(GET + HOST + b"Connection: close\r\n\r\n")
    told = await ask(service, patience)
    for _, writer in opened:
        writer.transport.abort()
    return told.replace("open after", "no answer in")


def get(fields: bytes) -> Slow:
    return Slow(GET + fields + b"\r\n")


def post(fields: bytes, body: bytes = b"", drip: bytes = b"") -> Slow:
    return Slow(POST + HOST + fields + b"\r\n" + body, drip)


Probe = Callable[[Running, Patience], Awaitable[str]]
TOGETHER: dict[str, Probe] = {
    "says nothing": Slow(b""),
    "half a head, then silence": Slow(GET + b"Ho"),
    "a head, byte by byte": Slow(GET, b"x"),
    "a body that does not come": post(b"Content-Length: 100000\r\n"),
    "a body, byte by byte": post(b"Content-Length: 100000\r\n", drip=b"x"),
}
ALONE: dict[str, Probe] = {
    "reads nothing of 16 MiB": reads_too_little,
    "reads 100 bytes/s of 16 MiB": drips,
    "one field of 16 MiB": Large(b"x: ", b"y" * MIB, 16, b"\r\n\r\n"),
    "200 000 fields": Large(b"", b"x: y\r\n" * 1000, 200, b"\r\n"),
    "a head without an end": Large(b"x: ", b"y" * MIB, 64),
    f"{IDLE} silent ones, {OPEN_FILES} open files: one more": idle,
}
FRAMING: dict[str, Probe] = {
    "Content-Length and Transfer-Encoding": post(
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n"
    ),
    "two lengths": post(b"Content-Length: 3\r\nContent-Length: 4\r\n", b"abcd"),
    "Transfer-Encoding: gzip, chunked": post(b"Transfer-Encoding: gzip, chunked\r\n", b"0\r\n\r\n"),
    "no Host": get(b""),
    "two Hosts": get(HOST + b"Host: elsewhere\r\n"),
    "a folded field": get(HOST + b"X: one\r\n two\r\n"),
    "a space before the colon": get(HOST + b"X : one\r\n"),
    "NUL in a value": get(HOST + b"X: o\0ne\r\n"),
    "HTTP/1.2": Slow(GET.replace(b"1.1", b"1.2") + HOST + b"\r\n"),
}


def status_of(answer: bytes) -> str:
    """Return the status of an answer, or that the connection was closed."""
    return answer[9:12].decode("latin-1") if answer.startswith(b"HTTP/") else "closed"


def descriptors(service: Running) -> int:
    return sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in service.processes)
