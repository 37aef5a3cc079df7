"""What `piped run` tells systemd, over a socket as systemd gives it."""

from __future__ import annotations

import os
import re
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from piped.cli._notify import Notifier
from tests.cli.conftest import SERVICE, Write
from tests.stories.processes import PATIENCE_S, Processes


@pytest.fixture(params=["path", "abstract"])
def systemd(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    """A socket that listens, and how the environment names it."""
    path = f"{tmp_path}/notify"
    name = path if request.param == "path" else f"@{path}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bound:
        bound.settimeout(PATIENCE_S)
        bound.bind(name.replace("@", "\0"))
        yield bound, name


def heard(bound: socket.socket) -> str:
    return bound.recv(4096).decode()


def test_run_tells_systemd_what_it_does(
    start: Processes, folder: Path, write: Write, systemd: tuple[socket.socket, str]
) -> None:
    bound, name = systemd
    write(SERVICE)

    process = start("run", "service.yaml", cwd=folder, NOTIFY_SOCKET=name)

    assert heard(bound) == "READY=1\nSTATUS=running"
    process.send(signal.SIGHUP)
    assert re.fullmatch(r"RELOADING=1\nMONOTONIC_USEC=\d+", heard(bound))
    assert heard(bound) == "READY=1\nSTATUS=running; reloaded"

    write("pipelines: {p: [nothing]}\n")
    process.send(signal.SIGHUP)
    assert heard(bound).startswith("RELOADING=1\n")
    assert heard(bound) == "READY=1\nSTATUS=running; not reloaded: the document has errors"

    process.send(signal.SIGTERM)
    assert heard(bound) == "STOPPING=1\nSTATUS=draining"
    assert process.ended() == 0


def test_run_feeds_the_watchdog(
    start: Processes, folder: Path, write: Write, systemd: tuple[socket.socket, str]
) -> None:
    bound, name = systemd
    write(SERVICE)

    start("run", "service.yaml", cwd=folder, NOTIFY_SOCKET=name, WATCHDOG_USEC="100000")

    assert heard(bound).startswith("READY=1\n")
    assert [heard(bound) for _ in range(3)] == ["WATCHDOG=1"] * 3


def test_a_watchdog_of_another_process_is_none_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", "/nowhere")
    monkeypatch.setenv("WATCHDOG_USEC", "100000")
    monkeypatch.setenv("WATCHDOG_PID", str(os.getppid()))

    Notifier().keep_alive()  # it would need a loop to say it again

    assert not os.environ.keys() & {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"}


def test_nobody_who_listens_is_no_reason_to_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", "/nowhere/at/all")

    Notifier().ready("running")
