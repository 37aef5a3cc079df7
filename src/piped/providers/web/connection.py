"""One connection of a client: requests in order, answers in order, and a deadline for each wait."""

from __future__ import annotations

import asyncio
import contextvars
from collections import deque
from time import perf_counter
from typing import Any, Final, Protocol

from piped.engine.journey import journey_text, new_journey
from piped.providers.web.answers import CONTINUE, answer_bytes, refusal_bytes
from piped.providers.web.dispatch import Dispatcher, log
from piped.providers.web.limits import Counters, Limits
from piped.providers.web.outlet import NEVER, Outlet
from piped.providers.web.receiver import HEAD, Receiver, Refused
from piped.providers.web.request import Request

SMALL_PIECE: Final = 2 << 10

BUDGET_S: Final = 0.001
"""How long the requests of one connection may keep the event loop in one of its turns."""

SPARE_CONNECTIONS: Final = 64  # beyond the limit, to say 503 on


class Host(Protocol):
    """What a connection belongs to."""

    counters: Counters
    dispatcher: Dispatcher
    limits: Limits
    date: bytes
    is_draining: bool
    context: contextvars.Context

    def opened(self, connection: Connection) -> int:
        """Be told of a new connection, and tell how many there are."""

    def closed(self, connection: Connection) -> None: ...


