"""What a worker has out of the work queue of its pool, and what it has had before."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from nats.aio.msg import Msg

REFUSALS: Final = 2
"""How often a worker that has had a part leaves it to others."""
REMEMBERED: Final = 10_000


@dataclass(slots=True)
class Taken:
    """A part out of the work queue."""

    message: Msg
    front: str  # its inbox
    until: float  # when the front waits for it no more
    has_asked: bool  # it waits for the front's word
    was_sent: bool = False  # the question, once at least
    is_cancelled: bool = False
    is_orphan: bool = False  # it waits for a front that is not there


class Former:
    """Remembers the parts that a worker has had, by their ids."""

    def __init__(self) -> None:
        self._had: OrderedDict[bytes, int] = OrderedDict()  # how often it was left to others since

    def leaves(self, id_: bytes, attempt: int) -> bool:
        """Tell whether a part is left to another worker, since this one has had it.

        JetStream may know no other one: the third time that it comes back, it is taken again.
        """
        had = self._had.get(id_)
        if had is None and len(self._had) >= REMEMBERED:
            self._had.popitem(last=False)
        is_left = had is not None and attempt > 1 and had < REFUSALS
        self._had[id_] = had + 1 if had is not None and is_left else 0
        return is_left
