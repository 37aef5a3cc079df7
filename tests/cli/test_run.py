"""`piped run`: a document becomes a process, with its options, signals and exit codes."""

from __future__ import annotations

import json
import os
import pty
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from piped.blueprint import OWN_KEYS
from piped.errors import suggest
from piped.shipped import PROVIDERS
from tests.cli.conftest import SERVICE, Invoke, Write
from tests.stories.processes import PIPED, Process, Processes


def get(url: str) -> str:
    return httpx.get(url, trust_env=False, timeout=10).text


def lines_of(process: Process) -> list[dict[str, Any]]:
    """Return the log, each line of it JSON."""
    return [json.loads(line) for line in process.stderr.splitlines()]


def asked(url: str, path: str) -> socket.socket:
    """Return a connection over which a request has been sent."""
    client = socket.create_connection(("127.0.0.1", httpx.URL(url).port or 80), timeout=10)
    client.sendall(f"GET /{path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    return client


def answer(client: socket.socket) -> bytes:
    """Return all that comes until the server closes."""
    with client:
        return b"".join(iter(lambda: client.recv(65536), b""))


@pytest.fixture(autouse=True)
def document(write: Write) -> str:
    return write(SERVICE)


@pytest.mark.parametrize(
    "arguments",
    [
        ("run", "service.yaml"),
        ("-nc", "service.yaml"),
        ("-n", "-c", "service.yaml"),
        ("-c", "service.yaml"),
        ("run", "--conf", "service.yaml"),
    ],
)
def test_run_serves_until_it_is_asked_to_end(
    start: Processes, folder: Path, arguments: tuple[str, ...]
) -> None:
    process = start(*arguments, cwd=folder)

    assert get(process.url()) == "hello"
    assert process.terminated() == 0
    assert process.stdout == ""
    assert os.listdir(folder) == ["service.yaml"]


def test_run_tells_in_json_what_happens(start: Processes, folder: Path) -> None:
    process = start("run", "-O", "service_name: shop", "service.yaml", cwd=folder)
    url = process.url()
    get(url)
    process.terminated()

    lines = lines_of(process)
    assert [line["event"] for line in lines] == [
        "listening",
        "started",
        "hello asked",
        "stopping",
        "stopped",
    ]
    for line in lines:
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", line.pop("timestamp"))
    listening, started, asked, stopping, stopped = lines
    assert listening == {
        "level": "info",
        "logger": "piped.web",
        "event": "listening",
        "site": "web.site",
        "url": url,
    }
    assert (started["service_name"], started["pid"]) == ("shop", process.pid)
    assert 0 < started["ready_s"] < 10
    assert asked["logger"] == "root"
    assert stopping["signal"] == "SIGTERM"
    assert stopped["exit_code"] == 0


def test_run_gives_each_line_of_a_request_its_id(
    start: Processes, folder: Path, write: Write
) -> None:
    write(
        SERVICE
        + """\
        failing:
            - log: {message: before}
            - run-pipeline: {pipeline: .worse}
        worse:
            - eval-lambda: {namespace: {log: bundle_log.log}, lambda: "b: log()"}
            - eval-lambda: {lambda: "b: 1 / 0"}
"""
    )
    write(
        "import logging\nimport structlog\ndef log():\n"
        "    logging.getLogger('old').warning('by %s', 'logging')\n"
        "    structlog.get_logger('new').warning('by structlog')\n",
        "bundle_log/__init__.py",
    )
    override = "web.site.routing.failing:{__config__: {processor: pipeline.web.failing}}"
    process = start("run", "-O", override, "service.yaml", cwd=folder)
    url = process.url()

    page = httpx.get(f"{url}failing", trust_env=False)
    other = httpx.get(f"{url}failing", trust_env=False)
    process.terminated()

    inside = [each for each in lines_of(process) if "journey" in each]
    first = [each for each in inside if each["journey"] == inside[0]["journey"]]
    assert len(inside) == 2 * len(first) == 8
    assert [each["event"] for each in first[:3]] == ["before", "by logging", "by structlog"]
    failed = first[3]
    assert (failed["level"], failed["event"]) == ("error", "request failed")
    assert "ZeroDivisionError: division by zero" in json.dumps(failed)
    assert "in pipelines.web.worse[1].eval-lambda (service.yaml:" in json.dumps(failed)
    assert page.status_code == other.status_code == 500
    failures = [each for each in inside if each["event"] == "request failed"]
    assert [each["level"] for each in failures] == ["error", "error"]
    assert [page.json()["id"], other.json()["id"]] == [each["journey"] for each in failures]


def test_a_signal_in_the_midst_of_a_journey_is_no_part_of_it(
    start: Processes, folder: Path, write: Write
) -> None:
    write(
        "system-events: {startup: {e: pipeline.end}}\n"
        "pipelines:\n"
        "    end:\n"
        "        - eval-lambda:\n"
        "            namespace: {send: signal.raise_signal, SIGTERM: signal.SIGTERM}\n"
        "            lambda: 'b: send(SIGTERM)'\n"
        "        - log: {message: sent}\n"
    )
    process = start("run", "service.yaml", cwd=folder)

    assert process.ended() == 0
    bears = {each["event"]: "journey" in each for each in lines_of(process)}
    assert (bears["sent"], bears["stopping"]) == (True, False)


def test_run_is_readable_on_a_terminal(folder: Path) -> None:
    ours, theirs = pty.openpty()
    environment = {**os.environ, "NO_COLOR": "1", "TERM": "dumb"}
    popen = subprocess.Popen([PIPED, "run", "service.yaml"], stderr=theirs, env=environment)
    try:
        os.close(theirs)
        with open(ours, encoding="utf-8", errors="replace") as terminal:
            listening, started = terminal.readline(), terminal.readline()
            popen.terminate()
            stopping = terminal.readline()
            assert popen.wait(10) == 0
    finally:
        popen.kill()
        popen.wait()

    time = r"\d\d:\d\d:\d\d\.\d{3}"
    assert re.match(
        rf"{time} info +piped\.web: +listening +site=web\.site url=http://127\.0\.0\.1:\d+/\s*$",
        listening.replace("[", "").replace("]", ""),
    ), listening
    assert "started" in started
    assert "stopping" in stopping
    assert "\x1b" not in listening


def test_run_takes_overrides_in_their_order(start: Processes, folder: Path) -> None:
    overrides = (
        "-O",
        "pipelines.web.hello:[{set-value: {path: content, value: first}}, write-web-response]",
        "-O",
        "pipelines.web.hello:[{set-value: {path: content, value: last}}, write-web-response]",
        "--override",
        "web.site.listen:127.0.0.1:0",
    )
    process = start(*overrides, "-nc", "service.yaml", cwd=folder)

    assert get(process.url()) == "last"


@pytest.mark.parametrize(
    ("override", "problem"),
    [
        (
            "web.site.port",
            "-O:1:1: error[bad-override]: invalid override specification:"
            " expected 'path:value', got 'web.site.port'\n",
        ),
        (
            "web.site.port:http",
            "-O:1:15: error[wrong-value]: expected int, got 'http'\n    at: web.site.port\n",
        ),
        (
            "a: b: c",
            "-O:1:5: error[yaml-syntax]: mapping values are not allowed in this context\n"
            "    hint: put text that contains ': ' in quotes\n",
        ),
    ],
)
def test_run_refuses_a_wrong_override(invoke: Invoke, override: str, problem: str) -> None:
    result = invoke("run", "-O", override, "service.yaml")

    assert (result.stdout, result.stderr, result.exit_code) == ("", problem, 2)


def test_run_changes_to_its_folder_first(start: Processes, folder: Path, write: Write) -> None:
    (folder / "service.yaml").unlink()
    write(SERVICE, "inner/service.yaml")

    process = start("run", "-d", "inner", "-p", "it.pid", "service.yaml", cwd=folder)

    assert get(process.url()) == "hello"
    assert (folder / "inner" / "it.pid").exists()
    assert process.terminated() == 0


def test_run_refuses_a_folder_that_is_not_there(invoke: Invoke) -> None:
    result = invoke("run", "-d", "nowhere", "service.yaml")

    assert (result.stdout, result.exit_code) == ("", 2)
    assert result.stderr.endswith(
        "\nError: cannot change to 'nowhere': no such file or directory\n"
    )


def test_run_logs_as_a_file_says(start: Processes, folder: Path, write: Write) -> None:
    write(
        """\
formatters: {short: {format: "%(levelname)s %(name)s %(message)s"}}
handlers:
    file: {class: logging.FileHandler, filename: all.log, formatter: short}
    shown: {class: logging.StreamHandler, formatter: short}
root: {handlers: [file, shown], level: INFO}
""",
        "logging.yaml",
    )
    process = start("run", "-l", "logging.yaml", "service.yaml", cwd=folder)
    url = process.told(r"url=(\S+)\n")[1]

    get(url)
    assert process.terminated() == 0

    assert (folder / "all.log").read_text() == process.stderr
    logged = process.stderr.splitlines()
    assert logged[0] == f"INFO piped.web listening site=web.site url={url}"
    assert re.fullmatch(r"INFO root hello asked( journey=\w+)?", logged[2])
    assert logged[-1] == "INFO piped stopped exit_code=0"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (None, "cannot read 'logging.yaml': no such file or directory"),
        (
            "a: [",
            "cannot read 'logging.yaml:1': expected the node content, but found '<stream end>'",
        ),
        ("- a", "'logging.yaml' is no logging configuration: expected a mapping, got ['a']"),
        (
            "handlers: {x: {class: nope.Nope}}",
            "'logging.yaml' is no logging configuration: Unable to configure handler 'x':"
            " Cannot resolve 'nope.Nope': No module named 'nope'",
        ),
    ],
)
def test_run_refuses_a_wrong_logging_file(
    invoke: Invoke, write: Write, text: str | None, why: str
) -> None:
    if text is not None:
        write(text, "logging.yaml")

    result = invoke("run", "-l", "logging.yaml", "service.yaml")

    assert (result.stdout, result.exit_code) == ("", 2)
    assert result.stderr.startswith("Usage: piped run [OPTIONS] [FILE]\n")
    assert result.stderr.endswith(f"\n\nError: {why}\n")


