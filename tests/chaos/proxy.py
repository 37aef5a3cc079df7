"""A TCP proxy between workers and their front, which can be slow, cut, one-way or rude."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from random import Random

CHUNK = 16384


class Proxy:
    """Carries bytes; what it does to them can be changed at any time."""

    def __init__(self, port: int, random: Random) -> None:
        self._target = port
        self._random = random
        self.port = 0
        self.delay_s = 0.0
        self.bytes_a_second = 0.0  # 0: as fast as can be
        self.stalls = 0.0  # the share of pieces that wait as a lost packet of TCP does
        self.is_cut = {"up": False, "down": False}  # what is not carried, is kept for later
        self._healed = asyncio.Event()
        self._writers: set[asyncio.StreamWriter] = set()

    def cut(self, *ways: str) -> None:
        """Carry nothing more; up is to the front."""
        self._healed.clear()
        for way in ways or ("up", "down"):
            self.is_cut[way] = True

    def heal(self) -> None:
        self.is_cut = {"up": False, "down": False}
        self._healed.set()

    def reset(self) -> None:
        """Break all connections by RST, in the midst of whatever they carry."""
        for writer in list(self._writers):
            raw = writer.get_extra_info("socket")
            with suppress(OSError):
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection."""
        try:
            there = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.close()
            return
        writers = {writer, there[1]}
        self._writers |= writers
        try:
            await asyncio.gather(
                self._carry("up", reader, there[1]), self._carry("down", there[0], writer)
            )
        except (OSError, EOFError):
            pass
        finally:
            self._writers -= writers
            for each in writers:
                each.close()

    async def _carry(
        self, way: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        while data := await reader.read(CHUNK):
            if self.delay_s or self.bytes_a_second:
                rate = self.bytes_a_second
                await asyncio.sleep(self.delay_s + (len(data) / rate if rate else 0))
            if self.stalls and self._random.random() < self.stalls:
                await asyncio.sleep(0.2)  # the shortest time after which TCP sends again
            while self.is_cut[way]:
                await self._healed.wait()
            writer.write(data)
            await writer.drain()
        raise EOFError


@asynccontextmanager
async def proxy(port: int, random: Random) -> AsyncIterator[Proxy]:
    """Listen on a port of this machine, and carry what comes to another one."""
    made = Proxy(port, random)
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        made.heal()
        server.close()
        while made._writers:
            made.reset()
            await asyncio.sleep(0.01)
