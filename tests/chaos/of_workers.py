"""Faults of workers."""

from __future__ import annotations

import asyncio

from tests.chaos.ledger import Ledger
from tests.chaos.matrix import LEASE_S, NOTICED_S, Run, lost, row, slower
from tests.chaos.peers import answers_twice, dealer, forges, keeps, stranger
from tests.chaos.rig import rss_mib

BASE_S = 0.5
"""What a request may take that waits for its turn behind others, on a busy machine."""


@row("0", "no fault")
async def nothing(run: Run) -> list[str]:
    async with run.rig() as rig:
        ledger = await run.load(rig)
        return lost(ledger) + await rig.faults(ledger)


@row("1", "one of three workers is killed -9")
async def kill_one(run: Run) -> list[str]:
    async with run.rig() as rig:
        ledger = await run.load(rig, lambda: rig.kill("w1"))
        late = slower(ledger, LEASE_S + NOTICED_S + BASE_S)
        return lost(ledger) + late + await rig.faults(ledger)


@row("2", "one of three workers is frozen, and thawed later")
async def freeze_one(run: Run) -> list[str]:
    async with run.rig() as rig:
        worker = rig.workers["w1"]
        ledger = await run.load(rig, worker.freeze)
        worker.thaw()
        await asyncio.sleep(0.5)  # so that what it has done meanwhile comes late
        late = slower(ledger, LEASE_S + NOTICED_S + BASE_S)
        return lost(ledger) + late + await rig.faults(ledger)


@row("3", "all workers are killed, others come")
async def kill_all(run: Run) -> list[str]:
    async with run.rig() as rig:

        async def fault() -> None:
            for name in list(rig.workers):
                rig.kill(name)
            await asyncio.sleep(1.0)
            await rig.add("w4", "w5")

        ledger = await run.load(rig, fault)
        return lost(ledger) + await rig.faults(ledger)


@row("4", "one of three workers is ten times as slow")
async def slow_one(run: Run) -> list[str]:
    async with run.rig(workers=2) as rig:
        await rig.add("slow", CHAOS_WORK_S="0.02")
        ledger = await run.load(rig)
        return lost(ledger) + slower(ledger, 1.0) + await rig.faults(ledger)


@row("5", "a part kills its workers")
async def poison(run: Run) -> list[str]:
    async with run.rig(workers=4) as rig:
        bad = Ledger(rig.url, 1, "act", {"act": "die"})
        ledger = await run.load(rig, bad.run)
        counted = await rig.settled()
        dead = [name for name, each in rig.workers.items() if each.has_ended]
        run.notes.append(f"{len(dead)} workers dead")
        # Two deaths count; one that dies before it could say what it runs is a third.
        found = [] if 2 <= len(dead) <= 3 else [f"dead workers: {dead}"]
        if bad.ends != {"status 500": 1}:
            found.append(f"the poison: {dict(bad.ends)}")
        if counted["pool_parts.set_aside"] != 1:
            found.append(f"set aside: {counted['pool_parts.set_aside']:g}")
        return found + lost(ledger) + await rig.faults(ledger)


@row("6", "a worker answers twice")
async def twice(run: Run) -> list[str]:
    async with run.rig(workers=1) as rig, stranger(rig.listen, answers_twice) as peer:
        ledger = await run.load(rig)
        double = (await rig.settled())["pool_answers_dropped.double"]
        found = [] if double == len(peer.got) > 0 else [f"double: {double:g} of {len(peer.got)}"]
        return found + lost(ledger) + await rig.faults(ledger, elsewhere=len(peer.got))


@row("7", "workers answer after the deadline")
async def too_late(run: Run) -> list[str]:
    async with run.rig("workers.math.deadline:200ms", CHAOS_WORK_S="0.4") as rig:
        ledger = await run.load(rig, count=3, connections=3)
        await rig.until(lambda m: m["pool_answers_dropped.late"] == 3, 2)
        found = [] if ledger.ends == {"expired": 3} else [f"ends: {dict(ledger.ends)}"]
        return found + await rig.faults(ledger)


