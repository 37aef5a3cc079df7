"""Messages of ZeroMQ: one frame as bytes, several as a list of bytes."""

from __future__ import annotations

from typing import Final, TypeAlias

import zmq

from piped.errors import BatonError

Message: TypeAlias = bytes | list[bytes]

_NOBLOCK: Final = int(zmq.NOBLOCK)


def encoded(message: object) -> Message:
    """Return what a pipeline sends as a message: text as UTF-8, a list as one frame each.

    Raises:
        BatonError: It is neither bytes, nor text, nor a list of them.
    """
    if isinstance(message, list) and message:
        return [_frame(each) for each in message]
    return _frame(message)


def _frame(value: object) -> bytes:
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    kind = "an empty list" if value == [] else type(value).__name__
    raise BatonError(f"expected bytes, text or a list of them to send, got {kind}")


def size_of(message: Message) -> int:
    """Return the bytes of a message."""
    return len(message) if isinstance(message, bytes) else sum(map(len, message))


def receive(socket: zmq.Socket[bytes]) -> Message:
    """Return the next message.

    Raises:
        zmq.Again: There is none; or a REQ or REP has to send first.
    """
    try:
        frame = socket.recv(_NOBLOCK, copy=False)  # it knows whether more follow; to ask costs more
    except zmq.ZMQError as error:
        if error.errno == zmq.EFSM:
            raise zmq.Again from error
        raise
    if not frame.more:
        return frame.bytes
    return [frame.bytes, *socket.recv_multipart(_NOBLOCK)]


def transmit(socket: zmq.Socket[bytes], message: Message) -> None:
    """Give a message to ZeroMQ.

    Raises:
        zmq.Again: No peer can take it now.
    """
    if isinstance(message, bytes):
        socket.send(message, _NOBLOCK)
    else:
        socket.send_multipart(message, _NOBLOCK)


def events_of(socket: zmq.Socket[bytes]) -> int:
    """Return whether the socket can be read or written; this clears its file descriptor."""
    return int(socket.getsockopt(zmq.EVENTS))