class Connection(asyncio.Protocol):
    """Takes requests off a transport and brings their answers to it.

    One request at a time is treated; those that the client has sent meanwhile wait. When too many
    wait, or the client does not read, nothing more is read. What is there is treated in turns of a
    millisecond (``turn_until``), between which others are served.
    """

    __slots__ = (
        "answer_by",
        "backlog",
        "counters",
        "current",
        "host",
        "is_closed",
        "is_ending",
        "is_reading",
        "is_stalled",
        "loop",
        "next_turn",
        "outlet",
        "peer",
        "queue",
        "receive_by",
        "receiver",
        "stage",
        "transport",
        "turn_until",
    )

    def __init__(self, host: Host, loop: asyncio.AbstractEventLoop) -> None:
        self.host, self.loop = host, loop
        self.counters = host.counters
        self.receiver = Receiver(host.limits)
        self.current: Request | None = None
        self.queue: deque[Request | Refused] = deque()
        self.backlog = bytearray()
        self.peer = ""
        self.stage = 0
        self.is_reading = True
        self.is_stalled = self.is_ending = self.is_closed = False
        self.answer_by = self.receive_by = NEVER
        self.turn_until = 0.0  # between turns
        self.next_turn: asyncio.Handle | None = None

    # Called by the transport.

    def connection_made(self, transport: Any) -> None:
        self.transport: asyncio.Transport = transport
        self.outlet = Outlet(transport, self.loop, self.host.limits.stall_s)
        peer = transport.get_extra_info("peername")
        self.peer = peer[0] if isinstance(peer, tuple) else ""
        self.receive_by = self.loop.time() + self.host.limits.header_s
        excess = self.host.opened(self) - self.host.limits.connections
        if excess > SPARE_CONNECTIONS:
            self.counters.refuse("too-many-connections")
            transport.abort()
        elif excess > 0:
            self._refuse(Refused(503, "too-many-connections"))

    def data_received(self, data: bytes) -> None:
        if self.is_ending:
            return
        self.backlog += data
        self._have_turn()

    def eof_received(self) -> bool:
        """The client sends no more: it left, or waits for what it is owed, for a while at most."""
        self.outlet.watch()
        if not self.is_owing:
            return False
        self.is_ending = True
        self.receive_by = self.loop.time() + self.host.limits.owed_s
        return True

    def pause_writing(self) -> None:
        self.is_stalled = True
        self.outlet.watch()
        self._settle()

    def resume_writing(self) -> None:
        self.is_stalled = False
        self.outlet.forget()
        if self.is_ending:
            self.outlet.watch()
        self._settle()
        self._go_on()

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_closed = self.is_ending = True
        self.answer_by = self.receive_by = NEVER
        self.outlet.forget()
        self._drop_waiting()
        self.receiver.close()
        request, self.current = self.current, None
        if request is not None:
            self.counters.clients_left += 1
            request.leave()
        self.host.closed(self)

    # Receiving.

    @property
    def is_full(self) -> bool:
        """Whether so many requests wait, or such large ones, that no more are taken."""
        queue, limits = self.queue, self.host.limits
        if not queue:
            return False
        waiting_bytes = sum(len(each._body) for each in queue if isinstance(each, Request))
        return len(queue) >= limits.pipelined or waiting_bytes > limits.body_bytes

    @property
    def has_more(self) -> bool:
        """Whether more requests were received, in part at least."""
        return bool(self.queue or self.backlog or self.receiver.phase)

    @property
    def is_owing(self) -> bool:
        """Whether the client waits for an answer, as far as is known."""
        return bool(self.current is not None or self.queue or self.backlog)

    def _take_piece(self) -> None:
        """Parse some bytes, so that few requests are made before the limits are looked at."""
        receiver = self.receiver
        size = max(SMALL_PIECE, receiver.remaining)
        piece = self.backlog[:size]
        del self.backlog[:size]
        receiver.feed(piece)
        self.queue += receiver.ready
        receiver.ready.clear()
        if receiver.refused is not None:
            self._stop_reading_requests(receiver.refused)

    def _stop_reading_requests(self, refused: Refused) -> None:
        self.is_ending = True
        self.backlog.clear()
        self.receive_by = NEVER
        self.queue.append(refused)

    def _drop_waiting(self) -> None:
        self.queue.clear()
        self.backlog.clear()

    # Treating, one at a time.

    def _treat(self, item: Request | Refused) -> None:
        if isinstance(item, Refused):
            self._refuse(item)
            return
        self.counters.requests += 1
        self.current = item
        item.client_ip = self.peer
        item.accept(self)
        self.host.dispatcher.dispatch(item)
        if self.current is item:
            self.answer_by = self.loop.time() + item.deadline_s

    def _have_turn(self) -> None:
        """Have a turn now, unless one is due."""
        if self.next_turn is None:
            self._take_turn()
        else:
            self._settle()

    def _take_turn(self) -> None:
        """Treat what waits and parse what was received, until it is the turn of others."""
        self.next_turn = None
        self.turn_until = perf_counter() + BUDGET_S  # uvloop's clock stands still during a turn
        self._treat_waiting()
        while self.backlog and not self.is_full and perf_counter() < self.turn_until:
            self._take_piece()
            self._treat_waiting()
        self.turn_until = 0.0
        self._settle()
        self._go_on()

    def _treat_waiting(self) -> None:
        while self.can_treat and perf_counter() < self.turn_until:
            self._treat(self.queue.popleft())

    @property
    def can_treat(self) -> bool:
        """Whether a request waits for nothing but its turn."""
        return bool(self.queue and self.current is None and not self.is_stalled)

    def _go_on(self) -> None:
        """Have another turn if there is something to do in it."""
        if self.next_turn is None and (self.can_treat or (self.backlog and not self.is_full)):
            self.next_turn = self.loop.call_soon(self._take_turn, context=self.host.context)

    def _settle(self) -> None:
        """Read or do not read, and set the time by which the client must have sent more."""
        if self.is_closed or self.is_ending:
            return
        wanted = not self.is_stalled and not self.is_full and not self.backlog
        if wanted is not self.is_reading:
            self.is_reading = wanted
            (self.transport.resume_reading if wanted else self.transport.pause_reading)()
        receiver = self.receiver
        if receiver.phase:
            if receiver.stage != self.stage:
                limits = self.host.limits
                wait_s = limits.header_s if receiver.phase == HEAD else limits.body_s
                self.stage, self.receive_by = receiver.stage, self.loop.time() + wait_s
            if receiver.expects and self.current is None and not self.queue:
                receiver.expects = False
                self.transport.write(CONTINUE)
        elif self.current is not None or self.queue:
            self.receive_by = NEVER
        elif self.receive_by == NEVER:
            limits = self.host.limits
            wait_s = limits.drain_s if self.host.is_draining else limits.idle_s
            self.receive_by = self.loop.time() + wait_s

    # Answering.

    def respond(self, request: Request, body: bytes) -> None:
        """Send the answer of the request that is being treated, in one piece."""
        host = self.host
        self.current, self.answer_by = None, NEVER
        is_over = host.is_draining or self.is_ending
        is_kept = request.is_kept_alive and (self.has_more or not is_over)
        self.counters.answered[request.status // 100] += 1
        self.transport.write(answer_bytes(request, body, host.date, is_kept))
        if not is_kept:
            self.close()
            return
        if not (self.is_ending or self.receiver.phase):
            self.receive_by = NEVER
        if not self.turn_until:
            self._settle()
            self._go_on()

    def _refuse(self, refused: Refused) -> None:
        """Answer what broke a rule, and end: nothing of what follows can be understood."""
        status = refused.status
        number = new_journey()
        facts = {"rule": refused.rule, "status": status, "client": self.peer}
        log.info("request refused", **facts, journey=journey_text(number))
        self.counters.refuse(refused.rule)
        self.counters.answered[status // 100] += 1
        self.transport.write(refusal_bytes(status, number, self.host.date))
        self._linger()

    def _linger(self) -> None:
        """Read on for a while: to close on unread bytes would destroy the answer on its way."""
        self.is_ending = True
        self._drop_waiting()
        self.outlet.watch()
        if not self.transport.can_write_eof():
            self.transport.close()
            return
        self.transport.write_eof()
        if not self.is_reading:
            self.is_reading = True
            self.transport.resume_reading()
        self.receive_by = self.loop.time() + self.host.limits.linger_s

    def close(self) -> None:
        """Close as soon as what was written is sent."""
        self.is_ending = True
        self._drop_waiting()
        self.receive_by = NEVER
        self.outlet.watch()
        self.transport.close()

    # The end of the site.

    def drain(self, until: float) -> None:
        """Give a client that waits for nothing until then: its next request may be on its way."""
        if not (self.is_ending or self.current is not None or self.has_more):
            self.receive_by = min(self.receive_by, until)

    def give_up(self) -> None:
        """Answer 503 where an answer is owed, and close."""
        request = self.current
        if request is not None:
            task = request.take_task()
            self.host.dispatcher.answer_unavailable(request, "the site is closing")
            if task is not None:
                task.cancel()
        self.close()

    def abort(self) -> None:
        """Close at once; what was not sent is lost."""
        self.transport.abort()

    # Time.

    def expire(self, now: float) -> None:
        """End the waits that have become too long."""
        if self.outlet.due <= now and self.outlet.is_stuck():
            self.counters.refuse("slow-reader")
            self.transport.abort()
        request = self.current
        if request is not None and self.answer_by <= now:
            self.counters.deadlines_missed += 1
            task = request.take_task()
            self.host.dispatcher.miss_deadline(request)
            if task is not None:
                task.cancel()
        if self.receive_by <= now:
            self._stop_waiting(now)

    def _stop_waiting(self, now: float) -> None:
        phase = self.receiver.phase
        if self.is_ending or not phase:
            self.close()
        elif not self.is_reading:  # it is we who do not listen
            self.receive_by = now + self.host.limits.body_s
        else:
            self._stop_reading_requests(
                Refused(408, "slow-header" if phase == HEAD else "slow-body")
            )
            self._have_turn()
