"""Faults of several machines: a second one whose cable is pulled, a cluster that loses a server."""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress

import pytest

from tests.chaos.matrix import Run, lost, row
from tests.chaos.rig import Rig
from tests.providers.nats.conftest import Server
from tests.stories.processes import free_ports

CUT_S = 2.0
"""How long a machine is away: several leases."""


class Machine:
    """Another machine, as far as the network goes: a namespace with a cable to it."""

    def __init__(self, pid: int, cable: str, near: str) -> None:
        self.near = near  # our address, as it sees us
        self.within = ("nsenter", "-t", str(pid), "-n", "--")
        self._cable = cable

    async def away(self) -> None:
        """Pull the cable, and put it back later."""
        await asyncio.to_thread(_do, "ip", "link", "set", self._cable, "down")
        await asyncio.sleep(CUT_S)
        await asyncio.to_thread(_do, "ip", "link", "set", self._cable, "up")


def _do(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=10)


@contextmanager
def machine() -> Iterator[Machine]:
    """Make a second machine; skip the row where there can be none."""
    if missing := [each for each in ("ip", "nsenter", "unshare") if not shutil.which(each)]:
        pytest.skip(f"a second machine needs the command '{missing[0]}'")
    if os.geteuid() != 0:
        pytest.skip("only root makes a second machine")
    name = secrets.token_hex(4)
    cable, end = f"pn{name}", f"pf{name}"
    third, fourth = secrets.randbelow(256), 4 * secrets.randbelow(64)
    near, far = (f"198.18.{third}.{fourth + number}" for number in (1, 2))  # RFC 2544: for tests
    holder = subprocess.Popen(
        ["unshare", "-n", "sh", "-c", "echo made; exec sleep 600"], stdout=subprocess.PIPE
    )
    try:
        assert holder.stdout is not None
        if not holder.stdout.readline():
            pytest.skip("the system makes no network namespaces")
        made = Machine(holder.pid, cable, near)
        peer = ("peer", "name", end, "netns", str(holder.pid))
        _do("ip", "link", "add", cable, "type", "veth", *peer)
        _do("ip", "address", "add", f"{near}/30", "dev", cable)
        _do("ip", "link", "set", cable, "up")
        _do(*made.within, "ip", "address", "add", f"{far}/30", "dev", end)
        _do(*made.within, "ip", "link", "set", end, "up")
        yield made
    finally:
        with suppress(subprocess.CalledProcessError):
            _do("ip", "link", "delete", cable)
        holder.kill()
        holder.communicate()


@asynccontextmanager
async def two_machines(run: Run) -> AsyncIterator[tuple[Rig, Machine]]:
    """Run a front, a server and a worker here, and two workers on a second machine."""
    with machine() as far:
        server = await asyncio.to_thread(Server, run.folder, host=far.near)
        try:
            async with run.rig(*_over(server), workers=0) as rig:
                await rig.add("near")
                await rig.add("far-1", "far-2", within=far.within)
                yield rig, far
        finally:
            server.kill()


def _over(*servers: Server) -> tuple[str, ...]:
    """Return what makes the pool of the service one over some servers."""
    urls = ", ".join(f"'{each.url}'" for each in servers)
    pool = ("workers.math.transport:nats", "workers.math.connection:main")
    return (*pool, f"nats.connections.main.servers:[{urls}]")


@row("m1", "the cable to a machine with two of three workers is pulled, and put back, over NATS")
async def cable(run: Run) -> list[str]:
    async with two_machines(run) as (rig, far):
        ledger = await run.load(rig, far.away)
        await rig.until(lambda m: m["pool_workers"] == 3 and not m["worker_suspect"], 15)
        return lost(ledger) + await rig.faults(ledger)


@row("m2", "the same, while there is no other worker; the deadline is longer than that lasts")
async def cable_of_all(run: Run) -> list[str]:
    async with two_machines(run) as (rig, far):
        rig.kill("near")
        ledger = await run.load(rig, far.away, patience_s=20.0)
        return lost(ledger) + await rig.faults(ledger)


@asynccontextmanager
async def cluster(run: Run) -> AsyncIterator[list[Server]]:
    """Run three servers that keep everything together."""
    ports = free_ports(3)
    routes = ", ".join(f"nats://127.0.0.1:{port}" for port in ports)
    servers: list[Server] = []
    try:
        for number, port in enumerate(ports):
            folder = run.folder / f"nats-{number}"
            folder.mkdir()
            mesh = f"name: c, listen: 127.0.0.1:{port}, routes: [{routes}]"
            more = f"server_name: s{number}\ncluster {{ {mesh} }}"
            servers.append(await asyncio.to_thread(Server, folder, more))
        yield servers
    finally:
        for each in servers:
            each.kill()


@row("31c", "one of three NATS servers of a cluster is killed -9")
async def kill_one_server(run: Run) -> list[str]:
    async with cluster(run) as servers:
        kept = ("workers.math.replicas:3", "workers.math.deadline:20s")
        async with run.rig(*_over(*servers), *kept) as rig:
            victim = run.random.choice(servers)
            ledger = await run.load(rig, lambda: asyncio.to_thread(victim.kill), patience_s=25.0)
            return lost(ledger) + await rig.faults(ledger)
