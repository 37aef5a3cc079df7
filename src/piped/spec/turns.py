"""Turns of the event loop: who has much to do leaves the rest of it to the next turn."""

from __future__ import annotations

from typing import Final

BUDGET_S: Final = 0.001
"""How long a connection, a session or a queue may keep the event loop in one of its turns."""
