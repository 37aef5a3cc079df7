"""Plays a row of the matrix, or a row with a build that is broken on purpose."""

from __future__ import annotations

import asyncio
import random
import tempfile
from pathlib import Path
from typing import Final

import pytest

from tests.chaos import of_fronts, of_jobs, of_machines, of_nats, of_nets, of_workers
from tests.chaos.matrix import ROWS, Row, Run

__all__ = ["MUTANTS", "ROWS", "Row", "play"]

READ: Final = (
    of_workers,
    of_fronts,
    of_nets,
    of_nats,
    of_jobs,
    of_machines,
)  # which has filled the table
LONGEST_S: Final = 120.0

MUTANTS: Final = {"no-redelivery": "1", "no-dedupe": "6", "reused-ids": "0", "no-admission": "full"}
"""The broken builds, and the row that must catch each: else the matrix is worth nothing."""


async def play(row: Row, seed: int, count: int, mutant: str = "") -> tuple[list[str], list[str]]:
    """Run a row; return what was not as it must be, and what was measured."""
    with tempfile.TemporaryDirectory(prefix="chaos-", ignore_cleanup_errors=True) as folder:
        run = Run(Path(folder), count, random.Random(f"{seed}/{row.number}"), mutant=mutant)
        if mutant:
            run.patience_s = 2.0
        try:
            async with asyncio.timeout(LONGEST_S):
                return await row.play(run), run.notes
        except (Exception, pytest.fail.Exception) as error:
            return [f"{type(error).__name__}: {str(error)[:200]}"], run.notes
