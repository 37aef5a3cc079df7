"""What a site allows a client, and what it has counted."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from piped.providers.web.hosts import Hosts
from piped.providers.web.tallies import RouteTally

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
    first_byte_s: float = 5.0
    header_s: float = 10.0
    handshake_s: float = 10.0
    body_s: float = 30.0
    grace_s: float = 5.0  # in which a body or a reader may be slower than the rate
    rate: int = 500  # bytes a second, on average
    idle_s: float = 5.0
    stall_s: float = 30.0
    linger_s: float = 2.0
    owed_s: float = 5.0
    drain_s: float = 1.0
    pipelined: int = 16
    requests: int = 1000  # of one connection
    connections: int = 1024
    connections_of_peer: int = 64
    in_flight: int = 256
    shed_lag_s: float = float("inf")
    hosts: Hosts | None = None  # None is any


@dataclass(slots=True)
class Counters:
    """What a site has seen since the process started.

    ``answered`` counts by status class (2 for 2xx), ``refused`` by the rule that was broken,
    ``routes`` by their paths, as the document has them.
    """

    accepted: int = 0
    requests: int = 0
    answered: dict[int, int] = field(default_factory=lambda: dict.fromkeys(range(1, 6), 0))
    refused: dict[str, int] = field(default_factory=dict)
    second_answers: int = 0
    deadlines_missed: int = 0
    clients_left: int = 0
    pauses: int = 0  # how often nothing was accepted, as there were enough connections
    access_log_dropped: int = 0  # lines
    websockets: int = 0  # open now
    messages_in: int = 0
    messages_out: int = 0
    routes: dict[str, RouteTally] = field(default_factory=dict)
    unrouted: RouteTally = field(default_factory=RouteTally)  # what no route has got

    def refuse(self, rule: str) -> None:
        """Count a request or connection that broke a rule."""
        self.refused[rule] = self.refused.get(rule, 0) + 1
