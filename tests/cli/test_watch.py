"""`piped run --watch`: a reload when the document has changed, a new process when a module has."""

from __future__ import annotations

import os
import re
import signal
import socket
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from piped.cli._look import look, stamp
from tests.cli.conftest import SERVICE, Invoke, Write
from tests.stories.processes import Process, Processes, free_ports

BUNDLED = """\
plugins: {bundles: {own: [bundle_own]}}
web:
    site:
        port: 0
        routing: {__config__: {processor: pipeline.answer}}
pipelines:
    answer:
        - say
        - write-web-response
"""
SAY = """\
from piped import Processor, processor

@processor("say")
class Say(Processor):
    def process(self, baton):
        return {**baton, "content": "hello"}
"""
ENDING = """\
system-events: {startup: {end: pipeline.end}}
pipelines: {end: [{shutdown: {exit_code: !file code}}]}
"""
WAITING = "waiting for a change\n"


def get(url: str, path: str = "") -> str:
    return httpx.get(f"{url}{path}", trust_env=False, timeout=10).text


def told(process: Process, *patterns: str) -> None:
    """Wait until the log has matches of all patterns, one behind the other."""
    process.told("(?s)" + ".*?".join(patterns))


def url_of(process: Process, number: int) -> str:
    """Return the address that the service has told when it was started for the n-th time."""
    told(process, *['"event":"started"'] * number)
    urls: list[str] = re.findall(r'"event":"listening".*"url":"([^"]*)"', process.stderr)
    return urls[number - 1]


def reloaded(process: Process, times: int = 1) -> str:
    """Wait until the service has reloaded so many times, and return the address it kept."""
    told(process, *['"event":"reloaded"'] * times)
    return url_of(process, 1)


def pid_of(process: Process) -> int:
    return int(process.told(r'"event":"started".*"pid":(\d+)')[1])


def changes(process: Process) -> list[str]:
    return re.findall(r"^changed: (.*)$", process.stderr, re.MULTILINE)


def test_a_changed_document_is_reloaded(start: Processes, folder: Path, write: Write) -> None:
    write(SERVICE)
    process = start("run", "--watch", "service.yaml", cwd=folder)
    before = get(url_of(process, 1))

    write(SERVICE.replace("value: hello", "value: good day"))
    after = get(reloaded(process))

    assert (before, after) == ("hello", "good day")
    assert changes(process) == ["service.yaml"]
    told(process, "~ pipeline.web.hello\n= 2 unchanged\n")
    assert process.terminated() == 0
    assert process.stdout == ""


def test_a_changed_module_is_imported_anew(start: Processes, folder: Path, write: Write) -> None:
    write(BUNDLED)
    write("", "bundle_own/__init__.py")
    write(SAY, "bundle_own/saying.py")
    process = start("run", "--watch", "service.yaml", cwd=folder)
    before = get(url_of(process, 1))

    write(SAY.replace("hello", "salve"), "bundle_own/saying.py")  # of the same size
    after = get(url_of(process, 2))

    assert (before, after) == ("hello", "salve")
    assert changes(process) == ["bundle_own/saying.py"]


def test_a_new_module_of_a_bundle_is_seen(start: Processes, folder: Path, write: Write) -> None:
    write(BUNDLED)
    write(SAY, "bundle_own/__init__.py")
    process = start("run", "--watch", "service.yaml", cwd=folder)
    url_of(process, 1)

    write("def", "bundle_own/more.py")

    told(process, "changed: bundle_own/more.py\n", r"cannot-import", "goes on as it was")


def test_all_files_of_a_document_are_watched(start: Processes, folder: Path, write: Write) -> None:
    write("includes: [parts/site.yaml]\npipelines: {web: {other: [passthrough]}}\n")
    text = SERVICE.replace("value: hello", "value: !file word")
    write(text, "parts/site.yaml")
    write("first", "parts/word")
    process = start("run", "--watch", "service.yaml", cwd=folder)
    answers = [get(url_of(process, 1))]

    write("second", "parts/word")
    answers.append(get(reloaded(process, 1)))
    write(text.replace("!file word", "third"), "parts/site.yaml")
    answers.append(get(reloaded(process, 2)))

    assert answers == ["first", "second", "third"]
    assert changes(process) == ["parts/word", "parts/site.yaml"]


def test_a_file_that_an_editor_replaces_is_seen_and_what_it_leaves_is_not(
    start: Processes, folder: Path, write: Write
) -> None:
    write(SERVICE)
    process = start("run", "--watch", "service.yaml", cwd=folder)
    url_of(process, 1)

    for name in ("4913", ".service.yaml.swp", "notes.txt", "other.py"):
        write("x", name)
    (folder / "service.yaml").rename(folder / "service.yaml~")
    write(SERVICE)
    reloaded(process, 1)
    write(SERVICE.replace("value: hello", "value: good day"), "service.yaml.new")
    (folder / "service.yaml.new").replace(folder / "service.yaml")

    assert get(reloaded(process, 2)) == "good day"
    assert changes(process) == ["service.yaml", "service.yaml"]


