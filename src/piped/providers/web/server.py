"""A site that runs: its sockets, its connections, its clock, and its end."""

from __future__ import annotations

import asyncio
import contextvars
import socket
from collections.abc import Coroutine
from typing import Any, Final

from piped.providers.web.answers import date_line
from piped.providers.web.connection import Connection
from piped.providers.web.dispatch import Dispatcher, log
from piped.providers.web.limits import Counters, Limits
from piped.providers.web.listening import BACKLOG, Address
from piped.providers.web.routing import Router

SLOWEST_TICK_S: Final = 1.0
FASTEST_TICK_S: Final = 0.02
ARRIVE_S: Final = 0.005


class Server:
    """Listens at addresses, and is asked by each connection what it may do.

    ``url``, ``port``, ``connections`` and ``counters`` are for those who look.
    """

    def __init__(
        self,
        label: str,
        router: Router,
        limits: Limits,
        counters: Counters,
        tasks: asyncio.TaskGroup,
    ) -> None:
        self.label = label
        self.limits = limits
        self.counters = counters
        self.dispatcher = Dispatcher(label, router, self._spawn)
        self.connections: set[Connection] = set()
        self.addresses: list[Address] = []
        self.is_draining = False
        self.date = date_line()
        self.context = contextvars.copy_context()
        self._tasks = tasks
        self._open_tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()
        self._sockets: list[asyncio.Server] = []
        self._timer: asyncio.TimerHandle | None = None
        self._tick_s = self._choose_tick(router, limits)
        self._is_quiet = asyncio.Event()

    def __repr__(self) -> str:
        return f"<Server {self.label} {self.url}>"

    @property
    def url(self) -> str:
        """The first address, or '' where nothing listens."""
        return self.addresses[0].url if self.addresses else ""

    @property
    def port(self) -> int:
        return self.addresses[0].port if self.addresses else 0

    async def open(self, sockets: list[tuple[Address, socket.socket]]) -> None:
        """Take connections of sockets that listen."""
        for address, each in sockets:
            server = await self._loop.create_server(
                lambda: Connection(self, self._loop), sock=each, backlog=BACKLOG
            )
            self._sockets.append(server)
            self.addresses.append(address)
        self._tick()
        urls = dict.fromkeys(each.url for each in self.addresses if not each.is_optional)
        log.info("listening", site=self.label, url=" ".join(urls))
        for address in self.addresses:
            if not address.is_loopback:
                log.warning("listening beyond this machine", site=self.label, address=str(address))

    async def drain(self, limit_s: float) -> None:
        """Take no more connections, and wait until every request has its answer.

        Args:
            limit_s: After so many seconds the rest is answered 503, and cut off.
        """
        await self._let_pass()
        self._stop_listening()
        await self._let_pass()
        self.is_draining = True
        soon = self._loop.time() + self.limits.drain_s
        for connection in tuple(self.connections):
            connection.drain(soon)
        self._loop.call_later(self.limits.drain_s + ARRIVE_S, self._expire)
        try:
            async with asyncio.timeout(limit_s):
                while self.connections or self._open_tasks:
                    self._is_quiet.clear()
                    await self._is_quiet.wait()
        except TimeoutError:
            log.warning("drain took too long", site=self.label, connections=len(self.connections))
            for connection in tuple(self.connections):
                connection.give_up()
            await self._let_pass()

    def close(self) -> None:
        """End at once."""
        self._stop_listening()
        if self._timer is not None:
            self._timer.cancel()
        for connection in tuple(self.connections):
            connection.abort()
        for task in self._open_tasks:
            task.cancel()

    # Asked by connections.

    def opened(self, connection: Connection) -> int:
        self.counters.accepted += 1
        self.connections.add(connection)
        return len(self.connections)

    def closed(self, connection: Connection) -> None:
        self.connections.discard(connection)
        self._is_quiet.set()

    def _spawn(self, run: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self._tasks.create_task(run)
        self._open_tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        self._open_tasks.discard(task)
        self._is_quiet.set()

    def _tick(self) -> None:
        """Look at the clock, after what clients have sent until now: uvloop reads after timers.

        Else a process that was suspended would blame its clients for the time.
        """
        self._timer = self._loop.call_later(self._tick_s, self._tick)
        self._loop.call_later(ARRIVE_S, self._expire)
        self.date = date_line()

    def _expire(self) -> None:
        now = self._loop.time()
        for connection in tuple(self.connections):
            connection.expire(now)

    def _choose_tick(self, router: Router, limits: Limits) -> float:
        """Return how often to look at the clock: a tenth of the shortest wait is exact enough."""
        waits = [limits.header_s, limits.body_s, limits.idle_s, limits.stall_s]
        shortest = min([*waits, *router.deadlines()])
        return min(max(shortest / 10, FASTEST_TICK_S), SLOWEST_TICK_S)

    def _stop_listening(self) -> None:
        while self._sockets:
            self._sockets.pop().close()

    async def _let_pass(self) -> None:
        """Let the loop bring in what the system has accepted, and let out what was written."""
        for _ in range(4):
            await asyncio.sleep(0)
