"""The hosts that requests may name, so that no foreign page leads browsers here under its name."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from typing import Final

LOOPBACK: Final = ("localhost", "127.0.0.1", "[::1]")
"""Names of this machine, which a page of another one cannot have."""

_HOST: Final = re.compile(
    r"(?P<name>\[[0-9A-Fa-f:.]+\]|(?:\*\.)?[^\[\]:/@*\s]+)(?::(?P<port>\d+))?"
)


class Hosts:
    """The hosts that requests may name.

    A foreign page can lead a browser here under a name of its own, but never under an address.

    Args:
        ports: Those that are listened on.
        names: More names; one without a port may be named with or without ours. ``*.example.org``
            stands for names with one more part, as in certificates.
        may_be_address: Whether any address is a host, with one of the ports.
        usual_port: That of the scheme, which clients leave out.
    """

    def __init__(
        self,
        ports: Iterable[int],
        names: Iterable[str],
        may_be_address: bool = False,
        usual_port: int = 80,
    ) -> None:
        self._ports = frozenset(str(port) for port in ports)
        self._may_be_address = may_be_address
        self._usual = str(usual_port)
        own = self._ports or {self._usual}
        self._hosts = {(name, port) for name in LOOPBACK for port in own}
        for each in names:
            name, port = split_host(each)
            self._hosts.add((name, port or self._usual))
            if not port:
                self._hosts |= {(name, port) for port in self._ports}

    def __contains__(self, host: str) -> bool:
        name, port = split_host(host)
        port = port or self._usual
        if (name, port) in self._hosts:
            return not name.startswith("*")
        if (f"*.{name.partition('.')[2]}", port) in self._hosts:
            return True
        return self._may_be_address and port in self._ports and _is_address(name)


def is_host(text: str) -> bool:
    """Tell whether a text is a host as ``Hosts`` takes it, such as ``example.org:443``."""
    return _HOST.fullmatch(text) is not None


def split_host(host: str) -> tuple[str, str]:
    """Return the name, in small letters, and the port of a host; '' for what it has not."""
    match = _HOST.fullmatch(host)
    return (match["name"].lower(), match["port"] or "") if match else ("", "")


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True
