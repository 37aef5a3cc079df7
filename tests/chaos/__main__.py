"""Run rows of the matrix, and print which of them have passed."""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import time

import pytest

from tests.chaos.playing import MUTANTS, ROWS, Row, play


def main() -> int:
    """Return 0 if each row has passed and each broken build was caught."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--rows", default=",".join(ROWS), help="such as 1,2,cpu")
    parser.add_argument("--count", type=int, default=2000, help="how many requests a row has")
    parser.add_argument("--no-mutants", action="store_true")
    given = parser.parse_args()
    print(f"seed {given.seed}, {given.count} requests a row")
    bad = 0
    for number in filter(None, given.rows.split(",")):
        bad += not show(ROWS[number], given.seed, given.count)
    for mutant, number in {} if given.no_mutants else MUTANTS.items():
        bad += not show(ROWS[number], given.seed, given.count, mutant)
    print(f"{bad} not as they must be" if bad else "all as they must be")
    return bool(bad)


def show(row: Row, seed: int, count: int, mutant: str = "") -> bool:
    """Run a row, print a line about it, and tell whether it is as it must be."""
    began = time.monotonic()
    try:
        faults, notes = asyncio.run(play(row, seed, count, mutant))
    except pytest.skip.Exception as skipped:
        print(f"{row.number:>5}  skip    {row.title}: {skipped}", flush=True)
        return True
    is_good = bool(faults) if mutant else not faults
    word = ("caught" if mutant else "pass") if is_good else "FAIL"
    title = f"broken build '{mutant}'" if mutant else row.title
    said = "; ".join([*notes, *faults])
    print(
        f"{row.number:>5}  {word:6}  {title}  [{time.monotonic() - began:.1f} s]  {said}",
        flush=True,
    )
    return is_good


if __name__ == "__main__":
    sys.exit(main())
