"""What a request costs beside other servers: `python bench/web.py` prints Markdown tables.

The first service of docs/tutorial.md beside the same one in raw ASGI, in FastAPI and on a bare
httptools protocol; then its service with workers, and the one of examples/sum-square on a pool,
beside the same by hand. The documents are read out of the tutorial, as its reader would write them.

All processes of a service run on one core, and the client on another one. Services are started,
loaded and ended in turn, round after round. Two thousand answers of each are compared with the
right ones before anything is timed.

    python bench/web.py                 all tables, ten minutes
    python bench/web.py --quick         the same, a minute, less sure
    python bench/web.py --only first    or `workers`, or `memory`
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import wrk
from machine import heading, say
from rounds import Rounds, table
from services import NotReady, Running, free_port, running, two_cores

HERE = Path(__file__).parent
TUTORIAL = HERE.parent / "docs" / "tutorial.md"
POOL = HERE.parent / "examples" / "sum-square" / "service.yaml"
PIPED = str(Path(sys.executable).with_name("piped"))
PEERS = HERE / "peers"
PEERS_PYTHON = PEERS / ".venv" / "bin" / "python"
UVICORN = ("-m", "uvicorn", "service:app", "--loop", "uvloop", "--http", "httptools")
QUIET = ("--no-access-log", "--log-level", "warning")

NAMED = re.compile(r"^```yaml[^\n]*\n# (\S+\.yaml)\n.*?^```$", re.MULTILINE | re.DOTALL)
QUEUE_PORT = re.compile(r"(?<=127\.0\.0\.1:)(\d+)")
CONNECTIONS = (16, 64)
TABLES = ("first", "workers", "memory")


@dataclass(frozen=True)
class Ours:
    """A service by documents: the first one has the site, the others are workers."""

    name: str
    documents: Sequence[str]
    overrides: Sequence[str]  # `{port}` is the one of the site
    options: Sequence[str] = ()

    @contextmanager
    def started(self, core: int | None) -> Iterator[Running]:
        """Run it in a folder of its own, with the documents of the tutorial."""
        with tempfile.TemporaryDirectory() as name:
            folder, port = Path(name), free_port()
            write_tutorial(folder)
            shutil.copy(POOL, folder / "pool.yaml")
            overrides = [each.format(port=port) for each in self.overrides]
            given = [word for each in overrides for word in ("-O", each)]
            command = [PIPED, "run", self.documents[0], *given, *self.options]
            if len(self.documents) > 1:
                others = [w for each in self.documents[1:] for w in ("--", PIPED, "run", each)]
                command = [sys.executable, str(HERE / "together.py"), *command, *others]
            with running(command, port, folder, {}, core) as service:
                yield service


@dataclass(frozen=True)
class Peer:
    """A service by hand, in a folder of bench/peers."""

    name: str
    folder: str
    command: Sequence[str] = (*UVICORN, *QUIET)
    python: Path = PEERS_PYTHON

    @contextmanager
    def started(self, core: int | None) -> Iterator[Running]:
        if not self.python.exists():
            raise NotReady("say `make bench-peers` first")
        port = free_port()
        environment = {"PORT": str(port), "UVICORN_PORT": str(port)}
        command = [str(self.python), *self.command]
        with running(command, port, PEERS / self.folder, environment, core) as service:
            yield service


def write_tutorial(folder: Path) -> None:
    """Write the documents of the tutorial, with ports of queues that are free."""
    ports: dict[str, str] = {}
    for block in NAMED.finditer(TUTORIAL.read_text(encoding="utf-8")):
        text = block[0].partition("\n")[2].removesuffix("```")
        text = QUEUE_PORT.sub(lambda port: ports.setdefault(port[0], str(free_port())), text)
        (folder / block[1]).write_text(text, encoding="utf-8")


FIRST = Ours("piped", ["service.yaml"], ["web.site.port:{port}"])
FIRST_BESIDE = (
    Peer("httptools by hand", "web_httptools", ["service.py"]),
    Peer("raw ASGI on uvicorn", "web_asgi"),
    Peer("FastAPI on uvicorn", "web_fastapi"),
)
QUEUED = Ours(
    "piped, queues", ["service-in-time.yaml", "sum.yaml", "square.yaml"], ["web.site.port:{port}"]
)
POOLED = Ours(
    "piped, a pool",
    ["pool.yaml"],
    ["web.sum-square.port:{port}", "workers.math.transport:zmq"],
    ["--spawn", "math:2"],
)
BY_HAND = Peer("raw ASGI and pyzmq", "zmq_raw", ["run.py"])


def memory(counts: Sequence[int], cores: tuple[int | None, int | None]) -> None:
    """Print what one site holds after the start, and after so many requests in all."""
    print("| requests | RSS MiB | wrong | no answer |")
    print("|--:|--:|--:|--:|")
    with FIRST.started(cores[0]) as service:
        print(f"| 1 | {service.rss_mib():.1f} | 0 | 0 |")
        done = 0
        for count in counts:
            result = wrk.checked(service.port, count - done, 64, cores[1])
            missing = result["errors"] - result["wrong"]
            told = f"{service.rss_mib():.1f} | {result['wrong']:.0f} | {missing:.0f}"
            print(f"| {count:,} | {told} |", flush=True)
            done = count


def arguments() -> Any:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each load")
    parser.add_argument("--requests", type=int, default=100_000, help="of the table of memory")
    parser.add_argument("--quick", action="store_true", help="1 round of half a second")
    parser.add_argument("--only", action="append", choices=TABLES, help="leave out the others")
    parser.add_argument("--peers-python", type=Path, default=PEERS_PYTHON)
    return parser.parse_args()


def main() -> None:
    """Measure, and print the tables."""
    given = arguments()
    count, seconds, requests = given.rounds, given.seconds, given.requests
    if given.quick:
        count, seconds, requests = 1, 0.5, 2000
    cores, tables = two_cores(), given.only or TABLES
    if cores[0] is None:
        say("there is only one core: the client takes of it, and the ratios come closer to 1")
    rounds = Rounds(count, seconds, CONNECTIONS, cores)
    packages = ("piped-server", "uvloop", "httptools", "uvicorn", "fastapi", "pyzmq")
    python = given.peers_python.absolute()
    print(heading(*packages, peers=python))
    print(f"{count} x {seconds:g} s, all of a service on one core\n", flush=True)
    if "first" in tables:
        beside = [replace(peer, python=python) for peer in FIRST_BESIDE]
        table(rounds.run([FIRST, *beside]), FIRST.name)
        print()
    if "workers" in tables:
        table(rounds.run([POOLED, QUEUED, replace(BY_HAND, python=python)]), POOLED.name)
        print()
    if "memory" in tables:
        memory([requests // 10, requests], cores)


if __name__ == "__main__":
    main()
