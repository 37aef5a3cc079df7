"""`piped run` at SIGHUP: another document, and no request that was accepted is lost."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import httpx
import pytest

from tests.cli.conftest import SERVICE, Write
from tests.stories.processes import PATIENCE_S, PIPED, Process, Processes

RELOADS: Final = 5
CLIENTS: Final = 3


def document(version: int) -> str:
    """Return a document that answers with its version, and has other routes than the last one."""
    return f"""\
web:
    site:
        port: 0
        routing:
            __config__: {{processor: pipeline.answer}}
            v{version}: {{__config__: {{processor: pipeline.answer}}}}
pipelines:
    answer:
        - log: {{message: asked}}
        - wait: {{delay: 10ms}}
        - set-value: {{path: content, value: v{version}}}
        - write-web-response
"""


def pooled(version: int) -> str:
    """Return a document whose answers are made by workers."""
    return f"""\
workers:
    say: {{pipelines: [say], deadline: 10s}}
web:
    site:
        port: 0
        routing: {{__config__: {{processor: pipeline.answer}}}}
pipelines:
    say: [{{set-value: {{path: said, value: v{version}}}}}]
    answer:
        - log: {{message: asked}}
        - exec-code:
            output_path: content
            dependencies: {{say: workers.say}}
            code: "return (await self.dependencies.say.call('say', {{}}))[0]['said']"
        - write-web-response
"""


def told(process: Process, event: str, times: int = 1) -> None:
    """Wait until the log has told an event so many times."""
    process.told("(?s)" + ".*?".join([f'"event":"{event}"'] * times))


class Clients:
    """Ask, each over a connection of its own that is kept, until the service leaves."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._changed = threading.Condition()
        self._pool = ThreadPoolExecutor(CLIENTS)
        self.answers: Counter[str] = Counter()
        self._asking = [self._pool.submit(self._ask) for _ in range(CLIENTS)]

    def _ask(self) -> str:
        """Return why there is no answer any more."""
        with httpx.Client(trust_env=False, timeout=PATIENCE_S) as client:
            while True:
                try:
                    response = client.get(self._url)
                except httpx.TransportError as error:
                    return type(error).__name__
                if response.status_code != 200:
                    return str(response.status_code)
                with self._changed:
                    self.answers[response.text] += 1
                    self._changed.notify_all()

    def have(self, answer: str) -> int:
        """Wait until somebody has an answer, and return how many have it."""
        with self._changed:
            return self._changed.wait_for(lambda: self.answers[answer], PATIENCE_S)

    @property
    def are_all_asking(self) -> bool:
        return not any(each.done() for each in self._asking)

    def ends(self) -> list[str]:
        """Wait until the service has left all of them, and return how."""
        self._pool.shutdown()
        return [each.result() for each in self._asking]


def test_every_request_that_was_accepted_is_answered_over_reloads_and_the_end(
    start: Processes, folder: Path, write: Write
) -> None:
    write(document(0))
    process = start("run", "service.yaml", cwd=folder)
    clients = Clients(process.url())
    assert clients.have("v0")

    for version in range(1, RELOADS + 1):
        write(document(version))
        process.send(signal.SIGHUP)
        told(process, "reloaded", version)
        assert clients.have(f"v{version}")

    assert clients.are_all_asking
    process.send(signal.SIGTERM)
    assert process.ended() == 0
    refused = {"ConnectError", "RemoteProtocolError", "ReadError", "WriteError"}  # not accepted
    assert {*clients.ends()} <= refused
    events = Counter(
        json.loads(each)["event"] for each in process.stderr.splitlines() if each[0] == "{"
    )
    assert events["asked"] == clients.answers.total()
    assert (events["listening"], events["reloaded"]) == (1, RELOADS)


def test_workers_are_replaced_and_no_request_is_lost(
    start: Processes, folder: Path, write: Write
) -> None:
    write(pooled(0))
    process = start("run", "--spawn", "say:2", "service.yaml", cwd=folder)
    clients = Clients(process.url())
    assert clients.have("v0")

    write(pooled(1))
    process.send(signal.SIGHUP)
    told(process, "reloaded")
    assert clients.have("v1")

    assert clients.are_all_asking
    assert process.terminated() == 0
    clients.ends()
    assert process.stderr.count('"event":"asked"') == clients.answers.total()


