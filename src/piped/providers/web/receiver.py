"""Bytes of a client in, whole requests out: llhttp parses, the limits and the gate are ours.

The gate refuses what two servers could understand differently (RFC 9112, 6.1 and 11.2): a length
beside a transfer coding, codings other than ``chunked``, no Host or two of them.
"""

from __future__ import annotations

import re
from typing import Final

import httptools

from piped.providers.web.limits import TARGET_BYTES, Limits
from piped.providers.web.request import Request

NOTHING: Final = 0
HEAD: Final = 1
BODY: Final = 2

GATED: Final = frozenset({b"content-length", b"expect", b"host", b"transfer-encoding"})

LENGTH_DIGITS: Final = 20

CHUNKED_SIZE: Final = 8
"""How many times as long as its content a chunked body may be."""

_HOST: Final = re.compile(rb"[A-Za-z0-9._~!$&'()*+;=%:\[\]-]*")


class Refused(Exception):
    """Raised when a request breaks a rule: it gets no pipeline but a status, and the end."""

    def __init__(self, status: int, rule: str) -> None:
        self.status, self.rule = status, rule
        super().__init__(rule)


class Receiver:
    """Takes what a client sends, in pieces of any size, and collects whole requests in ``ready``.

    After ``refused`` is set, or a request that is the last of its connection (``is_last``), what
    follows is ignored.
    """

    __slots__ = (
        "expects",
        "fields",
        "framing",
        "gated",
        "header_bytes",
        "is_last",
        "is_replaying",
        "is_upgrading",
        "limits",
        "max_fields",
        "parser",
        "phase",
        "ready",
        "refused",
        "remaining",
        "request",
        "size",
        "stage",
        "trailers",
        "unparsed",
    )

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.header_bytes, self.max_fields = limits.header_bytes, limits.fields
        self.parser: httptools.HttpRequestParser | None = httptools.HttpRequestParser(self)
        self.ready: list[Request] = []
        self.refused: Refused | None = None
        self.request: Request | None = None
        self.phase = NOTHING
        self.stage = 0  # counts the heads and bodies begun, so that each has its own time
        self.remaining = 0  # of a body whose length is known
        self.size = self.trailers = self.unparsed = 0
        self.fields: list[tuple[bytes, bytes]] = []
        self.gated: list[tuple[bytes, bytes]] = []
        self.framing = b""
        self.expects = False  # the client waits for a word before it sends the body
        self.is_last = self.is_upgrading = self.is_replaying = False

    def feed(self, data: bytes | bytearray) -> None:
        """Take some bytes."""
        parser, stage = self.parser, self.stage
        if parser is None:
            return
        rest: bytes | bytearray | None = None
        try:
            parser.feed_data(data)
            if self.phase and self.stage == stage:
                self._count_unparsed(len(data))
        except httptools.HttpParserUpgrade as upgrade:
            rest = data[upgrade.args[0] :]
        except Refused as refused:
            self.refused = refused
        except httptools.HttpParserCallbackError as error:
            if not isinstance(error.__context__, Refused):
                raise
            self.refused = error.__context__
        except httptools.HttpParserError:
            self.refused = Refused(400, "malformed")
        if self.is_last:  # what follows the last request is nobody's business
            self.refused = None
        if rest is not None:  # not inside the handler, where a refusal's context would be lost
            self._ignore_upgrade(rest)

    def close(self) -> None:
        """Let go of the parser, which holds this object in a circle."""
        self.parser = None
        self.request = None

    def _count_unparsed(self, size: int) -> None:
        """Bound what the parser keeps or skips without telling: half a field, chunk extensions."""
        self.unparsed += size
        limits = self.limits
        if self.phase == HEAD and self.unparsed > limits.header_bytes:
            raise Refused(431, "header-too-large")
        if (
            self.phase == BODY
            and self.unparsed > CHUNKED_SIZE * limits.body_bytes + limits.header_bytes
        ):
            raise Refused(413, "body-too-large")

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
        self.size = self.trailers = self.unparsed = 0
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
        fields = self.fields
        if self.phase != HEAD:
            self.trailers += 1  # a trailer is counted, and never used
        if self.size > self.header_bytes or len(fields) + self.trailers >= self.max_fields:
            raise Refused(431, "header-too-large")
        if self.phase != HEAD:
            return
        name = name.lower()
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
        request.is_kept_alive = parser.should_keep_alive()
        request.is_old = version == "1.0"
        if not request.is_old and version != "1.1":
            raise Refused(505, "version")
        self._pass_gate(request)
        self.is_upgrading = parser.should_upgrade()
        self.phase = BODY
        self.stage += 1
        self.unparsed = 0

    def on_body(self, data: bytes) -> None:
        request = self.request
        if request is None:
            return
        self.expects = False
        if not request._body:
            request._body = bytearray()
        if len(request._body) + len(data) > self.limits.body_bytes:
            raise Refused(413, "body-too-large")
        request._body += data
        self.remaining -= len(data)

    def on_message_complete(self) -> None:
        request = self.request
        if self.is_upgrading or request is None:
            return
        self.request = None
        self.phase = NOTHING
        self.expects = False
        self.is_last = not request.is_kept_alive
        self.ready.append(request)

    # The gate.

    def _pass_gate(self, request: Request) -> None:
        if request.method == "CONNECT":
            raise Refused(405, "method")
        hosts = [value for name, value in self.gated if name == b"host"]
        if len(hosts) > 1 or (not hosts and not request.is_old):
            raise Refused(400, "host")
        if hosts and not _HOST.fullmatch(hosts[0]):
            raise Refused(400, "host")
        if not request._target.startswith(b"/") or b"#" in request._target:
            self._read_target(request, hosts)
        self.framing, self.remaining = b"", 0
        if len(self.gated) > len(hosts):
            self._pass_framing(request)

    def _pass_framing(self, request: Request) -> None:
        lengths, codings, expectations = (
            [value for name, value in self.gated if name == wanted]
            for wanted in (b"content-length", b"transfer-encoding", b"expect")
        )
        if codings and (request.is_old or [each.lower() for each in codings] != [b"chunked"]):
            raise Refused(400, "framing")
        if lengths and len(lengths[0]) > LENGTH_DIGITS:  # Python refuses to read 4300 of them
            raise Refused(400, "framing")
        if lengths and int(lengths[0]) > self.limits.body_bytes:
            raise Refused(413, "body-too-large")
        if codings:
            self.framing = b"transfer-encoding: chunked\r\n"
        elif lengths:
            self.remaining = int(lengths[0])
            self.framing = b"content-length: %d\r\n" % self.remaining
        if expectations and not request.is_old:
            if [each.lower() for each in expectations] != [b"100-continue"]:
                raise Refused(417, "expectation")
            self.expects = bool(codings or self.remaining)

    def _read_target(self, request: Request, hosts: list[bytes]) -> None:
        """Bring an absolute target (RFC 9112, 3.2.2) into its usual form."""
        target = request._target = request._target.partition(b"#")[0]
        if target.startswith(b"/") or target == b"*":
            return
        scheme, found, rest = target.partition(b"://")
        authority, slash, path = rest.partition(b"/")
        if not slash:
            authority, question, query = rest.partition(b"?")
            path = question + query
        if not found or scheme.lower() not in (b"http", b"https"):
            raise Refused(400, "target")
        if hosts and authority.lower() != hosts[0].lower():
            raise Refused(400, "host")
        request._target = b"/" + path

    def _ignore_upgrade(self, rest: bytes | bytearray) -> None:
        """Go on as if no other protocol had been proposed, as RFC 9110, 7.8 allows.

        The parser stops at such a head (Java's client proposes HTTP/2 with every request), so
        another one is told how long the body is, and goes on with that.
        """
        self.parser = httptools.HttpRequestParser(self)
        self.is_upgrading, self.is_replaying = False, True
        self.feed(b"POST / HTTP/1.1\r\n%b\r\n" % self.framing + rest)


__all__ = ["BODY", "HEAD", "NOTHING", "Receiver", "Refused"]
