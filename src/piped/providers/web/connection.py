"""One connection of a client: requests in order, answers in order, and a deadline for each wait.

It is one thing, though a long one: what is received, treated, answered and waited for is one state,
and each object more would cost every request a call. What can stand alone does: the receiver, the
inlet, the outlet, the flows of bodies, and the bytes of answers.
"""

from __future__ import annotations

import asyncio
from collections import deque
from time import perf_counter
from typing import Any, Final

from piped.engine.journey import journey_text, new_journey
from piped.providers.web.answers import (
    BODILESS,
    CONTINUE,
    answer_bytes,
    head_bytes,
    refusal_bytes,
    switching_bytes,
)
from piped.providers.web.dispatch import log
from piped.providers.web.host import Host
from piped.providers.web.inlet import Inlet
from piped.providers.web.limits import Limits
from piped.providers.web.outlet import NEVER, Outlet
from piped.providers.web.receiver import BODY, HEAD, Receiver, Refused
from piped.providers.web.request import Request
from piped.providers.web.streams import WAITING_BYTES, Inflow, Outflow
from piped.spec.turns import BUDGET_S

SMALL_PIECE: Final = 2 << 10


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
        "inlet",
        "is_counted",
        "is_ending",
        "is_proxied",
        "is_reading",
        "is_stalled",
        "loop",
        "next_turn",
        "outflow",
        "outlet",
        "peer",
        "queue",
        "receiver",
        "scheme",
        "transport",
        "turn_until",
    )

    def __init__(self, host: Host, loop: asyncio.AbstractEventLoop) -> None:
        self.host, self.loop = host, loop
        self.counters = host.counters
        self.receiver = Receiver(host.limits)
        self.receiver.open_inflow = self._open_inflow
        self.receiver.max_body_of = self._max_body_of
        self.inlet = Inlet(host, loop, self.receiver)
        self.current: Request | None = None
        self.outflow: Outflow | None = None
        self.queue: deque[Request | Refused] = deque()
        self.backlog = bytearray()
        self.peer, self.scheme = "", "http"
        self.is_proxied = self.is_counted = False
        self.is_reading = True
        self.is_stalled = self.is_ending = False
        self.answer_by = NEVER
        self.turn_until = 0.0  # between turns
        self.next_turn: asyncio.Handle | None = None

    # Called by the transport.

    def connection_made(self, transport: Any) -> None:
        self.transport: asyncio.Transport = transport
        limits = self.host.limits
        self.outlet = Outlet(transport, self.loop, limits.stall_s, limits.rate)
        peer = transport.get_extra_info("peername")
        self.peer = peer[0] if isinstance(peer, tuple) else ""
        self.scheme = "http" if transport.get_extra_info("ssl_object") is None else "https"
        self.is_proxied = self.peer in self.host.proxies
        self.inlet.give(limits.drain_s if self.host.is_draining else limits.first_byte_s)
        self.host.opened(self)

    def data_received(self, data: bytes) -> None:
        if self.is_ending:
            return
        request = self.receiver.recognise(data) if self.is_at_rest else None
        if request is None:
            self.backlog += data
            self._have_turn()
            return
        self._treat(request)
        if self.current is not None:
            self.inlet.forget()

    def eof_received(self) -> bool:
        """The client sends no more: it left, or waits for what it is owed, for a while at most."""
        self.outlet.watch()
        if self.receiver.inflow is not None:
            self._stop_reading_requests(Refused(400, "incomplete"))
        if not (self.is_owing and self.transport.can_write_eof()):  # TLS has no half of its own
            return False
        self.is_ending = True
        self.inlet.allow(self.host.limits.owed_s)
        return True

    def pause_writing(self) -> None:
        self.is_stalled = True
        self.outlet.watch()
        if self.outflow is not None:
            self.outflow.pause()
        self._settle()

    def resume_writing(self) -> None:
        self.is_stalled = False
        self.outlet.forget()
        if self.outflow is not None:
            self.outflow.resume()
        if self.is_ending:
            self.outlet.watch()
        self._go_on()

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_ending = True
        self.inlet.forget()
        self.outlet.forget()
        self._drop_waiting()
        self.receiver.close()
        self.outflow = None
        request = self.current
        self._let_go()
        if request is not None:
            self.counters.clients_left += 1
            if self.host.access is not None:
                self.host.access.leave(request)
            request.leave()
        self.host.closed(self)

    # Receiving.

    @property
    def is_full(self) -> bool:
        """Whether so many requests wait, or such large ones, that no more are taken."""
        queue, limits = self.queue, self.host.limits
        inflow = self.receiver.inflow
        if inflow is not None and inflow.is_full:
            return True
        if not queue:
            return False
        waiting_bytes = sum(len(each._body) for each in queue if isinstance(each, Request))
        return len(queue) >= limits.pipelined or waiting_bytes > limits.body_bytes

    @property
    def has_more(self) -> bool:
        """Whether more requests were received, in part at least."""
        return bool(self.queue or self.backlog or self.receiver.phase)

    @property
    def is_at_rest(self) -> bool:
        """Whether nothing is treated, nothing waits, and the client reads."""
        return not (
            self.current is not None
            or self.queue
            or self.backlog
            or self.is_stalled
            or self.next_turn is not None
        )

    @property
    def is_idle(self) -> bool:
        """Whether the client has not asked for anything yet, or has its answer."""
        return not (self.is_owing or self.is_stalled or self.receiver.phase == BODY)

    @property
    def is_owing(self) -> bool:
        """Whether the client waits for an answer, as far as is known."""
        return bool(self.current is not None or self.queue or self.backlog)

    def _take_piece(self) -> None:
        """Parse some bytes, so that few requests are made before the limits are looked at."""
        receiver = self.receiver
        size = max(SMALL_PIECE, receiver.remaining)
        if receiver.inflow is not None:
            size = min(size, WAITING_BYTES)
        if len(self.backlog) <= size:
            piece, self.backlog = self.backlog, bytearray()
        else:
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
        self.inlet.forget()
        inflow, self.receiver.inflow = self.receiver.inflow, None
        if inflow is None:
            self.queue.append(refused)
        elif self.current is not None and self.current._inflow is inflow:
            self._break_off(self.current, refused)
        else:  # it is the last one that waits
            self.queue[-1] = refused

    def _break_off(self, request: Request, refused: Refused) -> None:
        """End a request whose body broke a rule while it was treated already."""
        self._let_go()
        has_begun, self.outflow = self.outflow is not None, None
        if has_begun and self.host.access is not None:
            self.host.access.leave(request)
        request.leave()
        if has_begun:
            self.counters.refuse(refused.rule)
            self.transport.abort()
        else:
            self._refuse(refused)

    def _open_inflow(self, request: Request) -> Inflow | None:
        """Return where the body of a request goes, if its route wants it as it arrives."""
        if not self.host.dispatcher.router.streams_body_of(request._target):
            return None
        return Inflow(self._want_more)

    def _max_body_of(self, target: bytes) -> int:
        host = self.host
        return host.dispatcher.router.max_body_of(target, host.limits.body_bytes)

    def _want_more(self) -> None:
        """Read on: somebody waits for more of a body."""
        if self.receiver.expects and self.outflow is None:
            self._say_continue()
        if not self.turn_until:
            self._go_on()

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
        item.client_ip, item.scheme = self.peer, self.scheme
        if self.is_proxied:
            self._believe_proxy(item)
        access = self.host.access
        item.accept(self if access is None else access.watched(self, item))
        admission, dispatcher = self.host.admission, self.host.dispatcher
        if admission.refusal:
            admission.send_away(item, dispatcher)
        else:
            dispatcher.dispatch(item)
        if self.current is item:
            self.is_counted = True
            admission.in_flight += 1
            if self.outflow is None:
                self.answer_by = self.loop.time() + item.deadline_s

    def _believe_proxy(self, request: Request) -> None:
        proxies, headers = self.host.proxies, request.headers
        request.client_ip = proxies.client_of(self.peer, headers)
        request.scheme = proxies.scheme_of(self.scheme, headers)

    def _let_go(self) -> None:
        """Treat no request any more."""
        self.answer_by = NEVER
        self.current = None
        if self.is_counted:
            self.is_counted = False
            self.host.admission.in_flight -= 1

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
        self._go_on()

    def _treat_waiting(self) -> None:
        while self.queue and self.is_free and perf_counter() < self.turn_until:
            self._treat(self.queue.popleft())

    @property
    def is_free(self) -> bool:
        """Whether a request that waits may be treated: the one before is, and the client reads."""
        return self.current is None and not self.is_stalled

    def _go_on(self) -> None:
        """Read or do not read, and have another turn if there is something to do in it."""
        self._settle()
        has_work = (self.queue and self.is_free) or (self.backlog and not self.is_full)
        if has_work and self.next_turn is None:
            self.next_turn = self.loop.call_soon(self._take_turn, context=self.host.context)

    def _settle(self) -> None:
        """Read or do not read, and give the client time to send more."""
        if self.is_ending:
            return
        wanted = not self.is_stalled and not self.is_full and not self.backlog
        if wanted is not self.is_reading:
            self.is_reading = wanted
            (self.transport.resume_reading if wanted else self.transport.pause_reading)()
        is_busy = self.current is not None or bool(self.queue)
        self.inlet.watch(is_busy or self.is_stalled)
        if self.receiver.expects and not is_busy:
            self._say_continue()

    def _say_continue(self) -> None:
        """Give the client the word for which it waits before it sends a body."""
        self.receiver.expects = False
        self.transport.write(CONTINUE)

    # Answering.

    def respond(self, request: Request, body: bytes) -> None:
        """Send the answer of the request that is being treated, in one piece."""
        host = self.host
        self._let_go()
        if request._inflow is not None and not request._inflow.is_complete:
            request.is_kept_alive = False  # what still comes of the body is no request
        is_over = host.is_draining or self.is_ending
        is_kept = request.is_kept_alive and (not is_over or self.has_more)
        self.counters.answered[request._status // 100] += 1
        (request._tally or self.counters.unrouted).answer(request._status, request._begun)
        self.transport.write(answer_bytes(request, body, host.date, is_kept))
        self._have_answered(is_kept)

    def begin(self, request: Request, length: int | None) -> Outflow:
        """Send the head of the answer of the request that is being treated."""
        host = self.host
        is_mute = request.method == "HEAD" or request.status in BODILESS
        is_chunked = not is_mute and length is None and not request.is_old
        is_last = (host.is_draining or self.is_ending) and not (self.queue or self.backlog)
        if is_last or not (is_mute or is_chunked or length is not None):
            request.is_kept_alive = False
        self.counters.answered[request._status // 100] += 1
        (request._tally or self.counters.unrouted).answer(request._status, request._begun)
        head = head_bytes(request, length, is_chunked, host.date)
        outflow = Outflow(
            self.transport, head, length=length, is_chunked=is_chunked, is_mute=is_mute
        )
        self.outflow = outflow
        if self.is_stalled:
            outflow.pause()
        router = host.dispatcher.router
        self.answer_by = self.loop.time() + router.stream_deadline_of(request._target)
        self.loop.call_soon(outflow.flush)
        return outflow

    def end(self, request: Request) -> None:
        """Send the end of the answer in pieces of the request that is being treated."""
        outflow = self.outflow
        if outflow is None or not outflow.end():
            self.cut()
            return
        self.outflow = None
        self._let_go()
        is_amid = request._inflow is not None and not request._inflow.is_complete
        is_over = is_amid or (self.is_ending and not self.has_more)
        self._have_answered(request.is_kept_alive and not is_over)

    def _have_answered(self, is_kept: bool) -> None:
        """Close, or go on with the next request."""
        if not is_kept:
            self.close()
            return
        if not (self.is_ending or self.receiver.phase):
            if self.is_at_rest and self.is_reading:
                self.inlet.await_request()
                return
            self.inlet.due = NEVER
        if not self.turn_until:
            self._go_on()

    def cut(self) -> None:
        """Close before the answer in pieces is whole; the client can tell."""
        outflow, self.outflow = self.outflow, None
        self._let_go()
        if outflow is not None and not outflow.is_delimited:
            outflow.reset()
            self.transport.abort()
        else:
            self.close()

    def hand_over(self, heir: Any, head: bytes) -> bool:
        """Switch protocols, and leave the transport to another one; tell whether that was possible.

        What the client has sent already is the first that the heir receives.
        """
        request = self.current
        self._let_go()
        self.inlet.forget()
        early = self.receiver.early
        if self.is_ending or early is None:
            self.close()
            return False
        if request is not None:
            self.counters.answered[1] += 1
            (request._tally or self.counters.unrouted).answer(101, request._begun)
        self.is_ending = True  # for HTTP
        early += self.backlog
        self._drop_waiting()
        self.receiver.close()
        self.outlet.forget()
        self.transport.write(switching_bytes(head, self.host.date))
        heir.host = self.host
        self.transport.set_protocol(heir)
        self.host.handed_over(self, heir)
        heir.connection_made(self.transport)
        if not self.is_reading:
            self.transport.resume_reading()
        if early:
            heir.data_received(bytes(early))
        return True

    def _refuse(self, refused: Refused) -> None:
        """Answer what broke a rule, and end: nothing of what follows can be understood."""
        status = refused.status
        number = new_journey()
        facts = {"rule": refused.rule, "status": status, "client": self.peer}
        log.info("request refused", **facts, journey=journey_text(number))
        self.counters.refuse(refused.rule)
        self.counters.answered[status // 100] += 1
        request = self.receiver.request
        accept = "" if request is None else request.headers.get("accept", "")
        answer = refusal_bytes(status, number, self.host.date, accept)
        self.transport.write(answer)
        if self.host.access is not None:
            self.host.access.refuse(self, status, number, answer)
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
        self.inlet.allow(self.host.limits.linger_s)

    def close(self) -> None:
        """Close as soon as what was written is sent."""
        inflow, self.receiver.inflow = self.receiver.inflow, None
        if inflow is not None:  # what still arrives would destroy the answer on its way
            inflow.break_off("the answer was complete before the request")
            self._linger()
            return
        self.is_ending = True
        self._drop_waiting()
        self.inlet.forget()
        self.outlet.watch()
        self.transport.close()

    # What becomes of the site.

    def change(self, limits: Limits) -> None:
        """Go on within other limits, and believe those whom the site trusts now."""
        self.receiver.change(limits)
        self.outlet.limit_s, self.outlet.rate = limits.stall_s, limits.rate
        self.is_proxied = self.peer in self.host.proxies

    def drain(self, until: float) -> None:
        """Give a client that waits for nothing until then: its next request may be on its way."""
        if not (self.is_ending or self.current is not None or self.has_more):
            self.inlet.due = min(self.inlet.due, until)

    def give_up(self) -> None:
        """Answer 503 where an answer is owed, and close."""
        request = self.current
        if request is not None:
            task = request.take_task()
            self.host.dispatcher.answer_unavailable(request, "the site is closing")
            if task is not None:
                task.cancel()
            request.break_off()
        self.close()

    def abort(self) -> None:
        """Close at once; what was not sent is lost."""
        self.transport.abort()

    # Time.

    def expire(self, now: float) -> None:
        """End the waits that have become too long."""
        if self.outlet.is_stuck(now):
            self.counters.refuse("slow-reader")
            self.transport.abort()
        request = self.current
        if request is not None and self.answer_by <= now:
            self.counters.deadlines_missed += 1
            task = request.take_task()
            self.host.dispatcher.miss_deadline(request)
            if task is not None:
                task.cancel()
        if self.inlet.due <= now:
            self._stop_waiting(now)

    def _stop_waiting(self, now: float) -> None:
        phase = self.receiver.phase
        if self.is_ending or not phase:
            self.close()
        elif not self.is_reading or self.receiver.expects:  # it is we who do not listen
            self.inlet.due = now + self.host.limits.body_s
        elif not (phase == BODY and self.inlet.has_earned_time(now)):
            self._stop_reading_requests(
                Refused(408, "slow-header" if phase == HEAD else "slow-body")
            )
            self._have_turn()
