"""What the workers of the tested service do, and the broken builds that the tests must catch.

Read by the document in this folder only. ``CHAOS_EFFECTS`` is the folder where each process tells
what it has run, ``CHAOS_MUTANT`` the name of a broken build, ``CHAOS_WORK_S`` how long work takes,
``CHAOS_COMPUTE`` whether it computes, and ``CHAOS_CRASH`` whether workers end at their start.
"""

from __future__ import annotations

import asyncio
import ctypes
import importlib
import itertools
import os
import sys
import time
from collections.abc import Callable
from typing import Any, Final

WORK_S: Final = float(os.environ.get("CHAOS_WORK_S", "0.002"))


def work(baton: dict[str, Any]) -> dict[str, Any]:
    """Keep the loop busy for a moment."""
    tell(baton)
    if os.environ.get("CHAOS_COMPUTE"):
        until = time.thread_time() + WORK_S
        while time.thread_time() < until:
            pass
    else:
        time.sleep(WORK_S)
    return answer(baton)


async def act(baton: dict[str, Any]) -> dict[str, Any]:
    """Do what a baton asks for."""
    tell(baton)
    what, seconds = baton["act"], float(baton.get("seconds", "0"))
    if what == "die":
        os._exit(1)
    elif what == "wait":
        await asyncio.sleep(seconds)
    elif what == "hold":  # the GIL, in C, so that no thread of Python's can do anything
        ctypes.PyDLL(None).usleep(int(seconds * 1e6))
    return answer(baton)


def answer(baton: dict[str, Any]) -> dict[str, Any]:
    return {"nonce": baton["nonce"], "pid": os.getpid()}


def tell(baton: dict[str, Any]) -> None:
    """Write down that a part is run; what one process writes is there even if it is killed."""
    folder = os.environ["CHAOS_EFFECTS"]
    with open(f"{folder}/{os.getpid()}", "a", encoding="ascii") as file:
        file.write(f"{baton['nonce']} {baton['key']}\n")


def without_redelivery() -> None:
    """Parts of the dead are forgotten."""
    module("dispatcher").Dispatcher._again_after = lambda *_args, **_more: None


def without_dedupe() -> None:
    """Whatever comes for a part that was open is taken for its answer."""
    kind = module("dispatcher").Dispatcher
    keep = kind._close

    def close(self: Any, part: Any, **more: Any) -> None:
        keep(self, part, **more)
        self._open[part.id] = part

    kind._close = close
    kind._is_wanted = lambda self, _address, answer: answer.id in self._open


def reused_ids() -> None:
    """Ids come round again soon, as those of objects do: while a worker still has the first."""
    count = itertools.count()
    module("parts").Ids.__call__ = lambda _self: (next(count) % 3).to_bytes(16, "big")


def without_admission() -> None:
    """Nothing is refused."""
    kind = module("dispatcher").Dispatcher
    admit = kind._admit

    def admit_any(self: Any, *args: Any) -> Any:
        rules = self._rules
        limits = rules.max_pending, rules.max_pending_bytes
        rules.max_pending = rules.max_pending_bytes = 1 << 60
        try:
            return admit(self, *args)
        finally:
            rules.max_pending, rules.max_pending_bytes = limits

    kind._admit = admit_any


def module(name: str) -> Any:
    """Return the module that is to be broken."""
    return importlib.import_module(f"piped.workers.{name}")


def moved_clock() -> None:
    """The wall clock is two hours ahead as soon as a file says so."""
    wall, sign = time.time, f"{os.environ['CHAOS_EFFECTS']}/../moved"
    time.time = lambda: wall() + (7200.0 if os.path.exists(sign) else 0.0)


MUTANTS: Final[dict[str, Callable[[], None]]] = {
    "no-redelivery": without_redelivery,
    "no-dedupe": without_dedupe,
    "reused-ids": reused_ids,
    "no-admission": without_admission,
    "moved-clock": moved_clock,
}

if os.environ.get("CHAOS_CRASH") and "work" in sys.argv:
    os._exit(1)
if name := os.environ.get("CHAOS_MUTANT"):
    MUTANTS[name]()
