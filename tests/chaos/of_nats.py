"""The same faults where NATS carries the parts, and those of its server."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tests.chaos.matrix import Run, lost, row
from tests.chaos.rig import Rig
from tests.providers.nats.conftest import Server


@asynccontextmanager
async def over_nats(
    run: Run, *overrides: str, store: str = "", **more: Any
) -> AsyncIterator[tuple[Rig, Server]]:
    """Run the service with a server of its own; ``store`` is more of its configuration."""
    folder = run.folder / "nats"
    folder.mkdir(exist_ok=True)
    server = await asyncio.to_thread(Server, folder, "", store)
    connection = f"nats.connections.main.servers:{server.url}"
    carried = ("workers.math.transport:nats", "workers.math.connection:main", connection)
    try:
        async with run.rig(*carried, *overrides, **more) as rig:
            yield rig, server
    finally:
        server.kill()


@row("n0", "no fault, over NATS")
async def nothing(run: Run) -> list[str]:
    async with over_nats(run) as (rig, _):
        ledger = await run.load(rig)
        return lost(ledger) + await rig.faults(ledger)


@row("n1", "one of three workers is killed -9, over NATS")
async def kill_one(run: Run) -> list[str]:
    async with over_nats(run) as (rig, _):
        ledger = await run.load(rig, lambda: rig.kill("w1"))
        return lost(ledger) + await rig.faults(ledger)


@row("n2", "one of three workers is frozen, and thawed later, over NATS")
async def freeze_one(run: Run) -> list[str]:
    async with over_nats(run) as (rig, _):
        worker = rig.workers["w1"]
        ledger = await run.load(rig, worker.freeze)
        worker.thaw()
        await asyncio.sleep(0.5)  # so that what it has done meanwhile comes late
        return lost(ledger) + await rig.faults(ledger)


@row("n13w", "SIGTERM of a worker under load, over NATS")
async def end_worker(run: Run) -> list[str]:
    async with over_nats(run) as (rig, _):
        worker = rig.workers["w1"]
        ledger = await run.load(rig, lambda: asyncio.to_thread(worker.terminated))
        found = [] if (code := worker.ended()) == 0 else [f"exit code {code}"]
        return found + lost(ledger) + await rig.faults(ledger)


async def restart(server: Server) -> None:
    """Kill a server, and start it again a second later."""
    await asyncio.to_thread(server.kill)
    await asyncio.sleep(1.0)
    await asyncio.to_thread(server.start)


@row("31", "the NATS server is killed -9, and comes back; a durable pool")
async def kill_server(run: Run) -> list[str]:
    lasting = ("workers.math.durable:true", "workers.math.deadline:15s")
    async with over_nats(run, *lasting) as (rig, server):
        ledger = await run.load(rig, lambda: restart(server), patience_s=20.0)
        return lost(ledger) + await rig.faults(ledger)


@row("32", "the NATS server is frozen, and thawed later")
async def freeze_server(run: Run) -> list[str]:
    async with over_nats(run) as (rig, server):

        async def fault() -> None:
            await asyncio.to_thread(server.signal, signal.SIGSTOP)
            await asyncio.sleep(2.0)
            server.signal(signal.SIGCONT)

        ledger = await run.load(rig, fault)
        return lost(ledger) + await rig.faults(ledger)
