"""A service on a free port that misbehaves as told, a fake client, and requests to both."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import pytest

from piped.errors import Level, PipedError
from piped.resources import Resource
from piped.spec import dependencies_of
from tests.processors.conftest import decoded

Reply: TypeAlias = Callable[["Asked", asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Asked:
    """A request as it came."""

    line: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def method(self) -> str:
        return self.line.split(" ")[0]

    @property
    def target(self) -> str:
        return self.line.split(" ")[1]


def answer(
    body: bytes = b"", status: int = 200, /, *, length: int | None = None, **headers: str
) -> bytes:
    """Return the bytes of an answer; underscores in names of headers are hyphens."""
    given = {"content_length": f"{len(body) if length is None else length}", **headers}
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in given.items()]
    return "\r\n".join([f"HTTP/1.1 {status} Some", *lines, "", ""]).encode() + body


@dataclass
class Service:
    """Answers each request with the next of what it was given, the last one again and again."""

    port: int = 0
    replies: list[bytes | Reply] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    connections: int = 0
    waiting: asyncio.Event = field(default_factory=asyncio.Event)  # set by each request
    gone: asyncio.Event = field(default_factory=asyncio.Event)  # set when a client has left
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def says(self, *replies: bytes | Reply) -> None:
        self.replies = list(replies)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.append(task)
        try:
            while True:
                self.asked.append(await self._request(reader))
                self.waiting.set()
                reply = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
                if isinstance(reply, bytes):
                    writer.write(reply)
                    await writer.drain()
                else:
                    await reply(self.asked[-1], writer)
        except (OSError, EOFError, RuntimeError):  # RuntimeError is uvloop's, of a closed one
            writer.close()
        except asyncio.CancelledError:
            writer.transport.abort()
        finally:
            self.gone.set()

    async def end(self) -> None:
        for each in self._tasks:
            each.cancel()
        await asyncio.gather(*self._tasks)

    async def _request(self, reader: asyncio.StreamReader) -> Asked:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        line, *lines = head.strip().split("\r\n")
        headers = {k.lower(): v.strip() for k, _, v in (each.partition(":") for each in lines)}
        return Asked(line, headers, await reader.readexactly(int(headers.get("content-length", 0))))


@asynccontextmanager
async def serving() -> AsyncIterator[Service]:
    """Run a service on a free port of this machine."""
    service = Service()
    server = await asyncio.start_server(service.serve, "127.0.0.1", 0)
    service.port = server.sockets[0].getsockname()[1]
    try:
        yield service
    finally:
        server.close()
        await service.end()


class FakeAnswer:
    def __init__(self, body: bytes, status: int = 200, **headers: str) -> None:
        self.status, self.body = status, body
        self.headers: Mapping[str, str] = {k.replace("_", "-"): v for k, v in headers.items()}

    async def chunks(self) -> AsyncIterator[bytes]:
        yield self.body


class FakeClient:
    """Stands for ``http_client``: it gives the next of its answers and remembers what was asked."""

    timeout_s = 10.0

    def __init__(self, *answers: FakeAnswer | Exception) -> None:
        self.headers: Mapping[str, str] = {"User-Agent": "piped/1"}
        self.answers = answers
        self.asked: list[tuple[str, str, Mapping[str, str], bytes | None]] = []

    @asynccontextmanager
    async def exchange(
        self, method: str, url: str, headers: Mapping[str, str], content: Any, connect_s: float
    ) -> AsyncIterator[FakeAnswer]:
        found = self.answers[min(len(self.asked), len(self.answers) - 1)]
        self.asked.append((method, url, headers, content))
        if isinstance(found, Exception):
            raise type(found)(*found.args)
        yield found


OK = FakeAnswer(b"ok", content_type="text/plain")


def made_of(text: str, client: Any) -> Any:
    """Return a processor that is right, though it may have hints and warnings."""
    made, problems = decoded(text)
    assert not [each for each in problems if each.level is Level.ERROR]
    [dependency] = dependencies_of(made)
    resource = Resource(dependency.name)
    resource.ready(client)
    dependency.resource = resource
    return made


async def send(text: str, baton: Any, client: Any, name: str = "http-request") -> Any:
    made = made_of(f"{name}: {text}", client)
    assert made.is_async
    async with asyncio.timeout(20):
        return await made.step()(baton)


async def sent(text: str, baton: Any, name: str = "http-request") -> Any:
    """Return what was asked: method, URL, headers, body."""
    client = FakeClient(OK)
    await send(text, baton, client, name)
    return client.asked[0]


async def outcome(text: str, baton: Any, client: Any) -> Any:
    """Return the baton, or the error."""
    try:
        return await send(text, baton, client)
    except PipedError as error:
        return error


async def failure(text: str, baton: Any, client: Any, name: str = "http-request") -> PipedError:
    with pytest.raises(PipedError) as raised:
        await send(text, baton, client, name)
    return raised.value
