"""The listener for those who operate a service: is it alive, is it ready, what has it counted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Set
from contextlib import asynccontextmanager
from dataclasses import field
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, TypeAlias

import msgspec

from piped.errors import Problem
from piped.observe.readiness import readiness
from piped.providers.web import Request, Route, RouteConfig, Server
from piped.providers.web.hosts import Hosts, is_host
from piped.providers.web.limits import Counters, Limits
from piped.providers.web.listening import Address, listen, read_address
from piped.providers.web.pages import page
from piped.providers.web.routing import Router
from piped.resources import Resource
from piped.spec import Dependency, Meta, Provider, provider

if TYPE_CHECKING:
    from piped.observe.metrics import Exposition

Answer: TypeAlias = tuple[int, str, bytes]
"""The status, the content type and the body."""

JSON: Final = "application/json"
TEXT: Final = "text/plain; charset=utf-8"
METHODS: Final = ("GET", "HEAD")

LIMITS: Final = Limits(body_bytes=1 << 10, connections=64, drain_s=0.0)
"""All that is answered is answered at once, so nothing is waited for at the end."""
ANSWER_S: Final = 10.0


class Pages:
    """Answers what is asked of the admin listener; to the server it is a pipeline."""

    is_async: Final = False
    is_ready: Final = True

    def __init__(self, hosts: Hosts, pages: Mapping[str, Callable[[Request], Answer]]) -> None:
        self._hosts, self._pages = hosts, pages

    def now(self, baton: dict[str, Request]) -> list[Any]:
        """Answer a request."""
        request = baton["request"]
        headers = [("cache-control", "no-store"), ("x-content-type-options", "nosniff")]
        found = self._pages.get(request.path)
        if request.headers.get("host", "") not in self._hosts:
            answer = _refusal(request, 421)
        elif found is None:
            answer = _refusal(request, 404)
        elif request.method not in METHODS:
            headers.append(("allow", ", ".join(METHODS)))
            answer = _refusal(request, 405)
        else:
            answer = found(request)
        status, kind, body = answer
        request.answer(body, status, kind, headers)
        return []


def _refusal(request: Request, status: int) -> Answer:
    return (status, *page(status, request.id, request.headers.get("accept", "")))


@provider("admin")
class Admin(Provider):
    """Tell on a listener of its own how the service is: metrics, whether it lives, is ready.

    ``/metrics`` has what was counted, for Prometheus. ``/-/live`` is answered 200 while the process
    can answer at all; ``/-/ready`` is 200 or 503, and says in JSON of each provider and pool how it
    is. The listener is opened first and closed last. It asks for no password: nothing can be
    changed there, and unless ``allow_remote`` is true, only this machine reaches it.
    """

    is_first: ClassVar[bool] = True

    essential: Annotated[
        bool, Meta(description="Whether the process fails when this has failed for good.")
    ] = True
    listen: Annotated[
        str | list[str], Meta(description="Addresses such as 127.0.0.1:9090 or [::1]:9090.")
    ] = "127.0.0.1:9090"
    allow_remote: Annotated[
        bool, Meta(description="Whether it may listen where other machines reach it.")
    ] = False
    hosts: Annotated[
        list[str],
        Meta(description="More hosts that requests may name, with a port where it is another one."),
    ] = field(default_factory=list)

    _service: Dependency[Any] = field(default_factory=lambda: Dependency("service"), init=False)

    def feeds(self) -> bool:
        return True

    def check(self) -> Iterator[Problem]:
        if not self.listen:
            yield Problem("wrong-value", f"expected an address, got {self.listen!r}", at="listen")
            return
        for text in self._listen_texts():
            try:
                found = read_address(text)
            except ValueError as error:
                yield Problem("wrong-value", f"{error}", at="listen")
                continue
            if not self.allow_remote and not all(each.is_loopback for each in found):
                what = f"other machines can reach {text}"
                hint = "say allow_remote: true, if they may see what the service tells of itself"
                yield Problem("open-admin", what, at="listen", hint=hint)
        for index, host in enumerate(self.hosts):
            if not is_host(host):
                what = f"expected a host such as example.org or example.org:443, got {host!r}"
                yield Problem("wrong-value", what, at=f"hosts[{index}]")

    def _listen_texts(self) -> list[str]:
        return [self.listen] if isinstance(self.listen, str) else self.listen

    def addresses(self) -> list[Address]:
        """Return where it listens."""
        return [address for text in self._listen_texts() for address in read_address(text)]

    def listens(self, needed: Set[str]) -> Iterator[tuple[str, str]]:
        yield from ((str(each), "") for each in self.addresses() if each.port)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[dict[str, Any]]:
        """Answer until it is closed; nothing depends on it."""
        from piped.observe.metrics import Exposition  # only a listener that runs pays for it

        exposition = Exposition(self._service.value)
        pages = self._pages(exposition)
        sockets = listen(self.addresses())
        hosts = Hosts((each.port for each, _ in sockets), self.hosts, self.allow_remote)
        async with asyncio.TaskGroup() as tasks:
            router = _router(Pages(hosts, pages))
            server = Server(self.label, router, LIMITS, Counters(), tasks)
            exposition.lag.meter.start()
            try:
                await server.open(sockets)
                yield {"admin": server}
                await server.drain(self.drain_s)
            finally:
                exposition.lag.meter.stop()
                server.close()

    def _pages(self, exposition: Exposition) -> dict[str, Callable[[Request], Answer]]:
        service = self._service.value

        def live(_request: Request) -> Answer:
            return 200, TEXT, b"alive\n"

        def ready(_request: Request) -> Answer:
            state = readiness(service)
            return 200 if state.ready else 503, JSON, msgspec.json.encode(state)

        def metrics(request: Request) -> Answer:
            return 200, *exposition(request.headers.get("accept", ""))

        return {"/-/live": live, "/-/ready": ready, "/metrics": metrics}


def _router(pages: Pages) -> Router:
    """Return a tree of paths that leads to the pages, whatever is asked for."""
    resource = Resource("admin")
    resource.ready(pages)
    config = RouteConfig(no_resource_processor=Dependency("admin", resource=resource))
    route = Route()
    route.config = config
    return Router(route, {}, ANSWER_S)
