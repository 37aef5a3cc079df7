"""A site that runs: its sockets, its connections, its clock, and its end."""

from __future__ import annotations

import asyncio
import contextvars
import socket
import ssl
from collections.abc import Coroutine
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

from piped.providers.web.accepting import Acceptor
from piped.providers.web.admission import Admission
from piped.providers.web.answers import date_line
from piped.providers.web.connection import Connection
from piped.providers.web.dispatch import Dispatcher, log
from piped.providers.web.limits import Counters, Limits
from piped.providers.web.listening import Address, remove_file
from piped.providers.web.proxies import Proxies
from piped.providers.web.routing import Router
from piped.providers.web.tls import Tls
from piped.providers.web.websocket.sockets import Sockets

if TYPE_CHECKING:
    from piped.providers.web.access.log import AccessLog

SLOWEST_TICK_S: Final = 1.0
FASTEST_TICK_S: Final = 0.02
ARRIVE_S: Final = 0.005
PATIENCE_S: Final = 1.0
"""How long a connection may wait for its client while others wait to be accepted."""
RENEW_S: Final = 5.0
"""How often to look for another certificate."""


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
        counters.routes = router.tallies
        self.dispatcher = Dispatcher(label, router, self._spawn)
        self.connections: set[Any] = set()  # of HTTP, and what they have become
        self.sockets = Sockets()
        self.access: AccessLog | None = None
        self.addresses: list[Address] = []
        self.is_draining = False
        self.proxies = Proxies()
        self.certificate: Tls | None = None
        self.tls: ssl.SSLContext | None = None  # what new connections are made with
        self.date = date_line()
        self.context = contextvars.copy_context()
        self._tasks = tasks
        self._open_tasks: set[asyncio.Task[None]] = set()
        self._sessions: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()
        self.admission = Admission(limits, counters, self._open_tasks)
        self._acceptor = Acceptor(self, tasks)
        self._timer: asyncio.TimerHandle | None = None
        self._tick_s = self._choose_tick(router, limits)
        self._is_quiet = asyncio.Event()
        self._renew_at = 0.0

    def __repr__(self) -> str:
        return f"<Server {self.label} {self.url}>"

    @property
    def url(self) -> str:
        """The first address, or '' where nothing listens."""
        return self._url(self.addresses[0]) if self.addresses else ""

    @property
    def port(self) -> int:
        return self.addresses[0].port if self.addresses else 0

    def _url(self, address: Address) -> str:
        url = address.url
        return url.replace("http:", "https:", 1) if self.tls is not None else url

    async def open(self, sockets: list[tuple[Address, socket.socket]]) -> None:
        """Take connections of sockets that listen."""
        self.addresses = [address for address, _ in sockets]
        self._acceptor.open([each for _, each in sockets])
        self._tick()
        self.admission.start()
        urls = dict.fromkeys(self._url(each) for each in self.addresses if not each.is_optional)
        log.info("listening", site=self.label, url=" ".join(urls))
        for address in self.addresses:
            if not address.is_loopback:
                log.warning("listening beyond this machine", site=self.label, address=str(address))

    def serve(self, router: Router, limits: Limits) -> None:
        """Lead requests that are not yet treated to other routes, within other limits."""
        self.dispatcher.router, self.limits = router, limits
        self.counters.routes = router.tallies
        self.admission.change(limits)
        self._tick_s = self._choose_tick(router, limits)
        for each in self.connections:
            if isinstance(each, Connection):
                each.change(limits)

    async def settled(self) -> None:
        """Wait until all requests that are being treated now are answered."""
        asked = [(each, each.current) for each in self.connections]
        tasks = tuple(self._open_tasks)
        if tasks:
            await asyncio.wait(tasks)
        # Another pipeline may answer later, and tells nobody here.
        while any(each.current is request is not None for each, request in asked):  # noqa: ASYNC110
            await asyncio.sleep(SLOWEST_TICK_S / 20)

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
                while len(self._acceptor) or self._open_tasks or self._sessions:
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
        self._acceptor.cancel()
        self.admission.stop()
        if self._timer is not None:
            self._timer.cancel()
        for connection in tuple(self.connections):
            connection.abort()
        for task in (*self._open_tasks, *self._sessions):
            task.cancel()

    # Asked by connections.

    def connection(self) -> Connection:
        return Connection(self, self._loop)

    def opened(self, connection: Connection) -> None:
        self.counters.accepted += 1
        self.connections.add(connection)

    def closed(self, connection: Any) -> None:
        self.connections.discard(connection)
        self._acceptor.leave(connection)

    def emptied(self) -> None:
        self._is_quiet.set()

    def handed_over(self, connection: Connection, heir: Any) -> None:
        self.connections.discard(connection)
        self.connections.add(heir)
        self._acceptor.hand_over(connection, heir)

    def _spawn(self, run: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self._tasks.create_task(run)
        self._open_tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def converse(self, run: Coroutine[Any, Any, None]) -> None:
        """Begin what lives as long as a session, and longer than any request."""
        task = self._tasks.create_task(run)
        self._sessions.add(task)
        task.add_done_callback(self._done)

    def keep(self, task: asyncio.Task[Any]) -> None:
        """Count a task of a request as one that lives as long as a session."""
        self._open_tasks.discard(task)
        self._sessions.add(task)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._open_tasks.discard(task)
        self._sessions.discard(task)
        self._is_quiet.set()

    def _tick(self) -> None:
        """Look at the clock, after what clients have sent until now: uvloop reads after timers.

        Else a process that was suspended would blame its clients for the time.
        """
        self._timer = self._loop.call_later(self._tick_s, self._tick)
        self._loop.call_later(ARRIVE_S, self._expire)
        self.date = date_line()
        if self.certificate is not None:
            self._renew(self.certificate)

    def _renew(self, certificate: Tls) -> None:
        now = self._loop.time()
        if now >= self._renew_at:
            self._renew_at = now + RENEW_S
            self.tls = certificate.renewed(self.label) or self.tls

    def _expire(self) -> None:
        now = self._loop.time()
        for connection in tuple(self.connections):
            connection.expire(now)
        if self._acceptor.is_paused:
            self._make_room(now)

    def _make_room(self, now: float) -> None:
        """Close connections whose clients keep us waiting, as others wait to be let in."""
        waiting = [
            each
            for each in self.connections
            if isinstance(each, Connection)
            and each.is_idle
            and now - each.inlet.since >= PATIENCE_S
        ]
        waiting.sort(key=attrgetter("inlet.since"))
        for each in waiting[: max(1, self.limits.connections // 2)]:
            self.counters.refuse("made-room")
            each.abort()

    def _choose_tick(self, router: Router, limits: Limits) -> float:
        """Return how often to look at the clock: a tenth of the shortest wait is exact enough."""
        waits = [limits.first_byte_s, limits.header_s, limits.grace_s, limits.body_s]
        waits += [limits.idle_s, limits.stall_s]
        shortest = min([*waits, *router.deadlines()])
        return min(max(shortest / 10, FASTEST_TICK_S), SLOWEST_TICK_S)

    def _stop_listening(self) -> None:
        for address in self.addresses:
            remove_file(address)
        self._acceptor.close()

    async def _let_pass(self) -> None:
        """Let the loop bring in what the system has accepted, and let out what was written."""
        for _ in range(4):
            await asyncio.sleep(0)
