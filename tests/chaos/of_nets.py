"""Faults of what is between workers and their front: ZeroMQ over TCP, through a proxy."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.chaos.ledger import connect
from tests.chaos.matrix import Run, lost, row
from tests.chaos.proxy import Proxy, proxy
from tests.chaos.rig import Rig
from tests.stories.processes import free_ports

SLOW_S = 0.2
SLOW_BYTES_A_SECOND = 125_000.0


@asynccontextmanager
async def wired(run: Run) -> AsyncIterator[tuple[Rig, Proxy]]:
    """Run a front with one worker beside it and two behind a proxy."""
    [port] = free_ports(1)
    listen = f"tcp://127.0.0.1:{port}"
    async with proxy(port, run.random) as net, run.rig(workers=0, listen=listen) as rig:
        far = f"workers.math.listen:tcp://127.0.0.1:{net.port}"
        await rig.add("near")
        await rig.add("far-1", "far-2", overrides=(far,))
        yield rig, net


@row("19", "one in twenty packets is lost")
async def packets_lost(run: Run) -> list[str]:
    async with wired(run) as (rig, net):
        net.stalls = 0.05
        ledger = await run.load(rig)
        return lost(ledger) + await rig.faults(ledger)


@row("20", "the way to two of three workers is cut, and healed")
async def cut(run: Run) -> list[str]:
    async with wired(run) as (rig, net):
        ledger = await run.load(rig, net.cut, net.heal)
        await rig.until(lambda m: not m["worker_suspect"] and m["pool_workers"] == 3, 5)
        return lost(ledger) + await rig.faults(ledger)


@row("20a", "the way to all workers is cut for a second")
async def cut_all(run: Run) -> list[str]:
    async with wired(run) as (rig, net):
        rig.kill("near")
        await rig.until(lambda m: m["pool_workers"] == 2, 5)

        async def fault() -> None:
            net.cut()
            await asyncio.sleep(1.0)
            net.heal()

        ledger = await run.load(rig, fault)
        return lost(ledger) + await rig.faults(ledger)


@row("21", "two of three workers are not heard, and hear")
async def not_heard(run: Run) -> list[str]:
    async with wired(run) as (rig, net):
        ledger = await run.load(rig, lambda: net.cut("up"), net.heal)
        return lost(ledger) + await rig.faults(ledger)


@row("21d", "two of three workers do not hear, and are heard")
async def not_hearing(run: Run) -> list[str]:
    async with wired(run) as (rig, net):
        ledger = await run.load(rig, lambda: net.cut("down"), net.heal)
        return lost(ledger) + await rig.faults(ledger)


@row("22", "connections are reset in the midst of messages")
async def reset(run: Run) -> list[str]:
    async with wired(run) as (rig, net):

        async def fault() -> None:
            for _ in range(5):
                net.reset()
                await asyncio.sleep(0.2)

        ledger = await run.load(rig, fault)
        return lost(ledger) + await rig.faults(ledger)


@row("23", "200 ms more each way, and 1 Mbit/s")
async def slow(run: Run) -> list[str]:
    async with wired(run) as (rig, net):
        net.delay_s, net.bytes_a_second = SLOW_S, SLOW_BYTES_A_SECOND
        ledger = await run.load(rig)
        counted = await rig.metrics()
        run.notes.append(f"{counted['pool_redelivered']:g} redelivered")
        found = [] if counted["pool_workers"] == 3 else ["a worker was given up"]
        return found + lost(ledger) + await rig.faults(ledger)


@row("24", "clients that say nothing")
async def silent(run: Run) -> list[str]:
    async with run.rig() as rig:
        quiet = [await connect(rig.url) for _ in range(40)]
        for each in quiet:
            await each.send(b"GET / HT")
        ledger = await run.load(rig)
        for each in quiet:
            each.close()
        return lost(ledger) + await rig.faults(ledger)
