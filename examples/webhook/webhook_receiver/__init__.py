"""What the receiver has of its own: signatures, and taking dead letters out of their file."""

from __future__ import annotations

from piped import PipedError


class Refused(PipedError):
    """Raised when the upstream refuses a delivery, as it would the next time."""
