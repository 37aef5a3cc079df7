"""The tutorial, as its reader runs it: all four stages, verbatim, in one process and in several."""

from __future__ import annotations

import asyncio
import hashlib
import re
import shutil
import socket
import time
from collections import Counter
from itertools import count
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from tests.stories.processes import Process, Processes, free_ports, skip_if_taken

TUTORIAL: Final = Path(__file__).parent / "tutorial"
STAGE_4: Final = TUTORIAL / "4"
PORTS: Final = {1: [8088], 2: [8088], 3: [8080, 5000, 5001, 6000, 6001]}
PORTS[4] = PORTS[3]
URL: Final = "http://127.0.0.1:8080/"
FALLBACK: Final = {"success": False}

DIGESTS: Final = {
    "1/rpc-server.yaml": "0e0c3095dfcede20d6c47bbea415c5f274dd1698b7fdbf311817390ec77f1c47",
    "1/test-rpc.yaml": "8f3bdc4f835da059970534cf19c7ffa41265e733db04fca1fe16fa143124de5f",
    "2/queues.yaml": "3ecc879732fb04b7cc99140f81fd87b968701400f2a794dea1a2f0d220d788e8",
    "2/rpc-client-square.yaml": "8788c516651ceafd93597b93f3365c54ad3f4707f3cd825d67f4267c0d4caab9",
    "2/rpc-client-sum.yaml": "9cecc3a51e69e23ca256f87f3dc94e66e198c3ebc60dfbf6736e955f5a2acabb",
    "2/rpc-client.yaml": "dd2a9128578e571cc53a9f48ea64cc8d8371c00dae2f5465839cedf45c45e3a2",
    "3/rpc-server.yaml": "0391e9e1fa77889164f43edcdc77967fceb5a94af1733032025939c675230076",
    "4/rpc-server-reaper.yaml": "9da9fc129dbe14f8f11e11c8ca967a5ec33bf31df6c95aacbe6e845d55dad76f",
}
"""Of the documents that stand whole in the tutorial's text, where it shows them first."""

TIMESTAMP: Final = """\
            - eval-lambda:
                namespace:
                    time: time.time
                output_path: added
                lambda: "_: time()"

"""

RPC: Final = ("rpc_tutorial.test_rpc", "TestRPC", "single_number", "ten_numbers")
CLIENT: Final = ("rpc_tutorial.test_client", "TestClient", "simple_square", "simple_sum")
NO_WORKERS: Final = ("rpc_tutorial.test_rpc", "TestRPCWithoutWorkers", "single_number")
TREES: Final = {1: (RPC,), 2: (CLIENT, RPC), 3: (CLIENT, RPC), 4: (RPC, CLIENT, NO_WORKERS)}


@pytest.fixture
def ports() -> None:
    """Skip where the tutorial's ports are taken: its documents fix them."""
    skip_if_taken(PORTS[4])


def text(name: str) -> str:
    return (TUTORIAL / name).read_text(encoding="utf-8")


def ask(*numbers: int | str, url: str = URL) -> httpx.Response:
    return httpx.get(url, params={"n": numbers}, timeout=10, trust_env=False)


def answer_to(*numbers: int) -> dict[str, int]:
    """Return what the service shall answer."""
    total, square = sum(n * n for n in numbers), sum(numbers) ** 2
    return {"sum": total, "square": square, "diff": square - total}


def tree(stage: int) -> str:
    """Return the report of the tests of a stage, the time left out."""
    lines = []
    for module, case, *names in TREES[stage]:
        lines += [module, f"  {case}"]
        lines += [f"    statustest_{name} ...".ljust(75) + "[OK]" for name in names]
    ran = sum(len(names) for _, _, *names in TREES[stage])
    lines += ["", "-" * 79, f"Ran {ran} tests in ?s", "", f"PASSED (successes={ran})", ""]
    return "\n".join(lines)


class Distributed:
    """The service of the last stage, in processes of its own."""

    def __init__(self, start: Processes) -> None:
        self._start = start
        self.server = self.run("rpc-server.yaml")

    def run(self, document: str) -> Process:
        return self._start("-nc", document, cwd=STAGE_4, PYTHONPATH=".").started()

    def run_sum(self) -> Process:
        return self.run("rpc-client-sum.yaml")

    def run_square(self) -> Process:
        return self.run("rpc-client-square.yaml")


@pytest.fixture
def service(start: Processes, ports: None) -> Distributed:
    return Distributed(start)


@pytest.mark.parametrize("name", DIGESTS)
def test_documents_are_those_of_the_text(name: str) -> None:
    digest = hashlib.sha256(text(name).encode()).hexdigest()

    assert digest == DIGESTS[name]


@pytest.mark.parametrize("name", DIGESTS)
def test_documents_stay_the_same_until_the_text_changes_them(name: str) -> None:
    first, file = name.split("/")
    later = [f"{stage}/{file}" for stage in range(int(first) + 1, 5) if f"{stage}/{file}" in SHOWN]

    for each in later:
        assert text(each) == text(name)


