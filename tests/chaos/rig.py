"""A front and its workers as real processes, and the three ledgers that have to agree."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from piped.cli._demo.client import get
from tests.chaos.ledger import Ledger
from tests.stories.processes import Process, Processes

SERVICE: Final = Path(__file__).parent / "service"
SAMPLE: Final = re.compile(r"^piped_(\w+?)(?:_total)?(?:\{(.*)\})? (\S+)$", re.MULTILINE)
SETTLED_S: Final = 2.0


class Rig:
    """A service under test."""

    def __init__(
        self,
        folder: Path,
        processes: Processes,
        listen: str,
        overrides: tuple[str, ...],
        environment: dict[str, str],
    ) -> None:
        self.folder = folder
        self.listen = listen
        self._effects = folder / "effects"
        self._effects.mkdir()
        self._overrides = (f"workers.math.listen:{listen}", *overrides)
        self._environment = {"CHAOS_EFFECTS": str(self._effects), **environment}
        self.workers: dict[str, Process] = {}
        self._processes = processes
        self.front: Process
        self.url = self.admin = ""

    async def start(self, *options: str) -> None:
        """Start the front, at the addresses that it had if it ran already."""
        shutil.copytree(SERVICE, self.folder, dirs_exist_ok=True)
        await asyncio.to_thread(self._start, options)

    def _start(self, options: tuple[str, ...]) -> None:
        if self.url:
            options = (*options, "-O", f"web.site.port:{self.url.rsplit(':', 1)[1].strip('/')}")
        self.front = self._process("run", "service.yaml", *options)
        self.front.started()
        self.url = self.front.url("web.site")
        self.admin = self.front.url("admin")

    async def add(
        self,
        *names: str,
        overrides: tuple[str, ...] = (),
        within: Sequence[str] = (),
        **environment: str,
    ) -> None:
        """Start workers, here or elsewhere, and wait until the front knows them."""
        for name in names:
            self.workers[name] = self._process(
                *("work", "math", "service.yaml", "--name", name),
                overrides=overrides,
                within=within,
                **environment,
            )
        for name in names:
            await asyncio.to_thread(self.workers[name].told, '"event":"joined"')

    def _process(
        self,
        *arguments: str,
        overrides: tuple[str, ...] = (),
        within: Sequence[str] = (),
        **environment: str,
    ) -> Process:
        options = [text for each in (*self._overrides, *overrides) for text in ("-O", each)]
        return self._processes(
            *(*arguments, *options),
            cwd=self.folder,
            within=within,
            **{**self._environment, **environment},
        )

    def kill(self, name: str) -> None:
        """Kill a worker, -9."""
        self.workers.pop(name).send(signal.SIGKILL)

    async def metrics(self) -> dict[str, float]:
        """Return what the front has counted: ``pool_parts.answered`` and so on."""
        status, text = await get(f"{self.admin}metrics")
        assert status == 200, text
        found: dict[str, float] = defaultdict(float)
        for name, labels, value in SAMPLE.findall(text.decode()):
            kind = re.search(r'(?:outcome|reason)="(\w+)"', labels or "")
            found[f"{name}.{kind[1]}" if kind else name] += float(value)
        return found

    async def until(self, holds: Callable[[dict[str, float]], object], within_s: float) -> float:
        """Wait until the counters of the front are so; return how many seconds that took."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        while not holds(counted := await self.metrics()):
            if loop.time() - began > within_s:
                raise AssertionError(f"not in {within_s:g} s: {counted}")
            await asyncio.sleep(0.02)
        return loop.time() - began

    async def settled(self) -> dict[str, float]:
        """Wait until nothing is pending any more, and return the counters."""
        await self.until(lambda m: not m["pool_depth"] + m["pool_in_flight"], SETTLED_S)
        return await self.metrics()

    def effects(self) -> Counter[str]:
        """Return how often the part of each nonce was run."""
        lines = (each.read_text().splitlines() for each in self._effects.iterdir())
        return Counter(line.split()[0] for some in lines for line in some)

    async def faults(self, ledger: Ledger, *, elsewhere: int = 0, forged: int = 0) -> list[str]:
        """Return where client, front and workers do not agree; nothing if they do to the unit.

        Args:
            ledger: All that the client has asked of this front.
            elsewhere: How many parts went to workers that write nothing down.
            forged: How many answers were forged.
        """
        since, found = await self.settled(), list(ledger.faults)
        ends, effects = ledger.ends, self.effects()
        for end, name in (("ok", "answered"), ("refused", "refused"), ("expired", "expired")):
            if ends[end] != since[f"pool_parts.{name}"]:
                found.append(f"client: {ends[end]} {end}, front: {since[f'pool_parts.{name}']:g}")
        parts = ("answered", "failed", "expired", "cancelled", "set_aside")
        ended = sum(since[f"pool_parts.{name}"] for name in parts)
        if since["pool_submitted"] != ended:
            found.append(f"{since['pool_submitted']:g} parts taken, {ended:g} ended")
        if ends.total() != ledger.count:
            found.append(f"{ledger.count} requests, {ends.total()} ends")
        if (missing := len(ledger.right - effects.keys())) > elsewhere:
            found.append(f"{missing} answered that no worker has run")
        extra = sum(effects.values()) - len(effects)
        if extra > since["pool_redelivered"]:
            found.append(f"{extra} runs too many, {since['pool_redelivered']:g} redelivered")
        if since["pool_answers_dropped.forged"] != forged:
            found.append(f"forged: {since['pool_answers_dropped.forged']:g}")
        return found


def rss_mib(pid: int) -> float:
    """Return how much memory a process has."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


@asynccontextmanager
async def rig(
    folder: Path,
    *overrides: str,
    workers: int = 3,
    options: tuple[str, ...] = (),
    listen: str = "",
    **environment: str,
) -> AsyncIterator[Rig]:
    """Run a front and some workers; all of them are killed at the end."""
    processes = Processes()
    try:
        listen = listen or f"ipc://{folder}/math"
        made = Rig(folder, processes, listen, overrides, environment)
        await made.start(*options)
        await made.add(*(f"w{number}" for number in range(1, workers + 1)))
        yield made
    finally:
        await asyncio.to_thread(processes.kill)
