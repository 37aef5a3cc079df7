"""Gives the parts of a pool to its workers, over memory and over ZeroMQ.

The rules, beside those of every ledger:

* A worker is sent no more parts than it says it can do.
* It has a part on lease, and renews the lease while it has the part. A part whose worker is dead,
  or whose lease has ended, goes first in line to a worker that has not had it.
* A part that has killed two workers which had said that they run it is set aside.
* A part is sent again without a death no more often than the budget allows; it waits for that.
"""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from typing import Any

import structlog

from piped.workers.frames import Back, Beat, Cancel, Died, Go, Hello, Ping, Started, Work
from piped.workers.ledger import MISSED_S, Ledger
from piped.workers.parts import POISON_DEATHS, Budget, Part, Peer
from piped.workers.slate import SlateReader

log = structlog.get_logger("piped.workers")


class Dispatcher(Ledger):
    """The ledger of a pool whose workers are given their parts by it, one by one."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._waiting: deque[Part] = deque()
        self._again: deque[Part] = deque()  # first in line
        self._delayed: deque[Part] = deque()  # until the budget allows it
        self._ready: dict[bytes, Peer] = {}  # who has room, in the order of their turns
        self._budget = Budget()

    def _place(self, part: Part, now: float) -> None:
        """Send a new part to a worker, or have it wait for one."""
        self._budget.note_part(now)
        if self._waiting or self._again or not self._ready or part.deadline <= now:
            self._waiting.append(part)
            self._pump()  # the first in line may be waiting for another worker than those here
        else:
            self._send(part, next(iter(self._ready.values())), now)

    # What workers say.

    def _new_peer(self, address: bytes, hello: Hello) -> Peer:
        peer = super()._new_peer(address, hello)
        if hello.slate >= 0:
            with suppress(OSError):  # of another user, or elsewhere: then it says Started
                peer.slate = SlateReader(hello.pid, hello.slate, address)
        return peer

    def _let_go(self, peer: Peer) -> None:
        if peer.slate is not None:
            peer.slate.close()
            peer.slate = None

    def _started(self, peer: Peer, frame: Started) -> None:
        if len(frame.parts) > 1:
            peer.line = frame.parts
            return
        for id_, attempt in frame.parts:
            part = self._open.get(id_)
            if part is None or part.holder is not peer or part.attempt != attempt:
                self._link.send(peer.address, Cancel(id_, attempt))
                return
            part.begin()
            part.lease_until = peer.heard + self._rules.lease
            if self._must_ask(part):
                self._link.send(peer.address, Go(id_, attempt))

    def _beat(self, peer: Peer, beat: Beat) -> None:
        peer.capacity = beat.capacity
        until = peer.heard + self._rules.lease
        for id_, attempt in beat.parts:
            part = peer.holding.get(id_)
            if part is not None and part.holders.get(attempt) == peer.address:
                part.lease_until = until
        for leaked in peer.leaked.items() - frozenset(beat.parts) if peer.leaked else ():
            self._link.send(peer.address, Cancel(*leaked))  # it says Back even of what it has not

    def _given_back(self, peer: Peer, frame: Back | Died) -> None:
        peer.capacity = frame.capacity
        if peer.leaked.get(frame.id) == frame.attempt:
            del peer.leaked[frame.id]
        part = peer.holding.get(frame.id)
        if part is None or part.attempt != frame.attempt:
            return
        del peer.holding[frame.id]
        if part.is_closed:
            return
        self._release(part)
        self._again_after(part, is_death=isinstance(frame, Died))

    def lost(self, address: bytes, reason: str) -> None:
        """Be told that a worker is no more."""
        peer = self.peers.pop(address, None)
        if peer is None:
            return
        self._ready.pop(address, None)
        if (running := peer.running) is not None:
            running.begin()
        self._let_go(peer)
        held = list(peer.holding.values())
        peer.holding.clear()
        if peer.is_draining and not held:
            log.info("worker left", pool=self.name, worker=peer.name)
        else:
            log.warning(
                "worker lost", pool=self.name, worker=peer.name, parts=len(held), reason=reason
            )
        for part in reversed(held):  # each goes to the head of the line
            if part.holder is peer and not part.is_closed:
                part.mourned = address if part.is_started else part.mourned
                self._release(part)
                self._again_after(part, is_death=True)
        self._pump()

    # What becomes of parts.

    def _send(self, part: Part, peer: Peer, now: float) -> None:
        self._give(part, peer, part.attempt + 1, now)
        part.lease_until = now + self._rules.lease
        work = Work(
            part.id,
            part.attempt,
            part.pipeline,
            part.payload,
            part.deadline - now,
            self._must_ask(part),
            part.key,
            part.journey,
        )
        self._ready.pop(peer.address, None)  # it has had its turn, and goes behind the others
        if peer.has_room:
            self._ready[peer.address] = peer
        self._link.send(peer.address, work)

    def _again_after(self, part: Part, *, is_death: bool) -> None:
        """Send a part again, or end it; a death counts where the worker had said that it runs."""
        if is_death and part.is_started:
            part.deaths += 1
        if part.deaths >= POISON_DEATHS:
            self._set_aside(part)
        elif part.starts >= self._rules.attempts:
            if self.peers.keys().isdisjoint(part.holders.values()):
                self.counters.failed += 1
                self._fail(part, self._attempts_used(part))
            # Else one that was frozen may answer yet, until the deadline.
        elif is_death or not part.is_started or self._may_try_again():
            self._again.appendleft(part)
        else:
            self.counters.delayed += 1
            self._delayed.append(part)

    def _may_try_again(self) -> bool:
        """Take a retry out of the budget, if there is one."""
        credits_ = sum(peer.capacity for peer in self.peers.values())
        return self._budget.take(self._loop.time(), credits_)

    def _pump(self) -> None:
        """Give waiting parts to workers with room."""
        if not (self._ready and (self._waiting or self._again)):
            return
        now = self._loop.time()
        kept: list[Part] = []
        while self._again and self._ready:
            part = self._again.popleft()
            if part.is_closed or self._is_past(part, now):
                continue
            peer = self._stranger_to(part)
            if peer is None:
                kept.append(part)
            else:
                self._send(part, peer, now)
        self._again.extendleft(reversed(kept))
        while self._waiting and self._ready:
            part = self._waiting.popleft()
            if not (part.is_closed or self._is_past(part, now)):
                self._send(part, next(iter(self._ready.values())), now)

    def _is_past(self, part: Part, now: float) -> bool:
        """Tell whether the time of a part is over; then that is its end."""
        if part.deadline > now:
            return False
        self._expire(part)
        return True

    def _stranger_to(self, part: Part) -> Peer | None:
        """Return a worker with room that has not had a part.

        Where all have had it, it may go to one that has given it back.
        """
        had = set(part.holders.values())
        if self.peers.keys() <= had:
            return next((p for p in self._ready.values() if part.id not in p.leaked), None)
        return next((p for p in self._ready.values() if p.address not in had), None)

    def _update(self, peer: Peer) -> None:
        """Note whether a worker has room."""
        if peer.has_room:
            self._ready.setdefault(peer.address, peer)
        else:
            self._ready.pop(peer.address, None)

    def close(self, error: Exception) -> None:
        super().close(error)
        for peer in self.peers.values():
            self._let_go(peer)

    # What time does.

    def sweep(self, now: float, late_s: float = 0.0) -> None:
        super().sweep(now, late_s)
        while self._delayed and (self._delayed[0].is_closed or self._may_try_again()):
            self._again.append(self._delayed.popleft())
        self._drop_closed()
        self._pump()

    def _look_at(self, peer: Peer, now: float, late_s: float) -> None:
        """Take back what is past its lease; one that is not there any more is told of by the link.

        The lease of a dead worker ends soon after its connection, so what is told is earlier.
        """
        running = peer.running
        is_silent = now - peer.heard > MISSED_S
        for part in list(peer.holding.values()):
            part.lease_until += late_s
            if part.lease_until > now:
                continue
            is_silent = True
            if part is running:
                part.begin()
            del peer.holding[part.id]
            peer.leaked[part.id] = part.attempt
            if not part.is_closed and part.holder is peer:
                if not part.is_started:
                    self._link.send(peer.address, Cancel(part.id, part.attempt))
                self._release(part)
                self._again_after(part, is_death=False)
        if is_silent:
            self._link.send(peer.address, Ping())
            self._suspect(peer, now)

    def _suspect(self, peer: Peer, now: float) -> None:
        if not peer.is_suspect and now - peer.heard > min(self._rules.lease, MISSED_S):
            peer.is_suspect = True
            self._ready.pop(peer.address, None)
            silent_s = round(now - peer.heard, 3)
            log.warning("worker is silent", pool=self.name, worker=peer.name, silent_s=silent_s)

    def _drop_closed(self) -> None:
        """Forget the parts that were closed while they waited, once they are many."""
        for line in (self._waiting, self._again):
            if len(line) > 100 and len(line) > 2 * self.pending:
                alive = [part for part in line if not part.is_closed]
                line.clear()
                line.extend(alive)
