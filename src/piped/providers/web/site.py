"""A site: where it listens, which pipelines its paths lead to, and what it allows."""

from __future__ import annotations

import asyncio
import math
import resource
import ssl
from collections.abc import AsyncIterator, Iterable, Iterator, Set
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import field
from socket import socket
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from piped.errors import Misconfigured, Problem
from piped.providers.web.access import AccessFormat, AccessLogging
from piped.providers.web.auth import Auth
from piped.providers.web.debug import Debug
from piped.providers.web.dispatch import log
from piped.providers.web.failures import ErrorAnswer, check_errors
from piped.providers.web.hosts import Hosts, is_host
from piped.providers.web.limits import Counters, Limits
from piped.providers.web.listening import Address, listen, on_loopback, read_address
from piped.providers.web.proxies import Proxies
from piped.providers.web.routes import Route
from piped.providers.web.routing import Router
from piped.providers.web.server import Server
from piped.providers.web.tls import Tls
from piped.providers.web.websocket.sockets import Sockets
from piped.spec import Dependency, Duration, Meta, Provider, Size, dependencies_of, part

if TYPE_CHECKING:
    from piped.providers.web.access.log import AccessLog


@part
class Site(Provider):
    """A web site: takes requests, gives each to the pipeline of its path, and answers in time.

    The pipeline gets the baton ``{request: ...}``. A request is answered once, by whoever comes
    first, from any pipeline; if nobody does by its deadline, it is answered 504.
    """

    is_edge: ClassVar[bool] = True

    essential: Annotated[
        bool, Meta(description="Whether the process fails when this has failed for good.")
    ] = True
    enabled: Annotated[bool, Meta(description="Whether the site runs.")] = True
    port: Annotated[
        int, Meta(ge=0, le=65535, description="The port on this machine only; 0 is a free one.")
    ] = 8080
    listen: Annotated[
        str | list[str] | None,
        Meta(
            description="Addresses such as 0.0.0.0:8080, [::1]:8080 or"
            " unix:/run/site.sock:mode=660, instead of the port."
        ),
    ] = None
    tls: Annotated[
        Tls | None, Meta(description="The certificate, where the site itself speaks TLS.")
    ] = None
    hosts: Annotated[
        list[str] | None,
        Meta(
            description="The hosts that requests may name, such as example.org or *.example.org;"
            " else 421. Names of this machine always may; null is any host."
        ),
    ] = None
    trusted_proxies: Annotated[
        list[str],
        Meta(
            description="Addresses and networks, or unix, whose x-forwarded-for and"
            " x-forwarded-proto are believed."
        ),
    ] = field(default_factory=list)
    routing: Annotated[Route, Meta(description="The tree of paths and their pipelines.")]
    deadline: Annotated[Duration, Meta(description="How long an answer may take.")] = Duration(30)
    stream_deadline: Annotated[
        Duration | None,
        Meta(description="How long an answer in pieces may take after it began; null: for ever."),
    ] = None
    errors: Annotated[
        dict[str, int | ErrorAnswer],
        Meta(description="Statuses of exceptions, as in {ValueError: 400}."),
    ] = field(default_factory=dict)
    auth: Annotated[
        Auth | None, Meta(description="Who may ask at all, if the routes do not say otherwise.")
    ] = None
    debug: Annotated[Debug, Meta(description="Who is shown tracebacks.")] = field(
        default_factory=Debug
    )
    log_exceptions: Annotated[
        Literal["debug", "info", "warning", "error", "critical"] | None,
        Meta(description="The level at which failures are logged; null is error."),
    ] = None
    access_log: Annotated[
        AccessFormat | AccessLogging | None,
        Meta(description="The form of a line for each request, and its file; null: no lines."),
    ] = None
    max_header: Annotated[Size, Meta(description="The largest head of a request; else 431.")] = (
        Size(32 << 10)
    )
    max_fields: Annotated[
        int, Meta(ge=1, description="The most header fields of a request; else 431.")
    ] = 100
    max_body: Annotated[Size, Meta(description="The largest body of a request; else 413.")] = Size(
        1 << 20
    )
    max_pipelined: Annotated[
        int, Meta(ge=1, description="How many requests of a connection wait before it must.")
    ] = 16
    max_requests: Annotated[
        int, Meta(ge=1, description="How many requests a connection brings before it is closed.")
    ] = 1000
    max_connections: Annotated[
        int, Meta(ge=1, description="How many clients are connected at once; others must wait.")
    ] = 1024
    max_connections_per_peer: Annotated[
        int,
        Meta(
            ge=1,
            description="How many connections an address has, unless it is this machine or a"
            " trusted proxy; more are closed.",
        ),
    ] = 64
    max_in_flight: Annotated[
        int, Meta(ge=1, description="How many requests are treated at once; else 503.")
    ] = 256
    shed_lag: Annotated[
        Duration | None,
        Meta(description="How late the event loop may be; else 503. null: as late as it likes."),
    ] = Duration(0.5)
    first_byte_timeout: Annotated[
        Duration, Meta(description="How long a new connection may be silent; else it is closed.")
    ] = Duration(5)
    header_timeout: Annotated[
        Duration, Meta(description="How long a head may take to arrive; else 408.")
    ] = Duration(10)
    body_timeout: Annotated[
        Duration, Meta(description="How long a body may take to arrive; else 408.")
    ] = Duration(30)
    min_rate: Annotated[
        Size,
        Meta(
            description="How many bytes a second a client sends of a body, after the first five"
            " seconds, or reads of an answer, on average; 0 is any."
        ),
    ] = Size(500)
    idle_timeout: Annotated[
        Duration, Meta(description="How long a connection is kept for the next request.")
    ] = Duration(5)
    write_timeout: Annotated[
        Duration,
        Meta(description="After how long a client that reads too little is disconnected."),
    ] = Duration(30)

    counters: Counters = field(default_factory=Counters, init=False)
    sockets: Sockets = field(default_factory=Sockets, init=False)
    _server: Server | None = field(default=None, init=False)  # while it runs
    _access: Any = field(default=None, init=False)  # an AccessLog, from the first use on
    _at_end: AsyncExitStack = field(default_factory=AsyncExitStack, init=False)

    def offers(self) -> Iterable[str]:
        return (self.label,)

    def asks(self) -> Iterable[Dependency[Any]]:
        talking = {each for one in self.routing.websockets() for each in dependencies_of(one)}
        return [each for each in dependencies_of(self) if each not in talking]

    def feeds(self) -> bool:
        return self.enabled

    def check(self) -> Iterator[Problem]:
        yield from check_errors(self.errors)
        try:
            Proxies(self.trusted_proxies)
        except ValueError as error:
            yield Problem("wrong-value", f"{error}", at="trusted_proxies")
        for host in self.hosts or ():
            if not is_host(host):
                what = f"expected a host such as example.org or example.org:443, got {host!r}"
                yield Problem("wrong-value", what, at="hosts")
        for text in self._listen_texts():
            try:
                read_address(text)
            except ValueError as error:
                yield Problem("wrong-value", f"listen: {error}")

    def _listen_texts(self) -> list[str]:
        return [self.listen] if isinstance(self.listen, str) else self.listen or []

    def addresses(self) -> list[Address]:
        """Return where it listens."""
        texts = self._listen_texts()
        if not texts:
            return on_loopback(self.port)
        return [address for text in texts for address in read_address(text)]

    def listens(self, needed: Set[str]) -> Iterator[tuple[str, str]]:
        yield from ((str(each), "") for each in self.addresses() if each.port or each.path)

    def limits(self, addresses: Iterable[Address]) -> Limits:
        """Return what a client is allowed that comes to some addresses."""
        open_files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        most = self.max_connections
        if open_files != resource.RLIM_INFINITY:
            most = min(most, max(open_files - 128, open_files // 2))
        return Limits(
            header_bytes=self.max_header,
            fields=self.max_fields,
            body_bytes=self.max_body,
            first_byte_s=self.first_byte_timeout,
            handshake_s=self.tls.handshake_timeout if self.tls else 0.0,
            header_s=self.header_timeout,
            body_s=self.body_timeout,
            rate=self.min_rate,
            idle_s=self.idle_timeout,
            stall_s=self.write_timeout,
            pipelined=self.max_pipelined,
            requests=self.max_requests,
            connections=most,
            connections_of_peer=self.max_connections_per_peer,
            in_flight=self.max_in_flight,
            shed_lag_s=math.inf if self.shed_lag is None else self.shed_lag,
            hosts=self._hosts(addresses),
        )

    def _hosts(self, addresses: Iterable[Address]) -> Hosts | None:
        if self.hosts is None:
            return None
        ports = (each.port for each in addresses if not each.path)
        return Hosts(ports, self.hosts, usual_port=443 if self.tls else 80)

    def take_over(self, old: Self) -> bool:
        """Have the server of an old declaration, if it listens there, do what this one says."""
        self.sockets = old.sockets
        server = old._server
        if server is None or old._way_to_listen() != self._way_to_listen():
            return False
        try:
            context = self._tls_context()
        except Misconfigured as error:
            if old.tls is None:
                return False
            log.error("certificate not renewed", site=self.label, error=str(error))
            context = server.tls
        old._server, self._server, self.counters = None, server, old.counters
        self._access, self._at_end = old._access, old._at_end
        self._set_up(server, context)
        server.serve(self._router(), self.limits(server.addresses))
        try:
            server.access = self._noting()
        except Misconfigured as error:
            log.error("access log not changed", site=self.label, error=str(error))
        return True

    def _way_to_listen(self) -> tuple[object, ...]:
        """Return what cannot be changed while it listens."""
        return self.is_feeding, self.addresses()

    async def settled(self) -> None:
        if self._server is not None:
            await self._server.settled()

    def _noting(self) -> AccessLog | None:
        """Return who takes note of requests, if anybody does.

        Raises:
            Misconfigured: Its file cannot be opened.
        """
        if self._access is None:
            if self.access_log is None:
                return None
            from piped.providers.web.access.log import AccessLog

            self._access = AccessLog(self.label, self.counters)
            self._at_end.push_async_callback(self._access.close)
        noting: AccessLog | None = self._access.use(self.access_log)
        return noting

    def _tls_context(self) -> ssl.SSLContext | None:
        return self.tls.context() if self.tls else None

    def _set_up(self, server: Server, context: ssl.SSLContext | None) -> None:
        """Tell a server what this declaration says beside its routes and limits."""
        server.proxies = Proxies(self.trusted_proxies)
        server.certificate, server.tls = self.tls, context
        server.dispatcher.level = self.log_exceptions or "error"
        may_debug = self.is_debug and all(each.is_loopback for each in server.addresses)
        server.dispatcher.debuggers = self.debug.clients() if may_debug else frozenset()

    def _router(self) -> Router:
        rules = (self.errors, self.deadline, self.auth, self.counters.routes)
        ends_s = math.inf if self.stream_deadline is None else self.stream_deadline
        return Router(self.routing, *rules, ends_s)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[dict[str, Any]]:
        for static in self.routing.statics() if self.is_feeding else ():
            static.fail_if_missing()
        context = self._tls_context() if self.is_feeding else None
        router, self._access = self._router(), None
        async with AsyncExitStack() as self._at_end:
            access = self._noting() if self.is_feeding else None
            sockets = listen(self.addresses()) if self.is_feeding else []
            async with self._served(sockets, router, context) as server:
                server.access = access
                yield {self.label: server}

    @asynccontextmanager
    async def _served(
        self,
        sockets: list[tuple[Address, socket]],
        router: Router,
        context: ssl.SSLContext | None,
    ) -> AsyncIterator[Server]:
        """Answer requests on some sockets, until it is left and all of them are answered."""
        addresses = [address for address, _ in sockets]
        async with asyncio.TaskGroup() as tasks:
            limits = self.limits(addresses)
            if sockets and limits.connections < self.max_connections:
                facts = {"site": self.label, "connections": limits.connections}
                log.warning("the limit of open files allows fewer connections", **facts)
            server = Server(self.label, router, limits, self.counters, tasks)
            server.sockets = self.sockets
            self._server = server
            try:
                server.addresses = addresses
                self._set_up(server, context)
                if sockets:
                    await server.open(sockets)
                yield server
                await server.drain(self.drain_s)
            finally:
                server.close()
