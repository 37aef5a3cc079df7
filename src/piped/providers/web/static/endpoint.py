"""Sends files: looked up and read in threads, written as fast as their clients read."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from functools import partial
from typing import Final, TypeVar
from urllib.parse import unquote_to_bytes

from piped.providers.web.dispatch import Dispatcher, log
from piped.providers.web.request import Request
from piped.providers.web.static.lookup import Opened, Root
from piped.providers.web.static.reply import SMALL, Files, Question, Reply
from piped.providers.web.static.route import Static
from piped.providers.web.targets import Target

AT_ONCE: Final = 4
"""How many threads a route has at once: a disk that hangs leaves some for others."""

T = TypeVar("T")


class StaticEndpoint:
    """Answers GET and HEAD with files."""

    __slots__ = ("_files", "_places")

    def __init__(self, static: Static) -> None:
        self._files = Files(
            Root(static.root, static.follow_links, static.hidden),
            static.index,
            static.listing,
            None if static.max_age is None else int(static.max_age),
        )
        self._places = asyncio.Semaphore(AT_ONCE)

    def handle(self, request: Request, target: Target, dispatcher: Dispatcher) -> None:
        dispatcher.start(request, target, self._answer(request, dispatcher.site))

    async def _answer(self, request: Request, site: str) -> None:
        looking = await self._begin(partial(self._files.reply_to, _question(request)))
        try:
            reply = await asyncio.shield(looking)
        except asyncio.CancelledError:
            looking.add_done_callback(_close_unsent)
            raise
        if reply.file is None:
            _send_whole(request, reply)
        elif not await self._send(request, reply, reply.file):
            facts = {"site": site, "path": request.path}
            log.warning("answer cut: the file became shorter while it was sent", **facts)
            request.break_off()

    async def _send(self, request: Request, reply: Reply, file: Opened) -> bool:
        """Send the parts of a reply, and close the file; tell whether it had them all."""
        reading: asyncio.Future[bytes] | None = None
        try:
            if not request.start(reply.status, reply.headers, reply.kind, reply.length):
                return True  # nobody needs it any more
            for part in reply.parts:
                if isinstance(part, bytes):
                    await request.send(part)
                    continue
                start, end = part
                while start < end:
                    size = min(SMALL, end - start)
                    reading = await self._begin(partial(os.pread, file.descriptor, size, start))
                    piece = await asyncio.shield(reading)
                    if not piece:
                        return False
                    await request.send(piece)
                    start += len(piece)
            request.finish()
            return True
        finally:
            # If the client has left, a thread may still be reading: its number must not be given
            # to another file meanwhile.
            if reading is None or reading.done():
                file.close()
            else:
                reading.add_done_callback(lambda _: file.close())

    async def _begin(self, work: Callable[[], T]) -> asyncio.Future[T]:
        """Begin something in a thread as soon as there is one."""
        await self._places.acquire()
        job = asyncio.get_running_loop().run_in_executor(None, work)
        job.add_done_callback(lambda _: self._places.release())
        return job


def _question(request: Request) -> Question:
    """Return what is asked for; names need not be UTF-8, as those of files need not."""
    path, _, query = request._target.partition(b"?")
    segments = [os.fsdecode(unquote_to_bytes(each)) for each in path[1:].split(b"/")]
    has_slash = segments[-1] == ""
    if has_slash:
        segments.pop()
    root = len(segments) - len(request.postpath)
    return Question(
        is_head=request.method == "HEAD",
        prepath=tuple(segments[:root]),
        segments=tuple(segments[root:]),
        has_slash=has_slash,
        query=query,
        headers=request.headers,
    )


def _send_whole(request: Request, reply: Reply) -> None:
    if request.method == "HEAD" and reply.status == 200:
        if request.start(200, reply.headers, reply.kind, reply.length):
            request.finish()
        return
    body = b"".join(each for each in reply.parts if isinstance(each, bytes))
    request.answer(body, reply.status, reply.kind or None, reply.headers)


def _close_unsent(looking: asyncio.Future[Reply]) -> None:
    """Close the file that was found for a client that has left."""
    if not looking.cancelled() and looking.exception() is None:
        file = looking.result().file
        if file is not None:
            file.close()
