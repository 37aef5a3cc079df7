"""The gate: what two servers could understand differently goes no further (RFC 9112, 11.2).

llhttp, strict as it is set, already refuses (RFC 9112) blanks before the first field (2.2) and
before a colon (5.1), folded fields (5.2), bare CR and LF (2.2), control bytes in fields and names
that are no tokens (RFC 9110, 5.5 and 5.6.2), lengths that are lists, repeated, or beside a coding
(6.2, 6.3), and chunk sizes that are no numbers or too large for one (7.1). Here is the rest.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from piped.providers.web.hosts import Hosts
from piped.providers.web.limits import Limits
from piped.providers.web.request import Request

GATED: Final = frozenset({b"content-length", b"expect", b"host", b"transfer-encoding"})
"""The fields that the gate looks at."""

FORBIDDEN_TRAILERS: Final = frozenset(
    [
        b"authorization",
        b"cache-control",
        b"connection",
        b"content-encoding",
        b"content-length",
        b"content-range",
        b"content-type",
        b"cookie",
        b"expect",
        b"host",
        b"keep-alive",
        b"max-forwards",
        b"proxy-authorization",
        b"range",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    ]
)
"""What must not follow a body, as whoever has treated the head would overlook it (RFC 9110, 6.5.1).

Other trailers are dropped.
"""

LENGTH_DIGITS: Final = 20

OTHER_PROTOCOLS: Final = frozenset(
    [
        "ANNOUNCE",
        "DESCRIBE",
        "FLUSH",
        "GET_PARAMETER",
        "PAUSE",
        "PLAY",
        "RECORD",
        "REDIRECT",
        "SET_PARAMETER",
        "SETUP",
        "SOURCE",
        "TEARDOWN",
    ]
)
"""Methods that llhttp takes as part of RTSP and ICE, whose version it then calls that of HTTP."""

_HOST: Final = re.compile(
    rb"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~!$&'()*+;=%-]*)(?::(?P<port>[0-9]{0,5}))?"
)


class Refused(Exception):
    """Raised when a request breaks a rule: it gets no pipeline but a status, and the end."""

    def __init__(self, status: int, rule: str) -> None:
        self.status, self.rule = status, rule
        super().__init__(rule)


class Framing(NamedTuple):
    """How the end of a body is known: from the field, which says its length unless it is chunked.

    ``expects``: the client waits for a word before it sends the body.
    """

    line: bytes = b""
    length: int = 0
    expects: bool = False


NO_BODY: Final = Framing()


def pass_gate(request: Request, gated: list[tuple[bytes, bytes]], limits: Limits) -> Framing:
    """Let a head through, bring its target into the usual form, and tell what follows it.

    Raises:
        Refused: It breaks a rule.
    """
    if request.method == "CONNECT":  # RFC 9110, 9.3.6: of use to proxies only
        raise Refused(405, "method")
    if request.is_old and request.method in OTHER_PROTOCOLS:
        raise Refused(400, "malformed")
    hosts = [value for name, value in gated if name == b"host"]
    _pass_hosts(request, hosts, limits.hosts)
    if not request._target.startswith(b"/") or b"#" in request._target:
        _read_target(request, hosts)
    return _framing(request, gated) if len(gated) > len(hosts) else NO_BODY


def _pass_hosts(request: Request, hosts: list[bytes], allowed: Hosts | None) -> None:
    # RFC 9112, 3.2: exactly one, and what it says must be a host.
    if len(hosts) > 1 or (not hosts and not request.is_old):
        raise Refused(400, "host")
    if hosts:
        match = _HOST.fullmatch(hosts[0])
        if match is None or int(match["port"] or 0) > 65535:
            raise Refused(400, "host")
    # RFC 9110, 7.4: a page elsewhere may have led a browser here under a name of its own.
    if allowed is not None and (hosts[0] if hosts else b"").decode("latin-1") not in allowed:
        raise Refused(421, "other-host")


def _read_target(request: Request, hosts: list[bytes]) -> None:
    target = request._target = request._target.partition(b"#")[0]
    if target.startswith(b"/"):
        return
    if target == b"*":  # RFC 9112, 3.2.4
        if request.method != "OPTIONS":
            raise Refused(400, "target")
        return
    # RFC 9112, 3.2.2: an absolute form is for proxies, but every server must take it. One that
    # names another host than Host would be routed by the one here, and by the other elsewhere.
    scheme, found, rest = target.partition(b"://")
    authority, slash, path = rest.partition(b"/")
    if not slash:
        authority, question, query = rest.partition(b"?")
        path = question + query
    if not found or scheme.lower() not in (b"http", b"https"):
        raise Refused(400, "target")
    # RFC 9110, 4.2.1 and 4.2.4: a host it has, and no user.
    if not authority or b"@" in authority:
        raise Refused(400, "host")
    if hosts and authority.lower() != hosts[0].lower():
        raise Refused(400, "host")
    request._target = b"/" + path


def _framing(request: Request, gated: list[tuple[bytes, bytes]]) -> Framing:
    lengths, codings, expectations = (
        [value for name, value in gated if name == wanted]
        for wanted in (b"content-length", b"transfer-encoding", b"expect")
    )
    # RFC 9112, 6.1: unknown in 1.0, and we know no other coding than the one it must end with.
    if codings and (request.is_old or [each.lower() for each in codings] != [b"chunked"]):
        raise Refused(400, "framing")
    # RFC 9112, 6.3: one length, and none beside a coding; llhttp thinks so, too.
    if len(lengths) > 1 or (lengths and codings):
        raise Refused(400, "framing")
    if lengths and len(lengths[0]) > LENGTH_DIGITS:  # Python refuses to read 4300 of them
        raise Refused(400, "framing")
    length = int(lengths[0]) if lengths else 0
    # RFC 9110, 10.1.1: what is expected but not known; 1.0 did not know expectations.
    is_waiting = bool(expectations) and not request.is_old
    if is_waiting and [each.lower() for each in expectations] != [b"100-continue"]:
        raise Refused(417, "expectation")
    if codings:
        return Framing(b"transfer-encoding: chunked\r\n", 0, is_waiting)
    if lengths:
        return Framing(b"content-length: %d\r\n" % length, length, is_waiting and length > 0)
    return NO_BODY
