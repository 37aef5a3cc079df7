"""The rules of a pool whose parts JetStream gives to the workers."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import structlog

from piped.workers.closed import Closed
from piped.workers.frames import Answer, Back, Cancel, Died, Go, Started
from piped.workers.ledger import MISSED_S, Ledger
from piped.workers.parts import POISON_DEATHS, Part, Peer

if TYPE_CHECKING:
    from piped.workers.nats.front import FrontLink

AGAIN_S: Final = 0.5
"""When a part is stored again that JetStream has not said to have."""

log = structlog.get_logger("piped.workers")


class _Closed(Closed):
    """Knows too who has begun with a part when it was closed: its answer is late, not forged."""

    __slots__ = ()

    def note(self, id_: bytes, attempt: int, address: bytes, *, is_known: bool) -> None:
        found = self._found(id_)
        if found is not None and (is_known or attempt not in found[0]):
            found[0][attempt] = address
            self._young[id_] = found


class NatsLedger(Ledger):
    """The rules of a pool whose parts JetStream gives to the workers.

    A worker tells of each part that it has begun; of one that had been given to another worker
    before, it asks. Only then is it found out what became of the other one: whoever has no
    subscription any more is dead, and any other one is taken for frozen.
    """

    _link: FrontLink

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._closed: _Closed = _Closed()
        self._asking: set[asyncio.Task[None]] = set()

    def refuse(self, part: Part, error: Exception) -> None:
        """End a part that was not stored: it was never taken."""
        self.counters.submitted -= 1
        self.counters.refused += 1
        self._fail(part, error)

    def store_again(self) -> None:
        """Store all parts again: there is a new stream, with nothing in it.

        Those that are with workers are first given time to be answered.
        """
        now = self._loop.time()
        for part in list(self._open.values()):
            if part.holder is None:
                self._link.store(part)
            else:
                part.sent_at = now
                self._link.unstored[part.id] = part

    def sweep(self, now: float, late_s: float = 0.0) -> None:
        super().sweep(now, late_s)
        if self._link.is_busy:  # what was to be stored has not left yet
            return
        again = []
        for part in list(self._link.unstored.values()):
            if part.sent_at > now - AGAIN_S:
                break
            del self._link.unstored[part.id]
            again.append(part)
        for part in again:
            if not part.is_closed:
                self._link.store(part)

    def close(self, error: Exception) -> None:
        super().close(error)
        for task in self._asking:
            task.cancel()

    def _place(self, part: Part, now: float) -> None:
        self._link.store(part)

    def _close(self, part: Part, *, is_answered: bool = False) -> None:
        super()._close(part, is_answered=is_answered)
        self._link.forget(part)

    def _started(self, peer: Peer, frame: Started) -> None:
        if len(frame.parts) > 1:
            peer.line = frame.parts
        for id_, attempt in frame.parts:
            part = self._open.get(id_)
            former = part.holder if part is not None else None
            if part is None:
                self._closed.note(id_, attempt, peer.address, is_known=True)
                self._link.send(peer.address, Cancel(id_, attempt))
            elif former is None or former.address == peer.address:
                self._accept(part, peer, attempt)
            else:
                self._ask_about(part, former, peer, attempt)

    def _accept(self, part: Part, peer: Peer, attempt: int) -> None:
        holder = part.holder
        if holder is not None and (holder.address, part.attempt) == (peer.address, attempt):
            self._link.send(peer.address, Go(part.id, attempt))  # our word was lost
            return
        if part.starts >= self._rules.attempts:
            self._refuse_attempt(part, peer, attempt)
            return
        self._link.taken(part)
        if part.holder is not None:
            part.holder.holding.pop(part.id, None)
        self._give(part, peer, attempt, self._loop.time())
        part.begin()
        if self._must_ask(part):
            self._link.send(peer.address, Go(part.id, attempt))

    def _is_wanted(self, address: bytes, answer: Answer) -> bool:
        """Believe whoever knows the id of a part, for only who had it knows that.

        That it has begun may have been lost with the server, and so may the number of attempts.
        """
        is_known, part = address in self.peers, self._open.get(answer.id)
        if part is None:
            self._closed.note(answer.id, answer.attempt, address, is_known=is_known)
        elif is_known:
            return True
        else:
            part.holders.setdefault(answer.attempt, address)
        return super()._is_wanted(address, answer)

    def _ask_about(self, part: Part, former: Peer, peer: Peer, attempt: int) -> None:
        work = self._decide(part, former, peer, attempt)
        task = self._link.group.create_task(work, name=f"ask about {former.name}")
        self._asking.add(task)
        task.add_done_callback(self._asking.discard)

    async def _decide(self, part: Part, former: Peer, peer: Peer, attempt: int) -> None:
        """Find out what became of the former holder of a part before it is run again."""
        is_dead = await self._link.is_dead(former.address, self._rules.lease / 2)
        if part.is_closed:
            self._link.send(peer.address, Cancel(part.id, attempt))
            return
        if is_dead:
            self.lost(former.address, "it is not there any more")
            if part.holder is former:
                part.deaths += part.is_started
                self._release(part)
        if part.deaths >= POISON_DEATHS:
            self._set_aside(part)
            self._link.send(peer.address, Cancel(part.id, attempt))
        else:
            self._accept(part, peer, attempt)

    def _refuse_attempt(self, part: Part, peer: Peer, attempt: int) -> None:
        self._link.send(peer.address, Cancel(part.id, attempt))
        if self.peers.keys().isdisjoint(part.holders.values()):
            self.counters.failed += 1
            self._fail(part, self._attempts_used(part))

    def _given_back(self, peer: Peer, frame: Back | Died) -> None:
        part = peer.holding.pop(frame.id, None)
        if part is None or part.is_closed or part.holder is not peer:
            return
        self._release(part)
        if isinstance(frame, Died):
            part.deaths += 1
            if part.deaths >= POISON_DEATHS:
                self._set_aside(part)

    def lost(self, address: bytes, reason: str) -> None:
        peer = self.peers.pop(address, None)
        if peer is not None:
            _acquit(peer)
            log.info("worker left", pool=self.name, worker=peer.name, reason=reason)

    def _look_at(self, peer: Peer, now: float, late_s: float) -> None:
        if now - peer.heard <= MISSED_S:
            return
        del self.peers[peer.address]
        if peer.is_draining:
            log.info("worker left", pool=self.name, worker=peer.name)
            return
        silent_s = round(now - peer.heard, 3)
        log.warning("worker is silent", pool=self.name, worker=peer.name, silent_s=silent_s)


def _acquit(peer: Peer) -> None:
    """Note that a worker which is dead had not begun with what waited in its line."""
    running = peer.running
    if running is None:
        return
    for id_, _ in peer.line:
        part = peer.holding.get(id_)
        if part is not None and part is not running and part.holder is peer and part.is_started:
            part.is_started = False
            part.starts -= 1
