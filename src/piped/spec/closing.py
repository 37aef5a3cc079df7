"""What parameters may say of the end of a WebSocket session."""

from __future__ import annotations

from typing import Final

REASON_BYTES: Final = 123
"""The longest reason that fits into a frame that closes (RFC 6455, 5.5)."""

SENDABLE: Final = frozenset({1000, 1001, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014})
"""The registered codes that an endpoint may send (RFC 6455, 7.4)."""


def may_be_sent(code: int) -> bool:
    """Tell whether a code may stand in a frame that closes (RFC 6455, 7.4)."""
    return code in SENDABLE or 3000 <= code <= 4999
