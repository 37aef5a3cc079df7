"""What the stream of a pool is called on the server, and the subjects of the pool."""

from __future__ import annotations


def stream_of(pool: str) -> str:
    """Return the name of the stream that has the parts of a pool."""
    return f"PIPED_{pool}"


def subject_of(pool: str, what: str) -> str:
    """Return a subject of a pool: ``work``, ``hello`` and ``who``."""
    return f"piped.{pool}.{what}"
