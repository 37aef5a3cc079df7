"""Numbers that are watched from version to version: `python bench/tracked.py` prints a table.

What a step costs, without a trace, with one, and again without; how many messages of ZeroMQ a
pipeline takes in a second; and how late timers are while that goes on.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from machine import heading
from services import free_port, pinned, running, two_cores

from engine import CASES, best, built

HERE = Path(__file__).parent
PIPED = str(Path(sys.executable).with_name("piped"))
STEPS = 6
TRACED = 2000

DOCUMENT = """
contexts: {{lags: {{}}}}
zmq:
  queues:
    flood: {{type: PULL, binds: ["ipc://{folder}/flood"], processor: pipeline.take}}
ticks:
  interval:
    probe: {{interval: 10ms, processor: pipeline.probe}}
web:
  site:
    port: {port}
    routing: {{__config__: {{processor: pipeline.lag}}}}
pipelines:
  take: [passthrough]
  probe:
    - fetch-context: {{context: lags}}
    - exec-code: {{code: "baton['lags'][baton['tick']] = baton['delta'] - baton['interval']"}}
  lag:
    - fetch-context: {{context: lags}}
    - exec-code:
        code: |
          late = sorted(baton['lags'].values())
          baton['content'] = {{'diff': 0, 'p99': late[int(len(late) * 0.99)] if late else 0}}
          baton['lags'].clear()
          return baton
    - write-web-response
"""


def steps() -> tuple[float, float, float]:
    """Return the nanoseconds of a step without a trace, with one, and again without."""
    pipeline = built(CASES[0].text)
    before = best([pipeline.now], dict)[0] / STEPS

    async def traced() -> float:
        begun = time.perf_counter_ns()
        for _ in range(TRACED):
            await pipeline.traced({})
        return (time.perf_counter_ns() - begun) / TRACED / STEPS

    with_trace = min(asyncio.run(traced()) for _ in range(5))
    return before, with_trace, best([pipeline.now], dict)[0] / STEPS


def flooded(seconds: float, rounds: int) -> tuple[float, float]:
    """Return messages a second into the loop, and the 99th percentile of how late timers are."""
    ours, theirs = two_cores()
    rates, lags_ms = [], []
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        Path(folder, "flooded.yaml").write_text(DOCUMENT.format(folder=folder, port=port))
        with running([PIPED, "run", "flooded.yaml"], port, Path(folder), {}, ours):
            for _ in range(rounds):
                lag_ms(port)  # forgets the lags before
                command = [str(HERE / "flood.py"), f"ipc://{folder}/flood", str(seconds)]
                with pinned(theirs):
                    done = subprocess.run(
                        [sys.executable, *command], stdout=subprocess.PIPE, check=True
                    )
                rates.append(float(done.stdout))
                lags_ms.append(lag_ms(port))
    return statistics.median(rates), statistics.median(lags_ms)


def lag_ms(port: int) -> float:
    """Return how late the timer was since somebody asked last."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as answer:
        return float(json.load(answer)["p99"]) * 1000


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="1 round of 1 second")
    seconds, rounds = (1.0, 1) if parser.parse_args().quick else (3.0, 5)
    off, traced, again = steps()
    rate, lag = flooded(seconds, rounds)
    print(f"{heading('piped-server', 'uvloop', 'pyzmq')}\n")
    print("| what | seen | wanted |")
    print("|---|--:|--:|")
    print(f"| a step, ns | {off:.0f} | 65 |")
    print(f"| a step of a pipeline that is traced, ns | {traced:.0f} | 350 |")
    print(f"| what the trace costs once it is off, ns a step | {again - off:+.0f} | 0 |")
    print(f"| messages of ZeroMQ into a pipeline, a second | {rate:,.0f} | 400,000 |")
    print(f"| timers late while flooded, ms, 99th percentile | {lag:.1f} | 5 |")


if __name__ == "__main__":
    main()
