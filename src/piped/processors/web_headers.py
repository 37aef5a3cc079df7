"""What header fields say: whose a web request is, and how long its answer is good."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import field
from email.utils import formatdate
from ipaddress import ip_address
from typing import Annotated, Final

from piped.batons import Baton, BatonPath, setter
from piped.errors import BatonError, Problem
from piped.processors._request import REQUEST_PATH, SKIP, request_getter
from piped.processors._shown import shown
from piped.spec import Duration, Meta, Processor, Step, part, processor

LONGEST_S: Final = 2**31 - 1  # RFC 9111: what caches can count at least


@processor("determine-ip")
class DetermineIp(Processor):
    """Put the address of a web request's client into the baton.

    With ``proxied`` it is the first address that ``proxy_header`` has, and that of the peer only
    where it has none. Clients can send that header, too: use it where a proxy in front of the site
    sets it anew.

    Example:
        determine-ip: {proxied: true, output_path: client.ip}

    Raises:
        BatonError: There is no request, it has no address (a unix socket), or none in the header,
            and ``fail_if_not_proxied`` is set.
    """

    request_path: Annotated[BatonPath, REQUEST_PATH] = BatonPath("request")
    skip_if_request_stopped: Annotated[bool, SKIP] = False
    output_path: Annotated[
        BatonPath, Meta(description="Where the address goes; '' replaces the baton.")
    ] = BatonPath("ip")
    proxied: Annotated[bool, Meta(description="Whether a proxy tells the address.")] = False
    proxy_header: Annotated[
        str, Meta(min_length=1, description="The header by which the proxy tells it.")
    ] = "x-forwarded-for"
    fail_if_not_proxied: Annotated[
        bool, Meta(description="Fail where the header has no address.")
    ] = False

    def step(self) -> Step:
        get_request, put = request_getter(self.request_path), setter(self.output_path)
        skip, proxied, strict = self.skip_if_request_stopped, self.proxied, self.fail_if_not_proxied
        name = self.proxy_header

        def step(baton: Baton) -> Baton:
            request = get_request(baton)
            if skip and request.is_finished:
                return baton
            address = None
            if proxied:
                header = request.headers.get(name, "")
                address = _address(header.partition(",")[0])
                if address is None and strict:
                    raise BatonError(f"expected an address in '{name}', got {shown(header)}")
            if not (address or request.client_ip):
                raise BatonError("the client of the request has no address")
            return put(baton, address or request.client_ip)

        return step


def _address(text: str) -> str | None:
    """Return the IP address that a proxy tells, without its port; None where that is none."""
    text = text.strip().strip('"')
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        return None if "%" in text else str(ip_address(text))
    except ValueError:
        return None


@part
class Span:
    """A time in parts, which are added up."""

    days: Annotated[int | float, Meta(ge=0, description="Days.")] = 0
    hours: Annotated[int | float, Meta(ge=0, description="Hours.")] = 0
    minutes: Annotated[int | float, Meta(ge=0, description="Minutes.")] = 0
    seconds: Annotated[int | float, Meta(ge=0, description="Seconds.")] = 0

    @property
    def in_seconds(self) -> float:
        return ((self.days * 24 + self.hours) * 60 + self.minutes) * 60 + self.seconds


@processor("set-http-expires")
class SetHttpExpires(Processor):
    """Let caches keep the answer to a web request for some time; the baton stays as it is.

    Sets the header fields ``expires``, a date in GMT, and ``cache-control: public,max-age=n``.

    Example:
        set-http-expires: {timedelta: {days: 1, hours: 12}}

    Raises:
        BatonError: There is no request.
    """

    timedelta: Annotated[
        Duration | Span,
        Meta(description="How long: 36h, or {days: 1, hours: 12, minutes: 0, seconds: 0}."),
    ]
    request_path: Annotated[BatonPath, REQUEST_PATH] = BatonPath("request")
    skip_if_request_stopped: Annotated[bool, SKIP] = True
    _time: Callable[[], float] = field(default=time.time, init=False)

    def check(self) -> Iterable[Problem]:
        if not self._seconds() <= LONGEST_S:
            what = f"expected at most {LONGEST_S} seconds, got {self._seconds():.0f}"
            yield Problem("wrong-value", what, at="timedelta")

    def step(self) -> Step:
        get_request, skip = request_getter(self.request_path), self.skip_if_request_stopped
        now, seconds = self._time, int(self._seconds())

        def step(baton: Baton) -> Baton:
            request = get_request(baton)
            if skip and request.is_finished:
                return baton
            request.set_header("expires", formatdate(now() + seconds, usegmt=True))
            request.set_header("cache-control", f"public,max-age={seconds}")
            return baton

        return step

    def _seconds(self) -> float:
        return self.timedelta.in_seconds if isinstance(self.timedelta, Span) else self.timedelta
