"""Where a site listens: how it is written, and the sockets that come of it."""

from __future__ import annotations

import errno
import re
import socket
from dataclasses import dataclass, replace
from typing import Final

from piped.errors import Misconfigured

BACKLOG: Final = 512

_STRPORT: Final = re.compile(r"tcp6?:(?P<port>\d+)(?::interface=(?P<host>[^:]*|[0-9a-fA-F\\:]+))?")
_PAIR: Final = re.compile(r"(?:\[(?P<six>[^\]]*)\]|(?P<host>[^:\[\]]*)):(?P<port>\d+)")


@dataclass(frozen=True, slots=True)
class Address:
    """One place to listen at; port 0 is any free one."""

    host: str
    port: int
    is_optional: bool = False  # nothing is said where the machine has no such address

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """A URL that a browser on this machine can open."""
        host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(self.host)  # noqa: S104 - it was written
        return f"http://{host}:{self.port}/" if host else f"http://{self}/"

    @property
    def is_loopback(self) -> bool:
        return self.host == "::1" or self.host.startswith("127.")


def on_loopback(port: int) -> list[Address]:
    """Return the addresses of a port on this machine only."""
    return [Address("127.0.0.1", port), Address("::1", port, is_optional=True)]


def read_address(text: str) -> list[Address]:
    """Return the addresses of ``0.0.0.0:8080``, ``[::1]:80`` or ``tcp:8080:interface=127.0.0.1``.

    Raises:
        ValueError: It is none of these.
    """
    match = _STRPORT.fullmatch(text) or _PAIR.fullmatch(text)
    if match is None:
        raise ValueError(f"expected an address such as 0.0.0.0:8080 or [::1]:8080, got {text!r}")
    port = int(match["port"])
    if port > 65535:
        raise ValueError(f"expected a port up to 65535, got {text!r}")
    groups = match.groupdict()
    host = (groups.get("six") or groups.get("host") or "").replace("\\", "")
    if not host and not text.startswith("tcp"):
        raise ValueError(f"expected a host before the port, got {text!r}: all are 0.0.0.0:{port}")
    if host == "localhost":
        return on_loopback(port)
    return [Address(host or ("::" if text.startswith("tcp6") else "0.0.0.0"), port)]  # noqa: S104 - it was written


def listen(addresses: list[Address]) -> list[tuple[Address, socket.socket]]:
    """Open the addresses, on one free port where it is 0.

    Raises:
        Misconfigured: One of them cannot be opened.
    """
    is_free_port = any(each.port == 0 for each in addresses)
    for attempts_left in reversed(range(5 if is_free_port else 1)):
        opened: list[tuple[Address, socket.socket]] = []
        try:
            for address in addresses:
                port = address.port or (opened[-1][0].port if address.is_optional else 0)
                _open(replace(address, port=port), opened)
        except Misconfigured:
            for _, each in opened:
                each.close()
            if not attempts_left:
                raise
        else:
            break
    return opened


def _open(address: Address, opened: list[tuple[Address, socket.socket]]) -> None:
    made = None
    try:
        family, kind, _, _, where = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        made = socket.socket(family, kind)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.setblocking(False)
        made.bind(where)
        made.listen(BACKLOG)
    except OSError as error:
        if made is not None:
            made.close()
        if error.errno == errno.EADDRINUSE:
            raise Misconfigured(f"cannot listen on {address}: the address is in use") from error
        if not address.is_optional:
            reason = (error.strerror or str(error)).lower()
            raise Misconfigured(f"cannot listen on {address}: {reason}") from error
    else:
        opened.append((replace(address, port=made.getsockname()[1]), made))
