"""What a pool of workers costs: `python bench/pool.py` prints Markdown tables.

The service of examples/sum-square over a pool, beside the same service as a good engineer writes
it by hand (bench/peers/zmq_raw) and with FastStream (bench/peers/faststream). Every variant has a
front and two workers. They are started, loaded and ended in turn, round after round, so that a
machine that changes its speed changes it for all; a ratio is the median of the ratios within the
rounds. Every answer is compared with the right one.

    python bench/pool.py                    both tables, a quarter of an hour
    python bench/pool.py --quick            the same, two minutes, less sure
    python bench/pool.py --only piped-zmq --only zmq_raw
    python bench/pool.py --kill             kill -9 a worker under load, and count what is lost
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from machine import heading
from services import NotReady, Running, free_port, running

HERE = Path(__file__).parent
DOCUMENT = HERE.parent / "examples" / "sum-square" / "service.yaml"
PIPED = str(Path(sys.executable).with_name("piped"))
PEERS = HERE / "peers"
PEERS_PYTHON = PEERS / ".venv" / "bin" / "python"
BESIDE = "zmq_raw"  # what the ratios are against

CONNECTIONS = (16, 64)
POOLS = (1, 2, 4)
PENDING = (1, 10, 100, 1000)
WARM_UP_S = 1.0
ERRORS = ("failed", "wrong", "broken", "silent")

KILL_CONNECTIONS = 64
KILL_WORKERS = 4
KILL_WORK_S = 0.002
SLOW = {
    "sum": "(time.sleep({s}), sum(n * n for n in numbers))[1]",
    "square": "(time.sleep({s}), sum(numbers) ** 2)[1]",
}

Result = dict[str, float]


@dataclass(frozen=True)
class Variant:
    """One way to build the service."""

    name: str
    overrides: tuple[str, ...] = ()  # of our document; none for a peer
    is_peer: bool = False

    def command(self, port: int, workers: int, work_s: float, python: Path) -> list[str]:
        """Return what starts it, with so many workers."""
        if self.is_peer:
            return [str(python), str(PEERS / self.name / "run.py")]
        given = [f"web.sum-square.port:{port}", *UNLIMITED, *self.overrides]
        given += slow(work_s) if work_s else ()
        options = [each for override in given for each in ("-O", override)]
        return [PIPED, "run", DOCUMENT.name, "--spawn", f"math:{workers}", *options]

    def environment(self, port: int, workers: int, work_s: float) -> dict[str, str]:
        a_kind = max(workers // 2, 1)  # a peer's workers can only do one of the two kinds of job
        return {"PORT": str(port), "WORKERS": str(a_kind), "PEER_WORK_S": str(work_s)}


UNLIMITED = (  # a site refuses what is too much for it, and the peers do not
    "web.sum-square.max_in_flight:2048",
    "web.sum-square.shed_lag:null",
)
NATS = (
    "workers.math.transport:nats",
    "workers.math.connection:main",
    "nats.connections.main.embedded:true",
)
VARIANTS = (
    Variant(BESIDE, is_peer=True),
    Variant("piped-zmq", ("workers.math.transport:zmq",)),
    Variant("faststream", is_peer=True),
    Variant("piped-nats", NATS),
)


def slow(work_s: float) -> Iterator[str]:
    """Give the overrides that make every job of our document take a while."""
    for name, code in SLOW.items():
        step = {"namespace": {"time": "time"}, "lambda": f"numbers: {code.format(s=work_s)}"}
        yield f"pipelines.{name}:{json.dumps([{'map': step}])}"


@dataclass
class Bench:
    """Starts variants, and loads them."""

    seconds: float
    rounds: int
    python: Path  # that the peers run by

    @contextmanager
    def started(self, variant: Variant, workers: int = 2, work_s: float = 0) -> Iterator[Running]:
        """Run a variant in a folder of its own."""
        with tempfile.TemporaryDirectory() as folder:
            shutil.copy(DOCUMENT, folder)
            port = free_port()
            command = variant.command(port, workers, work_s, self.python)
            environment = variant.environment(port, workers, work_s)
            with running(command, port, Path(folder), environment) as service:
                yield service

    def load(self, service: Running, connections: int, seconds: float) -> Result:
        """Load a service, and return what became of the requests and what they cost."""
        command = [sys.executable, str(HERE / "load.py"), str(service.port)]
        options = ["--connections", str(connections), "--seconds", str(seconds)]
        before = service.cpu_s()
        done = subprocess.run([*command, *options], stdout=subprocess.PIPE, check=True)
        result: Result = json.loads(done.stdout)
        took_us = (service.cpu_s() - before) * 1e6
        errors = sum(result[each] for each in ERRORS)
        return {**result, "cpu_us": took_us / max(result["right"], 1), "errors": errors}

    def compare(self, variants: Iterable[Variant]) -> None:
        """Print the table of all variants, with two workers each."""
        kept: dict[tuple[str, int], list[Result]] = defaultdict(list)
        for _ in range(self.rounds):
            for variant in variants:
                with self.started(variant) as service:
                    self.load(service, CONNECTIONS[0], WARM_UP_S)
                    for connections in CONNECTIONS:
                        result = self.load(service, connections, self.seconds)
                        kept[variant.name, connections].append(result)
        print(f"| variant | connections | req/s | : {BESIDE} | p50 ms | p99 ms | CPU µs | errors |")
        print("|---|--:|--:|--:|--:|--:|--:|--:|")
        for connections in CONNECTIONS:
            for variant in variants:
                results = kept[variant.name, connections]
                ratio = ratio_of(results, kept.get((BESIDE, connections), []))
                print(f"| {variant.name} | {connections} {row(results, ratio)}")

    def grid(self, variant: Variant) -> None:
        """Print req/s of one of our pools by its workers and by what is pending."""
        rates: dict[tuple[int, int], list[float]] = defaultdict(list)
        errors = dict.fromkeys(ERRORS, 0.0)
        for _ in range(self.rounds):
            for workers in POOLS:
                with self.started(variant, workers) as service:
                    self.load(service, CONNECTIONS[0], WARM_UP_S)
                    for pending in PENDING:
                        result = self.load(service, pending, self.seconds)
                        rates[workers, pending].append(result["rate"])
                        for each in ERRORS:
                            errors[each] += result[each]
        told = ", ".join(f"{count:.0f} {name}" for name, count in errors.items())
        print(f"\n{variant.name}, req/s ({told}):\n")
        print("| workers |", " | ".join(f"{each} pending" for each in PENDING), "|")
        print("|--:|" + "--:|" * len(PENDING))
        for workers in POOLS:
            medians = (statistics.median(rates[workers, pending]) for pending in PENDING)
            print(f"| {workers} |", " | ".join(f"{each:,.0f}" for each in medians), "|")

    def kill(self, variants: Iterable[Variant]) -> None:
        """Print what is lost when one of four workers is killed in the midst of the load."""
        print("| variant | right | failed | wrong | no answer | slowest ms |")
        print("|---|--:|--:|--:|--:|--:|")
        for variant in variants:
            results = [self._killed(variant) for _ in range(self.rounds)]
            total = {name: sum(each[name] for each in results) for name in ERRORS}
            right = sum(each["right"] for each in results)
            slowest = max(each["max_ms"] for each in results)
            counts = f"{right:.0f} | {total['failed']:.0f} | {total['wrong']:.0f}"
            silent = total["broken"] + total["silent"]
            print(f"| {variant.name} | {counts} | {silent:.0f} | {slowest:.0f} |")

    def _killed(self, variant: Variant) -> Result:
        with self.started(variant, KILL_WORKERS, KILL_WORK_S) as service:
            victim = service.workers[0]
            killer = threading.Timer(self.seconds / 2, os.kill, (victim, signal.SIGKILL))
            killer.start()
            result = self.load(service, KILL_CONNECTIONS, self.seconds)
            killer.join()
            return result


def row(results: list[Result], ratio: str) -> str:
    """Return the cells of a table, of the medians of the rounds."""
    median = {name: statistics.median(each[name] for each in results) for name in results[0]}
    errors = sum(each["errors"] for each in results)
    times = f"{median['p50_ms']:.2f} | {median['p99_ms']:.2f} | {median['cpu_us']:.0f}"
    return f"| {median['rate']:,.0f} | {ratio} | {times} | {errors:.0f} |"


def ratio_of(results: list[Result], beside: list[Result]) -> str:
    """Return the median of the ratios of rates within the rounds."""
    if not beside:
        return "-"
    pairs = zip(results, beside, strict=True)
    return f"{statistics.median(ours['rate'] / theirs['rate'] for ours, theirs in pairs):.2f}"


def usable(variants: Iterable[Variant], bench: Bench) -> list[Variant]:
    """Return the variants that start, and say why the others do not."""
    found = []
    for variant in variants:
        if variant.is_peer and not bench.python.exists():
            print(f"{variant.name} is left out: say `make bench-peers` first", file=sys.stderr)
            continue
        try:
            with bench.started(variant):
                found.append(variant)
        except NotReady as error:
            print(f"{variant.name} is left out: {error}", file=sys.stderr)
    return found


def arguments() -> Any:
    names = [each.name for each in VARIANTS]
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each load")
    parser.add_argument("--quick", action="store_true", help="2 rounds of 1 second")
    parser.add_argument("--only", action="append", choices=names, help="leave out all others")
    parser.add_argument("--kill", action="store_true", help="kill a worker, and count losses")
    parser.add_argument("--peers-python", type=Path, default=PEERS_PYTHON)
    return parser.parse_args()


def main() -> None:
    """Measure, and print the tables."""
    given = arguments()
    seconds, rounds = (1.0, 2) if given.quick else (given.seconds, given.rounds)
    bench = Bench(seconds, rounds, given.peers_python.absolute())
    asked = [each for each in VARIANTS if not given.only or each.name in given.only]
    variants = usable(asked, bench)
    if not variants:
        sys.exit("nothing to measure")
    packages = ("piped-server", "uvloop", "pyzmq", "nats-py", "faststream", "uvicorn")
    print(heading(*packages, peers=bench.python))
    print(f"{rounds} x {seconds:g} s\n")
    if given.kill:
        bench.kill(variants)
        return
    bench.compare(variants)
    for variant in variants:
        if not variant.is_peer:
            bench.grid(variant)


if __name__ == "__main__":
    main()
