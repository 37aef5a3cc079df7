"""The answer of an application: a start, pieces of the body, an end."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, Final

from piped.providers.web.answers import BODILESS
from piped.providers.web.asgi.application import ApplicationError
from piped.providers.web.asgi.names import Message
from piped.providers.web.request import Request
from piped.providers.web.streams import ClientLeft

OF_THE_SERVER: Final = frozenset(
    {
        *("connection", "date", "keep-alive", "proxy-connection", "te", "trailer"),
        *("transfer-encoding", "upgrade"),
    }
)
"""Fields for the next hop (RFC 9110, 7.6.1), and the date: a server knows them better."""

GONE: Final = "the request has been answered, or its client has left"


class Reply:
    """Takes the messages of an answer, in the order that ASGI wants, and sends them.

    The head waits for the first piece, for one turn of the event loop at most: most answers go out
    in one write, and what goes wrong until then can be told by another one.
    """

    __slots__ = ("_has_kind", "_head", "_is_begun", "_length", "is_complete", "request")

    def __init__(self, request: Request) -> None:
        self.request = request
        self.is_complete = False
        self._head: asyncio.Handle | None = None  # what sends it, if it was told
        self._is_begun = False  # the head is on its way
        self._has_kind = False
        self._length: int | None = None

    @property
    def is_told(self) -> bool:
        """Whether the application has said how the answer starts."""
        return self._head is not None

    def start(self, message: Message) -> None:
        """Take the status and the header fields.

        Raises:
            ApplicationError: They contradict one another.
            BatonError: One of them cannot be sent.
            ClientLeft: The request was answered already, by its deadline for example.
        """
        request = self.request
        if request.is_finished:
            raise ClientLeft(GONE)
        request.reset_answer()
        request.status = message["status"]
        for name, value in texts(message.get("headers", ())):
            if name == "content-length":
                self._keep_length(value)
            elif name not in OF_THE_SERVER:
                self._has_kind = self._has_kind or name == "content-type"
                request.add_header(name, value)
            elif name == "connection" and "close" in value.lower():
                request.is_kept_alive = False
        self._head = asyncio.get_running_loop().call_soon(self._begin)

    def _keep_length(self, value: str) -> None:
        if not (value.isascii() and value.isdigit()):
            raise ApplicationError(f"expected a number as 'content-length', got {value!r}")
        if self._length not in (None, int(value)):
            raise ApplicationError(f"two lengths: {self._length} and {value}")
        self._length = int(value)

    def _begin(self) -> None:
        self._is_begun = self.request.start(length=self._length)

    async def go_on(self, message: Message) -> None:
        """Take a piece of the body, and wait while the client does not read.

        Raises:
            ApplicationError: It is not as long as it should be.
            BatonError: It is no bytes, or too many.
            ClientLeft: The client is gone.
        """
        piece, is_last = message.get("body", b""), not message.get("more_body", False)
        if not isinstance(piece, bytes | bytearray | memoryview):
            raise ApplicationError(f"expected a body of bytes, got {type(piece).__name__}")
        if not self._is_begun:
            self.close()
            if is_last and self._is_whole(piece):
                self.is_complete = True
                self.request.answer(bytes(piece))
                return
            self._begin()
            if not self._is_begun:
                raise ClientLeft(GONE)
        if piece or self.request.is_disconnected:
            await self.request.send(piece)
        if is_last:
            self.is_complete = True
            self.request.finish()

    def _is_whole(self, piece: bytes | bytearray | memoryview) -> bool:
        """Tell whether head and body can be sent as one, with the length of the body."""
        request, size = self.request, len(piece)
        is_mute = request.method == "HEAD" or request.status in BODILESS
        if self._length is None and (size or not is_mute):
            self._length = size
        if is_mute:  # the length is that of another answer
            return False
        if size != self._length:
            what = f"the body has {size} bytes, its 'content-length' is {self._length}"
            raise ApplicationError(what)
        return self._has_kind or not piece

    def close(self) -> None:
        """Let the head wait no more."""
        if self._head is not None:
            self._head.cancel()

    def fail_if_incomplete(self) -> None:
        """Raise ApplicationError where an application has returned too early."""
        if not self.is_told:
            raise ApplicationError("the application returned without an answer")
        if not self.is_complete:
            raise ApplicationError("the application returned before its answer was complete")


def texts(fields: Iterable[Iterable[Any]]) -> Iterable[tuple[str, str]]:
    """Yield header fields as text.

    Raises:
        ApplicationError: They are no bytes.
    """
    for name, value in fields:
        if not isinstance(name, bytes) or not isinstance(value, bytes):
            what = f"expected header fields of bytes, got {name!r}: {value!r}"
            raise ApplicationError(what)
        yield name.decode("latin-1").lower(), value.decode("latin-1")
