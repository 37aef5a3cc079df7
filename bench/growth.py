"""How cost grows: `python bench/growth.py` draws docs/benchmarks/*.svg and prints their numbers.

With the steps of a pipeline, with the pipelines of a document, with connections and with the size
of bodies. What counts is the processor time of the server for one request: it is steadier than
requests a second, and says how many of these a core has room for. Where it makes sense, raw ASGI on
uvicorn stands beside.

    python bench/growth.py                  five minutes
    python bench/growth.py --quick          half a minute, and nothing is drawn
    python bench/growth.py --only bodies    one of the charts
"""

from __future__ import annotations

import argparse
import resource
import statistics
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import wrk
from machine import heading, say
from plots import Axes, NoMatplotlib, draw, readable
from rounds import Variant
from services import NotReady, Running, free_port, running, two_cores
from web import HERE, PEERS_PYTHON, PIPED, Peer

CHARTS = HERE.parent / "docs" / "benchmarks"
CONNECTIONS = 16
BODIES = 4  # at the same time
SPARE_FILES = 200
ENOUGH = 200  # answers, so that what is half done at the end does not count
MOST_LOADS = 4  # each twice as long as the one before

DOCUMENT = """
web:
  site:
    max_body: 16MiB
    max_connections: 8192
    max_in_flight: 8192
    shed_lag: null
    routing:
      __config__: {{processor: pipeline.answer}}
      length: {{__config__: {{processor: pipeline.length}}}}
{routes}
pipelines:
  answer: [write-web-response: {{fallback_content: '{{"diff":0}}'}}]
  length:
    - map: {{output_path: content, lambda: "b: str(len(b['request'].body()))"}}
    - write-web-response
{pipelines}
"""
ROUTE = "      p{n}: {{__config__: {{processor: pipeline.p{n}}}}}\n"
PIPELINE = "  p{n}: [{steps}write-web-response: {{content_path: n}}]\n"
STEP = '{map: {output_path: n, lambda: "b: str(1)"}}, '


@dataclass(frozen=True)
class Written:
    """A service of a document that was made for it."""

    name: str
    text: str

    @contextmanager
    def started(self, core: int | None) -> Iterator[Running]:
        with tempfile.TemporaryDirectory() as name:
            folder, port = Path(name), free_port()
            (folder / "service.yaml").write_text(self.text)
            command = [PIPED, "run", "service.yaml", "-O", f"web.site.port:{port}"]
            with running(command, port, folder, {}, core) as service:
                yield service


def document(pipelines: int = 1, steps: int = 1) -> Written:
    """Return a service that has pipelines at /p1, /p2 ..., each of so many steps and an answer."""
    numbers = range(1, pipelines + 1)
    routes = "".join(ROUTE.format(n=n) for n in numbers)
    told = "".join(PIPELINE.format(n=n, steps=STEP * steps) for n in numbers)
    return Written("piped", DOCUMENT.format(routes=routes, pipelines=told))


@dataclass(frozen=True)
class Setting:
    """A service, and how it is loaded."""

    service: Variant
    path: str = "/?n=1&n=2"
    connections: int = CONNECTIONS
    what: Sequence[str] = wrk.NUMBERS


@dataclass(frozen=True)
class Chart:
    """What is changed, from what to what, and the settings of each line."""

    name: str
    axes: Axes
    scale: Sequence[int]
    lines: Mapping[str, Callable[[int], Setting]]


ASGI = Peer("raw ASGI on uvicorn", "web_asgi")


def sized(service: Variant) -> Callable[[int], Setting]:
    return lambda size: Setting(service, "/length", BODIES, ("body", str(size)))


def connected(service: Variant) -> Callable[[int], Setting]:
    return lambda count: Setting(service, "/", connections=count)


ALL = (
    Chart(
        "processors",
        Axes("Processors in the pipeline of a request", "processors"),
        (1, 5, 20, 100),
        {"piped": lambda count: Setting(document(steps=count), "/p1")},
    ),
    Chart(
        "pipelines",
        Axes("Pipelines in the document, each with a route", "pipelines"),
        (1, 100, 1000),
        {"piped": lambda count: Setting(document(pipelines=count), f"/p{count}")},
    ),
    Chart(
        "connections",
        Axes("Connections, all of them busy", "connections"),
        (1, 100, 5000),
        {"piped": connected(document()), ASGI.name: connected(ASGI)},
    ),
    Chart(
        "bodies",
        Axes("Size of the body of a request", "bytes", is_steep=True),
        (1 << 10, 10 << 10, 100 << 10, 1 << 20, 10 << 20),
        {"piped": sized(document()), ASGI.name: sized(ASGI)},
    ),
)
Lines = dict[str, dict[int, list[dict[str, float]]]]


