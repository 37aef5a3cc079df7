"""`examples/`: each service with its own tests, and what happens when something breaks."""

from __future__ import annotations

import base64
import gzip
import hmac
import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import httpx
import msgspec
import pytest
import zmq

from tests.stories.processes import PIPED, Process, Processes, free_ports

EXAMPLES: Final = Path(__file__).parents[2] / "examples"
TESTED: Final = {"bridge": 6, "collector": 6, "nightly": 9, "quotes": 7, "webhook": 14}
UPSTREAMS: Final = {
    "nightly": {"SHOP": ""},
    "quotes": {"NORTH": "", "SOUTH": "", "EAST": ""},
    "webhook": {"UPSTREAM": "/events"},
}
DOCUMENTS: Final = [
    str(path.relative_to(EXAMPLES))
    for name in TESTED
    for path in sorted((EXAMPLES / name).rglob("*.yaml"))
]
SECRET: Final = "a secret of the stories"
READING: Final = {"at": "2026-03-04T12:00:00Z", "sensor": "roof", "value": 3.5}


class Example:
    """A copy of an example's folder, in which its documents run on free ports."""

    def __init__(self, name: str, folder: Path, start: Processes) -> None:
        self.folder = folder / name
        leftovers = shutil.ignore_patterns("__pycache__", "tested-*")
        shutil.copytree(EXAMPLES / name, self.folder, ignore=leftovers)
        self._start = start
        self.environment: dict[str, str] = {"WEBHOOK_SECRET": SECRET}

    def upstream(self, name: str, path: str = "") -> str:
        """Give an upstream a free port, tell everybody, and return its URL."""
        [port] = free_ports(1)
        url = f"http://127.0.0.1:{port}"
        self.environment |= {f"{name}_PORT": str(port), f"{name}_URL": f"{url}{path}"}
        return url

    def run(self, document: str, *overrides: str) -> Process:
        options = [each for override in overrides for each in ("-O", override)]
        process = self._start("run", *options, document, cwd=self.folder, **self.environment)
        return process.started()

    def feed(self, document: str, text: str) -> int:
        """Run a document with a text as standard input, and return its exit code."""
        command = [PIPED, "run", document]
        environment = {**os.environ, **self.environment}
        return subprocess.run(
            command, cwd=self.folder, env=environment, input=text.encode(), timeout=20
        ).returncode

    def lines(self, name: str) -> list[Any]:
        """Return the values of a file of JSON lines."""
        return [json.loads(each) for each in (self.folder / name).read_text().splitlines()]


@pytest.fixture
def example(request: pytest.FixtureRequest, tmp_path: Path, start: Processes) -> Example:
    name = re.match(r"test_the_([a-z]+)_", request.node.name)
    assert name
    return Example(name[1], tmp_path, start)


def url_of(process: Process, site: str = "web.site") -> str:
    return process.url(site).removesuffix("/")


def get(url: str, **arguments: str) -> httpx.Response:
    return httpx.get(url, params=arguments or None, timeout=10, trust_env=False)


def post(url: str, content: bytes = b"", headers: dict[str, str] | None = None) -> httpx.Response:
    return httpx.post(url, content=content, headers=headers, timeout=10, trust_env=False)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_nothing_is_wrong_with_any_document(document: str, start: Processes) -> None:
    name, _, rest = document.partition("/")

    process = start("check", "--strict", rest, cwd=EXAMPLES / name, WEBHOOK_SECRET=SECRET)

    assert process.ended(within_s=10) == 0
    assert (process.stdout, process.stderr) == ("", "1 document: no problems\n")


