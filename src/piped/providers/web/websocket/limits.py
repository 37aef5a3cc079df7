"""What a WebSocket session may ask for, and what a site has counted of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

NORMAL: Final = 1000
GOING_AWAY: Final = 1001
ABNORMAL: Final = 1006  # never sent: the connection was lost
BROKEN_RULE: Final = 1008
FAILED: Final = 1011
TRY_LATER: Final = 1013

REASON_BYTES: Final = 123
"""The longest reason that fits into a frame that closes (RFC 6455, 5.5)."""

QUEUED_BYTES: Final = 4 << 20
"""How much may wait to be sent to one client, beside one message of any size."""

RULES: Final = {
    1002: "websocket-protocol",
    1007: "websocket-text",
    1008: "websocket-slow-message",
    1009: "websocket-too-large",
}
"""What a broken rule is counted as, by the code that the client is told."""

SENDABLE: Final = frozenset({1000, 1001, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014})
"""The registered codes that an endpoint may send (RFC 6455, 7.4)."""


def may_be_sent(code: int) -> bool:
    """Tell whether a code may stand in a frame that closes (RFC 6455, 7.4)."""
    return code in SENDABLE or 3000 <= code <= 4999


@dataclass(frozen=True, slots=True)
class SocketLimits:
    """What one session may ask for, and how long it may take; see the parameters of a route."""

    message_bytes: int = 1 << 20
    queued: int = 32
    ping_s: float = 20.0
    pong_s: float = 20.0
    idle_s: float | None = None
    message_s: float = 30.0  # from the first byte of a message to its last
    stall_s: float = 30.0
    owed_s: float = 5.0  # for the other side's part of the end
    linger_s: float = 2.0