def test_a_broken_document_leaves_the_old_one_running(
    start: Processes, folder: Path, write: Write
) -> None:
    write(SERVICE)
    process = start("run", "--watch", "service.yaml", cwd=folder)
    url = url_of(process, 1)

    write(SERVICE.replace("set-value", "set-valeu"))
    told(process, "the service goes on as it was\n")
    meanwhile = get(url)
    write(SERVICE.replace("value: hello", "value: good day"))
    after = get(reloaded(process))

    assert (meanwhile, after) == ("hello", "good day")
    _, _, said = process.stderr.partition("changed: service.yaml\n")
    assert said.startswith(
        "service.yaml:11:15: error[unknown-processor]: there is no processor 'set-valeu'\n"
    )
    assert changes(process) == ["service.yaml", "service.yaml"]


def test_what_is_under_way_ends_as_it_began_while_the_new_document_is_served(
    start: Processes, folder: Path, write: Write
) -> None:
    write(SERVICE)
    process = start("run", "--watch", "service.yaml", cwd=folder, SLOW="5s")
    url = url_of(process, 1)

    with socket.create_connection(("127.0.0.1", httpx.URL(url).port or 80), timeout=10) as client:
        client.sendall(b"GET /slow HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        process.told("slow asked")
        write(SERVICE.replace("value: hello", "value: good day").replace("value: slow", "value: x"))
        reloaded(process)
        meanwhile = get(url)
        answer = b"".join(iter(lambda: client.recv(65536), b""))

    assert meanwhile == "good day"
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.endswith(b"\r\n\r\nslow")


def test_what_is_under_way_is_finished_before_a_changed_module_is_used(
    start: Processes, folder: Path, write: Write
) -> None:
    port = free_ports(1)[0]
    text = f"plugins: {{bundles: {{own: [bundle_own]}}}}\n{SERVICE}"
    write(text.replace("port: 0", f"port: {port}"))
    write(SAY, "bundle_own/__init__.py")
    process = start("run", "--watch", "service.yaml", cwd=folder, SLOW="2s")
    url = url_of(process, 1)

    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.sendall(b"GET /slow HTTP/1.1\r\nHost: localhost\r\n\r\n")
        process.told("slow asked")
        write(f"{SAY}\n", "bundle_own/__init__.py")
        told(process, '"event":"stopping"')
        answer = b"".join(iter(lambda: client.recv(65536), b""))

    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.endswith(b"\r\n\r\nslow")
    assert url_of(process, 2) == url


@pytest.mark.parametrize("text", [None, "pipelines: [\n", "pipelines: {p: [nope]}\n"])
def test_a_document_that_is_broken_at_the_start_is_waited_for(
    start: Processes, folder: Path, write: Write, text: str | None
) -> None:
    if text is not None:
        write(text)
    process = start("run", "--watch", "service.yaml", cwd=folder)
    told(process, r"error\[", WAITING)

    write(SERVICE)

    assert get(url_of(process, 1)) == "hello"
    assert process.terminated() == 0


def test_a_missing_file_is_waited_for(start: Processes, folder: Path, write: Write) -> None:
    write("includes: [site.yaml]\n")
    process = start("run", "--watch", "service.yaml", cwd=folder)
    told(process, r"error\[", WAITING)

    write(SERVICE, "site.yaml")

    assert get(url_of(process, 1)) == "hello"
    assert changes(process) == ["site.yaml"]


def test_a_document_in_a_folder_that_is_not_there_is_waited_for(
    start: Processes, folder: Path, write: Write
) -> None:
    process = start("run", "--watch", "later/service.yaml", cwd=folder)
    told(process, r"error\[", WAITING)

    write(SERVICE, "later/service.yaml")

    assert get(url_of(process, 1)) == "hello"


def test_a_module_that_was_broken_at_the_start_is_watched(
    start: Processes, folder: Path, write: Write
) -> None:
    write(BUNDLED)
    write("1 / 0\n", "bundle_own/__init__.py")
    process = start("run", "--watch", "service.yaml", cwd=folder)
    told(process, "ZeroDivisionError", WAITING)

    write(SAY, "bundle_own/__init__.py")

    assert get(url_of(process, 1)) == "hello"


def test_a_check_that_hangs_is_broken_off_by_the_next_change(
    start: Processes, folder: Path, write: Write
) -> None:
    write(BUNDLED)
    write("import sys, threading\nprint('hangs')\nthreading.Event().wait()\n", "bundle_own/w.py")
    write(SAY, "bundle_own/__init__.py")
    process = start("run", "--watch", "service.yaml", cwd=folder)
    told(process, "hangs\n")

    write(SERVICE)

    assert get(url_of(process, 1)) == "hello"


def test_a_module_that_ends_the_check_is_told(start: Processes, folder: Path, write: Write) -> None:
    write(BUNDLED)
    write("import os\nos._exit(7)\n", "bundle_own/__init__.py")
    process = start("run", "--watch", "service.yaml", cwd=folder)

    told(process, "cannot check 'service.yaml': the check has ended with exit code 7\n", WAITING)

    write(SERVICE)
    assert get(url_of(process, 1)) == "hello"


def test_a_service_that_ends_well_ends_the_watch(
    start: Processes, folder: Path, write: Write
) -> None:
    write(ENDING)
    write("0", "code")

    process = start("run", "--watch", "service.yaml", cwd=folder)

    assert process.ended() == 0


def test_a_service_that_fails_is_started_again_after_the_next_change(
    start: Processes, folder: Path, write: Write
) -> None:
    write(ENDING)
    write("9", "code")
    process = start("run", "--watch", "service.yaml", cwd=folder)
    told(process, "the service has ended with exit code 9; waiting for a change\n")

    write("0", "code")

    assert process.ended() == 0


@pytest.mark.parametrize(("text", "code"), [("pipelines: [\n", 2), (ENDING, 9)])
def test_a_signal_while_nothing_runs_passes_on_how_it_ended(
    start: Processes, folder: Path, write: Write, text: str, code: int
) -> None:
    write(text)
    write("9", "code")
    process = start("run", "--watch", "service.yaml", cwd=folder)
    told(process, WAITING)

    process.send(signal.SIGINT)

    assert process.ended() == code


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_both(
    start: Processes, folder: Path, write: Write, number: signal.Signals
) -> None:
    write(SERVICE)
    process = start("run", "--watch", "service.yaml", cwd=folder)
    pid = pid_of(process)

    process.send(number)

    assert process.ended() == 0
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_second_signal_ends_at_once_what_is_under_way(
    start: Processes, folder: Path, write: Write
) -> None:
    write(SERVICE)
    process = start("run", "--watch", "service.yaml", cwd=folder, SLOW="20s")
    port = httpx.URL(url_of(process, 1)).port or 80

    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.sendall(b"GET /slow HTTP/1.1\r\nHost: localhost\r\n\r\n")
        process.told("slow asked")
        process.send(signal.SIGINT)
        process.told('"event":"stopping"')
        process.send(signal.SIGINT)

        assert process.ended(within_s=10) == 0
    told(process, '"event":"stopping now"', '"event":"stopped at once"')


def test_a_terminal_interrupts_the_service_through_the_watch_only(
    start: Processes, folder: Path, write: Write
) -> None:
    write(SERVICE)
    process = start("run", "--watch", "service.yaml", cwd=folder)
    url, pid = url_of(process, 1), pid_of(process)

    for number in (signal.SIGINT, signal.SIGHUP):
        os.kill(pid, number)

    assert get(url) == "hello"
    process.send(signal.SIGINT)
    assert process.ended() == 0
    assert len(re.findall('"event":"stopping', process.stderr)) == 1


def test_a_service_whose_watch_is_killed_ends(start: Processes, folder: Path, write: Write) -> None:
    write(SERVICE)
    process = start("run", "--watch", "service.yaml", cwd=folder)
    url_of(process, 1)

    process.kill()  # and waits until nobody writes to its log any more

    told(process, '"event":"stopping"', '"event":"stopped"')


def test_options_are_those_of_the_service(start: Processes, folder: Path, write: Write) -> None:
    write(SERVICE, "sub/service.yaml")
    arguments = ("--watch", "-d", "sub", "-p", "pid", "-v", "-c", "service.yaml")
    overrides = ("-O", "service_name: shop", "-O", "pipelines.web.hello: [write-web-response]")
    process = start("run", *arguments, *overrides, cwd=folder)

    named = process.told('"event":"started","service_name":"([^"]*)"')[1]

    assert named == "shop"
    assert (folder / "sub" / "pid").read_text() == f"{pid_of(process)}\n"
    assert process.terminated() == 0
    assert os.listdir(folder / "sub") == ["service.yaml"]


def test_what_a_bundle_prints_disturbs_nobody(start: Processes, folder: Path, write: Write) -> None:
    write(BUNDLED)
    write(f"import os\nprint('{{}}')\nos.write(1, b'loud\\n')\n{SAY}", "bundle_own/__init__.py")
    process = start("run", "--watch", "service.yaml", cwd=folder)

    assert get(url_of(process, 1)) == "hello"


def test_without_its_library_it_says_what_to_install(
    invoke: Invoke, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(SERVICE)
    monkeypatch.setitem(sys.modules, "watchfiles", None)
    monkeypatch.delitem(sys.modules, "piped.cli.watch", raising=False)

    result = invoke("run", "--watch", "service.yaml")

    assert result.exit_code == 2
    assert result.stderr.endswith(
        "Error: cannot watch: the library 'watchfiles' is not installed:"
        " install piped-server[watch]\n"
    )


def test_a_look_tells_each_file_as_it_was_when_it_was_read(
    folder: Path, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", sys.path[:])
    hooks: list[Any] = []
    monkeypatch.setattr(sys, "addaudithook", hooks.append)
    write("drain: 3s\npipelines: {p: [passthrough]}\n")
    file = str(folder / "service.yaml")

    found = look("service.yaml", ["service_name:shop"])

    assert len(hooks) == 1
    assert (found.is_good, found.drain_s, found.files) == (True, 3.0, {file: stamp(file)})
    assert stamp(f"{file}.old") is None
