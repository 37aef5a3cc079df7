"""What sites have counted, and each of their routes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from piped.app import Service
from piped.observe.metrics.measures import Group, Row, counter, gauge, histogram, label, lives_of
from piped.providers.web import Site
from piped.providers.web.limits import Counters
from piped.providers.web.server import Server


class _Seen(NamedTuple):
    counters: Counters
    server: Server | None  # None while it does not run


def _sites(service: Service) -> Iterator[tuple[str, _Seen]]:
    for life in lives_of(service):
        site = life.provider
        if isinstance(site, Site):
            server: Any = (life.brought or {}).get(site.label)
            yield label(site.label), _Seen(site.counters, server)


def _rows(service: Service) -> Iterator[Row]:
    for name, seen in _sites(service):
        yield (name,), seen


def _routes(service: Service) -> Iterator[Row]:
    for name, seen in _sites(service):
        for path, tally in seen.counters.routes.items():
            yield (name, label(path)), tally
        yield (name, "none"), seen.counters.unrouted


def _answers(seen: _Seen) -> Mapping[str, float]:
    return {f"{each}xx": number for each, number in seen.counters.answered.items()}


def _messages(seen: _Seen) -> Mapping[str, float]:
    return {"in": seen.counters.messages_in, "out": seen.counters.messages_out}


def _in_flight(seen: _Seen) -> float:
    return 0 if seen.server is None else seen.server.admission.in_flight


def _connections(seen: _Seen) -> float:
    return 0 if seen.server is None else len(seen.server.connections)


SITE: Final = Group(
    "Of each site",
    ("site",),
    _rows,
    (
        counter("piped_site_connections", "Connections taken.", lambda s: s.counters.accepted),
        gauge("piped_site_open_connections", "Connections that are open.", _connections),
        counter(
            "piped_site_accept_pauses",
            "Times that nothing was accepted, as enough connections were open.",
            lambda s: s.counters.pauses,
        ),
        counter("piped_site_requests", "Requests treated.", lambda s: s.counters.requests),
        gauge("piped_site_in_flight", "Requests that wait for their answers.", _in_flight),
        counter(
            "piped_site_answers",
            "Answers by the class of their status, such as 2xx.",
            _answers,
            by="status",
        ),
        counter(
            "piped_site_refused",
            "Requests and connections that broke a rule, such as slow-header.",
            lambda s: s.counters.refused,
            by="rule",
        ),
        counter(
            "piped_site_deadlines_missed",
            "Requests that nobody answered in time.",
            lambda s: s.counters.deadlines_missed,
        ),
        counter(
            "piped_site_second_answers",
            "Answers to requests that had one already.",
            lambda s: s.counters.second_answers,
        ),
        counter(
            "piped_site_clients_left",
            "Clients that left before their answer.",
            lambda s: s.counters.clients_left,
        ),
        counter(
            "piped_site_access_log_dropped",
            "Lines of the access log that could not be written.",
            lambda s: s.counters.access_log_dropped,
        ),
        gauge("piped_site_websockets", "Open WebSockets.", lambda s: s.counters.websockets),
        counter(
            "piped_site_websocket_messages",
            "Messages that came in and went out over WebSocket.",
            _messages,
            by="direction",
        ),
    ),
)

ROUTE: Final = Group(
    "Of each route",
    ("site", "route"),
    _routes,
    (
        counter(
            "piped_route_answers",
            "Answers by their status.",
            lambda tally: {str(each): number for each, number in tally.answered.items()},
            by="status",
        ),
        histogram(
            "piped_route_answer_seconds",
            "How long requests waited until their answers began, as a histogram.",
            lambda tally: tally.times,
        ),
    ),
)