def test_run_keeps_its_number_in_a_file_while_it_runs(start: Processes, folder: Path) -> None:
    process = start("run", "-p", "it.pid", "service.yaml", cwd=folder).started()

    assert (folder / "it.pid").read_text() == f"{process.pid}\n"
    assert process.terminated() == 0
    assert not (folder / "it.pid").exists()


def test_run_refuses_a_number_that_lives(start: Processes, folder: Path, write: Write) -> None:
    write(f"{os.getpid()}\n", "it.pid")

    process = start("run", "--pidfile", "it.pid", "service.yaml", cwd=folder)

    assert process.ended() == 2
    assert process.stderr.endswith(
        f"\nError: 'it.pid' holds {os.getpid()}, a process that runs:"
        " is the service started already?\n"
    )
    assert (folder / "it.pid").read_text() == f"{os.getpid()}\n"


@pytest.mark.parametrize("stale", ["99999999", "no number", "", "0", "-1", "9" * 30])
def test_run_takes_over_a_number_that_is_stale(
    start: Processes, folder: Path, write: Write, stale: str
) -> None:
    write(stale, "it.pid")

    process = start("run", "-p", "it.pid", "service.yaml", cwd=folder).started()

    assert (folder / "it.pid").read_text() == f"{process.pid}\n"