@pytest.mark.parametrize("document", DOCUMENTS)
def test_the_readme_tells_of_each_document(document: str) -> None:
    name, _, rest = document.partition("/")

    assert rest in (EXAMPLES / name / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", TESTED)
def test_the_readme_links_to_files_that_are_there(name: str) -> None:
    text = (EXAMPLES / name / "README.md").read_text(encoding="utf-8")

    links = re.findall(r"\]\((?!https:)([^)#]+)[^)]*\)", text)

    assert links
    assert [each for each in links if not (EXAMPLES / name / each).exists()] == []


@pytest.mark.parametrize("name", TESTED)
def test_its_own_tests_pass(name: str, tmp_path: Path, start: Processes) -> None:
    example = Example(name, tmp_path, start)
    for upstream, path in UPSTREAMS.get(name, {}).items():
        example.upstream(upstream, path)

    process = example.run("tests.yaml")

    code = process.ended()
    assert process.stdout.endswith(f"\n\nPASSED (successes={TESTED[name]})\n"), process.stdout
    assert code == 0


def signed(identity: str, body: bytes) -> dict[str, str]:
    """Return the headers of a webhook, by the rules of Standard Webhooks."""
    moment = str(int(time.time()))
    text = f"{identity}.{moment}.".encode() + body
    signature = base64.b64encode(hmac.digest(SECRET.encode(), text, "sha256")).decode()
    return {
        "webhook-id": identity,
        "webhook-timestamp": moment,
        "webhook-signature": f"v1,{signature}",
    }


def test_the_webhook_is_kept_while_the_upstream_is_down_and_delivered_later(
    example: Example,
) -> None:
    upstream = example.upstream("UPSTREAM", "/events")
    any_ports = ("web.site.port:0", "web.operators.port:0")
    event = {"type": "order.paid", "data": {"order": 7}}
    body = json.dumps(event).encode()

    process = example.run("service.yaml", *any_ports)
    kept = post(f"{url_of(process)}/hooks", body, signed("a-1", body))
    process.kill()
    letters = example.lines("dead-letters.jsonl")
    example.run("upstream.yaml")
    again = example.run("service.yaml", *any_ports)
    said = post(f"{url_of(again, 'web.operators')}/dead-letters/redeliver")

    assert (kept.status_code, kept.json()) == (202, {"status": "kept"})
    assert [each["baton"] for each in letters] == [{"id": "a-1", "event": event}]
    assert said.json() == {"delivered": 1, "kept": 0, "broken": 0}
    assert get(f"{upstream}/received").json() == [{"key": "a-1", "event": event}]
    assert list(example.folder.glob("dead-letters*")) == []


def test_the_nightly_report_is_made_up_for_and_not_made_twice(example: Example) -> None:
    example.upstream("SHOP")
    overrides = ("web.site.port:0", "pipelines.report.write[0].http-request.retries.attempts:1")

    without_shop = example.run("service.yaml", *overrides)
    without_shop.told("no report of ")
    failed = get(url_of(without_shop))
    without_shop.terminated()
    example.run("shop.yaml")
    with_shop = example.run("service.yaml", *overrides)
    day = with_shop.told(r"the report of (\S+) is written")[1]
    made = post(f"{url_of(with_shop)}/run")
    with_shop.terminated()
    again = example.run("service.yaml", *overrides)
    same = post(f"{url_of(again)}/run")

    assert (failed.status_code, failed.json()["failed"][day]["times"]) == (503, 1)
    assert (made.status_code, list(made.json()["made"])) == (200, [day])
    assert same.json() == made.json()
    assert (example.folder / "reports.txt").read_text().count(day) == 1


@pytest.fixture
def ends(example: Example) -> Iterator[tuple[zmq.Socket[bytes], str]]:
    """Yield a consumer that is not there yet, and its address."""
    come, go = (f"tcp://127.0.0.1:{port}" for port in free_ports(2))
    example.environment |= {"BRIDGE_FROM": come, "BRIDGE_TO": go}
    with zmq.Context() as context, context.socket(zmq.PULL) as consumer:
        consumer.rcvtimeo, consumer.linger = 10_000, 0
        yield consumer, go


def test_the_bridge_keeps_what_nobody_takes_and_what_nobody_can_read(
    example: Example, ends: tuple[zmq.Socket[bytes], str]
) -> None:
    consumer, address = ends
    text = json.dumps(READING)
    example.environment["PATIENCE"] = "2"

    bridge = example.run("service.yaml")
    assert example.feed("producer.yaml", f"{text}\nnonsense\n") == 0
    bridge.told("not JSON")
    assert bridge.terminated() == 0
    letters = example.lines("letters.jsonl")
    lines = (example.folder / "letters.jsonl").read_text()
    (example.folder / "letters.jsonl").unlink()
    consumer.bind(address)
    assert example.feed("resend.yaml", lines) == 0

    assert [each["error"]["type"] for each in letters] == ["QueueFull", "InvalidBaton"]
    assert msgspec.msgpack.decode(consumer.recv()) == READING
    assert [each["baton"] for each in example.lines("letters.jsonl")] == [["bm9uc2Vuc2U="]]


def test_the_quotes_are_answered_in_time_whatever_the_shops_do(example: Example) -> None:
    north, _, _ = (example.upstream(each) for each in ("NORTH", "SOUTH", "EAST"))
    shops = example.run("upstreams.yaml")
    not_cached = [f"pipelines.known.{each}[0].cache.ttl:0" for each in ("north", "south", "east")]
    url = url_of(example.run("service.yaml", "web.site.port:0", *not_cached))

    def states() -> list[str]:
        answer = get(url, item="tea").json()
        return [answer["shops"][each]["state"] for each in ("north", "south", "east")]

    assert states() == ["live", "live", "live"]
    get(f"{north}/mood", be="slow")
    began = time.monotonic()
    one_is_slow = states()
    shops.freeze()
    all_are_frozen = states()
    took_s = time.monotonic() - began
    shops.kill()
    all_are_gone = states()

    assert one_is_slow == ["last", "live", "live"]
    assert (all_are_frozen, all_are_gone) == (["last"] * 3, ["last"] * 3)
    assert 0.5 <= took_s <= 2


def test_the_collector_has_on_disk_what_it_has_answered_before_a_kill(example: Example) -> None:
    process = example.run(
        "service.yaml", "web.site.port:0", "pipelines.events.take[2].batch.within:20ms"
    )
    url = f"{url_of(process)}/events"
    answered: list[str] = []

    def send_until_killed(sender: int) -> None:
        with httpx.Client(trust_env=False, timeout=10) as client, suppress(httpx.TransportError):
            for number in range(100_000):
                event = {"id": f"{sender}-{number}", "name": "click"}
                client.post(url, json=event).raise_for_status()
                answered.append(event["id"])
                if len(answered) == 100:
                    process.send(signal.SIGKILL)

    with ThreadPoolExecutor() as pool:
        list(pool.map(send_until_killed, range(8)))
    files = list((example.folder / "collected").glob("events-*"))
    lines = b"".join(gzip.decompress(each.read_bytes()) for each in files).splitlines()
    on_disk = {json.loads(each)["id"] for each in lines}

    assert len(answered) >= 100
    assert set(answered) - on_disk == set()
