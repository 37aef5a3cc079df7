from __future__ import annotations

import asyncio
import errno
import os
import socket
from typing import Any

import pytest
from structlog.testing import capture_logs

from piped.providers.web import Request, accepting, server
from tests.conftest import turn, until
from tests.providers.web.support import request_bytes, serving

pytestmark = pytest.mark.anyio


async def test_nothing_is_accepted_while_there_are_as_many_connections_as_may_be() -> None:
    with capture_logs() as logs:
        async with serving(max_connections=10) as served:
            clients = [await served.connect() for _ in range(10)]
            late = await served.connect()
            await late.send(request_bytes())
            await until(lambda: len(served.server.connections) == 10)
            await until(lambda: served.site.counters.pauses)
            kept = await clients[0].get()
            waits = len(served.server.connections)
            clients[0].close()
            answer = await late.answer()
            for each in (*clients, late):
                each.close()

    assert (kept.status, waits, answer.status) == (200, 10, 200)
    assert served.site.counters.pauses == 1
    (line,) = [each for each in logs if each["log_level"] == "warning"]
    assert line == {
        "event": "connections are at their limit",
        "log_level": "warning",
        "site": "web.site",
        "connections": 10,
    }


async def test_accepting_goes_on_when_a_tenth_of_the_connections_is_gone() -> None:
    async with serving(max_connections=20) as served:
        clients = [await served.connect() for _ in range(21)]
        await until(lambda: served.site.counters.pauses)
        clients[0].close()
        await until(lambda: len(served.server.connections) == 19)
        await turn()
        after_one = len(served.server.connections)
        clients[1].close()
        await until(lambda: served.site.counters.accepted == 21)
        for each in clients:
            each.close()

    assert after_one == 19


async def test_those_who_keep_a_full_site_waiting_make_room() -> None:
    async with serving(max_connections=8) as served:
        slow = [await served.connect() for _ in range(20)]
        for each in slow:
            await each.send(b"GET / HTTP/1.1\r\nhost: x\r\n")
        client = await served.connect()
        async with asyncio.timeout(8):  # else it would take the time of three heads
            answer = await client.get()
        for each in slow:
            each.writer.transport.abort()
        client.close()

    assert answer.status == 200
    assert served.site.counters.refused["made-room"] >= 13


async def test_requests_that_are_treated_make_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "PATIENCE_S", 0.0)
    async with serving(lambda request: None, max_connections=2) as served:
        clients = [await served.connect() for _ in range(2)]
        for each in clients:
            await each.send(request_bytes())
        await until(lambda: len(served.pipeline.seen) == 2)
        clients.append(await served.connect())
        await until(lambda: served.site.counters.pauses)
        served.server._expire()
        for request in served.pipeline.seen:
            request.answer(b"done")
        answers = [await each.answer() for each in clients[:2]]
        for each in clients:
            each.close()

    assert [each.body for each in answers] == [b"done"] * 2


async def test_one_peer_has_few_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accepting, "is_loopback", lambda _: False)
    async with serving(max_connections_per_peer=2) as served:
        clients = [await served.connect() for _ in range(3)]
        rest = await clients[2].rest()
        kept = [await each.get() for each in clients[:2]]
        clients[0].close()
        await until(lambda: len(served.server.connections) == 1)
        again = await served.connect()
        answer = await again.get()
        for each in (*clients, again):
            each.close()

    assert rest == b""
    assert [each.status for each in (*kept, answer)] == [200, 200, 200]
    assert served.site.counters.refused == {"too-many-of-a-peer": 1}


async def test_this_machine_may_have_as_many_connections_as_there_are() -> None:
    async with serving(max_connections_per_peer=2) as served:
        clients = [await served.connect() for _ in range(5)]
        answers = [await each.get() for each in clients]
        for each in clients:
            each.close()

    assert [each.status for each in answers] == [200] * 5


async def test_a_trusted_proxy_may_have_as_many_connections_as_there_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(accepting, "is_loopback", lambda _: False)
    async with serving(max_connections_per_peer=2, trusted_proxies=["127.0.0.0/8"]) as served:
        clients = [await served.connect() for _ in range(5)]
        answers = [await each.get() for each in clients]
        for each in clients:
            each.close()

    assert [each.status for each in answers] == [200] * 5


def fill_up(monkeypatch: pytest.MonkeyPatch, *is_full: bool) -> None:
    """Have the process be without a descriptor, or not, the next times a client is accepted."""
    accept, states = socket.socket.accept, iter(is_full)

    def accept_unless_full(listener: socket.socket) -> Any:
        if next(states, False):
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return accept(listener)

    monkeypatch.setattr(socket.socket, "accept", accept_unless_full)


async def test_clients_are_sent_away_where_the_process_has_no_descriptor(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with capture_logs() as logs:
        async with serving() as served:
            fill_up(monkeypatch, True, False)  # the spare one is closed between
            sent_away = await served.connect()
            rest = await sent_away.rest()
            client = await served.connect()
            answer = await client.get()
            for each in (sent_away, client):
                each.close()

    assert (rest, answer.status) == (b"", 200)
    assert served.site.counters.refused == {"no-descriptor": 1}
    (line,) = [each for each in logs if each["log_level"] == "warning"]
    assert line["event"] == "no descriptor is left for connections"


async def test_the_spare_descriptor_is_kept_where_nobody_waits_for_the_last_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with serving() as served:
        # After the last one is given, the system looks for one though nobody waits.
        fill_up(monkeypatch, False, True, False, True, False)
        last = await served.connect()
        answer = await last.get()
        sent_away = await served.connect()
        rest = await sent_away.rest()
        for each in (last, sent_away):
            each.close()

    assert (answer.status, rest) == (200, b"")
    assert served.site.counters.refused == {"no-descriptor": 1}


async def test_what_the_system_has_accepted_is_answered_before_the_end() -> None:
    async def answer_all(request: Request) -> None:
        await asyncio.sleep(0)
        request.answer(b"x")

    async with serving(answer_all) as served:
        sockets = []
        for _ in range(100):
            made = socket.create_connection(("127.0.0.1", served.server.port))
            made.sendall(request_bytes())
            sockets.append(made)
    answers = []
    for made in sockets:
        with made:
            answers.append(made.recv(15))

    assert answers == [b"HTTP/1.1 200 OK"] * 100