def test_run_refuses_a_file_that_it_cannot_write(invoke: Invoke, folder: Path) -> None:
    result = invoke("run", "-p", "nowhere/it.pid", "service.yaml")

    assert (result.stdout, result.exit_code) == ("", 2)
    assert result.stderr.endswith(
        "\nError: cannot write 'nowhere/it.pid': no such file or directory\n"
    )


def test_run_removes_its_number_where_it_cannot_start(start: Processes, folder: Path) -> None:
    override = "web.site.listen:192.0.2.1:1"

    assert start("run", "-p", "it.pid", "-O", override, "service.yaml", cwd=folder).ended() == 3
    assert not (folder / "it.pid").exists()


@pytest.mark.parametrize(("options", "is_shown"), [(["-D"], True), ([], False)])
def test_run_shows_tracebacks_where_it_is_asked_to_and_the_site_allows_it(
    start: Processes, folder: Path, options: list[str], is_shown: bool
) -> None:
    overrides = [
        "-O",
        "web.site.debug:{allow: [localhost]}",
        "-O",
        'pipelines.web.hello:[{eval-lambda: {lambda: "b: 1 / 0"}}]',
    ]
    process = start("run", *options, *overrides, "service.yaml", cwd=folder)

    page = get(process.url())

    assert ("ZeroDivisionError" in page) is is_shown


