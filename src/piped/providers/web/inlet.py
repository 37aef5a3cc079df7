"""Whether a client sends what it is waited for."""

from __future__ import annotations

import asyncio

from piped.providers.web.host import Host
from piped.providers.web.outlet import NEVER
from piped.providers.web.receiver import HEAD, Receiver


class Inlet:
    """Knows by when the client must have sent more: each head and each body has its own time.

    Args:
        host: Says how long the times are.
        loop: Tells the time.
        receiver: Takes what is sent.
    """

    __slots__ = ("due", "host", "loop", "receiver", "since", "stage")

    def __init__(self, host: Host, loop: asyncio.AbstractEventLoop, receiver: Receiver) -> None:
        self.host, self.loop, self.receiver = host, loop, receiver
        self.stage = 0  # of the receiver, when it was last looked at
        self.since = 0.0  # when the client was last given time
        self.due = NEVER

    def watch(self, is_busy: bool) -> None:
        """Give the client time for what it has begun, or for its next request.

        Args:
            is_busy: Whether requests of it are treated or wait, and it need not send more.
        """
        receiver, limits = self.receiver, self.host.limits
        if receiver.phase:
            if receiver.stage != self.stage:
                self.stage = receiver.stage
                grace_s = min(limits.grace_s, limits.body_s)
                self.give(limits.header_s if receiver.phase == HEAD else grace_s)
        elif is_busy:
            self.due = NEVER
        elif self.due == NEVER:
            self.await_request()

    def await_request(self) -> None:
        """Give the client time for its next request."""
        limits = self.host.limits
        self.give(limits.drain_s if self.host.is_draining else limits.idle_s)

    def give(self, seconds: float) -> None:
        """Give the client so much time from now."""
        self.since = self.loop.time()
        self.due = self.since + seconds

    def allow(self, seconds: float) -> None:
        """Let what still comes take so long, though nothing new is waited for."""
        self.due = self.loop.time() + seconds

    def forget(self) -> None:
        """Stop waiting for more."""
        self.due = NEVER

    def has_earned_time(self, now: float) -> bool:
        """Give a body the time that it has earned by what has arrived, up to the limit, if any."""
        limits = self.host.limits
        earned_s = self.receiver.unparsed / limits.rate if limits.rate else limits.body_s
        earned = self.since + min(limits.grace_s + earned_s, limits.body_s)
        if earned > now:
            self.due = earned
        return earned > now
