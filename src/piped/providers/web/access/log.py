"""The access log of a site: a line for each request, when it is answered.

A line is made in the event loop, which takes some microseconds, and written in a thread. What waits
for that thread is bounded: a disk that is full or slow costs lines, and no request waits for it.
"""

from __future__ import annotations

import asyncio
import contextvars
import os
from collections.abc import Callable
from time import time
from typing import Any, Final

from piped.errors import Misconfigured
from piped.providers.web.access.formats import FORMATS, Facts, protocol_of
from piped.providers.web.access.setting import AccessFormat, AccessLogging
from piped.providers.web.access.watched import Watched
from piped.providers.web.access.writer import LineWriter, Sink
from piped.providers.web.dispatch import log
from piped.providers.web.limits import Counters
from piped.providers.web.request import Request, Way

FLUSH_S: Final = 0.1
"""How long lines are collected before they are written together."""
BATCH_BYTES: Final = 64 << 10
WAITING_BYTES: Final = 4 << 20
"""How much waits to be written, at most; what comes then is lost."""
END_S: Final = 2.0
"""How long the end of a site waits for its last lines."""
QUIET_S: Final = 60.0
"""How long no line must have been lost before it is told again."""


class AccessLog:
    """Takes note of the requests of a site, until it is closed.

    Args:
        site: The name of the site, for the log.
        counters: Count what is lost.
    """

    def __init__(self, site: str, counters: Counters) -> None:
        self._site, self._counters = site, counters
        self._loop = asyncio.get_running_loop()
        self._outside = contextvars.copy_context()  # not in the journey of any request
        self._line: Callable[[Facts, str], bytes] = FORMATS["combined"]
        self._lines: list[bytes] = []
        self._size = 0  # of these
        self._waiting = 0  # bytes, with those that the thread has
        self._timer: asyncio.TimerHandle | None = None
        self._writer: LineWriter | None = None
        self._ended = asyncio.Event()
        self._quiet_until = 0.0

    async def close(self) -> None:
        """Write what is left, as far as that is possible in time."""
        for _ in range(2):  # connections that were cut tell of it in the next turn
            await asyncio.sleep(0)
        self._flush()
        writer, self._writer = self._writer, None
        if writer is None:
            return
        writer.end()
        try:
            async with asyncio.timeout(END_S):
                await self._ended.wait()
        except TimeoutError:
            log.warning("access log not complete", site=self._site, waiting_bytes=self._waiting)

    def use(self, setting: AccessFormat | AccessLogging | None) -> AccessLog | None:
        """Go on as a setting says; return what is to be told of requests, None if nobody is.

        Raises:
            Misconfigured: The file cannot be opened; nothing has changed.
        """
        if setting is None:
            self._flush()
            return None
        if isinstance(setting, str):
            setting = AccessLogging(format=setting)
        path = None if setting.file is None else os.path.expanduser(setting.file)
        try:
            sink = Sink(path)
        except OSError as error:
            what = "standard output" if path is None else repr(path)
            reason = (error.strerror or str(error)).lower()
            raise Misconfigured(f"cannot write the access log to {what}: {reason}") from error
        self._flush()
        if self._writer is None:
            self._writer = LineWriter(self._done, self._end)
        self._writer.write_to(sink)
        self._line = FORMATS[setting.format]
        return self

    # Told by connections.

    def watched(self, way: Way, request: Request) -> Watched:
        """Return the way of a request on which note is taken of it."""
        return Watched(way, request, self._note)

    def leave(self, request: Request) -> None:
        """Be told that the client of a request is gone, or was cut off."""
        if isinstance(way := request._way, Watched):
            way.leave()

    def refuse(self, connection: Any, status: int, number: int, answer: bytes) -> None:
        """Be told of a refusal.

        Args:
            connection: Knows the client, and the request as far as it was received.
            status: That of the answer.
            number: Its journey.
            answer: All of it.
        """
        connection.receiver.read_line()
        request: Request | None = connection.receiver.request
        client = connection.peer
        if request is not None and connection.is_proxied:
            client = connection.host.proxies.client_of(client, request.headers)
        size = len(answer.partition(b"\r\n\r\n")[2])
        facts = Facts(request, client, status, size, number, time())
        if request is not None and request.method and status not in (414, 505):
            facts.protocol = protocol_of(request)
        self._note(facts)

    def _note(self, facts: Facts) -> None:
        writer, line = self._writer, self._line(facts, self._site)
        if writer is None:
            return
        size = len(line)
        if self._waiting + size > WAITING_BYTES:
            self._lose(1, "they are written too slowly")
            return
        self._lines.append(line)
        self._size += size
        self._waiting += size
        if self._size >= BATCH_BYTES:
            self._flush()
        elif self._timer is None:
            self._timer = self._loop.call_later(FLUSH_S, self._flush, context=self._outside)

    # To the thread, and from it.

    def _flush(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._writer is not None and self._lines:
            self._writer.write(b"".join(self._lines))
            self._lines.clear()
            self._size = 0

    def _done(self, size: int, lost: int, reason: str) -> None:
        self._call(self._have_written, size, lost, reason)

    def _end(self) -> None:
        self._call(self._ended.set)

    def _call(self, function: Callable[..., object], *facts: object) -> None:
        """Have the loop call a function, unless it is closed: then nobody wants to know."""
        try:
            self._loop.call_soon_threadsafe(function, *facts, context=self._outside)
        except RuntimeError:
            return

    def _have_written(self, size: int, lost: int, reason: str) -> None:
        self._waiting -= size
        if lost:
            self._lose(lost, reason)

    def _lose(self, lines: int, reason: str) -> None:
        counters = self._counters
        counters.access_log_dropped += lines
        now = self._loop.time()
        if now >= self._quiet_until:
            facts = {"site": self._site, "reason": reason, "dropped": counters.access_log_dropped}
            self._outside.copy().run(log.warning, "access log lines dropped", **facts)
        self._quiet_until = now + QUIET_S