SHOWN: Final = (
    {f"{stage}/{each}" for stage in (2, 3, 4) for each in ("queues.yaml", "rpc-client.yaml")}
    | {f"{stage}/rpc-client-{each}.yaml" for stage in (2, 3, 4) for each in ("sum", "square")}
    | {"2/rpc-server.yaml"}
)


def test_the_last_server_is_the_one_before_with_a_timestamp_and_the_reaper() -> None:
    last = text("4/rpc-server.yaml")

    before = last.replace(TIMESTAMP, "", 1).replace("    - rpc-server-reaper.yaml\n", "", 1)
    assert before == text("3/rpc-server.yaml")


def test_the_documents_of_the_tests_grow_as_the_text_says() -> None:
    first, second, third, last = (text(f"{stage}/test-rpc.yaml") for stage in (1, 2, 3, 4))

    with_client = first.replace("rpc-server.yaml\n", "rpc-server.yaml\n    - rpc-client.yaml\n", 1)
    row = "            - test-"
    assert second == with_client.replace(f"{row}rpc\n", f"{row}client\n{row}rpc\n")
    assert third == second.replace("web:\n    site:\n        port: 8088\n\n", "")
    order = f"{row}rpc\n{row}client\n{row}rpc-without-workers\n"
    assert last == third.replace(f"{row}client\n{row}rpc\n", order)


@pytest.mark.parametrize("stage", [1, 2, 3, 4])
def test_status_tests_of_each_stage_pass(stage: int, start: Processes) -> None:
    skip_if_taken(PORTS[stage])
    process = start("-nc", "test-rpc.yaml", cwd=TUTORIAL / str(stage), PYTHONPATH=".")

    code = process.ended()

    assert re.sub(r"in \d+\.\d{3}s", "in ?s", process.stdout) == tree(stage)
    assert code == 0, process.stderr


def test_status_tests_warn_once_of_the_queues_that_are_read_twice(start: Processes) -> None:
    skip_if_taken(PORTS[2])
    process = start("-nc", "test-rpc.yaml", cwd=TUTORIAL / "2", PYTHONPATH=".")

    process.ended()

    warning = 'warning[repeated-include]: configuration file loaded multiple times: "queues.yaml"'
    assert process.stderr.count(warning) == process.stderr.count("multiple times") == 1


def test_a_failed_status_test_makes_the_exit_code_1(start: Processes, tmp_path: Path) -> None:
    folder, [port] = tmp_path / "1", free_ports(1)
    shutil.copytree(TUTORIAL / "1", folder, ignore=shutil.ignore_patterns("__pycache__"))
    tests = folder / "rpc_tutorial" / "test_rpc.py"
    changed = tests.read_text().replace("8088", str(port)).replace("sum=385", "sum=386")
    tests.write_text(changed)

    override = f"web.site.port:{port}"
    process = start("-O", override, "-nc", "test-rpc.yaml", cwd=folder, PYTHONPATH=".")

    assert process.ended() == 1
    assert "    statustest_single_number ...".ljust(75) + "[OK]\n" in process.stdout
    assert "    statustest_ten_numbers ...".ljust(73) + "[FAIL]\n" in process.stdout
    assert process.stdout.endswith("\nFAILED (failures=1, successes=1)\n")


def test_the_service_of_one_process_answers(start: Processes) -> None:
    arguments = ("-O", f"web.site.port:{free_ports(1)[0]}", "-nc", "rpc-server.yaml")
    url = start(*arguments, cwd=TUTORIAL / "1").url()

    assert ask(1, 2, 3, url=url).json() == {"sum": 14, "square": 36, "diff": 22}
    assert ask(-5, url=url).json() == {"sum": 25, "square": 25, "diff": 0}
    assert httpx.get(f"{url}nope", trust_env=False).status_code == 404


@pytest.mark.parametrize(
    "workers", [("rpc-client.yaml",), ("rpc-client-sum.yaml", "rpc-client-square.yaml")]
)
def test_workers_compute_for_the_server(service: Distributed, workers: tuple[str, ...]) -> None:
    running = [service.run(each) for each in workers]

    assert ask(*range(1, 11)).json() == {"sum": 385, "square": 3025, "diff": 2640}
    assert ask(10**30, 1).json() == answer_to(10**30, 1)
    assert [each.terminated(within_s=2) for each in [service.server, *running]] == [0] * (
        1 + len(workers)
    )


def test_without_any_worker_the_fallback_answers_in_time(service: Distributed) -> None:
    fail_unless_fallback(7)

    service.run("rpc-client.yaml")
    assert ask(7).json() == answer_to(7)


def test_a_killed_worker_ends_in_the_fallback_and_a_new_one_is_taken(service: Distributed) -> None:
    sum_worker, _ = service.run_sum(), service.run_square()
    assert ask(1, 2).json() == answer_to(1, 2)

    sum_worker.kill()
    fail_unless_fallback(3, 4)

    service.run_sum()
    assert ask(5, 6).json() == answer_to(5, 6)


