"""What a site allows a client, and what it has counted."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

TARGET_BYTES: Final = 8 << 10
"""The longest target of a request; longer ones are answered 414."""

ANSWER_BYTES: Final = 64 << 20
"""The most that ``request.write`` collects."""

FORM_FIELDS: Final = 1000
"""The most fields in a query or a form."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one client may ask for, and how long it may take; see the parameters of a site."""

    header_bytes: int = 32 << 10
    fields: int = 100
    body_bytes: int = 1 << 20
    header_s: float = 10.0
    body_s: float = 30.0
    idle_s: float = 30.0
    stall_s: float = 30.0
    linger_s: float = 2.0
    owed_s: float = 5.0
    drain_s: float = 1.0
    pipelined: int = 16
    connections: int = 1024


@dataclass(slots=True)
class Counters:
    """What a site has seen since the process started.

    ``answered`` counts by status class (2 for 2xx), ``refused`` by the rule that was broken.
    """

    accepted: int = 0
    requests: int = 0
    answered: dict[int, int] = field(default_factory=lambda: dict.fromkeys(range(2, 6), 0))
    refused: dict[str, int] = field(default_factory=dict)
    second_answers: int = 0
    deadlines_missed: int = 0
    clients_left: int = 0

    def refuse(self, rule: str) -> None:
        """Count a request or connection that broke a rule."""
        self.refused[rule] = self.refused.get(rule, 0) + 1
