"""The connection of a WebSocket session: frames in and out, the closing handshake, and time."""

from __future__ import annotations

import asyncio
from collections import deque
from time import perf_counter
from typing import Any

from piped.engine.journey import journey_text
from piped.errors import BatonError
from piped.providers.web.dispatch import log
from piped.providers.web.outlet import NEVER
from piped.providers.web.request import Request
from piped.providers.web.websocket.host import Host
from piped.providers.web.websocket.limits import (
    ABNORMAL,
    BROKEN_RULE,
    FAILED,
    GOING_AWAY,
    NORMAL,
    RULES,
    SocketLimits,
)
from piped.providers.web.websocket.outbox import Outbox
from piped.providers.web.websocket.wire import Broken, Close, Event, Ping, Pong, Wire
from piped.spec.closing import REASON_BYTES, may_be_sent
from piped.spec.turns import BUDGET_S


class Link(asyncio.Protocol):
    """Takes whole messages off a transport, and closes it as RFC 6455 wants it.

    Messages wait until they are fetched; when too many do, or the client does not read, nothing
    more is read from it. When it is over, ``code`` and ``reason`` say why.
    """

    host: Host
    outbox: Outbox

    def __init__(self, request: Request, limits: SocketLimits) -> None:
        self.request, self.limits = request, limits
        self.id = request.id
        self.groups: set[str] = set()
        self.code, self.reason = 0, ""
        self.is_open = self.is_draining = False
        self.over_by = NEVER  # when what still runs for the client must have ended
        self.scope: asyncio.Timeout | None = None  # of what runs for the client
        self.messages: deque[str | bytes] = deque()
        self.waiting_bytes = 0
        self.waiter: asyncio.Future[None] | None = None
        self.loop = asyncio.get_running_loop()
        self._wire = Wire(limits.message_bytes)
        self._next_turn: asyncio.Handle | None = None
        self._is_reading = True
        self._is_behind = False  # what was received may hold more frames
        self._is_deaf = False  # what still comes is nobody's business
        self._heard = self._active = self.loop.time()
        self._pinged: float | None = None
        self._message_by = self._close_by = NEVER

    @property
    def current(self) -> object:
        """What runs for the client now, if anything does."""
        return self.scope

    # Called by the transport.

    def connection_made(self, transport: Any) -> None:
        self._transport: asyncio.Transport = transport
        self.outbox = Outbox(transport, self.loop, self.limits, self.host.limits.stall_s)
        self.is_open = True
        self.host.counters.websockets += 1

    def data_received(self, data: bytes) -> None:
        if self._is_deaf:
            return
        self._heard, self._pinged = self.loop.time(), None
        self._wire.feed(data)
        if self._next_turn is None:
            self._take_turn()

    def pause_writing(self) -> None:
        self.outbox.pause()
        self._settle()

    def resume_writing(self) -> None:
        self.outbox.resume()
        self.go_on()

    def connection_lost(self, exc: Exception | None) -> None:
        if self.is_open:
            self._end(ABNORMAL, "")
        if self.code == ABNORMAL:
            self.messages.clear()
            self.hurry(self.loop.time())
        self._is_deaf, self._close_by = True, NEVER
        if self._next_turn is not None:
            self._next_turn.cancel()
        self.outbox.close()
        self.request.is_disconnected = True
        self.host.closed(self)

    # Receiving.

    @property
    def has_room(self) -> bool:
        """Whether more frames are looked at: few messages wait, and the client reads."""
        if not self.is_open:  # only the client's part of the end matters now
            return not self._is_deaf
        limits = self.limits
        is_full = len(self.messages) >= limits.queued or self.waiting_bytes > limits.message_bytes
        return not is_full and not self.outbox.is_stalled

    def _take_turn(self) -> None:
        """Look at what was received, until enough waits, or it is the turn of others."""
        self._next_turn = None
        until = perf_counter() + BUDGET_S  # uvloop's clock stands still during a turn
        self._is_behind = True
        try:
            while self.has_room and perf_counter() < until:
                event = self._wire.next()
                if event is None:
                    self._is_behind = False
                    break
                self._take(event)
        except Broken as broken:
            self._fail(broken.code, broken.reason)
            return
        if not self._wire.is_amid:
            self._message_by = NEVER
        elif self._message_by == NEVER:
            self._message_by = self.loop.time() + self.limits.message_s
        self.go_on()

    def go_on(self) -> None:
        """Read or do not read, and have another turn if there is something to do in it."""
        self._settle()
        if self._next_turn is None and self._is_behind and self.has_room:
            self._next_turn = self.loop.call_soon(self._take_turn, context=self.host.context)

    def _settle(self) -> None:
        wanted = not self._is_behind and self.has_room
        if wanted is self._is_reading or self._is_deaf:
            return
        self._is_reading = wanted
        (self._transport.resume_reading if wanted else self._transport.pause_reading)()

    def _take(self, event: Event) -> None:
        if isinstance(event, Close):
            self._be_closed(event)
        elif not self.is_open or isinstance(event, Pong):
            return
        elif isinstance(event, Ping):
            self.outbox.write(self._wire.pong(event))
        else:
            self._message_by, self._active = NEVER, self.loop.time()
            self.host.counters.messages_in += 1
            self.messages.append(event)
            self.waiting_bytes += len(event)
            self._wake()

    def _wake(self) -> None:
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)

    # The end (RFC 6455, 7).

    def close(self, code: int = NORMAL, reason: str = "") -> None:
        """End the session, after what was sent before; messages that wait are dropped.

        Raises:
            BatonError: The code may not be sent, or the reason is too long.
        """
        if not may_be_sent(code):
            raise BatonError(f"expected a code such as 1000, or from 3000 to 4999, got {code!r}")
        if len(reason.encode("utf-8", "replace")) > REASON_BYTES:
            raise BatonError(f"a reason must not be longer than {REASON_BYTES} bytes")
        self._close(code, reason)

    def _close(self, code: int, reason: str) -> None:
        """End the session with any code; 1002 and the like are not for pipelines to say."""
        if not self.is_open:
            return
        self._end(code, reason)
        self._drop_messages()
        self._send_close(code, reason)
        self._close_by = self.loop.time() + self.limits.owed_s
        self.go_on()

    def _end(self, code: int, reason: str) -> None:
        """Let nothing more be sent or fetched."""
        self.is_open = False
        self.code, self.reason = code, reason
        self._message_by = NEVER
        self.host.counters.websockets -= 1
        self._wake()

    def _drop_messages(self) -> None:
        self.messages.clear()
        self.waiting_bytes = 0

    def _send_close(self, code: int, reason: str) -> None:
        self.outbox.flush()
        self.outbox.write(self._wire.close(code, reason))
        self.outbox.watch()

    def hurry(self, by: float) -> None:
        """Have what runs for the client end by then."""
        self.over_by = by
        scope = self.scope
        if scope is not None and not scope.expired() and by < (scope.when() or NEVER):
            scope.reschedule(by)

    def _be_closed(self, close: Close) -> None:
        """Answer the client's wish to end, or take its answer to ours; the server closes first."""
        self._is_deaf = True
        if self.is_open:
            self._end(close.code, close.reason)
            self._send_close(close.code, "")
            self.hurry(self.loop.time() + self.limits.owed_s)
        self._close_by = NEVER
        self.outbox.watch()
        self._transport.close()

    def _fail(self, code: int, reason: str) -> None:
        """Close because the client broke a rule: nothing of what follows can be understood.

        To close on unread bytes would destroy the frame on its way, so they are read for a while.
        """
        facts = {"rule": RULES[code], "code": code, "client": self.request.client_ip}
        log.info("websocket refused", **facts, reason=reason, session=journey_text(self.id))
        self.host.counters.refuse(RULES[code])
        self._close(code, reason)
        self.hurry(self.loop.time() + self.limits.owed_s)
        self._is_behind = False
        self._settle()
        self._is_deaf = True
        self._close_by = self.loop.time() + self.host.limits.linger_s
        if self._transport.can_write_eof():
            self._transport.write_eof()

    # The end of the site.

    def drain(self, until: float) -> None:
        """End when the messages that wait are treated."""
        self.is_draining = True
        self._wake()

    def give_up(self) -> None:
        """End now, whatever runs."""
        self.close(GOING_AWAY)
        self.hurry(self.loop.time())
        self.outbox.watch()
        self._transport.close()

    def abort(self) -> None:
        """Close at once; what was not sent is lost."""
        self._transport.abort()

    # Time.

    def expire(self, now: float) -> None:
        """End the waits that have become too long."""
        if self.outbox.is_stuck(now):
            self.host.counters.refuse("slow-reader")
            self._transport.abort()
        elif self._close_by <= now:
            self._close_by = NEVER
            self.outbox.watch()
            self._transport.close()
        elif self.is_open:
            self._expire_open(now)

    def _expire_open(self, now: float) -> None:
        limits = self.limits
        if self._message_by <= now and self._is_reading:
            self._fail(BROKEN_RULE, "the message took too long")
        elif limits.idle_s is not None and now - self._active >= limits.idle_s:
            self.close(GOING_AWAY, "idle")
        elif self._pinged is None or not self._is_reading:  # else it is we who do not listen
            self._pinged = None
            if self._is_reading and now - self._heard >= limits.ping_s:
                self._pinged = now
                self.outbox.write(self._wire.ping())
        elif now - self._pinged >= limits.pong_s:
            self.close(FAILED, "no pong")
