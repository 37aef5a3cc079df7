"""`piped work`, and the workers that `piped run --spawn` starts: real processes, real sockets."""

from __future__ import annotations

import json
import os
import re
import signal
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from tests.cli.conftest import Invoke, Write
from tests.conftest import has_ended
from tests.stories.processes import PATIENCE_S, Process, Processes, free_ports, is_alive

SERVICE: Final = """\
workers:
    math: {pipelines: [sum], deadline: 8s}
web:
    site:
        port: 0
        routing: {__config__: {processor: pipeline.web.compute}}
pipelines:
    sum:
        - exec-code:
            namespace: {os: os}
            output_path: answer
            code: |
                return [sum(n * n for n in input['numbers']), os.getpid()]
    web:
        compute:
            - exec-code:
                output_path: content
                dependencies: {math: workers.math}
                code: |
                    numbers = [int(n) for n in input['request'].args['n']]
                    results = await self.dependencies.math.call('sum', {'numbers': numbers})
                    return results[0]['answer']
            - encode-json: {input_path: content}
            - write-web-response
"""


@pytest.fixture
def document(write: Write) -> str:
    return write(SERVICE)


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder for temporary files, which is to be empty in the end."""
    with tempfile.TemporaryDirectory(dir="/tmp") as short:
        monkeypatch.setenv("TMPDIR", short)
        monkeypatch.setattr(tempfile, "tempdir", short)
        yield Path(short)


def usage_error(invoke: Invoke, *arguments: str) -> str:
    """Return what the command says of its arguments, which it does not accept."""
    result = invoke(*arguments)
    assert result.exit_code == 2
    error = result.stderr.partition("Error: ")[2]
    return error.removesuffix("\n")


def answer(url: str, *numbers: int) -> tuple[int, int]:
    """Return what the service answers: the sum of the squares, and which process has found it."""
    found = httpx.get(url, params={"n": numbers}, trust_env=False, timeout=20)
    assert found.status_code == 200, found.text
    total, pid = found.json()
    return total, pid


def lines_of(process: Process) -> list[dict[str, Any]]:
    """Return the log."""
    return [json.loads(line) for line in process.stderr.splitlines() if line.startswith("{")]


def pids(process: Process, count: int = 2) -> list[int]:
    """Return the processes of the workers, as soon as so many have joined."""
    process.told("(?s)" + '"event":"joined".*' * count)
    return [each["pid"] for each in lines_of(process) if each["event"] == "worker started"]


def wait_for_end(pids: list[int]) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            assert has_ended(os.pidfd_open(pid), PATIENCE_S), f"process {pid} lives on"


def over_zmq(address: str) -> list[str]:
    return ["-Oworkers.math.transport:zmq", f"-Oworkers.math.listen:{address}"]


# What is refused.


def test_work_refuses_a_pool_that_is_not_there(invoke: Invoke, document: str) -> None:
    error = usage_error(invoke, "work", "meth", document)

    assert error == "there is no pool 'meth' (did you mean 'math'?)"


def test_work_refuses_a_document_without_pools(invoke: Invoke, write: Write) -> None:
    error = usage_error(invoke, "work", "math", write("pipelines: {p: [passthrough]}\n"))

    assert error == "there is no pool 'math' (known: none)"


def test_work_refuses_a_pool_of_one_process(invoke: Invoke, document: str) -> None:
    error = usage_error(invoke, "work", "math", document)

    assert error == (
        "pool 'math' works inside its own process (transport local): say"
        " -O workers.math.transport:zmq, or use --spawn"
    )


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ("deadline: 8s", "deadline: soon", "service.yaml:2:40: error[wrong-value]: "),
        ("[sum]", "[sam]", "service.yaml:2:24: error[unknown-resource]: "),
        ("output_path: answer", "output: answer", "service.yaml:11:13: error[unknown-parameter]: "),
        ("web:\n", "web: [\n", "service.yaml:5:13: error[yaml-syntax]: "),
    ],
)
def test_work_does_not_start_where_its_pool_is_wrong(
    invoke: Invoke, write: Write, old: str, new: str, what: str
) -> None:
    write(SERVICE.replace(old, new, 1))

    result = invoke("work", "math", "service.yaml", "-O", "workers.math.transport:zmq")

    assert result.exit_code == 2
    assert result.stderr.startswith(what), result.stderr


def test_work_does_not_start_without_its_document(invoke: Invoke, folder: Path) -> None:
    result = invoke("work", "math", "none.yaml")

    assert result.exit_code == 2
    assert "none.yaml" in result.stderr


@pytest.mark.parametrize(
    ("spawn", "what"),
    [
        (["meth:2"], "there is no pool 'meth' (did you mean 'math'?)"),
        (["math:x"], "expected POOL or POOL:N with N from 0 to 64, got 'math:x'"),
        (["math:65"], "expected POOL or POOL:N with N from 0 to 64, got 'math:65'"),
        (["math", "math:2"], "pool 'math' is named twice"),
    ],
)
def test_run_refuses_to_start_workers_of_nothing(
    invoke: Invoke, document: str, spawn: list[str], what: str
) -> None:
    options = [f"--spawn={each}" for each in spawn]

    assert usage_error(invoke, "run", document, *options) == what


def test_run_starts_no_worker_of_a_document_with_errors(
    invoke: Invoke, write: Write, temporary: Path
) -> None:
    write(SERVICE.replace("encode-json", "encode-jason"))

    result = invoke("run", "service.yaml", "--spawn", "math:2")

    assert result.exit_code == 2
    assert "error[unknown-processor]" in result.stderr
    assert os.listdir(temporary) == []


# By hand.


def test_a_worker_by_hand_works_for_a_front_until_it_is_asked_to_end(
    start: Processes, folder: Path, document: str
) -> None:
    (port,) = free_ports(1)
    overrides = over_zmq(f"tcp://127.0.0.1:{port}")
    worker = start("work", "math", document, "--name", "by-hand", *overrides, cwd=folder).started()
    front = start("run", document, *overrides, cwd=folder).started()
    worker.told('"event":"joined","pool":"math","worker":"by-hand"')

    found = answer(front.url(), 1, 2, 3)

    assert found == (14, worker.pid)
    assert worker.terminated() == 0
    assert "listening" not in worker.stderr
    assert front.terminated() == 0


def test_a_worker_does_not_care_for_what_is_wrong_elsewhere(
    start: Processes, folder: Path, write: Write
) -> None:
    write(SERVICE.replace("encode-json", "encode-jason"))
    (port,) = free_ports(1)
    overrides = over_zmq(f"tcp://127.0.0.1:{port}")

    worker = start("work", "math", "service.yaml", *overrides, cwd=folder).started()

    assert worker.terminated() == 0


# Started by the front.


def test_spawned_workers_do_the_work_and_leave_nothing_behind(
    start: Processes, folder: Path, document: str, temporary: Path
) -> None:
    front = start("run", document, "--spawn", "math:2", cwd=folder).started()
    workers = pids(front)
    socket = [*temporary.glob("piped-*/math")]

    found = [answer(front.url(), 1, 2, 3) for _ in range(20)]
    code = front.terminated()

    assert {total for total, _ in found} == {14}
    assert {pid for _, pid in found} <= {*workers}
    assert len(socket) == 1
    assert code == 0
    assert os.listdir(temporary) == []
    assert [each for each in workers if is_alive(each)] == []
    lines = lines_of(front)
    assert [each["exit_code"] for each in lines if each["event"] == "worker ended"] == [0, 0]
    told = [each["event"] for each in lines if each.get("worker") == "math-1"]
    assert told[0] == "worker started"
    assert {"started", "joined", "stopping", "stopped", "worker left", "worker ended"} <= {*told}


def test_a_killed_worker_is_replaced_and_nothing_is_lost(
    start: Processes, folder: Path, document: str
) -> None:
    front = start("run", document, "--spawn", "math:2", cwd=folder).started()
    workers, url = pids(front), front.url()
    half = threading.Event()
    done: list[int] = []

    def ask(number: int) -> int:
        total, _ = client.get(url, params={"n": number}).json()
        done.append(number)
        if len(done) == 100:
            half.set()
        return int(total)

    with httpx.Client(trust_env=False, timeout=20) as client, ThreadPoolExecutor(8) as threads:
        answers = threads.map(ask, range(400))
        assert half.wait(PATIENCE_S)
        os.kill(workers[0], signal.SIGKILL)
        found = [*answers]

    assert found == [number * number for number in range(400)]
    front.told(r"'math-1' was ended by SIGKILL")
    pids(front, 3)
    assert front.terminated() == 0


def test_a_frozen_worker_is_killed_and_replaced(
    start: Processes, folder: Path, document: str
) -> None:
    front = start("run", document, "--spawn", "math", cwd=folder).started()
    (pid,) = pids(front, 1)

    os.kill(pid, signal.SIGSTOP)

    front.told(rf'"event":"worker frozen, killing it","worker":"math-1","pid":{pid}')
    _, other = pids(front, 2)
    assert answer(front.url(), 3) == (9, other)
    assert front.terminated() == 0


def test_workers_end_by_themselves_when_the_front_is_killed(
    start: Processes, folder: Path, document: str
) -> None:
    front = start("run", document, "--spawn", "math:2", cwd=folder).started()
    workers = pids(front)

    front.kill()

    wait_for_end(workers)


def test_a_pipeline_does_not_read_the_lifeline_of_its_worker(
    start: Processes, folder: Path, write: Write
) -> None:
    text = SERVICE.replace("{os: os}", "{os: os, stdin: sys.stdin}")
    write(text.replace("sum(n * n for n in input['numbers'])", "len(stdin.read())"))
    front = start("run", "service.yaml", "--spawn", "math", cwd=folder).started()

    found = answer(front.url(), 1)

    assert found == (0, *pids(front, 1))
    assert front.terminated() == 0


def test_workers_are_started_anew_with_a_changed_document(
    start: Processes, folder: Path, write: Write, temporary: Path
) -> None:
    write(SERVICE)
    process = start("run", "--watch", "service.yaml", "--spawn", "math", cwd=folder)
    before = pids(process, 1)

    write(SERVICE.replace("n * n", "n"))
    after = pids(process, 2)

    assert len({*before, *after}) == 2
    assert process.terminated() == 0
    assert [each for each in after if is_alive(each)] == []
    assert os.listdir(temporary) == []


def test_the_second_signal_ends_front_and_workers_at_once(
    start: Processes, folder: Path, write: Write, temporary: Path
) -> None:
    slow = "import asyncio\n                await asyncio.sleep(30)\n                return"
    write(SERVICE.replace("                return [sum", f"                {slow} [sum"))
    front = start("run", "service.yaml", "--spawn", "math:2", cwd=folder).started()
    workers, url = pids(front), front.url()
    with ThreadPoolExecutor(1) as threads:
        asked = threads.submit(httpx.get, url, params={"n": 1}, trust_env=False, timeout=20)
        front.send(signal.SIGTERM)
        front.told('"event":"stopping"')

        front.send(signal.SIGTERM)
        code = front.ended(within_s=5)
        asked.exception()

    assert code == 0
    wait_for_end(workers)
    assert os.listdir(temporary) == []


def test_workers_that_never_start_fail_for_good_and_the_front_goes_on(
    start: Processes, folder: Path, write: Write
) -> None:
    write(SERVICE)
    dying = "import os, sys\nif 'work' in sys.argv:\n    os.write(2, b'no')\n    os._exit(1)\n"
    write(dying, "bundle_dying/__init__.py")
    override = "plugins:{bundles: {dying: [bundle_dying]}}"
    front = start("run", "service.yaml", "-O", override, "--spawn", "math", cwd=folder).started()

    failed = front.told(r'"event":"failed for good","provider":"spawn.math-1","reason":"([^"]*)"')
    code = front.terminated()

    assert failed[1] == "'math-1' ended with exit code 1, and has ended 5 times in a minute"
    assert len(re.findall('"event":"worker started"', front.stderr)) == 5
    assert len(re.findall('"event":"no","worker":"math-1"', front.stderr)) == 5
    assert code == 0


def test_no_workers_may_be_started_and_others_come_by_hand(
    start: Processes, folder: Path, document: str, temporary: Path
) -> None:
    front = start("run", document, "--spawn", "math:0", cwd=folder).started()
    (socket,) = temporary.glob("piped-*/math")
    worker = start("work", "math", document, *over_zmq(f"ipc://{socket}"), cwd=folder)

    assert answer(front.url(), 2) == (4, worker.pid)
    assert front.terminated() == 0
    assert worker.terminated() == 0


def test_a_worker_tells_how_it_is(document: str, start: Processes, tmp_path: Path) -> None:
    front, admin = free_ports(2)
    overrides = over_zmq(f"tcp://127.0.0.1:{front}")
    start("run", document, *overrides, cwd=tmp_path).started()
    worker = start("work", "math", document, *overrides, f"--admin=127.0.0.1:{admin}", cwd=tmp_path)
    worker.told('"event":"joined"')

    answer = httpx.get(f"http://127.0.0.1:{admin}/-/ready", trust_env=False)

    assert answer.status_code == 200
    assert answer.json()["providers"]["workers.math"] == {"state": "ready", "reason": ""}


def test_a_worker_tells_what_it_has_done(document: str, start: Processes, tmp_path: Path) -> None:
    front, admin = free_ports(2)
    overrides = over_zmq(f"tcp://127.0.0.1:{front}")
    service = start("run", document, *overrides, cwd=tmp_path).started()
    worker = start("work", "math", document, *overrides, f"--admin=127.0.0.1:{admin}", cwd=tmp_path)
    worker.told('"event":"joined"')

    assert answer(service.url(), 2) == (4, worker.pid)
    told = httpx.get(f"http://127.0.0.1:{admin}/metrics", trust_env=False).text.splitlines()

    assert 'piped_work_parts_total{outcome="answered",pool="math"} 1.0' in told
    assert 'piped_work_parts_total{outcome="failed",pool="math"} 0.0' in told
    assert 'piped_work_in_flight{pool="math"} 0.0' in told
    assert 'piped_pipeline_runs_total{pipeline="sum"} 1.0' in told


def test_an_admin_address_that_is_none_is_told(invoke: Invoke, document: str) -> None:
    zmq = "workers.math.transport:zmq"

    result = invoke("work", "math", document, "-O", zmq, "--admin", "nowhere")

    assert result.exit_code == 2
    assert result.stderr.endswith(
        "Error: --admin: expected an address such as 0.0.0.0:8080 or [::1]:8080, got 'nowhere'\n"
    )