def test_run_shows_more_when_it_is_verbose(start: Processes, folder: Path) -> None:
    override = "pipelines.unused:[{log: {message: x, level: debug}}]"
    loud = start("run", "-v", "-O", override, "service.yaml", cwd=folder).started()
    quiet = start("run", "-O", override, "service.yaml", cwd=folder).started()

    assert "hint[unused-pipeline]: nothing uses pipeline 'unused'" in loud.stderr
    assert "unused" not in quiet.stderr


def test_run_logs_at_debug_when_it_is_verbose(start: Processes, folder: Path) -> None:
    steps = "[{log: {message: seen, level: debug}}, write-web-response]"
    override = f"pipelines.web.hello:{steps}"
    loud = start("run", "-v", "-O", override, "service.yaml", cwd=folder)
    quiet = start("run", "-O", override, "service.yaml", cwd=folder)
    for each in (loud, quiet):
        get(each.url())
        each.terminated()

    assert '"event":"seen"' in loud.stderr
    assert '"event":"seen"' not in quiet.stderr


def test_run_prints_all_problems_and_does_not_start(invoke: Invoke, write: Write) -> None:
    write("""\
wbe: {}
pipelines:
    p:
        - eval-lamda: {lambda: "b: b"}
        - wait: {delay: soon}
    q: []
""")

    result = invoke("run", "service.yaml")

    assert (result.stdout, result.exit_code) == ("", 2)
    assert result.stderr == (
        "service.yaml:1:1: warning[unread-key]: nothing reads the key 'wbe'\n"
        "    at: wbe\n"
        f"    hint: {suggest('wbe', [*PROVIDERS, *OWN_KEYS])}\n"
        "service.yaml:4:11: error[unknown-processor]: there is no processor 'eval-lamda'\n"
        "    at: pipelines.p[0].eval-lamda\n"
        "    hint: did you mean 'eval-lambda'?\n"
        "service.yaml:5:25: error[wrong-value]:"
        " expected a duration such as 2s or 250ms, got 'soon'\n"
        "    at: pipelines.p[1].wait.delay\n"
        "service.yaml:6:8: error[empty-pipeline]: pipeline 'q' has no steps\n"
        "    at: pipelines.q\n"
        "    hint: write '- passthrough' into it\n"
    )


def test_run_of_a_missing_document_says_so(invoke: Invoke, folder: Path) -> None:
    result = invoke("run", "nope.yaml")

    assert (result.stdout, result.exit_code) == ("", 2)
    assert result.stderr == (
        "nope.yaml:1:1: error[missing-file]: no file 'nope.yaml'\n"
        f"    hint: check the path; the working directory is {folder}\n"
    )


@pytest.mark.parametrize(
    "arguments",
    [[], ["a.yaml", "b.yaml"], ["-c", "a.yaml", "b.yaml"], ["-c"], ["--nope", "a.yaml"], ["-O"]],
)
def test_run_that_is_wrongly_used_exits_with_2(invoke: Invoke, arguments: list[str]) -> None:
    result = invoke("run", *arguments)

    assert (result.stdout, result.exit_code) == ("", 2)
    assert result.stderr


