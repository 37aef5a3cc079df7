"""Bodies in pieces: of a request while it arrives, of an answer as fast as its client reads it."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from typing import Final

from piped.errors import BatonError, PipedError

WAITING_BYTES: Final = 64 << 10
"""How much of a body waits for the one who takes it, before no more is read."""

FAIR_BYTES: Final = 256 << 10
"""After how much of an answer others have their turn, though the client reads fast enough."""

PIECE_BYTES: Final = 4 << 10
"""What a piece counts for at least: many small ones keep the loop as long as a large one."""

_RESET: Final = struct.pack("ii", 1, 0)


class ClientLeft(PipedError, ConnectionError):
    """Raised where a client is gone that should send more, or should get more."""


class Inflow:
    """The body of a request that is treated while it arrives.

    The connection puts pieces in and reads no more while it ``is_full``; ``on_want`` is called when
    somebody takes pieces out, or waits for one.
    """

    __slots__ = ("_arrived", "_pieces", "_reason", "is_complete", "on_want", "size")

    def __init__(self, on_want: Callable[[], None]) -> None:
        self.on_want = on_want
        self.is_complete = False
        self.size = 0  # of what waits
        self._arrived = asyncio.Event()
        self._pieces: list[bytes] = []
        self._reason = ""

    @property
    def is_full(self) -> bool:
        """Whether so much waits that no more is to be read."""
        return self.size >= WAITING_BYTES

    def put(self, piece: bytes) -> None:
        """Take a piece that has arrived."""
        self._pieces.append(piece)
        self.size += len(piece)
        self._arrived.set()

    def end(self) -> None:
        """Be told that the body is complete."""
        self.is_complete, self.on_want = True, _tell_nobody
        self._arrived.set()

    def break_off(self, reason: str) -> None:
        """Be told that the rest will never come."""
        if not self.is_complete:
            self._reason, self.on_want = reason, _tell_nobody
            self._arrived.set()

    async def take(self) -> bytes:
        """Return what has arrived, or wait for it; b'' is the end.

        Raises:
            ClientLeft: The rest will never come.
        """
        while not self._pieces:
            if self.is_complete:
                return b""
            if self._reason:
                raise ClientLeft(self._reason)
            self._arrived.clear()
            self.on_want()
            await self._arrived.wait()
        taken = b"".join(self._pieces)
        self._pieces.clear()
        self.size = 0
        self.on_want()
        return taken


def _tell_nobody() -> None:
    """Do nothing: no more of the body will come, whoever wants it."""


class Outflow:
    """The body of an answer on its way to a client, which may read slowly.

    The head waits for the first piece, for one turn of the event loop at most: most answers go out
    in one write.
    """

    __slots__ = (
        *("_flowing", "_has_ended", "_head", "_is_broken", "_left", "_passed", "_transport"),
        *("is_chunked", "is_mute", "sent"),
    )

    def __init__(
        self,
        transport: asyncio.Transport,
        head: bytes,
        *,
        length: int | None = None,
        is_chunked: bool = False,
        is_mute: bool = False,
    ) -> None:
        self.is_chunked = is_chunked
        self.is_mute = is_mute  # its pieces are not sent, as those of an answer to HEAD
        self._transport = transport
        self._head = head
        self._left = length
        self.sent = 0  # bytes of the body
        self._passed = 0
        self._is_broken = self._has_ended = False
        self._flowing = asyncio.Event()
        self._flowing.set()

    @property
    def is_delimited(self) -> bool:
        """Whether the client can tell by itself that the body is not whole."""
        return self.is_mute or self.is_chunked or self._left is not None

    def pause(self) -> None:
        """Be told that the client does not read what was sent."""
        self._flowing.clear()

    def resume(self) -> None:
        """Be told that it reads again."""
        self._flowing.set()

    def flush(self) -> None:
        """Send the head, unless that was done."""
        if self._head and not self._is_broken:
            head, self._head = self._head, b""
            self._transport.write(head)

    async def send(self, piece: bytes) -> None:
        """Send a piece as soon as the client reads.

        Raises:
            BatonError: The answer would become longer than its head says, or has ended meanwhile.
            ClientLeft: The client is gone.
        """
        self._passed += max(len(piece), PIECE_BYTES)
        if self._passed > FAIR_BYTES:
            self._passed = 0
            await asyncio.sleep(0)
        if not self._flowing.is_set():
            await self._flowing.wait()
        if self._is_broken:
            raise ClientLeft("the client has left")
        if self._has_ended:  # what follows on the connection is another answer
            raise BatonError("the answer has ended")
        self.put(piece)

    def put(self, piece: bytes) -> None:
        """Send a piece, though the client may not read.

        Raises:
            BatonError: The answer would become longer than its head says.
        """
        if self.is_mute or not piece:
            return
        if self._left is not None:
            if len(piece) > self._left:
                raise BatonError("the answer is longer than its 'content-length'")
            self._left -= len(piece)
        self.sent += len(piece)
        head, self._head = self._head, b""
        if self.is_chunked:
            # Not writelines: asyncio's, up to 3.13.0, never tells that the client does not read.
            piece = b"".join((head, b"%x\r\n" % len(piece), piece, b"\r\n"))
        else:
            piece = head + piece
        self._transport.write(piece)

    def end(self) -> bool:
        """Send what ends the body; tell whether it is as long as its head says."""
        if self.is_chunked:
            self._head += b"0\r\n\r\n"
        self.flush()
        self._has_ended = True
        self._flowing.set()
        return self.is_whole

    @property
    def is_whole(self) -> bool:
        """Whether the body is as long as its head says."""
        return self.is_mute or not self._left

    def break_off(self) -> None:
        """Let go of the transport: whoever sends more is told that the client has left."""
        self._is_broken = True
        self._flowing.set()

    def reset(self) -> None:
        """Make the end of the connection look like an error, as nothing else tells of one."""
        own = self._transport.get_extra_info("socket")
        if own is not None and own.family in (socket.AF_INET, socket.AF_INET6):
            own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)


__all__ = ["FAIR_BYTES", "WAITING_BYTES", "ClientLeft", "Inflow", "Outflow"]
