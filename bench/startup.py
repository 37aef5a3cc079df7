"""How long Piped takes to start: `python bench/startup.py` prints a Markdown table.

Each line is the median of whole processes, from the moment they are started: until they have ended,
or, for a server, until it has answered its first request. What stands beside it is run in turn with
it; the ratios hold on any machine, the milliseconds only on this one.
"""

from __future__ import annotations

import http.client
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from machine import heading
from services import free_port

RUNS = 10
PIPED = str(Path(sys.executable).with_name("piped"))

FIRST_SERVICE = """\
web:
  site:
    port: {port}
    routing: {{__config__: {{processor: pipeline.hello}}}}
pipelines:
  hello:
    - set-value: {{path: content, value: hello}}
    - write-web-response
"""

STEPS = """\
    p{n}:
      - extract-web-request-arguments:
          mapping: [{{n: numbers}}]
      - map:
          input_path: numbers
          output_path: total
          lambda: "numbers: sum(int(n) for n in numbers)"
      - fetch-context: {{context: pending}}
      - run-pipeline-if:
          pipeline: .p{next}
          condition: "baton: baton.get('total', 0) > 10"
      - write-web-response: {{content_path: total}}
"""


def large_document(pipelines: int = 300) -> str:
    """Return a document of 300 pipelines and about 3900 lines, in which nothing is wrong."""
    routes = "".join(
        f"      r{n}: {{__config__: {{processor: pipeline.web.p{n}}}}}\n" for n in range(pipelines)
    )
    steps = "".join(STEPS.format(n=n, next=(n + 1) % pipelines) for n in range(pipelines))
    return (
        f"web:\n  site:\n    routing:\n{routes}contexts: {{pending: {{}}}}\npipelines:\n  web:\n"
        + steps
    )


def ended(*command: str) -> float:
    """Return how many seconds a process takes to end."""
    begin = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    return time.perf_counter() - begin


def answering(port: int, *command: str) -> float:
    """Return how many seconds a server takes to answer its first request."""
    begin = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            while True:
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
                try:
                    connection.request("GET", "/")
                    connection.getresponse().read()
                    return time.perf_counter() - begin
                except ConnectionError:
                    assert server.poll() is None, "the server has ended"
                    time.sleep(0.001)
                finally:
                    connection.close()
        finally:
            server.terminate()


def medians(*measures: Callable[[], float]) -> list[float]:
    """Return the median of each measure; they take turns."""
    rounds = [[measure() for measure in measures] for _ in range(RUNS + 1)][1:]
    return [statistics.median(each) * 1000 for each in zip(*rounds, strict=True)]


def main() -> None:
    """Measure, and print the table."""
    with tempfile.TemporaryDirectory() as folder:
        port, other = free_port(), free_port()
        first, large = Path(folder, "first.yaml"), Path(folder, "large.yaml")
        first.write_text(FIRST_SERVICE.format(port=port))
        large.write_text(large_document())
        python, empty, helped, checked = medians(
            lambda: ended(sys.executable, "-c", "pass"),
            lambda: ended(PIPED, "check", str(first)),
            lambda: ended(PIPED, "--help"),
            lambda: ended(PIPED, "check", str(large)),
        )
        ready, beside = medians(
            lambda: answering(port, PIPED, "run", str(first)),
            lambda: answering(
                other, sys.executable, "-m", "http.server", "--bind", "127.0.0.1", str(other)
            ),
        )
        lines = len(large.read_text().splitlines())
    print(f"{heading('piped-server')}, median of {RUNS} processes\n")
    print("| what | ms | beside it | ms | ratio |")
    print("|---|---:|---|---:|---:|")
    for what, took, name, other_took in (
        ("`piped --help`", helped, "`python -c pass`", python),
        ("`piped check` of the first service", empty, "`python -c pass`", python),
        (f"`piped check` of 300 pipelines, {lines} lines", checked, "`python -c pass`", python),
        ("`piped run` of the first service, to its first answer", ready, "`http.server`", beside),
    ):
        print(f"| {what} | {took:.0f} | {name} | {other_took:.0f} | {took / other_took:.1f} |")


if __name__ == "__main__":
    main()
