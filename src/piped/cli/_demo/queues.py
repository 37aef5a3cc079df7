"""The first act: a server and two workers on plain queues, one of which is frozen."""

from __future__ import annotations

import json
import signal
import socket
import time
from asyncio import TaskGroup
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from piped.cli._demo.client import get, query, right
from piped.cli._demo.stage import Child, NotAsSaid, duration, say, start, stop

ADDRESSES: Final = ("SUM_JOBS", "SUM_ANSWERS", "SQUARE_JOBS", "SQUARE_ANSWERS")
NUMBERS: Final = range(1, 11)
FALLBACK: Final = {"success": False}


async def play(documents: Path, children: list[Child], group: TaskGroup) -> None:
    """Ask a service with all its workers, without one, and with all again."""
    environment, port = free_addresses()
    url = f"http://127.0.0.1:{port}/"
    for name in ("server", "sum", "square"):
        children.append(await start(name, documents / f"{name}.yaml", environment=environment))
        group.create_task(children[-1].read())
    for child in children:
        await child.told("started")
    say("listening", url)
    await ask_and_freeze(url, children[1])
    await stop(children)


async def ask_and_freeze(url: str, worker: Child) -> None:
    """Ask, freeze a worker, ask, thaw it, ask."""
    await ask(url, right(*NUMBERS))
    say("freezing", f"{worker.name:8} process {worker.process.pid}")
    worker.process.send_signal(signal.SIGSTOP)
    await ask(url, FALLBACK)
    say("thawing", f"{worker.name:8} process {worker.process.pid}")
    worker.process.send_signal(signal.SIGCONT)
    await ask(url, right(*NUMBERS))


async def ask(url: str, expected: dict[str, Any]) -> None:
    """Ask the service for 1..10, show its answer and the time it took."""
    say("asking", "the sum of the squares of 1..10, and the square of their sum")
    began = time.perf_counter()
    status, body = await get(url, query(*NUMBERS))
    took = duration(time.perf_counter() - began)
    if status != 200:
        raise NotAsSaid(f"expected status 200, got {status}")
    answer = json.loads(body)
    say("answer", f"{json.dumps(answer)}   after {took}")
    if answer != expected:
        raise NotAsSaid(f"expected {json.dumps(expected)}")


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
    return {**addresses, "DEMO_PORT": str(port)}, port
