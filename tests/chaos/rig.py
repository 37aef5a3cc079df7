"""A front and its workers as real processes, and the three ledgers that have to agree."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from tests.chaos.ledger import Ledger, get
from tests.stories.processes import Process, Processes

SERVICE: Final = Path(__file__).parent / "service"
SAMPLE: Final = re.compile(r"^piped_(\w+?)(?:_total)?(?:\{(.*)\})? (\S+)$", re.MULTILINE)
SETTLED_S: Final = 2.0


class Rig:
    """A service under test."""

    def __init__(
        self, folder: Path, processes: Processes, overrides: list[str], environment: dict[str, str]
    ) -> None:
        self.folder = folder
        self.effects_folder = folder / "effects"
        self.effects_folder.mkdir()
        self.listen = f"ipc://{folder}/math"
        self.overrides = overrides
        self.environment = {"CHAOS_EFFECTS": str(self.effects_folder), **environment}
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
        self.url = self._listening("web.site")
        self.admin = self._listening("admin")

    def _listening(self, site: str) -> str:
        for line in self.front.stderr.splitlines():
            said = json.loads(line) if line.startswith("{") else {}
            if said.get("event") == "listening" and said.get("site") == site:
                return str(said["url"])
        raise AssertionError(f"{site} does not listen:\n{self.front.stderr}")

    async def add(self, *names: str, overrides: tuple[str, ...] = (), **environment: str) -> None:
        """Start workers, and wait until the front knows them."""
        for name in names:
            options = [text for each in overrides for text in ("-O", each)]
            worker = self._process(
                "work", "math", "service.yaml", "--name", name, *options, **environment
            )
            self.workers[name] = worker
        for name in names:
            await asyncio.to_thread(self.workers[name].told, '"event":"joined"')

    def _process(self, *arguments: str, **environment: str) -> Process:
        overrides = [f"workers.math.listen:{self.listen}", *self.overrides]
        options = [text for each in overrides for text in ("-O", each)]
        command, *rest = arguments
        return self._processes(
            command, *options, *rest, cwd=self.folder, **{**self.environment, **environment}
        )

    def kill(self, name: str) -> None:
        """Kill a worker, -9."""
        self.workers.pop(name).send(signal.SIGKILL)

    def is_dead(self, name: str) -> bool:
        """Tell whether the process of a worker has ended."""
        return self.workers[name]._popen.poll() is not None

    async def metrics(self) -> dict[str, float]:
        """Return what the front has counted: ``pool_parts.answered`` and so on."""
        status, text = await get(self.admin, "/metrics")
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
        lines = (each.read_text().splitlines() for each in self.effects_folder.iterdir())
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
        if sum(ends.values()) != ledger.count:
            found.append(f"{ledger.count} requests, {sum(ends.values())} ends")
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
        made = Rig(folder, processes, list(overrides), environment)
        made.listen = listen or made.listen
        await made.start(*options)
        await made.add(*(f"w{number}" for number in range(1, workers + 1)))
        yield made
    finally:
        await asyncio.to_thread(processes.kill)
