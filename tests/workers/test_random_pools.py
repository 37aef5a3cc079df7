"""Pools whose workers do anything at any time: the sums are right, and no credit is lost."""

from __future__ import annotations

import asyncio
from collections import Counter
from random import Random
from typing import Any

import pytest

from piped.workers.frames import Answer, Back, Beat, Cancel, Died, Drain, Go, Started, Work
from tests.conftest import Clock, turn
from tests.workers.test_dispatcher import Pool

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("clock")]

STEPS = 2000
NAMES = (b"one", b"two", b"three")


@pytest.fixture
def anyio_backend(movable_loop: tuple[str, dict[str, Any]]) -> tuple[str, dict[str, Any]]:
    return movable_loop


class Player:
    """A worker that does what a worker may do, and loses some of what it says."""

    def __init__(self, pool: Pool, name: bytes, random: Random, runs: Counter[bytes]) -> None:
        self._pool, self._name, self._random, self.runs = pool, name, random, runs
        self._capacity = random.randint(1, 4)
        self._read = len(pool.wire.sent.get(name, []))
        self._has: dict[tuple[bytes, int], bool] = {}  # whether it may run
        pool.hello(name, self._capacity)

    def _say(self, *said: Any) -> None:
        if self._random.random() > 0.1:
            self._pool.dispatcher.receive(self._name, *said)

    def read(self) -> None:
        """Take what the front has sent; of some it never hears."""
        sent = self._pool.wire.sent[self._name]
        new, self._read = sent[self._read :], len(sent)
        for frame in new:
            if isinstance(frame, Work) and self._random.random() > 0.05:
                self._has[frame.id, frame.attempt] = not frame.must_ask
                self._say(Started(((frame.id, frame.attempt),)))
            elif isinstance(frame, Go) and (frame.id, frame.attempt) in self._has:
                self._has[frame.id, frame.attempt] = True
            elif isinstance(frame, Cancel):
                self._has.pop((frame.id, frame.attempt), None)
                self._say(Back(frame.id, frame.attempt, self._capacity))

    def act(self) -> None:
        """End one of its parts, in one way or another."""
        mine = [key for key, may_run in self._has.items() if may_run]
        if not mine:
            return
        id_, attempt = self._random.choice(mine)
        del self._has[id_, attempt]
        end = self._random.random()
        if end < 0.8:
            self.runs[id_] += 1
            self._say(Answer(id_, attempt, end < 0.7, b"y", self._capacity))
        else:
            self._say((Back if end < 0.9 else Died)(id_, attempt, self._capacity))

    def beat(self) -> None:
        self._say(Beat(tuple(self._has), self._capacity))


@pytest.mark.parametrize("seed", range(8))
async def test_each_part_ends_once_and_each_place_comes_back(clock: Clock, seed: int) -> None:
    random = Random(seed)
    attempts = 1 + seed % 2 * 2
    pool = Pool(attempts=attempts, max_pending=30, lease=0.2)
    runs: Counter[bytes] = Counter()
    players = {name: Player(pool, name, random, runs) for name in NAMES}
    futures: list[asyncio.Future[list[Any]]] = []

    for _ in range(STEPS):
        await _something(pool, players, futures, random, clock)
        _fail_if_sums_are_wrong(pool)
    for _ in range(200):  # nothing is new; whoever was lost is back
        await clock.advance(0.02, turns=2)
        for player in players.values():
            player.read()
            player.act()
            player.beat()
    await turn()

    assert all(each.done() for each in futures)
    await asyncio.gather(*futures, return_exceptions=True)  # else the loop complains of failures
    assert pool.dispatcher.pending == pool.dispatcher.in_flight == 0
    assert pool.dispatcher.pending_bytes == 0
    assert [len(peer.leaked) for peer in pool.dispatcher.peers.values()] == [0, 0, 0]
    assert pool.counters.answered > 10
    assert max(runs.values()) == 1 or attempts > 1


async def _something(
    pool: Pool,
    players: dict[bytes, Player],
    futures: list[asyncio.Future[list[Any]]],
    random: Random,
    clock: Clock,
) -> None:
    what = random.random()
    name = random.choice(NAMES)
    if what < 0.15 and pool.dispatcher.pending < 30:
        futures.append(pool.submit("x", random.choice((-1.0, 0.05, 2.0, 2.0))))
    elif what < 0.16 and futures:
        random.choice(futures).cancel()
    elif what < 0.162:
        pool.dispatcher.receive(name, Drain())
    elif what < 0.165:  # dead, or cut off: with the same name it comes again
        pool.dispatcher.lost(name, "the test says so")
        players[name] = Player(pool, name, random, players[name].runs)
    elif what < 0.5:
        players[name].read()
    elif what < 0.8:
        players[name].act()
    elif what < 0.9:
        players[name].beat()
    else:
        await clock.advance(random.choice((*(0.001, 0.002, 0.01) * 10, 0.3)), turns=2)


def _fail_if_sums_are_wrong(pool: Pool) -> None:
    counters, dispatcher = pool.counters, pool.dispatcher
    ended = counters.answered + counters.failed + counters.expired
    ended += counters.cancelled + counters.set_aside
    held = {id_ for peer in dispatcher.peers.values() for id_ in peer.holding}

    assert counters.submitted == ended + dispatcher.pending
    assert dispatcher.pending == len(dispatcher._open)
    assert dispatcher.pending_bytes == sum(each.size for each in dispatcher._open.values())
    in_flight = {part.id for part in dispatcher._open.values() if part.holder is not None}
    assert in_flight <= held
    assert in_flight <= dispatcher._open.keys()
    for address, peer in dispatcher.peers.items():
        assert (address in dispatcher._ready) == peer.has_room
        assert len(peer.holding) + len(peer.leaked) <= peer.capacity
