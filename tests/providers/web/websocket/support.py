"""What the tests of WebSocket share: sites with sessions, and a client that talks in raw frames."""

from __future__ import annotations

import asyncio
import inspect
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from piped.providers.web import Server, Site
from tests.providers.web.support import Answer, Client, make_site, request_bytes

TEXT, BINARY, CLOSE, PING, PONG = 0x1, 0x2, 0x8, 0x9, 0xA
KEY = "dGhlIHNhbXBsZSBub25jZQ=="  # of RFC 6455, 1.3
PROOF = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
PROPOSAL = (
    *("connection: Upgrade", "upgrade: websocket"),
    *("sec-websocket-version: 13", f"sec-websocket-key: {KEY}"),
)


class Treatment:
    """A pipeline made of one function of the baton."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self.function = function
        self.is_async = inspect.iscoroutinefunction(function)

    def now(self, baton: Any) -> None:
        self.function(baton)

    async def __call__(self, baton: Any) -> None:
        await self.function(baton)


async def echo(baton: Any) -> None:
    await baton["websocket"].send(baton["message"])


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True, mask: bytes = b"mask") -> bytes:
    """Return a frame of a client."""
    size = len(payload)
    head = bytes([(fin << 7) | opcode])
    if size < 126:
        head += bytes([0x80 | size])
    elif size < 1 << 16:
        head += struct.pack("!BH", 0x80 | 126, size)
    else:
        head += struct.pack("!BQ", 0x80 | 127, size)
    masked = bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))
    return head + mask + masked


def closing(code: int, reason: str = "") -> bytes:
    return frame(CLOSE, struct.pack("!H", code) + reason.encode())


class Talker(Client):
    """A client that talks in frames."""

    async def open(self, target: str = "/", *headers: str) -> Answer:
        await self.send(request_bytes(target, *PROPOSAL, *headers))
        return await self.answer()

    async def frame(self) -> tuple[int, bytes]:
        """Return the opcode and the payload of the next frame of the server."""
        first, size = await self.reader.readexactly(2)
        assert first & 0x80, "a server does not send fragments"
        assert not size & 0x80, "a server does not mask"
        if size == 126:
            (size,) = struct.unpack("!H", await self.reader.readexactly(2))
        elif size == 127:
            (size,) = struct.unpack("!Q", await self.reader.readexactly(8))
        return first & 0xF, await self.reader.readexactly(size)

    async def closed(self) -> tuple[int, str]:
        """Return the code and the reason with which the server closes, and see that it does."""
        opcode, payload = await self.frame()
        assert opcode == CLOSE, (opcode, payload)
        assert await self.rest() == b""
        return (struct.unpack("!H", payload[:2])[0] if payload else 1005), payload[2:].decode()


@dataclass
class Sessions:
    site: Site
    server: Server
    seen: list[Any] = field(default_factory=list)

    async def connect(self) -> Talker:
        return Talker(*await asyncio.open_connection("127.0.0.1", self.server.port))

    async def talk(self, *headers: str) -> Talker:
        """Return a client whose session is open."""
        client = await self.connect()
        answer = await client.open("/", *headers)
        assert answer.status == 101, answer.head
        return client


@asynccontextmanager
async def talking(
    function: Callable[[Any], Any] = echo,
    *,
    on_open: Callable[[Any], Any] | None = None,
    on_close: Callable[[Any], Any] | None = None,
    is_ready: bool = True,
    drain_s: float = 5.0,
    site: dict[str, Any] | None = None,
    **route: Any,
) -> AsyncIterator[Sessions]:
    """Run a site on a free port whose root opens sessions, treated by functions of the baton."""
    given = {"processor": function, "on_open": on_open, "on_close": on_close}
    pipelines: Any = {
        name: Treatment(each) if is_ready else None for name, each in given.items() if each
    }
    route |= {name: f"pipeline.{name}" for name in pipelines}
    made = make_site({"__config__": {"websocket": route}}, pipelines, **(site or {}))
    made.drain_s = drain_s
    async with made.running() as resources:
        yield Sessions(made, resources["web.site"])
