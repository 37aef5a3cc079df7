"""Who is shown how a site came to an error."""

from __future__ import annotations

from dataclasses import field
from typing import Annotated

from piped.providers.web.dispatch import LOCAL
from piped.spec import Meta, part


@part
class Debug:
    """Who is shown the traceback of an error: with ``-D``, on a loopback listener, and not else."""

    allow: Annotated[
        list[str], Meta(description="Addresses of clients; localhost is 127.0.0.1 and ::1.")
    ] = field(default_factory=list)
    max_inactive_time: Annotated[float, Meta(description="Accepted, without effect.")] = 300
    reap_interval: Annotated[float, Meta(description="Accepted, without effect.")] = 60

    def clients(self) -> frozenset[str]:
        """Return the addresses of those who are shown tracebacks."""
        return frozenset(
            address
            for name in self.allow
            for address in (LOCAL if name == "localhost" else (name,))
        )
