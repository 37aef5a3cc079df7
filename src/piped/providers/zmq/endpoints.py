"""Addresses of ZeroMQ: how they are written, and which of them strangers can reach."""

from __future__ import annotations

import ipaddress
import re
from typing import Final

MAX_IPC_BYTES: Final = 107
"""The longest path that the kernel takes for a socket."""

_TCP: Final = re.compile(r"tcp://(?P<host>\[[^\]/\s]+\]|[^/\s:\[\]]+):(?P<port>\d+|\*)")
_ANY: Final = "0.0.0.0"  # noqa: S104 - recognized, not bound
_LOCAL: Final = {"*": "127.0.0.1", _ANY: "127.0.0.1", "[::]": "[::1]", "[*]": "[::1]"}
_FORMS: Final = "tcp://host:port, ipc://path or inproc://name"


def wrong_with(endpoint: str, *, is_bind: bool) -> str:
    """Return what is wrong with an address, or ``''``.

    A bind may leave the port to the system: ``tcp://127.0.0.1:*``.
    """
    scheme, _, rest = endpoint.partition("://")
    if scheme == "ipc" and rest:
        if len(rest.encode()) > MAX_IPC_BYTES:
            return f"expected an ipc path of at most {MAX_IPC_BYTES} bytes, got {endpoint!r}"
        return ""
    if scheme == "inproc" and rest:
        return ""
    match = _TCP.fullmatch(endpoint)
    if match is None:
        return f"expected {_FORMS}, got {endpoint!r}"
    port = 0 if match["port"] == "*" else int(match["port"])
    if port > 65535:
        return f"expected a port of at most 65535, got {endpoint!r}"
    if port == 0 and not is_bind:
        return f"expected a port to connect to, got {endpoint!r}"
    return ""


def reachable(endpoint: str) -> str:
    """Return the address to connect to: a wildcard host means this machine."""
    match = _TCP.fullmatch(endpoint)
    if match is None or match["host"] not in _LOCAL:
        return endpoint
    return f"tcp://{_LOCAL[match['host']]}:{match['port']}"


def needs_ipv6(endpoint: str) -> bool:
    """Tell whether a socket must speak IPv6 for this address."""
    return endpoint.startswith("tcp://[")


def is_open(endpoint: str) -> bool:
    """Tell whether a socket bound here can be reached from other machines."""
    match = _TCP.fullmatch(endpoint)
    if match is None:
        return False
    host = match["host"].strip("[]")
    try:
        return not ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host not in ("localhost", "lo")
