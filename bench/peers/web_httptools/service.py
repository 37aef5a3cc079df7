"""The first service on a bare httptools protocol: the least that answers GET /?n=1&n=2.

It has no limits, no deadlines, no error pages and no log: what remains is the price of Python.
"""

from __future__ import annotations

import asyncio
import os
import signal
from email.utils import formatdate
from typing import Any
from urllib.parse import parse_qs

import httptools
import msgspec.json
import uvloop

encode = msgspec.json.encode
ANSWER = (
    b"HTTP/1.1 %b\r\ndate: %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b"
)
date = b""


class Connection(asyncio.Protocol):
    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.parser = httptools.HttpRequestParser(self)
        self.url = b""

    def data_received(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError:
            self.transport.close()

    def on_message_begin(self) -> None:
        self.url = b""

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_message_complete(self) -> None:
        status, body = self.compute()
        self.transport.write(ANSWER % (status, date, len(body), body))
        if not self.parser.should_keep_alive():
            self.transport.close()

    def compute(self) -> tuple[bytes, bytes]:
        url = httptools.parse_url(self.url)
        if url.path != b"/":
            return b"404 Not Found", b'{"error":"not found"}'
        try:
            numbers = [int(text) for text in parse_qs((url.query or b"").decode())["n"]]
        except (KeyError, ValueError):
            return b"400 Bad Request", b'{"error":"expected numbers: ?n=1&n=2"}'
        total, square = sum(n**2 for n in numbers), sum(numbers) ** 2
        return b"200 OK", encode({"sum": total, "square": square, "diff": square - total})


def tell_time(loop: asyncio.AbstractEventLoop) -> None:
    global date
    date = formatdate(usegmt=True).encode()
    loop.call_later(1.0, tell_time, loop)


async def main() -> None:
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, ended.set)
    tell_time(loop)
    async with await loop.create_server(Connection, "127.0.0.1", int(os.environ["PORT"])):
        await ended.wait()


if __name__ == "__main__":
    uvloop.run(main())