def test_a_pool_that_has_become_local_gets_a_socket_for_its_workers(
    start: Processes, folder: Path, write: Write
) -> None:
    remote = f"deadline: 10s, transport: zmq, listen: 'ipc://{folder}/say'"
    write(pooled(0).replace("deadline: 10s", remote))
    process = start("run", "--spawn", "say", "service.yaml", cwd=folder)
    url = process.url()
    assert httpx.get(url, trust_env=False, timeout=PATIENCE_S).text == "v0"

    write(pooled(1))
    process.send(signal.SIGHUP)
    told(process, "reloaded")

    assert httpx.get(url, trust_env=False, timeout=PATIENCE_S).text == "v1"
    assert process.terminated() == 0


def test_a_reload_tells_what_has_changed(start: Processes, folder: Path, write: Write) -> None:
    write(SERVICE)
    process = start("run", "service.yaml", cwd=folder)
    process.started()
    write(SERVICE.replace("value: slow", "value: fast") + "    more: [{log: {message: more}}]\n")

    process.send(signal.SIGHUP)

    process.told(r"\n\+ pipeline\.more\n~ pipeline\.web\.slow\n= 2 unchanged\n")


def test_a_document_with_errors_is_told_and_the_old_one_goes_on(
    start: Processes, folder: Path, write: Write
) -> None:
    write(SERVICE)
    process = start("run", "service.yaml", cwd=folder)
    url = process.url()
    process.started()
    write(SERVICE.replace("value: hello", "valu: hello"))

    process.send(signal.SIGHUP)

    told(process, "not reloaded, the service goes on as it was")
    assert "service.yaml:11:42: error[unknown-parameter]: set-value has no parameter 'valu'" in (
        process.stderr
    )
    assert '"reason":"the document has errors"' in process.stderr
    assert httpx.get(url, trust_env=False).text == "hello"
    write(SERVICE.replace("value: hello", "value: hi"))
    process.send(signal.SIGHUP)
    told(process, "reloaded")
    assert httpx.get(url, trust_env=False).text == "hi"
    assert process.terminated() == 0


@pytest.mark.parametrize("text", [None, "web: ["])
def test_a_document_that_cannot_be_read_leaves_the_old_one(
    start: Processes, folder: Path, write: Write, text: str | None
) -> None:
    write(SERVICE)
    process = start("run", "service.yaml", cwd=folder)
    url = process.url()
    process.started()
    (folder / "service.yaml").unlink()
    if text is not None:
        write(text)

    process.send(signal.SIGHUP)

    told(process, "not reloaded, the service goes on as it was")
    assert httpx.get(url, trust_env=False).text == "hello"
    assert process.terminated() == 0


def test_code_that_has_changed_is_warned_of(start: Processes, folder: Path, write: Write) -> None:
    write("def greeting(baton):\n    return 'hello'\n", "bundle_greeting.py")
    write(
        "web: {site: {port: 0, routing: {__config__: {processor: pipeline.answer}}}}\n"
        "pipelines:\n"
        "    answer:\n"
        "        - eval-lambda:\n"
        "            output_path: content\n"
        "            namespace: {greeting: bundle_greeting.greeting}\n"
        "            lambda: 'b: greeting(b)'\n"
        "        - write-web-response\n"
    )
    process = start("run", "service.yaml", cwd=folder)
    url = process.url()
    process.started()
    write("def greeting(baton):\n    return 'hi'\n", "bundle_greeting.py")

    process.send(signal.SIGHUP)

    told(process, "code has changed: it is used after a restart only")
    assert '"modules":["bundle_greeting"]' in process.stderr
    assert httpx.get(url, trust_env=False).text == "hello"


ON_A_TERMINAL = """\
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""


def test_a_terminal_that_is_closed_ends_the_service_and_reloads_nothing(
    folder: Path, write: Write
) -> None:
    write(SERVICE)
    ours, theirs = pty.openpty()
    with (folder / "log").open("w") as log:
        command = [sys.executable, "-c", ON_A_TERMINAL, PIPED, "run", "service.yaml"]
        process = subprocess.Popen(command, stdin=theirs, stderr=log, start_new_session=True)
    os.close(theirs)
    try:
        until = time.monotonic() + PATIENCE_S
        while "started" not in (folder / "log").read_text():
            assert time.monotonic() < until
        process.send_signal(signal.SIGHUP)  # the terminal is still there
        while '"reloaded"' not in (folder / "log").read_text():
            assert time.monotonic() < until
        os.close(ours)
        assert process.wait(PATIENCE_S) == 0
    finally:
        process.kill()
        process.wait()
    log_text = (folder / "log").read_text()
    events = [json.loads(each)["event"] for each in log_text.splitlines() if each.startswith("{")]
    assert events[2:] == ["reloading", "reloaded", "stopping", "stopped"]
