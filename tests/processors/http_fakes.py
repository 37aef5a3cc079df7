"""A fake client, and requests to it or to a real one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest

from piped.errors import Level, PipedError
from piped.resources import Resource
from piped.spec import dependencies_of
from tests.processors.conftest import decoded


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
        self.headers: Mapping[str, str] = {"user-agent": "piped/1"}
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
    return bound(made, client)


def bound(made: Any, client: Any) -> Any:
    """Return a processor that has its client."""
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