def test_a_frozen_worker_ends_in_the_fallback_and_is_taken_again(service: Distributed) -> None:
    sum_worker, square_worker = service.run_sum(), service.run_square()
    assert ask(1, 2).json() == answer_to(1, 2)

    square_worker.freeze()
    assert ask("abc").status_code == 500  # the tutorial leaves it to the reaper, beside the next
    fail_unless_fallback(3, 4)

    square_worker.thaw()
    assert ask(5, 6).json() == answer_to(5, 6)
    assert sum_worker.terminated(within_s=2) == square_worker.terminated(within_s=2) == 0
    failures = [line for line in service.server.stderr.splitlines() if '"level":"error"' in line]
    assert len(failures) == 1, "a request that has its answer is no error of the reaper"
    assert "invalid literal for int()" in failures[0]


def fail_unless_fallback(*numbers: int) -> None:
    """Fail unless the service answers with the fallback, after the time that the text promises."""
    began = time.monotonic()
    response = ask(*numbers)
    took_s = time.monotonic() - began

    assert (response.status_code, response.json()) == (200, FALLBACK)
    assert 2 <= took_s <= 3.5


def test_bad_input_is_answered_and_the_service_lives(service: Distributed) -> None:
    service.run("rpc-client.yaml")

    endless = "9" * 20_000
    form = httpx.post(URL, data={"n": endless}, trust_env=False)
    answers = [httpx.get(URL, trust_env=False), ask("abc"), ask(""), form, ask(endless)]

    assert [each.status_code for each in answers] == [400, 500, 500, 500, 414]
    for each in answers:
        for internal in ("ValueError", "KeyError", "Traceback", "literal", ".py", ".yaml", "args"):
            assert internal not in each.text
    assert ask(3).json() == answer_to(3)


def test_a_server_that_is_stopped_answers_what_it_has_been_asked(service: Distributed) -> None:
    service.run_sum()
    service.run_square().freeze()
    with socket.create_connection(("127.0.0.1", 8080), timeout=10) as client:
        client.sendall(b"GET /?n=1&n=2 HTTP/1.1\r\nHost: localhost\r\n\r\n")

        code = service.server.terminated(within_s=6)

        answer = b"".join(iter(lambda: client.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(b'\r\n\r\n{"success": false}')
    assert code == 0


class Clients:
    """Ask for different numbers all the time, and tell what becomes of each question."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self._numbers = count(1)
        self._seen: asyncio.Queue[str] = asyncio.Queue()
        self._is_over = False

    async def ask(self) -> None:
        async with httpx.AsyncClient(trust_env=False, timeout=10) as client:
            while not self._is_over:
                number = next(self._numbers)
                self.asked["questions"] += 1
                response = await client.get(URL, params={"n": [number, 3]})
                outcome = self._judge(number, response.json())
                self.asked[outcome] += 1
                self._seen.put_nowait(outcome)

    @staticmethod
    def _judge(number: int, answer: Any) -> str:
        if answer == answer_to(number, 3):
            return "right"
        return "fallback" if answer == FALLBACK else f"{number} was answered {answer}"

    async def see(self, outcome: str, times: int) -> None:
        """Wait for answers that were asked for or came from now on."""
        while not self._seen.empty():
            self._seen.get_nowait()
        while times:
            seen = await self._seen.get()
            assert seen in ("right", "fallback"), seen
            times -= seen == outcome

    def stop(self) -> None:
        self._is_over = True


def test_every_answer_is_right_or_the_fallback_whatever_befalls_workers(
    service: Distributed,
) -> None:
    clients = Clients()

    async def run(document: str) -> Process:
        return await asyncio.to_thread(service.run, document)

    async def story() -> None:
        sum_worker = await run("rpc-client-sum.yaml")
        square_worker = await run("rpc-client-square.yaml")
        await clients.see("right", 50)
        sum_worker.freeze()
        await clients.see("fallback", 12)
        sum_worker.thaw()
        await clients.see("right", 50)
        square_worker.kill()
        await clients.see("fallback", 12)
        await run("rpc-client-square.yaml")
        await clients.see("right", 50)
        assert await asyncio.to_thread(sum_worker.terminated, 2) == 0
        await run("rpc-client-sum.yaml")
        await clients.see("right", 50)
        clients.stop()

    async def all_at_once() -> None:
        async with asyncio.timeout(20), asyncio.TaskGroup() as group:
            for _ in range(12):
                group.create_task(clients.ask())
            group.create_task(story())

    asyncio.run(all_at_once())

    assert set(clients.asked) == {"questions", "right", "fallback"}
    assert clients.asked["questions"] == clients.asked["right"] + clients.asked["fallback"]
    assert service.server.terminated() == 0
    assert '"level":"error"' not in service.server.stderr
