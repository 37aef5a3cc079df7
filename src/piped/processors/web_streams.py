"""Answers to web requests in pieces."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import aclosing
from dataclasses import field
from typing import Annotated, Any, ClassVar, Final

from piped.batons import MISSING, Baton, BatonPath, getter
from piped.errors import BatonError, Problem, ResourceError
from piped.processors._request import REQUEST_PATH, SKIP, request_getter
from piped.processors._shown import kind_of, shown
from piped.processors._text import encoded, wrong_encoding
from piped.spec import Dependency, Meta, Processor, Step, processor
from piped.spec.headers import CONTROL

PIECE_BYTES: Final = 64 << 10
"""How much of a file is read at a time."""


@processor("stream-web-response")
class StreamWebResponse(Processor):
    """Answer a web request with what the baton's content yields, piece by piece; it stays there.

    Takes an iterable or an async iterable of bytes or text at ``content_path``, or a file that is
    open for reading. The next piece is asked for when the client has read enough of those before,
    so nothing piles up. The answer begins with the first piece: an error before that is answered
    as any other, a later one cuts the answer off and is logged. At the end, and when the client
    leaves, the content is closed. Files are read in threads; what an iterable does that is not
    async, it does in the event loop. HEAD is answered without a look at the content.

    Example:
        stream-web-response: {content_path: rows, content_type: text/csv}

    Raises:
        BatonError: There is no request, the content is something else, or yields something else.
    """

    answers: ClassVar[bool] = True

    request_path: Annotated[BatonPath, REQUEST_PATH] = BatonPath("request")
    skip_if_request_stopped: Annotated[bool, SKIP] = True
    content_path: Annotated[BatonPath, Meta(description="Where in the baton the content is.")] = (
        BatonPath("content")
    )
    content_type: Annotated[
        str | None,
        Meta(description="The type of the content; application/octet-stream if none was set."),
    ] = None
    response_code: Annotated[
        int | None, Meta(ge=200, le=599, description="The status; 200 if none was set.")
    ] = None
    encoding: Annotated[str, Meta(description="How text becomes bytes.")] = "utf8"

    _threads: Dependency[Any] = field(default_factory=lambda: Dependency("threads"), init=False)

    def check(self) -> Iterable[Problem]:
        kind = self.content_type or ""
        if CONTROL.search(kind) or not kind.isascii():
            what = f"expected a type such as text/csv, got {shown(kind)}"
            yield Problem("wrong-header", what, at="content_type")
        yield from wrong_encoding(self.encoding, "encoding")

    @property
    def is_async(self) -> bool:
        return True

    def step(self) -> Step:
        get_request, get_content = request_getter(self.request_path), getter(self.content_path)

        async def step(baton: Baton) -> Baton:
            request: Any = get_request(baton)
            if self.skip_if_request_stopped and request.is_finished:
                return baton
            content = get_content(baton)
            _fail_if_in_one_piece(content)
            try:
                async with aclosing(self._pieces(content)) as pieces:
                    await self._answer(request, pieces)
            finally:
                await self._close(content)
            return baton

        return step

    async def _answer(self, request: Any, pieces: AsyncGenerator[bytes, None]) -> None:
        piece = b"" if request.method == "HEAD" else await anext(pieces, b"")
        kind = self.content_type
        if kind is None and not any(name == "content-type" for name, _ in request.answer_lines):
            kind = "application/octet-stream"
        if not request.start(self.response_code, content_type=kind):
            return
        if request.method != "HEAD":
            await request.send(piece)
            async for piece in pieces:
                await request.send(piece)
        request.finish()

    async def _pieces(self, content: Any) -> AsyncGenerator[bytes, None]:
        if hasattr(content, "__aiter__"):
            async for piece in content:
                yield self._bytes(piece)
        elif hasattr(content, "read"):
            while piece := await self._threads.value.run(content.read, PIECE_BYTES):
                yield self._bytes(piece)
        else:
            for piece in content:
                yield self._bytes(piece)

    def _bytes(self, piece: Any) -> bytes:
        if isinstance(piece, bytes | bytearray | memoryview):
            return bytes(piece)
        if isinstance(piece, str):
            return encoded(piece, self.encoding)
        raise BatonError(f"expected pieces of bytes or text, got {kind_of(piece)}")

    async def _close(self, content: Any) -> None:
        """Have content let go of what it has open: generators and files."""
        close = getattr(content, "aclose", None) or getattr(content, "close", None)
        if close is None:
            return
        closing: Any
        try:
            # A thread may be reading still, for a client that has left: to close waits for it.
            is_read = hasattr(content, "read") and not hasattr(content, "__aiter__")
            closing = await self._threads.value.run(close) if is_read else close()
        except ResourceError:
            closing = close()
        if hasattr(closing, "__await__"):
            await closing


def _fail_if_in_one_piece(content: Any) -> None:
    is_whole = isinstance(content, str | bytes | bytearray | memoryview | Mapping)
    has_pieces = any(hasattr(content, each) for each in ("__aiter__", "__iter__", "read"))
    if content is MISSING or is_whole or not has_pieces:
        got = "nothing" if content is MISSING else kind_of(content)
        raise BatonError(f"expected an iterable of bytes or text, or an open file, got {got}")
