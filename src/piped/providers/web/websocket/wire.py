"""Frames of WebSocket, by wsproto: bytes in, whole messages out, and the other way.

wsproto refuses what RFC 6455 forbids (frames without a mask, 5.1; reserved bits and opcodes, 5.2;
control frames that are long or in fragments, 5.5; text that is not UTF-8, 8.1; lengths in more
bytes than they need). Here is what it does not bound: how large a message becomes.
"""

from __future__ import annotations

from io import StringIO
from typing import Final, NamedTuple, TypeAlias

from wsproto.frame_protocol import CloseReason, Frame, FrameProtocol, Opcode, ParseFailed

NO_CODE: Final = 1005  # RFC 6455, 7.4.1: the peer gave none, and none is sent

_SENDER: Final = FrameProtocol(client=False, extensions=[])


class Ping(NamedTuple):
    """The peer asks whether we are there; the answer carries the same payload."""

    payload: bytes


class Pong(NamedTuple):
    """The peer is there."""


class Close(NamedTuple):
    """The peer ends the conversation, or answers our wish to."""

    code: int
    reason: str


Event: TypeAlias = str | bytes | Ping | Pong | Close


class Broken(Exception):
    """Raised when a peer breaks a rule; ``code`` is what it is told."""

    def __init__(self, code: int, reason: str) -> None:
        self.code, self.reason = int(code), reason
        super().__init__(reason)


class Wire:
    """The frames of one client, in both directions.

    After it has raised ``Broken``, or returned ``Close``, it understands nothing more.
    """

    __slots__ = ("_binary", "_protocol", "_size", "_text", "max_bytes")

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._protocol = FrameProtocol(client=False, extensions=[])
        self._binary: bytearray | None = None  # of a message that is not whole
        self._text: StringIO | None = None
        self._size = 0

    @property
    def is_amid(self) -> bool:
        """Whether a message has begun, and is not whole."""
        return self._binary is not None or self._text is not None

    def feed(self, data: bytes | bytearray) -> None:
        """Take some bytes."""
        self._protocol.receive_bytes(bytes(data))

    def next(self) -> Event | None:
        """Return what comes next in the bytes, or None where there is too little of it.

        Raises:
            Broken: It breaks a rule.
        """
        try:
            for frame in self._protocol.received_frames():
                event = self._read(frame)
                if event is not None:
                    return event
        except ParseFailed as error:
            is_text = error.code == CloseReason.INVALID_FRAME_PAYLOAD_DATA
            raise Broken(error.code, "not UTF-8" if is_text else "not WebSocket") from error
        return None

    def _read(self, frame: Frame) -> Event | None:
        payload = frame.payload
        if isinstance(payload, tuple):
            return Close(int(payload[0]), payload[1])
        if frame.opcode is Opcode.PING:
            return Ping(payload.encode() if isinstance(payload, str) else payload)
        if frame.opcode is Opcode.PONG:
            return Pong()
        is_whole = frame.frame_finished and frame.message_finished
        self._size += _bytes_in(payload)
        if self._size > self.max_bytes:
            raise Broken(CloseReason.MESSAGE_TOO_BIG, f"more than {self.max_bytes} bytes")
        return self._assembled(payload, is_whole)

    def _assembled(self, payload: str | bytes, is_whole: bool) -> str | bytes | None:
        """Put a piece to those before it, and return the message when it is whole."""
        if is_whole:
            self._size = 0
            if not self.is_amid:
                return payload
        if isinstance(payload, str):
            text = self._text = self._text or StringIO()
            text.write(payload)
            if is_whole:
                self._text = None
                return text.getvalue()
            return None
        if self._binary is None:
            self._binary = bytearray()
        self._binary += payload
        if is_whole:
            binary, self._binary = bytes(self._binary), None
            return binary
        return None

    # What is sent; frames of a server have no mask, so each may go to many clients.

    def close(self, code: int, reason: str) -> bytes:
        """Return the frame that ends the conversation."""
        if code == NO_CODE:
            return bytes(self._protocol.close())
        return bytes(self._protocol.close(code, reason))

    def ping(self) -> bytes:
        return bytes(self._protocol.ping())

    def pong(self, ping: Ping) -> bytes:
        return bytes(self._protocol.pong(ping.payload))


def message_frame(message: str | bytes) -> bytes:
    """Return the frame of a whole message.

    Raises:
        UnicodeEncodeError: It is text that is no Unicode.
    """
    return bytes(_SENDER.send_data(message))


def _bytes_in(payload: str | bytes) -> int:
    if isinstance(payload, bytes) or payload.isascii():
        return len(payload)
    return len(payload.encode())
