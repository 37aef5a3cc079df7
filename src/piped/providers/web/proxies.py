"""Proxies whose word is taken on who asks, and how."""

from __future__ import annotations

from collections.abc import Collection
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final, TypeAlias

from piped.providers.web.headers import Headers

Network: TypeAlias = IPv4Network | IPv6Network

UNIX: Final = "unix"
"""Stands for all that is connected by a unix socket."""

SCHEMES: Final = {"http": "http", "https": "https", "ws": "http", "wss": "https"}


class Proxies:
    """The peers that may say for whom they ask; all others could say anything.

    Args:
        texts: Addresses and networks, such as 10.0.0.0/8, or ``unix``.

    Raises:
        ValueError: One of them is neither.
    """

    def __init__(self, texts: Collection[str] = ()) -> None:
        self._has_unix = UNIX in texts
        self._networks = tuple(_network(text) for text in texts if text != UNIX)

    def __contains__(self, peer: str) -> bool:
        if not peer:
            return self._has_unix
        address = address_of(peer)
        return address is not None and any(address in each for each in self._networks)

    def client_of(self, peer: str, headers: Headers) -> str:
        """Return the address of the client for which a trusted peer asks.

        Each proxy adds, at the right, the address it was asked from. So the last one there that is
        no proxy of ours is the client; what stands left of it, the client may have invented.
        """
        client = peer
        for text in reversed(headers.get("x-forwarded-for", "").split(",")):
            address = address_of(text)
            if address is None:
                break
            client = str(address)
            if client not in self:
                break
        return client

    def scheme_of(self, scheme: str, headers: Headers) -> str:
        """Return the scheme that the client has used, as the nearest proxy tells it."""
        said = headers.get("x-forwarded-proto", "").rpartition(",")[2]
        return SCHEMES.get(said.strip().lower(), scheme)


def is_loopback(peer: str) -> bool:
    """Tell whether an address is this machine's own."""
    return peer == "::1" or peer.startswith("127.")


def _network(text: str) -> Network:
    try:
        return ip_network(text)
    except ValueError:
        what = f"expected an address or network such as 10.0.0.0/8, or '{UNIX}', got {text!r}"
        raise ValueError(what) from None


def address_of(text: str) -> IPv4Address | IPv6Address | None:
    """Return an address as a proxy writes it, perhaps with a port; None if it is none."""
    text = text.strip().strip('"')
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address
