"""The answers that a worker has sent lately, so that those are sent again that nobody has heard.

A server says at once where nobody listens. A front that connects again a little later than its
workers would miss what they tell it, and JetStream has been told that the part is done.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from piped.workers.frames import Answer

KEPT_S: Final = 2.0
"""How long after it was sent, or after a reconnection, it may be told that nobody has heard it."""
KEPT: Final = 1000


@dataclass(frozen=True, slots=True)
class Sent:
    """An answer, the inbox that it is for, and until when somebody may wait for it."""

    front: str
    answer: Answer
    until: float


def address_of(reply: str) -> str:
    """Return a worker's inbox: a number at the end of a reply subject tells its answers apart."""
    inbox, _, last = reply.rpartition(".")
    return inbox if inbox and last.isdecimal() and len(last) < 12 else reply


class Answers:
    """Remembers answers for a while; times are those of the loop."""

    def __init__(self, inbox: str) -> None:
        self._inbox = inbox
        self._sent: OrderedDict[str, tuple[Sent, float]] = OrderedDict()
        self._number = 0
        self.since = 0.0  # the last reconnection: what waited for it is only now on its way

    def note(self, sent: Sent, now: float, *, is_connected: bool) -> str:
        """Remember an answer that is about to be sent, and return its reply subject."""
        while self._sent:
            first = next(iter(self._sent))
            is_old = is_connected and max(self._sent[first][1], self.since) + KEPT_S <= now
            if not is_old and len(self._sent) < KEPT:
                break
            del self._sent[first]
        self._number += 1
        reply = f"{self._inbox}.{self._number}"
        self._sent[reply] = (sent, now)
        return reply

    def unheard(self, reply: str, now: float) -> Sent | None:
        """Return the answer that nobody has heard, if somebody may still wait for it."""
        found = self._sent.pop(reply, None)
        return found[0] if found is not None and found[0].until > now else None
