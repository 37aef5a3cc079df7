"""Faults of JetStream, and of the way to it, while it keeps jobs: what was acknowledged is done."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.chaos.ledger import Ledger
from tests.chaos.matrix import Run, row
from tests.chaos.of_nats import over_nats, restart
from tests.chaos.proxy import proxy
from tests.chaos.rig import Rig

ALWAYS = ", sync_interval: always"
MOST_REFUSED = 400
"""How many jobs are submitted to a server with a full disk: the answer to each takes 5 s."""
DONE_TRIES, TRY_S = 400, 0.1
"""How long after the load the last job may be done: one that a front has lost comes after 10 s."""


@dataclass
class Jobs(Ledger):
    """A client that submits jobs; its nonces are their keys."""

    def _path(self, nonce: str) -> str:
        return f"/later{super()._path(nonce)[1:]}"


@dataclass
class Insisting(Jobs):
    """Asks again, with the same key, until it is told that the job is stored."""

    again: int = 0

    async def _ask_all(self, nonces: Iterator[str]) -> None:
        for nonce in nonces:
            while nonce not in self.right:
                self.again += 1
                await super()._ask_all(iter([nonce]))
            self.again -= 1

    def _end(self, name: str) -> None:
        if name == "ok":
            super()._end(name)


async def undone(rig: Rig, jobs: Ledger) -> list[str]:
    """Wait for the jobs that were acknowledged; return how many of them are not done."""
    for _ in range(DONE_TRIES):
        if not (missing := len(jobs.right - rig.effects().keys())):
            return []
        await asyncio.sleep(TRY_S)
    return [f"{missing} acknowledged and not done"]


def told(run: Run, rig: Rig, jobs: Ledger) -> None:
    """Note what the client was told, and how often jobs were run."""
    effects = rig.effects()
    ends = ", ".join(f"{number} {name}" for name, number in sorted(jobs.ends.items()))
    run.notes.append(f"{ends}; {len(effects)} jobs run, {effects.total()} runs")


@asynccontextmanager
async def small_disk(folder: Path) -> AsyncIterator[bool]:
    """Make a folder a disk of 1 MiB, if this may be done here."""
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    made = await asyncio.to_thread(subprocess.run, command, capture_output=True)
    try:
        yield made.returncode == 0
    finally:
        if made.returncode == 0:
            await asyncio.to_thread(subprocess.run, ["umount", "-l", str(folder)])


@row("33", "the disk of the NATS server is full, and larger later; jobs")
async def disk_full(run: Run) -> list[str]:
    folder = run.folder / "nats"
    folder.mkdir()
    async with small_disk(folder) as is_small:
        if not is_small:
            run.notes.append("not played: no file system can be mounted here")
            return []
        async with over_nats(run, store=ALWAYS, workers=0) as (rig, server):
            most = min(run.count, MOST_REFUSED)
            jobs = await run.load(rig, kind=Jobs, count=most, more={"pad": "x" * 4000})
            server.kill()
            larger = ["mount", "-o", "remount,size=64m", str(folder)]
            await asyncio.to_thread(subprocess.run, larger, check=True)
            await asyncio.to_thread(server.start)
            await rig.add("w1", "w2")
            found = await undone(rig, jobs)
            told(run, rig, jobs)
            if odd := jobs.ends.keys() - {"ok", "refused"}:
                found.append(f"ends: {odd}")
            if not jobs.ends["ok"] or not jobs.ends["refused"]:
                found.append("the disk was not filled")
            return found


@row("34", "the NATS server is killed -9, and comes back; jobs")
async def kill_server(run: Run) -> list[str]:
    async with over_nats(run, store=ALWAYS) as (rig, server):
        faults = [lambda: restart(server)] * 2
        jobs = await run.load(rig, *faults, kind=Jobs)
        found = await undone(rig, jobs)
        told(run, rig, jobs)
        return found


@row("34f", "all fronts and workers are killed -9 amid jobs, and started again")
async def kill_fronts(run: Run) -> list[str]:
    async with over_nats(run, store=ALWAYS) as (rig, _):

        async def fault() -> None:
            rig.front.kill()
            for name in list(rig.workers):
                rig.kill(name)
            await rig.start()
            await rig.add("w4", "w5")

        jobs = await run.load(rig, fault, kind=Insisting)
        found = await undone(rig, jobs)
        told(run, rig, jobs)
        return found


@row("35", "the acks of the NATS server to the front, and of the front to it, are lost; jobs")
async def acks_lost(run: Run) -> list[str]:
    async with over_nats(run, store=ALWAYS) as (rig, server), proxy(server.port, run.random) as net:
        rig.front.kill()
        rig._overrides += (f"nats.connections.main.servers:nats://127.0.0.1:{net.port}",)
        await rig.start()

        async def lose(way: str) -> None:
            net.cut(way)
            await asyncio.sleep(0.3)
            net.reset()
            net.heal()

        jobs = await run.load(rig, lambda: lose("down"), lambda: lose("up"), kind=Insisting)
        found = await undone(rig, jobs)
        told(run, rig, jobs)
        assert isinstance(jobs, Insisting)
        run.notes.append(f"{jobs.again} asked again")
        if not jobs.again:
            found.append("no ack was lost")
        return found
