"""Bytes of a client in, whole requests out: llhttp parses, the limits and the gate are ours."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import httptools

from piped.providers.web.gate import FORBIDDEN_TRAILERS, GATED, NO_BODY, Refused, pass_gate
from piped.providers.web.habit import Habit
from piped.providers.web.limits import TARGET_BYTES, Limits
from piped.providers.web.request import Request
from piped.providers.web.streams import Inflow

NOTHING: Final = 0
HEAD: Final = 1
BODY: Final = 2

CHUNK_BYTES: Final = 16
"""What may surround the content of each chunk, on average: its size, and an extension seldom."""

OTHER_VERSIONS: Final = ("Invalid HTTP version", "Pause on PRI/Upgrade")
"""What llhttp says of HTTP/1.2, and of the first words of HTTP/2."""


class Receiver:
    """Takes what a client sends, in pieces of any size, and collects whole requests in ``ready``.

    After ``refused`` is set, or a request that is the last of its connection (``is_last``), what
    follows is ignored.
    """

    __slots__ = (
        "chunks",
        "content",
        "count",
        "dropped",
        "early",
        "expects",
        "fields",
        "framing",
        "gated",
        "habit",
        "host",
        "inflow",
        "is_last",
        "is_replaying",
        "is_upgrading",
        "limits",
        "max_body",
        "max_body_of",
        "open_inflow",
        "parser",
        "phase",
        "ready",
        "refused",
        "remaining",
        "request",
        "size",
        "stage",
        "unparsed",
    )

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.parser: httptools.HttpRequestParser | None = httptools.HttpRequestParser(self)
        self.ready: list[Request] = []
        self.refused: Refused | None = None
        self.request: Request | None = None
        self.inflow: Inflow | None = None  # of a request that is treated while its body arrives
        self.open_inflow: Callable[[Request], Inflow | None] = lambda _request: None
        self.max_body = limits.body_bytes  # of the request whose body arrives
        self.max_body_of: Callable[[bytes], int] = lambda _target: limits.body_bytes
        self.phase = NOTHING
        self.stage = 0  # counts the heads and bodies begun, so that each has its own time
        self.remaining = 0  # of a body whose length is known
        self.size = self.unparsed = 0
        self.dropped = 0  # fields that are counted, and never used
        self.chunks = self.content = 0
        self.count = 0  # of requests
        self.host: tuple[bytes, bytes] | None = None  # the field that was let through last
        self.habit = Habit()
        self.fields: list[tuple[bytes, bytes]] = []
        self.gated: list[tuple[bytes, bytes]] = []
        self.framing = b""
        self.expects = False  # the client waits for a word before it sends the body
        self.is_last = self.is_upgrading = self.is_replaying = False
        self.early: bytearray | None = None  # what follows a proposal of WebSocket

    def feed(self, data: bytes | bytearray) -> None:
        """Take some bytes."""
        parser, stage = self.parser, self.stage
        if parser is None:
            self._keep_early(data)
            return
        rest: bytes | bytearray | None = None
        try:
            parser.feed_data(data)
            if not self.phase:
                if self.ready and self.stage == stage + 2:  # one head, one body, nothing else
                    self._learn(self.ready[-1], data)
            elif self.stage == stage:
                self._count_unparsed(len(data))
        except httptools.HttpParserUpgrade as upgrade:
            rest = data[upgrade.args[0] :]
        except Refused as refused:
            self.refused = refused
        except httptools.HttpParserCallbackError as error:
            if not isinstance(error.__context__, Refused):
                raise
            self.refused = error.__context__
        except httptools.HttpParserError as error:
            is_other = str(error) in OTHER_VERSIONS  # RFC 9110, 15.6.6
            self.refused = Refused(505, "version") if is_other else Refused(400, "malformed")
        if self.refused is not None:
            self.read_line()
            self.parser = None  # it must not be fed again
        if self.is_last:  # what follows the last request is nobody's business
            self.refused = None
        if rest is not None:  # not inside the handler, where a refusal's context would be lost
            if self._proposes_websocket():
                self._await_session(rest)
            else:
                self._ignore_upgrade(rest)

    def recognise(self, data: bytes) -> Request | None:
        """Return the request that some bytes are, if it is like the last one and nothing has begun.

        They are not to be fed then.
        """
        target = None if self.phase else self.habit.target_of(data)
        if target is None or self.parser is None or self.count + 1 >= self.limits.requests:
            return None
        self.count += 1
        request = Request()
        request.method, request.is_kept_alive = "GET", True
        request._target, request._fields = target, self.habit.fields
        return request

    def _learn(self, request: Request, data: bytes | bytearray) -> None:
        is_usual = request.method == "GET" and request.is_kept_alive and not self.framing
        if is_usual and self.gated == [self.host] and data.startswith(b"GET "):
            longest = min(TARGET_BYTES, self.limits.header_bytes)
            self.habit.learn(bytes(data), request._fields, longest)

    def change(self, limits: Limits) -> None:
        """Go on with other limits, also for the host that was let through."""
        self.limits, self.host = limits, None
        self.habit.forget()

    def read_line(self) -> None:
        """Tell the request what is known of its first line, though its head is not complete."""
        request, parser = self.request, self.parser
        if request is not None and parser is not None and request._target:  # the method came before
            request.method = parser.get_method().decode()
            request.is_old = parser.get_http_version() == "1.0"

    def close(self) -> None:
        """Let go of the parser and of the connection, which hold this object in a circle."""
        self.parser = None
        self.request = self.inflow = None
        del self.open_inflow, self.max_body_of

    def _count_unparsed(self, size: int) -> None:
        """Bound what the parser keeps or skips without telling: half a field, chunk extensions."""
        self.unparsed += size
        limits = self.limits
        if self.phase == HEAD and self.unparsed > limits.header_bytes:
            raise Refused(431, "header-too-large")
        # RFC 9112, 7.1.1: chunk extensions must not be a way to keep a server busy.
        allowed = self.content + CHUNK_BYTES * self.chunks + limits.header_bytes
        if self.phase == BODY and self.unparsed > allowed:
            raise Refused(400, "chunk-extensions")

    # Called by the parser, in this order.

    def on_message_begin(self) -> None:
        if self.is_replaying:
            return
        if self.is_last:
            raise Refused(400, "malformed")
        self.request = request = Request()
        self.fields = request._fields
        self.phase = HEAD
        self.stage += 1
        self.size = self.dropped = self.unparsed = self.chunks = self.content = 0
        self.gated = []

    def on_url(self, url: bytes) -> None:
        request = self.request
        if self.phase != HEAD or request is None:
            return
        request._target += url
        self.size += len(url)
        if len(request._target) > TARGET_BYTES:
            raise Refused(414, "target-too-long")

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.is_replaying:
            return
        self.size += len(name) + len(value) + 4
        fields, limits = self.fields, self.limits
        if self.phase != HEAD:
            self.dropped += 1
        if self.size > limits.header_bytes or len(fields) + self.dropped >= limits.fields:
            raise Refused(431, "header-too-large")
        name = name.lower()
        if self.phase != HEAD:
            if name in FORBIDDEN_TRAILERS:
                raise Refused(400, "trailer")
            return
        if b"_" in name:  # CGI and WSGI take it for a hyphen: it could stand in for another field
            self.dropped += 1
            return
        fields.append((name, value))
        if name in GATED:
            self.gated.append((name, value))

    def on_headers_complete(self) -> None:
        request, parser = self.request, self.parser
        if self.is_replaying or request is None or parser is None:
            self.is_replaying = False
            return
        version = parser.get_http_version()
        request.method = parser.get_method().decode()
        self.count += 1
        is_last = self.count >= self.limits.requests
        request.is_kept_alive = parser.should_keep_alive() and not is_last
        request.is_old = version == "1.0"
        if not request.is_old and version != "1.1":
            raise Refused(505, "version")
        self._pass_gate(request)
        self.is_upgrading = parser.should_upgrade()
        self.phase = BODY
        self.stage += 1
        self.unparsed = 0
        if self.framing and (self.remaining or self.framing.startswith(b"t")):
            self.inflow = request._inflow = self.open_inflow(request)
            if self.inflow is not None:
                self.ready.append(request)

    def on_chunk_header(self) -> None:
        self.chunks += 1

    def on_body(self, data: bytes) -> None:
        request = self.request
        if request is None:
            return
        self.expects = False
        self.content += len(data)
        if self.content > self.max_body:
            raise Refused(413, "body-too-large")
        self.remaining -= len(data)
        if self.inflow is not None:
            self.inflow.put(data)
            return
        if not request._body:
            request._body = data  # mostly all of it
            return
        if isinstance(request._body, bytes):
            request._body = bytearray(request._body)
        request._body += data

    def on_message_complete(self) -> None:
        request = self.request
        if self.is_upgrading or request is None:
            return
        self.request = None
        self.phase = NOTHING
        self.expects = False
        self.is_last = not request.is_kept_alive
        inflow, self.inflow = self.inflow, None
        if inflow is None:
            self.ready.append(request)
        else:
            inflow.end()

    def _pass_gate(self, request: Request) -> None:
        gated = self.gated
        is_usual = (
            len(gated) == 1
            and gated[0] == self.host
            and not request.is_old
            and request.method != "CONNECT"
            and request._target.startswith(b"/")
            and b"#" not in request._target
        )
        framing = NO_BODY if is_usual else pass_gate(request, gated, self.limits)
        if not is_usual:
            self.host = next((each for each in gated if each[0] == b"host"), None)
        self.framing, self.remaining, self.expects = framing
        if self.framing:
            self.max_body = self.max_body_of(request._target)
            if self.remaining > self.max_body:
                raise Refused(413, "body-too-large")

    def _proposes_websocket(self) -> bool:
        request = self.request
        if request is None or request.method != "GET" or request.is_old:
            return False
        if self.remaining or self.framing.startswith(b"t"):
            return False
        proposed = (value for name, value in self.fields if name == b"upgrade")
        return any(
            each.strip().lower() == b"websocket" for value in proposed for each in value.split(b",")
        )

    def _await_session(self, rest: bytes | bytearray) -> None:
        """Take the request as the last of HTTP: what follows is for the session, if there is one.

        A client must not send it before it is answered (RFC 6455, 4.1), so it is little.
        """
        request = self.request
        if request is None:
            return
        request.is_upgrade, request.is_kept_alive, self.is_upgrading = True, False, False
        self.on_message_complete()
        self.parser, self.early = None, bytearray()
        self._keep_early(rest)

    def _keep_early(self, data: bytes | bytearray) -> None:
        if self.early is None:
            return
        self.early += data
        if len(self.early) > self.limits.header_bytes:
            self.early, self.refused = None, Refused(400, "early-data")

    def _ignore_upgrade(self, rest: bytes | bytearray) -> None:
        """Go on as if no other protocol had been proposed, as RFC 9110, 7.8 allows.

        The parser stops at such a head (Java's client proposes HTTP/2 with every request), so
        another one is told how long the body is, and goes on with that.
        """
        self.parser = httptools.HttpRequestParser(self)
        self.is_upgrading, self.is_replaying = False, True
        self.feed(b"POST / HTTP/1.1\r\n%b\r\n" % self.framing + rest)


__all__ = ["BODY", "HEAD", "NOTHING", "Receiver", "Refused"]
