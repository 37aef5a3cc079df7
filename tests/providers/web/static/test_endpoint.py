"""How files are sent: in pieces, read by threads, and no faster than their clients read."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from piped.providers.web.static import endpoint, reply
from tests.conftest import Clock, Gate, turn, until
from tests.providers.web.static.support import ask, routing_of, write
from tests.providers.web.support import Client, Served, request_bytes, serving

pytestmark = pytest.mark.anyio

GIB = 1 << 30


def make_sparse(file: Path, size: int) -> Path:
    write(file, b"")
    os.truncate(file, size)
    return file


def is_open(file: Path) -> bool:
    """Tell whether this process has a descriptor of a file."""
    wanted = os.stat(file)
    for name in os.listdir("/proc/self/fd"):
        try:
            found = os.stat(f"/proc/self/fd/{name}")
        except OSError:
            continue
        if os.path.samestat(found, wanted):
            return True
    return False


async def stalled(served: Served, target: str, *headers: str) -> tuple[Client, int]:
    """Return a client that has the head of an answer, and reads no more; and the length."""
    client = await served.connect(limit=1 << 10)
    await client.send(request_bytes(target, *headers))
    head = await client.reader.readuntil(b"\r\n\r\n")
    await until(lambda: all(each.is_stalled for each in served.server.connections))
    return client, int(head.partition(b"content-length: ")[2].split()[0])


async def read_all(client: Client) -> int:
    """Return how many bytes come until the end of the connection."""
    size = 0
    while piece := await client.reader.read(1 << 20):
        size += len(piece)
    return size


@pytest.mark.parametrize("size", [65_535, 65_536, 65_537, 131_072, 3_000_001])
async def test_a_file_of_any_size_is_sent_as_it_is(folder: Path, size: int) -> None:
    content = os.urandom(size)
    write(folder / "large.bin", content)

    whole = await ask(routing_of(folder), "/large.bin")
    part = await ask(routing_of(folder), "/large.bin", f"range: bytes=10-{size - 10}")

    assert whole.body == content
    assert (part.status, part.body) == (206, content[10 : size - 9])


async def test_requests_one_behind_the_other_get_their_files_in_order(folder: Path) -> None:
    write(folder / "large.bin", bytes(200_000))
    targets = ["/large.bin", "/digits.txt", "/none", "/docs", "/large.bin"]

    async with serving(routing=routing_of(folder)) as served:
        client = await served.connect()
        await client.send(b"".join(map(request_bytes, targets)))
        answers = [await client.answer() for _ in targets]
        client.close()

    assert [each.status for each in answers] == [200, 200, 404, 308, 200]
    assert [len(each.body) for each in answers[:2]] == [200_000, 10]


async def test_a_client_of_1_0_gets_a_file(folder: Path) -> None:
    write(folder / "large.bin", bytes(200_000))

    async with serving(routing=routing_of(folder)) as served:
        client = await served.connect()
        await client.send(b"GET /large.bin HTTP/1.0\r\n\r\n")
        answer = await client.answer()
        rest = await client.rest()
        client.close()

    assert (len(answer.body), rest) == (200_000, b"")


async def test_no_more_of_a_file_is_read_than_its_client_takes(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = make_sparse(folder / "huge.bin", GIB)
    sizes: list[int] = []
    pread = os.pread

    def count(descriptor: int, size: int, start: int) -> bytes:
        sizes.append(size)
        return pread(descriptor, size, start)

    monkeypatch.setattr(os, "pread", count)
    async with serving(routing=routing_of(folder)) as served:
        client, length = await stalled(served, "/huge.bin")
        was_open = is_open(file)
        client.close()
        await until(lambda: not served.server.connections)
        await until(lambda: not is_open(file))

    assert (length, was_open) == (GIB, True)
    assert max(sizes) == 64 << 10
    assert sum(sizes) < GIB / 8  # what the buffers of the system take


async def test_a_file_that_shrinks_while_it_is_sent_is_cut(folder: Path) -> None:
    file = make_sparse(folder / "huge.bin", GIB)

    with capture_logs() as logs:
        async with serving(routing=routing_of(folder)) as served:
            client, _ = await stalled(served, "/huge.bin")
            os.truncate(file, 1000)
            size = await read_all(client)
            client.close()
            await until(lambda: not is_open(file))

    assert size < GIB / 8
    assert [each for each in logs if each["log_level"] != "info"] == [
        {
            "event": "answer cut: the file became shorter while it was sent",
            "log_level": "warning",
            "site": "web.site",
            "path": "/huge.bin",
        }
    ]


async def test_a_file_that_is_replaced_while_it_is_sent_is_sent_to_its_end(folder: Path) -> None:
    file = make_sparse(folder / "huge.bin", 32 << 20)
    write(folder / "new.bin", b"new")

    async with serving(routing=routing_of(folder)) as served:
        client, length = await stalled(served, "/huge.bin")
        (folder / "new.bin").replace(file)
        body = await client.reader.readexactly(length)
        after = await client.get("/huge.bin")
        client.close()

    assert body == bytes(32 << 20)
    assert after.body == b"new"


def hold(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, gate: Gate) -> None:
    """Keep threads in a function, when it has done its work."""
    function: Callable[..., Any] = getattr(owner, name)

    def held(*arguments: Any) -> Any:
        result = function(*arguments)
        gate.wait()
        return result

    monkeypatch.setattr(owner, name, held)


@pytest.mark.parametrize(
    ("owner", "name"), [(reply.Files, "reply_to"), (os, "pread")], ids=["found", "read"]
)
async def test_a_file_of_a_client_that_left_is_closed_when_no_thread_uses_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str
) -> None:
    file = make_sparse(folder / "huge.bin", GIB)
    gate = Gate()
    hold(monkeypatch, owner, name, gate)

    async with serving(routing=routing_of(folder)) as served:
        client = await served.connect()
        await client.send(request_bytes("/huge.bin"))
        await gate.came.get()
        client.reset_when_closed()
        client.close()
        await until(lambda: not served.server.connections)
        await until(lambda: not served.server._open_tasks)
        was_open = is_open(file)
        gate.open()
        await until(lambda: not is_open(file))

    assert was_open
    assert served.site.counters.clients_left == 1


async def test_a_disk_that_hangs_holds_four_threads_of_a_route(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate()
    hold(monkeypatch, reply.Files, "reply_to", gate)

    async with serving(routing=routing_of(folder)) as served:
        clients = [await served.connect() for _ in range(6)]
        for client in clients:
            await client.send(request_bytes("/digits.txt"))
        for _ in range(endpoint.AT_ONCE):
            await gate.came.get()
        await until(lambda: len(served.server._open_tasks) == len(clients))
        await turn()
        more = gate.came.qsize()
        gate.open()
        answers = [await client.answer() for client in clients]
        for client in clients:
            client.close()

    assert more == 0
    assert [each.body for each in answers] == [b"0123456789"] * 6


class TestInTime:
    @pytest.fixture
    def anyio_backend(self, movable_loop: tuple[str, dict[str, Any]]) -> tuple[str, dict[str, Any]]:
        return movable_loop

    async def test_a_disk_that_hangs_is_504(
        self, clock: Clock, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        gate = Gate()
        hold(monkeypatch, reply.Files, "reply_to", gate)

        async with serving(routing=routing_of(folder), deadline="5s") as served:
            client = await served.connect()
            await client.send(request_bytes("/digits.txt"))
            await gate.came.get()
            await clock.advance(6)
            answer = await client.answer()
            gate.open()
            client.close()

        assert answer.status == 504

    async def test_a_client_that_does_not_read_is_disconnected(
        self, clock: Clock, folder: Path
    ) -> None:
        file = make_sparse(folder / "huge.bin", GIB)

        async with serving(routing=routing_of(folder), write_timeout="10s") as served:
            client, _ = await stalled(served, "/huge.bin")
            while served.server.connections:
                await clock.advance(3)
            await until(lambda: not is_open(file))
            client.close()

        assert served.site.counters.refused == {"slow-reader": 1}


async def test_a_stopping_site_sends_a_file_to_its_end(folder: Path) -> None:
    make_sparse(folder / "huge.bin", 32 << 20)

    site = serving(routing=routing_of(folder), drain_s=60)
    async with asyncio.TaskGroup() as tasks, site as served:
        client, length = await stalled(served, "/huge.bin", "connection: close")
        reading = tasks.create_task(read_all(client))
    client.close()

    assert reading.result() == length