@row("8", "a worker forges answers")
async def forged(run: Run) -> list[str]:
    async with run.rig(workers=1) as rig, stranger(rig.listen, forges) as peer:
        ledger = await run.load(rig)
        counted = (await rig.settled())["pool_answers_dropped.forged"]
        expected = 2 * len(peer.got)
        found = [] if counted == expected > 0 else [f"forged: {counted:g}, not {expected}"]
        faults = await rig.faults(ledger, elsewhere=len(peer.got), forged=expected)
        return found + lost(ledger) + faults


@row("9", "garbage, 64 MiB, 10 000 frames, pickles")
async def garbage(run: Run) -> list[str]:
    async with run.rig() as rig:
        before = rss_mib(rig.front.pid)

        async def fault() -> None:
            for message in (
                [b""],
                [b"\x01"],
                [b"\x63not a version"],
                [b"\x80\x04\x95\x1f\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x8c\x06system\x93."],
                [run.random.randbytes(1000)],
                [b"\x01" + b"\x91" * 100_000],
                [b"x"] * 10_000,
                [bytes(64 << 20)],
            ):
                async with dealer(rig.listen) as socket:
                    socket.send_multipart(message)
                    await asyncio.sleep(0.1)  # nothing tells that it has been looked at

        ledger = await run.load(rig, fault)
        more = rss_mib(rig.front.pid) - before
        run.notes.append(f"{more:+.0f} MiB")
        found = [] if more < 32 else [f"{more:.0f} MiB more"]
        return found + lost(ledger) + await rig.faults(ledger)


@row("11", "a worker takes parts and never answers")
async def leaks(run: Run) -> list[str]:
    async with run.rig(workers=2) as rig, stranger(rig.listen, keeps) as peer:
        ledger = await run.load(rig)
        run.notes.append(f"{len(peer.got)} parts taken")
        most = [] if len(peer.got) <= 16 else [f"it was given {len(peer.got)} parts"]
        late = slower(ledger, LEASE_S + NOTICED_S + BASE_S)
        return most + late + lost(ledger) + await rig.faults(ledger)


@row("cpu", "a healthy job of 2 s of computing, in a blocking pool, runs once")
async def computing(run: Run) -> list[str]:
    overrides = ("workers.math.blocking:true", "workers.math.pipelines:[work]")
    async with run.rig(*overrides, workers=2, CHAOS_COMPUTE="1", CHAOS_WORK_S="2") as rig:
        ledger = await run.load(rig, count=1, connections=1)
        runs = sum(rig.effects().values())
        found = [] if runs == 1 else [f"ran {runs} times"]
        return found + lost(ledger) + await rig.faults(ledger)


@row("gil", "a job holds the GIL in C for longer than a lease")
async def holds_gil(run: Run) -> list[str]:
    async with run.rig() as rig:
        more = {"act": "hold", "seconds": "1"}
        bad = Ledger(rig.url, 1, "act", more)
        ledger = await run.load(rig, bad.run)
        both = Ledger(rig.url, ledger.count + 1)
        both.ends, both.right = ledger.ends + bad.ends, ledger.right | bad.right
        return lost(both) + slower(ledger, 1.0) + await rig.faults(both)


@row("full", "more requests than the pool takes")
async def full(run: Run) -> list[str]:
    async with run.rig("workers.math.max_pending:8") as rig:
        ledger = Ledger(rig.url, run.count, connections=64)
        task = asyncio.ensure_future(ledger.run())
        deepest = 0.0
        while not task.done():
            counted = await rig.metrics()
            deepest = max(deepest, counted["pool_depth"] + counted["pool_in_flight"])
        found = [] if deepest <= 8 else [f"{deepest:g} parts pending, allowed 8"]
        if not ledger.ends["refused"]:
            found.append("nothing was refused")
        return found + await rig.faults(ledger)
