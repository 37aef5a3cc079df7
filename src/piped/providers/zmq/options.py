"""Types and options of ZeroMQ's sockets: what a document may set, and what we set ourselves."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, TypeAlias

import zmq
from zmq.constants import SocketOption

from piped.errors import suggest

Value: TypeAlias = bool | int | str | list[str]

TYPES: Final[dict[str, int]] = {
    "PUSH": zmq.PUSH,
    "PULL": zmq.PULL,
    # A PUB cannot tell whether anybody listens. An XPUB is the same to its peers, and can.
    "PUB": zmq.XPUB,
    "SUB": zmq.SUB,
    "REQ": zmq.REQ,
    "REP": zmq.REP,
    "PAIR": zmq.PAIR,
    "ROUTER": zmq.ROUTER,
    "DEALER": zmq.DEALER,
    "XREP": zmq.ROUTER,
    "XREQ": zmq.DEALER,
    "XPUB": zmq.XPUB,
    "XSUB": zmq.XSUB,
}
SEND_ONLY: Final = frozenset({"PUSH", "PUB"})
PUBLISHING: Final = frozenset({"PUB", "XPUB"})

LINGER_MS: Final = 1000
"""How long a closed socket may go on sending; no option of a document makes it longer."""

_OLD_NAMES: Final = {"HWM": ("SNDHWM", "RCVHWM")}
_READ_ONLY: Final = {"EVENTS", "FD", "LAST_ENDPOINT", "MECHANISM", "METADATA", "RCVMORE"}
_READ_ONLY.update({"THREAD_SAFE", "TOPICS_COUNT", "TYPE", "USE_FD"})
KNOWN: Final = frozenset(SocketOption.__members__) - _READ_ONLY | _OLD_NAMES.keys()

_DEFAULTS: Final[dict[int, int]] = {
    zmq.LINGER: LINGER_MS,
    # A message is given only to a peer that is there; while there is none it stays in our own
    # backlog, where it is counted and bounded.
    zmq.IMMEDIATE: 1,
    zmq.MAXMSGSIZE: 64 << 20,
    zmq.RECONNECT_IVL: 100,
    zmq.RECONNECT_IVL_MAX: 1000,
    zmq.CONNECT_TIMEOUT: 5000,
    zmq.HANDSHAKE_IVL: 10_000,
    zmq.TCP_KEEPALIVE: 1,
    zmq.TCP_KEEPALIVE_IDLE: 30,
    zmq.TCP_KEEPALIVE_INTVL: 10,
    zmq.TCP_KEEPALIVE_CNT: 3,
}
# What ZeroMQ holds for a peer is out of our sight and dies with the peer; but with 100 instead of
# its own default, bursts would go through our backlog, at a fifth of the rate. A publisher over its
# mark drops in silence, so there it is more than anybody falls behind.
_SNDHWM: Final = 1000
_SNDHWM_PUBLISHING: Final = 100_000


def wrong_with(key: str, value: Value) -> tuple[str, str]:
    """Return what is wrong with an option, and a hint; two empty texts if nothing is."""
    name = _name(key)
    if name not in KNOWN:
        return f"there is no socket option '{key}'", suggest(name, KNOWN)
    is_text = isinstance(value, str | list)
    takes_text = SocketOption[name]._opt_type.name == "bytes"
    if is_text and not takes_text:
        return f"expected a number for the socket option '{key}', got {value!r}", ""
    if takes_text and not is_text:
        return f"expected text for the socket option '{key}', got {value!r}", ""
    return "", ""


def is_named(key: str, name: str) -> bool:
    """Tell whether a key of a document means that option: ``zmq_subscribe``, ``SUBSCRIBE``."""
    return _name(key) == name


def configure(
    socket: zmq.Socket[bytes], kind: str, ipv6: bool, given: Iterable[tuple[str, Value]]
) -> None:
    """Set our options on a new socket, then those of the document.

    Raises:
        zmq.ZMQError: The socket does not take one of them.
    """
    for option, number in _DEFAULTS.items():
        socket.setsockopt(option, number)
    socket.setsockopt(zmq.SNDHWM, _SNDHWM_PUBLISHING if kind in PUBLISHING else _SNDHWM)
    socket.setsockopt(zmq.IPV6, int(ipv6))
    if TYPES[kind] == zmq.ROUTER:
        socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
    for key, value in given:
        for name in _OLD_NAMES.get(_name(key), (_name(key),)):
            for each in value if isinstance(value, list) else [value]:
                raw = each.encode() if isinstance(each, str) else int(each)
                socket.setsockopt(SocketOption[name], raw)


def _name(key: str) -> str:
    return key.upper().removeprefix("ZMQ_")
