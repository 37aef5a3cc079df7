"""What the tests of web sites share: fake pipelines, sites from plain values, and a raw client."""

from __future__ import annotations

import asyncio
import inspect
import socket
import struct
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

from piped.document import nodes
from piped.errors import Place
from piped.providers.web import Request, Server, Site, Web, passwords
from piped.providers.web.passwords import Hash
from piped.resources import Resource
from piped.spec import INVALID, Decoder, dependencies_of, spec_of

PLACE = Place("site.yaml", 1, 1)


class Pipeline:
    """A pipeline made of one function of the request."""

    def __init__(self, function: Callable[[Request], Any]) -> None:
        self.function = function
        self.is_async = inspect.iscoroutinefunction(function)
        self.seen: list[Request] = []

    def now(self, baton: dict[str, Any]) -> list[Any]:
        self.seen.append(baton["request"])
        self.function(baton["request"])
        return []

    async def __call__(self, baton: dict[str, Any]) -> list[Any]:
        self.seen.append(baton["request"])
        await self.function(baton["request"])
        return []


def cheap(password: str) -> Hash:
    """Return a hash that costs next to nothing."""
    empty = Hash(4, 8, 1, b"salt of the test", bytes(32))
    return replace(empty, digest=passwords._scrypt(password, empty))


def node_of(value: Any) -> nodes.Node:
    match value:
        case Mapping():
            return nodes.Mapping(
                PLACE, {key: nodes.Entry(PLACE, node_of(each)) for key, each in value.items()}
            )
        case list():
            return nodes.Sequence(PLACE, [node_of(each) for each in value])
        case _:
            return nodes.Scalar(PLACE, value)


def problems_of(**site: Any) -> list[str]:
    """Return what is wrong with a site, each problem as `at: code: what (hint)`."""
    decoder = Decoder()
    spec = spec_of(Web)
    assert spec is not None
    decoder.section(spec, node_of({"site": site}), "web")
    return [
        f"{each.at}: {each.code}: {each.what}" + (f" ({each.hint})" if each.hint else "")
        for each in decoder.problems
    ]


def make_site(routing: Any, pipelines: Mapping[str, Pipeline | None], **parameters: Any) -> Site:
    """Return a site whose routing names pipelines; those that are None are not ready."""
    decoder = Decoder()
    spec = spec_of(Web)
    assert spec is not None
    section = node_of({"site": {"routing": routing, "port": 0, **parameters}})
    web = decoder.section(spec, section, "web")
    assert web is not INVALID, [str(each) for each in decoder.problems]
    *_, site = web.units()
    for dependency in dependencies_of(site):
        dependency.resource = resource = Resource(dependency.name)
        pipeline = pipelines[dependency.name.removeprefix("pipeline.")]
        if pipeline is not None:
            resource.ready(pipeline)
    site.is_feeding = True
    assert isinstance(site, Site)
    return site


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes
    head: bytes


class Client:
    """Talks to a site in bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def get(self, target: str = "/", *headers: str) -> Answer:
        await self.send(request_bytes(target, *headers))
        return await self.answer()

    async def answer(self, is_head: bool = False) -> Answer:
        head = await self.reader.readuntil(b"\r\n\r\n")
        status, *lines = head.decode("latin-1").strip().split("\r\n")
        headers = {}
        for line in lines:
            name, _, value = line.partition(": ")
            assert name not in headers, head
            headers[name] = value
        length = 0 if is_head else int(headers.get("content-length", 0))
        body = await self.reader.readexactly(length)
        return Answer(int(status.split()[1]), headers, body, head)

    async def rest(self) -> bytes:
        """Return everything up to the end of the connection."""
        return await self.reader.read()

    def close(self) -> None:
        self.writer.close()

    def reset_when_closed(self) -> None:
        """Have the connection end as if the client's machine knew of it no more."""
        socket_ = self.writer.get_extra_info("socket")
        socket_.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def request_bytes(target: str = "/", *headers: str, method: str = "GET", body: str = "") -> bytes:
    lines = [f"{method} {target} HTTP/1.1", "host: x", *headers]
    if body:
        lines.append(f"content-length: {len(body)}")
    return "\r\n".join([*lines, "", body]).encode()


@dataclass
class Served:
    site: Site
    server: Server
    pipeline: Pipeline

    async def connect(self, **options: Any) -> Client:
        return Client(*await asyncio.open_connection("127.0.0.1", self.server.port, **options))


@asynccontextmanager
async def serving(
    function: Callable[[Request], Any] | None = None,
    routing: Any = None,
    pipelines: Mapping[str, Pipeline | None] | None = None,
    **parameters: Any,
) -> AsyncIterator[Served]:
    """Run a site on a free port, whose root is treated by the function."""
    pipeline = Pipeline(function or (lambda request: request.answer(b"hello")))
    if routing is None:
        routing = {"__config__": {"processor": "pipeline.root"}}
    debug = parameters.pop("is_debug", False)
    drain_s = parameters.pop("drain_s", 5.0)
    site = make_site(routing, {"root": pipeline, **(pipelines or {})}, **parameters)
    site.is_debug, site.drain_s = debug, drain_s
    async with site.running() as resources:
        yield Served(site, resources["web.site"], pipeline)
