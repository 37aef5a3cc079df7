"""From a request to its pipeline, and from an error to its page."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Final

import structlog

from piped.engine.journey import journey, journey_text
from piped.errors import Unavailable
from piped.providers.web.failures import ErrorAnswer, NotTaken, answer_of, retry_after
from piped.providers.web.hosts import LOOPBACK, split_host
from piped.providers.web.pages import page, traceback_page
from piped.providers.web.request import Request
from piped.providers.web.routing import Router
from piped.providers.web.targets import Target

log = structlog.get_logger("piped.web")

LOCAL: Final = ("127.0.0.1", "::1")

QUIET_S: Final = 1.0
"""How long nothing more is said about requests that a site could not serve."""
LATER_S: Final = 1.0
"""When a client is asked to come again, where nobody knows better."""


class Dispatcher:
    """Gives each request to the pipeline of its path, and answers for those that fail."""

    __slots__ = ("debuggers", "level", "quiet_until", "router", "site", "spawn")

    def __init__(
        self,
        site: str,
        router: Router,
        spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
        level: str = "error",
        debuggers: frozenset[str] = frozenset(),
    ) -> None:
        self.site = site
        self.router = router
        self.spawn = spawn
        self.level = level  # at which failures are logged
        self.debuggers = debuggers  # addresses of clients that are shown tracebacks
        self.quiet_until = 0.0

    def dispatch(self, request: Request) -> None:
        """Have a request treated by what its path leads to."""
        token = journey.set(request.id)
        try:
            target = self._target_of(request)
            if target is None:
                self._answer_without_target(request)
                return
            request.deadline_s = target.rules.deadline_s
            request._tally = tally = target.tally
            if tally.ahead > 0:
                tally.ahead -= 1
            else:
                request._begun = tally.begin()
            try:
                target.endpoint.handle(request, target, self)
            except Exception as error:
                self.fail(request, target, error)
        finally:
            journey.reset(token)

    def _target_of(self, request: Request) -> Target | None:
        """Find what a request is for, and tell it the way there."""
        path = request._target.partition(b"?")[0]
        if found := self.router.exact.get(path):
            target, prepath = found
            request.prepath = [*prepath]
            return target
        match = self.router.find(path.decode("latin-1"))
        if match is None:
            return None
        target, request.prepath, request.postpath, request.params = match
        return target

    def _answer_without_target(self, request: Request) -> None:
        if request._target == b"*":  # RFC 9110, 9.3.7: OPTIONS of the server itself
            request.answer(b"", 204)
        else:
            log.info("no such path", **self._facts(request))
            self.answer(request, 404)

    def start(self, request: Request, target: Target, work: Coroutine[Any, Any, Any]) -> None:
        """Treat a request in a task of the site, which ends with the client's leaving."""
        request.treat_in(self.spawn(self._finish(request, target, work)))

    async def _finish(
        self, request: Request, target: Target, work: Coroutine[Any, Any, Any]
    ) -> None:
        try:
            await work
        except Exception as error:
            self.fail(request, target, error)
        finally:
            request.take_task()

    def answer(self, request: Request, status: int, retry_after_s: float | None = None) -> None:
        """Answer a request with an error page, unless it has been answered."""
        if request.is_finished:
            return
        headers = [] if retry_after_s is None else [_retry_after(retry_after_s)]
        self._answer(request, ErrorAnswer(status=status), headers)

    def _answer(
        self, request: Request, answer: ErrorAnswer, headers: Iterable[tuple[str, str]]
    ) -> None:
        accept = request.headers.get("accept", "")
        made = answer.page() or page(answer.status, request.id, accept, answer.title)
        self._send(request, answer.status, *made, headers)

    def answer_unavailable(
        self, request: Request, reason: str, retry_after_s: float = LATER_S
    ) -> None:
        """Answer that it may work later, and log why, for one request in a second."""
        now = asyncio.get_running_loop().time()
        if now >= self.quiet_until:
            self.quiet_until = now + QUIET_S
            facts = self._facts(request) | {"journey": journey_text(request.id)}
            log.warning("request not served", **facts, reason=reason)
        self.answer(request, 503, retry_after_s)

    def miss_deadline(self, request: Request) -> None:
        """Answer a request whose pipeline took too long, or cut off what it answers in pieces."""
        facts = self._facts(request) | {"journey": journey_text(request.id)}
        if request.is_finished:
            end_s = self.router.stream_deadline_of(request._target)
            log.warning("stream deadline missed", **facts, stream_deadline_s=end_s)
            request.break_off()
            return
        log.warning("deadline missed", **facts, deadline_s=request.deadline_s)
        self.answer(request, 504)

    def fail(self, request: Request, target: Target, error: Exception) -> None:
        """Answer for what went wrong with a request, and log it."""
        if isinstance(error, Unavailable) and not target.is_ready:
            self.answer_unavailable(request, str(error))
            return
        answer = answer_of(error, target.errors)
        status, later = answer.status, retry_after(error)
        if status == 503 and not request.is_finished and answer.is_plain:
            self.answer_unavailable(request, f"{type(error).__name__}: {error}", later or LATER_S)
            return
        self._log(request, status, error)
        if request.is_finished:
            return
        if status >= 500 and self._may_debug(request):
            self._send(request, status, *traceback_page(status, request.id, error))
            return
        headers = [*error.headers] if isinstance(error, NotTaken) else []
        if later is not None:
            headers.append(_retry_after(later))
        self._answer(request, answer, headers)

    def _log(self, request: Request, status: int, error: Exception) -> None:
        event = "request failed"
        facts = self._facts(request) | {"error": f"{type(error).__name__}: {error}"}
        if request.is_finished:
            event = "pipeline failed after the answer"
        else:
            facts["status"] = status
        if places := getattr(error, "__notes__", None):
            facts["at"] = "; ".join(places)
        if status >= 500:
            getattr(log, self.level)(event, **facts, exc_info=error)
        else:
            log.info(event, **facts)

    def _facts(self, request: Request) -> dict[str, Any]:
        return {
            "site": self.site,
            "method": request.method,
            "path": request.path,
        }

    def _may_debug(self, request: Request) -> bool:
        """Tell whether the client is trusted, and was not led here by a foreign page's name."""
        name, _ = split_host(request.headers.get("host", ""))
        return request.client_ip in self.debuggers and name in LOOPBACK

    def _send(
        self,
        request: Request,
        status: int,
        kind: str,
        body: bytes,
        headers: Iterable[tuple[str, str]] = (),
    ) -> None:
        request.reset_answer()
        own = [("cache-control", "no-store"), ("x-content-type-options", "nosniff")]
        request.answer(body, status, kind, [*own, *headers])


def _retry_after(seconds: float) -> tuple[str, str]:
    return "retry-after", f"{math.ceil(seconds)}"
