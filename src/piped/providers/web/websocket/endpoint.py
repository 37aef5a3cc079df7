"""What a route does for WebSocket: it opens sessions, and gives each message to its pipeline."""

from __future__ import annotations

import asyncio
from time import perf_counter
from typing import Any, Final

from piped.engine.journey import journey, journey_text, new_journey
from piped.errors import Unavailable
from piped.providers.web.dispatch import Dispatcher, log
from piped.providers.web.pages import page
from piped.providers.web.request import Request
from piped.providers.web.targets import Target
from piped.providers.web.websocket.limits import ABNORMAL, FAILED, TRY_LATER, SocketLimits
from piped.providers.web.websocket.opening import NotOpened, check_opening, choose_subprotocol
from piped.providers.web.websocket.route import WebSocketRoute
from piped.providers.web.websocket.session import WebSocket, WebSocketClosed
from piped.spec import Dependency, dependencies_of
from piped.spec.turns import BUDGET_S

_HINTS: Final[dict[int, list[tuple[str, bytes]]]] = {
    405: [("allow", b"allow: GET\r\n")],
    426: [  # RFC 9110, 15.5.22, and RFC 6455, 4.4
        ("upgrade", b"upgrade: websocket\r\nconnection: upgrade\r\n"),
        ("sec-websocket-version", b"sec-websocket-version: 13\r\n"),
    ],
}
"""The header fields that say how it would have been right, by status."""


class WebSocketEndpoint:
    """Opens sessions, and gives their messages to pipelines, one after the other."""

    __slots__ = ("limits", "needed", "route")

    def __init__(self, route: WebSocketRoute) -> None:
        self.route = route
        self.limits = SocketLimits(
            message_bytes=route.max_message,
            queued=route.max_queued,
            ping_s=route.ping_interval,
            pong_s=route.ping_timeout,
            idle_s=route.idle_timeout,
        )
        self.needed = [*dependencies_of(route)]

    def handle(self, request: Request, target: Target, dispatcher: Dispatcher) -> None:
        """Open a session for a request, or answer why not."""
        try:
            check_opening(request, self.route.origins)
        except NotOpened as error:
            refuse(request, error, dispatcher)
            return
        for each in self.needed:
            if not each.is_ready:
                dispatcher.answer_unavailable(request, f"'{each.name}' is not available")
                return
        session = WebSocket(request, self.limits)
        if session.accept(choose_subprotocol(request, self.route.subprotocols)):
            conversation = Conversation(session, self.route, target, dispatcher)
            session.host.converse(conversation.run())


def refuse(request: Request, error: NotOpened, dispatcher: Dispatcher) -> None:
    """Answer a request that cannot open a session, and say how it could."""
    facts = {"site": dispatcher.site, "path": request.path, "client": request.client_ip}
    log.info("websocket not opened", **facts, status=error.http_status, reason=str(error))
    kind, body = page(error.http_status, request.id, request.headers.get("accept", ""))
    request.reset_answer()
    request.answer_lines += _HINTS.get(error.http_status, [])
    request.answer(body, error.http_status, kind, [("cache-control", "no-store")])


class Conversation:
    """The life of a session: what opens it, its messages, and what closes it."""

    __slots__ = ("dispatcher", "route", "session", "target")

    def __init__(
        self, session: WebSocket, route: WebSocketRoute, target: Target, dispatcher: Dispatcher
    ) -> None:
        self.session, self.route = session, route
        self.target, self.dispatcher = target, dispatcher

    async def run(self) -> None:
        """Treat everything that comes, until the session is over."""
        session = self.session
        await self._treat(self.route.on_open, {})
        turn_until = 0.0
        while True:
            try:
                message = await session.receive()
            except WebSocketClosed:
                break
            await self._treat(self.route.processor, {"message": message})
            if perf_counter() >= turn_until:  # it is the turn of others
                await asyncio.sleep(0)
                turn_until = perf_counter() + BUDGET_S
        session.over_by = session.loop.time() + self.target.deadline_s
        await self._treat(self.route.on_close, {"code": session.code, "reason": session.reason})

    async def _treat(self, dependency: Dependency[Any] | None, facts: dict[str, Any]) -> None:
        """Run a pipeline; what goes wrong in it ends the session."""
        if dependency is None:
            return
        session = self.session
        number = new_journey()
        journey.set(number)
        baton = {"websocket": session, "request": session.request, **facts}
        try:
            pipeline = dependency.value
            if pipeline.is_async:
                deadline = session.loop.time() + self.target.deadline_s
                session.scope = asyncio.timeout_at(min(deadline, session.over_by))
                async with session.scope:
                    await pipeline(baton)
            else:
                pipeline.now(baton)
        except Exception as error:
            self._fail(error, number)
        finally:
            session.scope = None

    def _fail(self, error: Exception, number: int) -> None:
        session, dispatcher = self.session, self.dispatcher
        has_expired = session.scope is not None and session.scope.expired()
        facts: dict[str, Any] = {
            "site": dispatcher.site,
            "path": session.request.path,
            "session": journey_text(session.id),
        }
        if has_expired and not session.is_open:
            session.host.counters.clients_left += session.code == ABNORMAL
            log.info("client left", **facts, code=session.code)
        elif has_expired:
            session.host.counters.deadlines_missed += 1
            log.warning("deadline missed", **facts, deadline_s=self.target.deadline_s)
            session.close(FAILED, "deadline missed")
        elif isinstance(error, WebSocketClosed) and not session.is_open:
            log.info("client left", **facts, code=session.code)
        elif isinstance(error, Unavailable):
            log.warning("message not served", **facts, reason=str(error))
            session.close(TRY_LATER, "try again later")
        else:
            facts["error"] = f"{type(error).__name__}: {error}"
            if places := getattr(error, "__notes__", None):
                facts["at"] = "; ".join(places)
            getattr(log, dispatcher.level)("message failed", **facts, exc_info=error)
            session.close(FAILED, f"error {journey_text(number)}")
