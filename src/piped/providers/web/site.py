"""A site: where it listens, which pipelines its paths lead to, and what it allows."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import AsyncIterator, Iterable, Iterator, Set
from contextlib import asynccontextmanager
from dataclasses import field
from typing import Annotated, Any, ClassVar, Literal

from piped.errors import Problem
from piped.providers.web.dispatch import LOCAL, log
from piped.providers.web.failures import check_errors
from piped.providers.web.limits import Counters, Limits
from piped.providers.web.listening import Address, listen, on_loopback, read_address
from piped.providers.web.routing import Route, Router
from piped.providers.web.server import Server
from piped.spec import Duration, Meta, Provider, Size, part


@part
class Debug:
    """Who is shown the traceback of an error: with ``-D``, on a loopback listener, and not else."""

    allow: Annotated[
        list[str], Meta(description="Addresses of clients; localhost is 127.0.0.1 and ::1.")
    ] = field(default_factory=list)
    max_inactive_time: Annotated[float, Meta(description="Accepted, without effect.")] = 300
    reap_interval: Annotated[float, Meta(description="Accepted, without effect.")] = 60

    def clients(self) -> frozenset[str]:
        """Return the addresses of those who are shown tracebacks."""
        return frozenset(
            address
            for name in self.allow
            for address in (LOCAL if name == "localhost" else (name,))
        )


@part
class Site(Provider):
    """A web site: takes requests, gives each to the pipeline of its path, and answers in time.

    The pipeline gets the baton ``{request: ...}``. A request is answered once, by whoever comes
    first, from any pipeline; if nobody does by its deadline, it is answered 504.
    """

    is_edge: ClassVar[bool] = True
    brings_requests: ClassVar[bool] = True

    essential: Annotated[
        bool, Meta(description="Whether the process fails when this has failed for good.")
    ] = True
    enabled: Annotated[bool, Meta(description="Whether the site runs.")] = True
    port: Annotated[
        int, Meta(ge=0, le=65535, description="The port on this machine only; 0 is a free one.")
    ] = 8080
    listen: Annotated[
        str | list[str] | None,
        Meta(description="Addresses such as 0.0.0.0:8080 or [::1]:8080, instead of the port."),
    ] = None
    routing: Annotated[Route, Meta(description="The tree of paths and their pipelines.")]
    deadline: Annotated[Duration, Meta(description="How long an answer may take.")] = Duration(30)
    errors: Annotated[
        dict[str, int], Meta(description="Statuses of exceptions, as in {ValueError: 400}.")
    ] = field(default_factory=dict)
    debug: Annotated[Debug, Meta(description="Who is shown tracebacks.")] = field(
        default_factory=Debug
    )
    log_exceptions: Annotated[
        Literal["debug", "info", "warning", "error", "critical"] | None,
        Meta(description="The level at which failures are logged; null is error."),
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
    max_connections: Annotated[
        int, Meta(ge=1, description="How many clients are connected at once; else 503.")
    ] = 1024
    header_timeout: Annotated[
        Duration, Meta(description="How long a head may take to arrive; else 408.")
    ] = Duration(10)
    body_timeout: Annotated[
        Duration, Meta(description="How long a body may take to arrive; else 408.")
    ] = Duration(30)
    idle_timeout: Annotated[
        Duration, Meta(description="How long a connection is kept for the next request.")
    ] = Duration(30)
    write_timeout: Annotated[
        Duration, Meta(description="How long a client may read nothing of its answer.")
    ] = Duration(30)

    counters: Counters = field(default_factory=Counters, init=False)

    def offers(self) -> Iterable[str]:
        return (self.label,)

    def feeds(self) -> bool:
        return self.enabled

    def check(self) -> Iterator[Problem]:
        yield from check_errors(self.errors)
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
        yield from ((str(each), "") for each in self.addresses() if each.port)

    def limits(self) -> Limits:
        """Return what a client is allowed."""
        open_files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        most = self.max_connections
        if open_files != resource.RLIM_INFINITY:
            most = max(1, min(most, open_files - 128))
        return Limits(
            header_bytes=self.max_header,
            fields=self.max_fields,
            body_bytes=self.max_body,
            header_s=self.header_timeout,
            body_s=self.body_timeout,
            idle_s=self.idle_timeout,
            stall_s=self.write_timeout,
            pipelined=self.max_pipelined,
            connections=most,
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[dict[str, Any]]:
        router = Router(self.routing, self.errors, self.deadline)
        sockets = listen(self.addresses()) if self.is_feeding else []
        async with asyncio.TaskGroup() as tasks:
            limits = self.limits()
            if sockets and limits.connections < self.max_connections:
                facts = {"site": self.label, "connections": limits.connections}
                log.warning("the limit of open files allows fewer connections", **facts)
            server = Server(self.label, router, limits, self.counters, tasks)
            server.dispatcher.level = self.log_exceptions or "error"
            if self.is_debug and all(address.is_loopback for address, _ in sockets):
                server.dispatcher.debuggers = self.debug.clients()
            try:
                if sockets:
                    await server.open(sockets)
                yield {self.label: server}
                await server.drain(self.drain_s)
            finally:
                server.close()
