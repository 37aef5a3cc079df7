"""`piped demo`: the first experience, a distributed service that loses a worker and says so."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import click

from piped.cli.options import EXIT_FAILED, new_runner

DOCUMENTS: Final = Path(__file__).parent.parent / "demo"
ADDRESSES: Final = ("SUM_JOBS", "SUM_ANSWERS", "SQUARE_JOBS", "SQUARE_ANSWERS")
RIGHT: Final = {"sum": 385, "square": 3025, "diff": 2640}
FALLBACK: Final = {"success": False}
PATIENCE_S: Final = 14.0


class NotAsSaid(Exception):
    """Raised when the demo does not see what it has promised."""


@dataclass(slots=True)
class Child:
    """One process of the service, and the last lines of its log."""

    name: str
    process: asyncio.subprocess.Process
    started: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    lines: deque[str] = field(default_factory=lambda: deque(maxlen=20))

    async def read(self) -> None:
        """Keep the log, and note when the process says that it has started."""
        assert self.process.stderr is not None
        try:
            async for line in self.process.stderr:
                self.lines.append(line.decode(errors="replace").rstrip())
                if '"event":"started"' in self.lines[-1]:
                    self.started.set()
        finally:
            self.started.set()
            self.ended.set()

    async def end(self) -> None:
        """Kill the process where it still runs, and wait for the end of its log."""
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()
        await self.ended.wait()


@click.command("demo", context_settings={"help_option_names": ["-h", "--help"]})
def command() -> None:
    """Start a server and two workers, ask them, freeze a worker, thaw it, stop all.

    Exit code 0 when all was as it should be.
    """
    children: list[Child] = []
    reasons: list[str] = []
    with new_runner() as runner:
        try:
            runner.run(show(children))
        except* (NotAsSaid, OSError) as group:
            reasons += [str(each) or "it took too long" for each in leaves(group)]
    if reasons:
        click.echo(f"\nnot as said: {reasons[0]}", err=True)
        for child in children:
            click.echo(f"the log of {child.name}:", err=True)
            click.echo("\n".join(f"    {line}" for line in child.lines), err=True)
        click.echo("DEMO FAILED", err=True)
        raise SystemExit(EXIT_FAILED)
    say("documents", str(DOCUMENTS))
    click.echo("DEMO PASSED")


async def show(children: list[Child]) -> None:
    """Do all of it, in the time that a person is patient; no process outlives it."""
    click.echo(f"Piped {version('piped-server')}: a service, and two workers that compute for it\n")
    environment, port = free_addresses()
    url = f"http://127.0.0.1:{port}/"
    async with asyncio.timeout(PATIENCE_S), asyncio.TaskGroup() as group:
        try:
            for name in ("server", "sum", "square"):
                children.append(await start(name, environment))
                group.create_task(children[-1].read())
            await all_started(children)
            say("listening", url)
            await ask_and_freeze(url, children[1])
            await stop(children)
        finally:
            for child in children:
                await child.end()


async def ask_and_freeze(url: str, worker: Child) -> None:
    """Ask the service with all its workers, without one, and with all again."""
    await ask(url, RIGHT)
    say("freezing", f"{worker.name:8} process {worker.process.pid}")
    worker.process.send_signal(signal.SIGSTOP)
    await ask(url, FALLBACK)
    say("thawing", f"{worker.name:8} process {worker.process.pid}")
    worker.process.send_signal(signal.SIGCONT)
    await ask(url, RIGHT)


def leaves(group: BaseExceptionGroup[Any]) -> Iterator[BaseException]:
    """Yield the errors in a group and in the groups inside it."""
    for each in group.exceptions:
        if isinstance(each, BaseExceptionGroup):
            yield from leaves(each)
        else:
            yield each


def free_addresses() -> tuple[dict[str, str], int]:
    """Return the environment that gives the documents free ports, and the port of the site."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(1 + len(ADDRESSES))]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        port, *others = (each.getsockname()[1] for each in sockets)
    addresses = {
        f"DEMO_{name}": f"tcp://127.0.0.1:{each}"
        for name, each in zip(ADDRESSES, others, strict=True)
    }
    return {**os.environ, **addresses, "DEMO_PORT": str(port)}, port


async def start(name: str, environment: dict[str, str]) -> Child:
    """Run one document in a process of its own."""
    arguments = ("-m", "piped", "run", str(DOCUMENTS / f"{name}.yaml"))
    process = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, stderr=asyncio.subprocess.PIPE, env=environment
    )
    say("starting", f"{name:8} process {process.pid}")
    return Child(name, process)


async def all_started(children: list[Child]) -> None:
    """Wait until each process has said that it runs."""
    for child in children:
        await child.started.wait()
        if child.process.returncode is not None or "started" not in "".join(child.lines):
            raise NotAsSaid(f"{child.name} did not start")


async def ask(url: str, expected: dict[str, Any]) -> None:
    """Ask the service for 1..10, show its answer and the time it took."""
    import httpx

    say("asking", "the sum of the squares of 1..10, and the square of their sum")
    async with httpx.AsyncClient(trust_env=False) as client:
        began = time.perf_counter()
        try:
            response = await client.get(url, params={"n": [*range(1, 11)]}, timeout=PATIENCE_S)
        except httpx.HTTPError as error:
            raise NotAsSaid(f"no answer: {type(error).__name__} {error}") from error
        took_s = time.perf_counter() - began
    answer = response.json()
    took = f"{took_s:.1f} s" if took_s >= 1 else f"{took_s * 1000:.1f} ms"
    say("answer", f"{json.dumps(answer)}   after {took}")
    if answer != expected:
        raise NotAsSaid(f"expected {json.dumps(expected)}")


async def stop(children: list[Child]) -> None:
    """Ask each process to end, and see that it ends well."""
    say("stopping", "all processes")
    for child in children:
        child.process.send_signal(signal.SIGTERM)
    for child in children:
        code = await child.process.wait()
        if code != 0:
            raise NotAsSaid(f"{child.name} ended with exit code {code}")


def say(what: str, text: str) -> None:
    """Print one line of the story."""
    click.echo(f"{what:10} {text}")
