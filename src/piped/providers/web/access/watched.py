"""The way of one request, with somebody who takes note of what went there."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter, time
from typing import Any, Final

from piped.providers.web.access.formats import Facts, protocol_of
from piped.providers.web.answers import BODILESS
from piped.providers.web.request import Request, Way
from piped.providers.web.streams import Outflow

CLIENT_LEFT: Final = 499
"""Stands for the status where the client left before it was answered, as with nginx."""
SWITCHED: Final = 101


class Watched:
    """Leads to another way, and tells once of the request: when it is answered, or never will be.

    Args:
        way: Where the answer goes.
        request: The request that is answered.
        note: Is told.
    """

    __slots__ = ("_began", "_note", "_outflow", "_request", "_way", "counters", "transport")

    def __init__(self, way: Way, request: Request, note: Callable[[Facts], object]) -> None:
        self.counters, self.transport = way.counters, way.transport
        self._way, self._request, self._note = way, request, note
        self._outflow: Outflow | None = None
        self._began = perf_counter()

    def respond(self, request: Request, body: bytes) -> None:
        self._way.respond(request, body)
        is_mute = request.method == "HEAD" or request.status in BODILESS
        self._tell(request.status, 0 if is_mute else len(body))

    def begin(self, request: Request, length: int | None) -> Outflow:
        self._outflow = outflow = self._way.begin(request, length)
        return outflow

    def end(self, request: Request) -> None:
        self._way.end(request)
        self._tell_of_pieces()

    def cut(self) -> None:
        self._way.cut()
        self._tell_of_pieces(is_cut=True)

    def hand_over(self, heir: Any, head: bytes) -> bool:
        is_switched = self._way.hand_over(heir, head)
        self._tell(SWITCHED if is_switched else CLIENT_LEFT, 0, is_switched)
        return is_switched

    def leave(self) -> None:
        """Be told that the client is gone, or was cut off."""
        if self._outflow is None:
            self._tell(CLIENT_LEFT, 0, is_whole=False)
        else:
            self._tell_of_pieces(is_cut=True)

    def _tell_of_pieces(self, is_cut: bool = False) -> None:
        outflow = self._outflow
        if outflow is not None:
            self._tell(self._request.status, outflow.sent, outflow.is_whole and not is_cut)

    def _tell(self, status: int, size: int, is_whole: bool = True) -> None:
        request, duration_s = self._request, perf_counter() - self._began
        facts = Facts(request, request.client_ip, status, size, request.id, time() - duration_s)
        facts.protocol = protocol_of(request)
        facts.duration_s, facts.is_whole = duration_s, is_whole
        facts.route = "" if request._tally is None else request._tally.route
        self._note(facts)
