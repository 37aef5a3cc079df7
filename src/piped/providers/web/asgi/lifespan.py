"""The lifespan of an application: it is told when it starts and when it ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import structlog

from piped.errors import Misconfigured
from piped.providers.web.asgi.application import ApplicationError, GaveUp, Running

log = structlog.get_logger("piped.web")

VERSION: Final = {"version": "3.0", "spec_version": "2.0"}


@asynccontextmanager
async def lifespan(
    application: Running, tasks: asyncio.TaskGroup, startup_s: float, drain_s: float
) -> AsyncIterator[None]:
    """Run the lifespan of an application, if it knows of such a thing.

    Args:
        application: Gets the state that the lifespan leaves for its requests.
        tasks: Where its task belongs.
        startup_s: How long it may take to start.
        drain_s: How long it may take to end.

    Raises:
        Misconfigured: It says that it cannot start, or takes too long.
    """
    life = _Lifespan(application)
    task = tasks.create_task(life.run(), name=f"lifespan of {application.name}")
    try:
        await life.start(startup_s)
        yield
        await life.end(drain_s)
    finally:
        task.cancel()


class _Lifespan:
    """Tells an application of its start and its end, and hears what it says of them."""

    __slots__ = ("_application", "_closing", "_ended", "_failure", "_is_told", "_stage", "_started")

    def __init__(self, application: Running) -> None:
        self._application = application
        self._is_told = False
        self._stage = ""  # of which its last message has told
        self._failure: str | None = None
        self._started, self._closing, self._ended = (asyncio.Event() for _ in range(3))

    async def run(self) -> None:
        application = self._application
        scope = {"type": "lifespan", "asgi": {**VERSION}, "state": application.state}
        try:
            await application.treat(scope, self._receive, self._send)
        except Exception as error:
            self._explain(error)
        finally:
            self._started.set()
            self._ended.set()

    def _explain(self, error: Exception) -> None:
        """Tell of an error; an application that knows no lifespan raises one, and that is fine."""
        facts = {"app": self._application.name, "error": f"{type(error).__name__}: {error}"}
        if self._stage:
            if self._failure is None:
                log.error("lifespan of an application failed", **facts, exc_info=error)
        elif isinstance(error, GaveUp):
            self._failure = str(error)
        elif self._is_told:
            log.warning("application left its lifespan, going on without", **facts)
        else:
            log.debug("application without a lifespan", **facts)

    async def start(self, limit_s: float) -> None:
        """Wait until the application has started, or is found to have no lifespan.

        Raises:
            Misconfigured: It cannot start.
        """
        try:
            async with asyncio.timeout(limit_s):
                await self._started.wait()
        except TimeoutError:
            self._failure = f"nothing was heard of it for {limit_s:g} s"
        if self._failure is not None:
            name = self._application.name
            raise Misconfigured(f"the application '{name}' did not start: {self._failure}")

    async def end(self, limit_s: float) -> None:
        """Tell the application that this is the end, and wait until it is ready for it."""
        name = self._application.name
        self._closing.set()
        try:
            async with asyncio.timeout(limit_s):
                await self._ended.wait()
        except TimeoutError:
            log.warning("application does not end, cancelling it", app=name)
        if self._failure is not None:
            log.error("application did not end well", app=name, reason=self._failure)

    async def _receive(self) -> dict[str, Any]:
        if self._is_told:
            await self._closing.wait()
            return {"type": "lifespan.shutdown"}
        self._is_told = True
        return {"type": "lifespan.startup"}

    async def _send(self, message: dict[str, Any]) -> None:
        kind = message["type"]
        self._fail_if_untimely(kind)
        self._stage = kind
        if kind.endswith(".failed"):
            self._failure = _last_line(message.get("message", ""))
        (self._ended if self._closing.is_set() else self._started).set()

    def _fail_if_untimely(self, kind: str) -> None:
        now = "shutdown" if self._closing.is_set() else "startup"
        if kind not in (f"lifespan.{now}.complete", f"lifespan.{now}.failed"):
            what = f"expected 'lifespan.{now}.complete' from the application, got {kind!r}"
            raise ApplicationError(what)


def _last_line(text: str) -> str:
    """Return what a traceback says at its end: frameworks send it as a whole."""
    lines = text.strip().splitlines()
    return lines[-1].strip() if lines else "it does not say why"
