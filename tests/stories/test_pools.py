"""Pools of workers as real processes: killed, frozen, ended under load, and lied to.

The short form of ``make chaos``: fewer requests a fault, and only the faults that say most.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
from pathlib import Path
from typing import Final

import pytest

from tests.chaos.ledger import Ledger
from tests.chaos.matrix import lost
from tests.chaos.playing import MUTANTS, ROWS, play
from tests.chaos.rig import Rig, rig

SHORT: Final = {
    "0": 2000,
    "1": 600,
    "2": 600,
    "3": 400,
    "5": 300,
    "9": 600,
    "12": 600,
    "13w": 400,
    "8": 300,
}
SEED: Final = 4
SPAWN: Final = ("--spawn", "math:2")


@pytest.mark.parametrize("number", SHORT, ids=lambda number: ROWS[number].title)
def test_nothing_is_lost_or_doubled_or_crossed(number: str) -> None:
    faults, _ = asyncio.run(play(ROWS[number], SEED, SHORT[number]))

    assert faults == []


@pytest.mark.parametrize("mutant", ["no-dedupe", "reused-ids", "no-admission"])
def test_a_build_that_is_broken_is_caught(mutant: str) -> None:
    faults, _ = asyncio.run(play(ROWS[MUTANTS[mutant]], SEED, 300, mutant))

    assert faults != []


def test_all_is_answered_when_both_spawned_workers_are_killed(tmp_path: Path) -> None:
    async def story() -> list[str]:
        async with rig(tmp_path, workers=0, options=SPAWN) as made:
            await made.until(lambda m: m["pool_workers"] == 2, 10)
            ledger = Ledger(made.url, 600)
            task = asyncio.ensure_future(ledger.run())
            await ledger.reached(1 / 3)
            for pid in spawned(made):
                os.kill(pid, signal.SIGKILL)
            await task
            return lost(ledger) + await made.faults(ledger)

    assert asyncio.run(story()) == []


def test_a_front_that_is_asked_to_end_ends_all_that_is_under_way_and_its_workers(
    tmp_path: Path,
) -> None:
    async def story() -> tuple[int, Ledger, Rig]:
        async with rig(tmp_path, workers=0, options=SPAWN) as made:
            await made.until(lambda m: m["pool_workers"] == 2, 10)
            ledger = Ledger(made.url, 600)
            task = asyncio.ensure_future(ledger.run())
            await ledger.reached(1 / 3)
            code = await asyncio.to_thread(made.front.terminated)
            task.cancel()
            await asyncio.wait([task])
            return code, ledger, made

    code, ledger, made = asyncio.run(story())

    assert code == 0
    assert ledger.ends.keys() <= {"ok", "unreachable"}
    assert made.effects().keys() == ledger.right
    assert [pid for pid in spawned(made) if Path(f"/proc/{pid}").exists()] == []


def spawned(made: Rig) -> list[int]:
    """Return the numbers of the processes that a front has started."""
    found = re.findall(r'"event":"worker started".*"pid":(\d+)', made.front.stderr)
    return [int(each) for each in found]