def test_run_exits_with_3_where_its_port_is_taken(start: Processes, folder: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        process = start("run", "-O", f"web.site.port:{port}", "service.yaml", cwd=folder)

        assert process.ended() == 3
    last = lines_of(process)[-1]
    assert (last["level"], last["event"]) == ("error", "cannot start")
    assert last["reason"] == f"web.site: cannot listen on 127.0.0.1:{port}: the address is in use"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_run_answers_what_it_has_been_asked_before_it_ends(
    start: Processes, folder: Path, number: signal.Signals
) -> None:
    process = start("run", "service.yaml", cwd=folder, SLOW="800ms")
    client = asked(process.url(), "slow")
    process.told("slow asked")

    process.send(number)
    process.told("stopping")

    text = answer(client)
    assert text.startswith(b"HTTP/1.1 200 OK\r\n")
    assert text.endswith(b"\r\n\r\nslow")
    assert process.ended(within_s=3) == 0


def test_run_answers_what_was_sent_and_not_yet_heard(start: Processes, folder: Path) -> None:
    process = start("run", "service.yaml", cwd=folder)
    client = asked(process.url(), "")

    process.send(signal.SIGTERM)

    assert answer(client).endswith(b"\r\n\r\nhello")
    assert process.ended(within_s=3) == 0


def test_run_takes_no_more_once_it_is_to_end(start: Processes, folder: Path) -> None:
    process = start("run", "service.yaml", cwd=folder, SLOW="800ms")
    url = process.url()
    client = asked(url, "slow")
    process.told("slow asked")
    process.send(signal.SIGTERM)
    process.told("stopping")

    while True:  # the socket that listens is closed in one of the next turns
        try:
            with socket.create_connection(("127.0.0.1", httpx.URL(url).port or 0), timeout=5):
                pass
        except ConnectionResetError:
            pass  # it was closed in the midst of the handshake
        except ConnectionRefusedError:
            break

    assert answer(client).endswith(b"\r\n\r\nslow")


def test_run_ends_at_once_at_the_second_signal(start: Processes, folder: Path) -> None:
    process = start("run", "service.yaml", cwd=folder, SLOW="20s")
    client = asked(process.url(), "slow")
    process.told("slow asked")
    process.send(signal.SIGTERM)
    process.told('"event":"stopping"')

    process.send(signal.SIGINT)

    process.ended(within_s=2)
    events = [line["event"] for line in lines_of(process)]
    assert events[2:] == ["slow asked", "stopping", "stopping now", "stopped at once", "stopped"]
    assert b"200 OK" not in answer(client)


def test_run_ends_at_once_at_two_signals_that_come_together(start: Processes, folder: Path) -> None:
    process = start("run", "service.yaml", cwd=folder, SLOW="20s")
    client = asked(process.url(), "slow")
    process.told("slow asked")
    process.send(signal.SIGTERM)
    process.send(signal.SIGINT)

    process.ended(within_s=10)
    events = [line["event"] for line in lines_of(process)]
    assert events[2:] == ["slow asked", "stopping", "stopping now", "stopped at once", "stopped"]
    assert b"200 OK" not in answer(client)


BREAKING = '''\
import asyncio
from contextlib import asynccontextmanager
from piped import Dependency, Misconfigured, Processor, Provider, processor, provider

@processor("uses-it")
class UsesIt(Processor):
    """Breaks what it needs."""

    breaking: Dependency = Dependency("breaking")

    def process(self, baton):
        self.breaking.value.set()
        return baton

@provider("breaking")
class Breaking(Provider):
    """Works once, then never again."""

    essential: bool = True

    def offers(self):
        return ["breaking"]

    @asynccontextmanager
    async def running(self):
        async with asyncio.TaskGroup() as group:
            broken = asyncio.Event()
            group.create_task(self.fail(broken))
            yield {"breaking": broken}

    async def fail(self, broken):
        await broken.wait()
        raise Misconfigured("somebody has taken the port")
'''


def test_run_ends_at_the_third_signal_whatever_blocks(
    start: Processes, folder: Path, write: Write
) -> None:
    write(
        "system-events: {startup: {e: pipeline.block}}\n"
        "pipelines:\n"
        "    block:\n"
        "        - log: {message: blocking}\n"
        "        - eval-lambda: {namespace: {sleep: time.sleep}, lambda: 'b: sleep(60)'}\n"
    )
    process = start("run", "service.yaml", cwd=folder)
    process.told("blocking")

    until = time.monotonic() + 10
    while not process.has_ended and time.monotonic() < until:  # two at once may count as one
        process.send(signal.SIGTERM)

    assert process.ended(within_s=2) == 128 + signal.SIGTERM


def test_run_exits_with_3_when_what_it_cannot_do_without_fails_later(
    start: Processes, folder: Path, write: Write
) -> None:
    write(BREAKING, "breaking/__init__.py")
    write(
        "plugins: {bundles: {b: [breaking]}}\nbreaking: {}\npipelines: {p: [uses-it]}\n"
        "system-events: {startup: {p: pipeline.p}}\n"
    )

    process = start("run", "service.yaml", cwd=folder)

    assert process.ended() == 3
    assert "failed for good" in process.stderr


def test_run_lives_and_ends_well_where_standard_error_is_closed(folder: Path, write: Write) -> None:
    write("system-events: {startup: {e: pipeline.end}}\npipelines: {end: [shutdown]}\n")
    command = f"exec {shlex.quote(sys.executable)} -m piped run service.yaml 2>&-"

    done = subprocess.run(["sh", "-c", command], cwd=folder, timeout=20, check=False)

    assert done.returncode == 0


def test_run_starts_though_a_warning_cannot_be_written(folder: Path, write: Write) -> None:
    write("nobody: {}\nsystem-events: {startup: {e: pipeline.end}}\npipelines: {end: [shutdown]}\n")
    command = f"exec {shlex.quote(sys.executable)} -m piped run service.yaml 2>/dev/full"

    done = subprocess.run(["sh", "-c", command], cwd=folder, timeout=20, check=False)

    assert done.returncode == 0


def test_run_bounds_the_drain(start: Processes, folder: Path) -> None:
    process = start("run", "-O", "drain:200ms", "service.yaml", cwd=folder, SLOW="20s")
    client = asked(process.url(), "slow")
    process.told("slow asked")

    process.send(signal.SIGTERM)

    assert answer(client).startswith(b"HTTP/1.1 503 ")
    assert process.ended(within_s=3) == 0


def test_run_ends_when_a_pipeline_shuts_it_down(
    start: Processes, folder: Path, write: Write
) -> None:
    write("system-events: {startup: {e: pipeline.end}}\npipelines: {end: [shutdown]}\n")

    assert start("run", "service.yaml", cwd=folder).ended() == 0


def test_run_finds_bundles_beside_the_document_and_on_pythonpath(
    start: Processes, folder: Path, write: Write
) -> None:
    source = 'from piped import Processor, processor\n@processor("{}")\nclass Made(Processor):\n'
    source += '    def process(self, baton):\n        return {{**baton, "content": "{}"}}\n'
    write(source.format("near", "near"), "inner/bundle_near/__init__.py")
    write(source.format("far", "far"), "elsewhere/bundle_far/__init__.py")
    write(
        "includes: [../service.yaml]\n"
        "plugins: {bundles: {near: [bundle_near], far: [bundle_far]}}\n"
        "pipelines: {web: {hello: [near, far, write-web-response]}}\n",
        "inner/service.yaml",
    )
    elsewhere = str(folder / "elsewhere")

    process = start("run", "inner/service.yaml", cwd=folder, PYTHONPATH=elsewhere)

    assert get(process.url()) == "far"
