"""The lines of an access log: what a client sends cannot end one, or pass for its next part."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from time import gmtime, localtime, strftime
from typing import Final

import msgspec

from piped.engine.journey import journey_text
from piped.providers.web.access.setting import AccessFormat
from piped.providers.web.request import Request

MONTHS: Final = (
    *("Jan", "Feb", "Mar", "Apr", "May", "Jun"),
    *("Jul", "Aug", "Sep", "Oct", "Nov", "Dec"),
)  # in English, whatever the locale says

SHORT: Final = 512

_ODD: Final = re.compile(rb"[^ !#-\[\]-~]")
_ODD_OR_BLANK: Final = re.compile(rb"[^!#-\[\]-~]")
_ODD_IN_JSON: Final = re.compile("[^ -~]")
_ESCAPES: Final = {b'"': b'\\"', b"\\": b"\\\\"}


@dataclass(slots=True)
class Facts:
    """What is known of a request that is over."""

    request: Request | None  # as far as it was received
    client: str
    status: int
    size: int  # bytes of the body of the answer
    journey: int
    began: float  # seconds since the epoch
    protocol: str = ""  # '' where it was not received so far
    duration_s: float | None = None
    is_whole: bool = True  # of the answer
    route: str = ""

    def fields(self) -> tuple[bytes, bytes]:
        """Return the header fields referer and user-agent, b'' where there is none."""
        referer = agent = b""
        for name, value in () if self.request is None else self.request._fields:
            if name == b"user-agent":
                agent = value
            elif name == b"referer":
                referer = value
        return referer, agent


def protocol_of(request: Request) -> str:
    """Return the protocol of a request whose head was received."""
    return "HTTP/1.0" if request.is_old else "HTTP/1.1"


def combined(facts: Facts, _site: str) -> bytes:
    """Return a line in the combined format of the NCSA: bytes that are not plain are escaped."""
    request, line, user = facts.request, b"-", b"-"
    if request is not None:
        words = (request.method.encode(), request._target, facts.protocol.encode())
        line = _ODD.sub(_escaped, b" ".join(filter(None, words))) or b"-"
        user = _ODD_OR_BLANK.sub(_escaped, request.user.encode()) or b"-"
    referer, agent = facts.fields()
    is_short = len(referer) + len(agent) <= SHORT
    return b'%b - %b %b "%b" %d %b %b\n' % (
        facts.client.encode() or b"-",
        user,
        _local_time(int(facts.began)),
        line,
        facts.status,
        b"%d" % facts.size if facts.size else b"-",
        (_known if is_short else _quoted)(referer, agent),
    )


def _quoted(referer: bytes, agent: bytes) -> bytes:
    return b'"%b" "%b"' % (_ODD.sub(_escaped, referer) or b"-", _ODD.sub(_escaped, agent) or b"-")


_known: Final = lru_cache(maxsize=256)(_quoted)
"""The same, of those that are short: most clients send what others have sent."""


def _escaped(found: re.Match[bytes]) -> bytes:
    byte = found[0]
    return _ESCAPES.get(byte) or b"\\x%02x" % byte[0]


@lru_cache(maxsize=4)
def _local_time(second: int) -> bytes:
    when = localtime(second)
    minutes = when.tm_gmtoff // 60
    sign, offset = "-+"[minutes >= 0], abs(minutes)
    month = MONTHS[when.tm_mon - 1]
    day = f"{when.tm_mday:02}/{month}/{when.tm_year:04}"
    clock = f"{when.tm_hour:02}:{when.tm_min:02}:{when.tm_sec:02}"
    return f"[{day}:{clock} {sign}{offset // 60:02}{offset % 60:02}]".encode()


def json(facts: Facts, site: str) -> bytes:
    """Return a line that is a JSON object, in ASCII; what is not known is null."""
    request, duration_s = facts.request, facts.duration_s
    referer, agent = facts.fields()
    second, milliseconds = divmod(round(facts.began * 1000), 1000)
    values = {
        "time": f"{_utc(second)}.{milliseconds:03}Z",
        "site": site,
        "client": facts.client or None,
        "user": (request and request.user) or None,
        "method": (request and request.method) or None,
        "target": (request and _text(request._target)) or None,
        "protocol": facts.protocol or None,
        "status": facts.status,
        "bytes": facts.size,
        "complete": facts.is_whole,
        "duration_s": None if duration_s is None else round(duration_s, 6),
        "referer": _text(referer) or None,
        "user_agent": _text(agent) or None,
        "journey": journey_text(facts.journey),
        "route": facts.route or None,
    }
    encoded = msgspec.json.encode(values)
    if encoded.isascii() and b"\x7f" not in encoded:
        return encoded + b"\n"
    return _ODD_IN_JSON.sub(_escaped_in_json, encoded.decode()).encode() + b"\n"


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


def _escaped_in_json(found: re.Match[str]) -> str:
    number = ord(found[0])
    if number < 0x10000:
        return f"\\u{number:04x}"
    number -= 0x10000  # RFC 8259, 7: two UTF-16 surrogates
    return f"\\u{0xD800 + (number >> 10):04x}\\u{0xDC00 + (number & 0x3FF):04x}"


@lru_cache(maxsize=4)
def _utc(second: int) -> str:
    return strftime("%Y-%m-%dT%H:%M:%S", gmtime(second))


FORMATS: Final[Mapping[AccessFormat, Callable[[Facts, str], bytes]]] = {
    "combined": combined,
    "json": json,
}
