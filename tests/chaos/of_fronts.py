"""Faults of the front, of its clients and of its clock."""

from __future__ import annotations

import asyncio

from piped.cli._demo.client import get
from tests.chaos.ledger import Ledger, connect
from tests.chaos.matrix import Run, lost, row
from tests.chaos.rig import Rig
from tests.providers.web.support import request_bytes


@row("10", "a worker that is spawned crashes at its start")
async def crash_loop(run: Run) -> list[str]:
    more = {"options": ("--spawn", "math:1"), "CHAOS_CRASH": "1"}
    async with run.rig(workers=0, **more) as rig:
        await asyncio.to_thread(rig.front.told, '"event":"failed for good"')
        starts = rig.front.stderr.count('"event":"worker started"')
        status, _ = await get(f"{rig.admin}-/ready")
        ledger = await run.load(rig, count=3, patience_s=1.0)
        run.notes.append(f"{starts} starts")
        found = [] if (starts, status) == (5, 503) else [f"{starts} starts, ready: {status}"]
        return found if ledger.ends == {"silent": 3} else [*found, f"ends: {dict(ledger.ends)}"]


@row("12", "the front is killed -9 and started again, the workers stay")
async def kill_front(run: Run) -> list[str]:
    async with run.rig() as rig:
        ledger = Ledger(rig.url, run.count)
        task = asyncio.ensure_future(ledger.run())
        await ledger.reached(1 / 3)
        rig.front.kill()
        await asyncio.sleep(0.1)  # so that all who were under way have seen it
        answered_before = ledger.ends["ok"]
        await rig.start()
        after_s = await rig.until(lambda m: m["pool_workers"] == 3, 5)
        await task
        run.notes.append(f"workers are back after {after_s * 1000:.0f} ms")
        counted = await rig.settled()
        answered = ledger.ends["ok"] - answered_before
        found = [*ledger.faults]
        if counted["pool_parts.answered"] != answered:
            found.append(f"client: {answered} ok, front: {counted['pool_parts.answered']:g}")
        if odd := ledger.ends.keys() - {"ok", "cut", "unreachable"}:
            found.append(f"ends: {odd}")
        return found


@row("13", "SIGTERM of the front under load")
async def end_front(run: Run) -> list[str]:
    async with run.rig() as rig:
        ledger = Ledger(rig.url, run.count)
        task = asyncio.ensure_future(ledger.run())
        await ledger.reached(1 / 3)
        code = await asyncio.to_thread(rig.front.terminated)
        task.cancel()
        await asyncio.wait([task])
        run.notes.append(f"{ledger.ends['ok']} answered")
        found = [*ledger.faults] if code == 0 else [f"exit code {code}"]
        if odd := ledger.ends.keys() - {"ok", "unreachable", "refused"}:
            found.append(f"dropped: { {each: ledger.ends[each] for each in odd} }")
        runs = rig.effects()
        return found if runs.keys() == ledger.right else [*found, "effects and answers differ"]


@row("13w", "SIGTERM of a worker under load")
async def end_worker(run: Run) -> list[str]:
    async with run.rig() as rig:
        worker = rig.workers["w1"]
        ledger = await run.load(rig, lambda: asyncio.to_thread(worker.terminated))
        counted = await rig.settled()
        found = [] if (code := worker.ended()) == 0 else [f"exit code {code}"]
        if counted["pool_redelivered"]:
            found.append(f"redelivered: {counted['pool_redelivered']:g}")
        return found + lost(ledger) + await rig.faults(ledger)


@row("25", "clients leave before their answers")
async def clients_leave(run: Run) -> list[str]:
    async with run.rig() as rig:
        clients = [await connect(rig.url) for _ in range(50)]
        for number, each in enumerate(clients):
            target = f"/?nonce=gone{number}&pipeline=act&act=wait&seconds=4"
            await each.send(request_bytes(target))
        await rig.until(lambda m: m["pool_in_flight"] == 50, 5)
        for each in clients:
            each.reset_when_closed()  # who only says that no more comes, is owed an answer a while
            each.close()
        after_s = await rig.until(lambda m: m["pool_parts.cancelled"] == 50, 2)
        run.notes.append(f"cancelled after {after_s * 1000:.0f} ms")
        ledger = await run.load(rig)
        return lost(ledger) + await rig.faults(ledger)


@row("41", "the wall clock jumps by two hours")
async def clock_jumps(run: Run) -> list[str]:
    async with run.rig(CHAOS_MUTANT="moved-clock") as rig:
        sign = rig.folder / "moved"
        ledger = await run.load(rig, sign.touch, sign.unlink)
        return lost(ledger) + _no_false_alarm(await rig.settled()) + await rig.faults(ledger)


@row("42", "the front is suspended for longer than the deadline")
async def suspended(run: Run) -> list[str]:
    async with run.rig() as rig:
        ledger = await run.load(rig, lambda: _suspend(rig, 6.0), patience_s=12.0)
        run.notes.append(f"{ledger.ends['expired']} expired")
        found = [] if ledger.ends["expired"] <= ledger.connections else ["too many expired"]
        if odd := ledger.ends.keys() - {"ok", "expired"}:
            found.append(f"ends: {odd}")
        return found + await rig.faults(ledger)


@row("42s", "the front is suspended for longer than a lease")
async def suspended_shortly(run: Run) -> list[str]:
    async with run.rig() as rig:
        ledger = await run.load(rig, lambda: _suspend(rig, 2.0))
        counted = await rig.settled()
        found = [] if counted["pool_workers"] == 3 else ["a worker was given up"]
        return found + lost(ledger) + await rig.faults(ledger)


async def _suspend(rig: Rig, seconds: float) -> None:
    rig.front.freeze()
    await asyncio.sleep(seconds)
    rig.front.thaw()


def _no_false_alarm(counted: dict[str, float]) -> list[str]:
    again = counted["pool_redelivered"]
    return [f"redelivered without need: {again:g}"] if again else []
