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

QUEUED_BYTES: Final = 4 << 20
"""How much may wait to be sent to one client, beside one message of any size."""

RULES: Final = {
    1002: "websocket-protocol",
    1007: "websocket-text",
    1008: "websocket-slow-message",
    1009: "websocket-too-large",
}
"""What a broken rule is counted as, by the code that the client is told."""


@dataclass(frozen=True, slots=True)
class SocketLimits:
    """What one session may ask for, and how long it may take; see the parameters of a route."""

    message_bytes: int
    queued: int
    ping_s: float
    pong_s: float
    idle_s: float | None
    message_s: float = 30.0  # from the first byte of a message to its last
    owed_s: float = 5.0  # for the other side's part of the end
