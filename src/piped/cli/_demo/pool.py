"""The second act: the same service by a pool, under load, one of whose workers is killed."""

from __future__ import annotations

import json
import os
import re
import signal
import tempfile
from asyncio import TaskGroup
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from piped.cli._demo.client import CONNECTIONS, Load, get
from piped.cli._demo.stage import Child, NotAsSaid, duration, say, start, stop
from piped.spec.imports import NotInstalled, import_shipped

WORKERS: Final = ("math-1", "math-2", "math-3")
VICTIM: Final = "math-2"
FREE: Final = {"DEMO_PORT": "0", "DEMO_ADMIN": "127.0.0.1:0"}
REDELIVERED: Final = re.compile(rb"^piped_pool_redelivered_total\{.*\} (\S+)$", re.M)


@dataclass(frozen=True, slots=True)
class Act:
    """One way to carry the parts of the pool."""

    title: str
    requests: int
    overrides: Callable[[str], tuple[str, ...]] = lambda _folder: ()
    why_not: Callable[[], str] = lambda: ""


def over_nats(folder: str) -> tuple[str, ...]:
    """Return what makes the pool use a server of its own, with its files in a folder."""
    embedded = json.dumps({"store": folder})
    connection = f"nats.connections.main.embedded:{embedded}"
    return ("workers.math.transport:nats", "workers.math.connection:main", connection)


def why_no_nats() -> str:
    """Return what is missing for a NATS server of one's own; '' if nothing is."""
    try:
        embedded = import_shipped("piped.providers.nats.embedded")
    except NotInstalled as error:
        return f"{error}: {error.hint}"
    missing = "nats-server is not installed: install piped-server[embedded-nats]"
    return "" if embedded.program() else missing


ZEROMQ: Final = Act("the same service by a pool of three workers", 3000)
NATS: Final = Act("the same pool over a NATS server", 1500, over_nats, why_no_nats)
ACTS: Final = (ZEROMQ, NATS)


async def play(act: Act, documents: Path, children: list[Child], group: TaskGroup) -> None:
    """Load a pool, kill one of its workers in the midst of it, and count what was lost."""
    # Whoever still writes in the folder, it is gone at the end.
    with tempfile.TemporaryDirectory(prefix="piped-", ignore_cleanup_errors=True) as folder:
        options = ["--spawn", f"math:{len(WORKERS)}"]
        options += [f"--override={each}" for each in act.overrides(folder)]
        service = await start("service", documents / "pool.yaml", options, FREE)
        children.append(service)
        group.create_task(service.read())
        victim = await all_started(service)
        url = (await service.told("listening", site="web.site"))["url"]
        admin = (await service.told("listening", site="admin"))["url"]
        say("listening", url)
        load = await load_and_kill(url, act.requests, victim)
        slowest = duration(load.slowest_s)
        say("answered", f"{load.answered} requests, lost {load.lost}; the slowest after {slowest}")
        say("sent again", f"{await redelivered(admin)} of the parts, to other workers")
        if load.lost:
            raise NotAsSaid(f"expected no lost requests, got {load.lost}")
        await stop([service], "the service and its workers")


async def all_started(service: Child) -> int:
    """Wait until the front and each worker have said that they run; return whom to kill."""
    await service.told("started")
    for name in WORKERS:
        await service.told("started", worker=name)
    pid: int = (await service.told("worker started", worker=VICTIM))["pid"]
    return pid


async def load_and_kill(url: str, count: int, victim: int) -> Load:
    """Send many requests, and kill a process when half of them are answered."""
    load = Load(url, count)
    say(
        "loading",
        f"{count} requests over {CONNECTIONS} connections, each with two parts for workers",
    )
    async with TaskGroup() as group:
        group.create_task(load.run())
        await load.is_half_done.wait()
        say("killing", f"{VICTIM:8} process {victim}, with kill -9")
        os.kill(victim, signal.SIGKILL)
    return load


async def redelivered(admin: str) -> int:
    """Return how many parts were sent again, as the metrics say."""
    _, text = await get(f"{admin}metrics")
    found = REDELIVERED.search(text)
    if found is None:
        raise NotAsSaid("expected the metrics of the pool")
    return int(float(found[1]))