@dataclass
class Growth:
    """Measures the points of charts, round after round."""

    rounds: int
    seconds: float

    def measure(self, chart: Chart) -> Lines:
        """Return the results of each line at each point."""
        found: Lines = defaultdict(lambda: defaultdict(list))
        for number in range(self.rounds):
            say(f"{chart.name}, round {number + 1} of {self.rounds}")
            for x in chart.scale:
                for name, setting_of in chart.lines.items():
                    try:
                        point = self._point(setting_of(x))
                        found[name][x].append(point)
                    except NotReady as error:
                        say(f"{name} is left out: {error}")
        return found

    def _point(self, setting: Setting) -> dict[str, float]:
        """Load until there are enough answers, and return what one of them has cost.

        Raises:
            NotReady: Nothing is answered.
        """
        ours, theirs = two_cores()
        with setting.service.started(ours) as service:
            options: dict[str, Any] = {"path": setting.path, "what": setting.what, "core": theirs}
            wrk.load(service.port, setting.connections, 1, **options)
            before, results, right = service.cpu_s(), list[wrk.Result](), 0.0
            while right < ENOUGH and len(results) < MOST_LOADS:
                seconds = self.seconds * 2 ** len(results)
                results.append(wrk.load(service.port, setting.connections, seconds, **options))
                right += results[-1]["right"]
            cpu_s, rss_mib = service.cpu_s() - before, service.rss_mib()
        if not right:
            errors = sum(each["errors"] for each in results)
            raise NotReady(f"no good answer at {setting.path}, {errors:.0f} bad ones or none")
        found = {name: statistics.fmean(each[name] for each in results) for name in results[0]}
        return {**found, "cpu_us": cpu_s * 1e6 / right, "rss_mib": rss_mib}


def medians(lines: Lines, what: str) -> dict[str, dict[int, float]]:
    return {
        name: {x: statistics.median(each[what] for each in found) for x, found in points.items()}
        for name, points in lines.items()
    }


def show(chart: Chart, lines: Lines) -> None:
    """Print the numbers of a chart."""
    print(f"| {chart.axes.x} | service | CPU µs | req/s | p99 ms | RSS MiB | errors |")
    print("|--:|---|--:|--:|--:|--:|--:|")
    cpu, rate, p99, rss = (medians(lines, each) for each in ("cpu_us", "rate", "p99_ms", "rss_mib"))
    for x in chart.scale:
        for name in (each for each in lines if x in lines[each]):
            errors = sum(each["errors"] for each in lines[name][x])
            cells = f"{cpu[name][x]:,.1f} | {rate[name][x]:,.0f} | {p99[name][x]:.1f}"
            told = f"{cells} | {rss[name][x]:.0f} | {errors:.0f}"
            print(f"| {readable(x)} | {name} | {told} |")
    print(flush=True)


def allow_connections() -> None:
    """Have as many files open as the system lets us, and leave out no chart silently."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    most = max(ALL[2].scale) + SPARE_FILES
    if hard != resource.RLIM_INFINITY and hard < most:
        sys.exit(f"expected {most} open files to be allowed, got {hard}: see `ulimit -Hn`")


def main() -> None:
    """Measure, draw, and print the numbers."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    names = [chart.name for chart in ALL]
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each load")
    parser.add_argument("--quick", action="store_true", help="1 round of 1 s, nothing is drawn")
    parser.add_argument("--only", action="append", choices=names, help="leave out the others")
    given = parser.parse_args()
    if not wrk.is_there():
        sys.exit("these loads need wrk")
    allow_connections()
    growth = Growth(1, 1.0) if given.quick else Growth(given.rounds, given.seconds)
    print(f"{heading('piped-server', 'uvloop', 'httptools', 'uvicorn', peers=PEERS_PYTHON)}\n")
    for chart in ALL:
        if given.only and chart.name not in given.only:
            continue
        lines = growth.measure(chart)
        show(chart, lines)
        if not given.quick:
            try:
                draw(CHARTS / f"{chart.name}.svg", chart.axes, medians(lines, "cpu_us"))
            except NoMatplotlib as error:
                say(f"{chart.name}.svg is not drawn: {error}")


if __name__ == "__main__":
    main()
