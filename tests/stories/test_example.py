"""`examples/sum-square`: each of its documents, run as its README says."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Final

import httpx
import pytest

from tests.stories.processes import Processes, skip_if_taken

EXAMPLE: Final = Path(__file__).parents[2] / "examples" / "sum-square"
DOCUMENTS: Final = sorted(each.name for each in EXAMPLE.glob("*.yaml"))
README: Final = (EXAMPLE / "README.md").read_text(encoding="utf-8")
PORTS: Final = (7101, 7102, 7103)
RIGHT: Final = {"sum": 14, "square": 36, "diff": 22}

ANSWERS: Final = [
    "large_numbers_are_exact",
    "mistakes_are_the_clients",
    "one_number",
    "ten_numbers",
]
WORKERS: Final = ["square", "sum"]
DEADLINE: Final = ["another_answer_comes_in_time"]
TESTS: Final = {
    "2-tested.yaml": ANSWERS,
    "3-tested.yaml": WORKERS + ANSWERS,
    "4-tested.yaml": WORKERS + ANSWERS + DEADLINE,
}
ANY_PORT: Final = ("-O", "web.site.port:0")


def ask(url: str, *numbers: object) -> httpx.Response:
    return httpx.get(url, params={"n": [str(n) for n in numbers]}, timeout=10, trust_env=False)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_nothing_is_wrong_with_any_document(name: str, start: Processes) -> None:
    process = start("check", "--strict", name, cwd=EXAMPLE)

    assert process.ended(within_s=10) == 0
    assert (process.stdout, process.stderr) == ("", "1 document: no problems\n")


@pytest.mark.parametrize("name", DOCUMENTS)
def test_the_readme_tells_of_each_document(name: str) -> None:
    assert name in README


def test_the_readme_links_to_files_that_are_there() -> None:
    links = re.findall(r"\]\(([^)]+)\)", README)

    assert links
    assert [each for each in links if not (EXAMPLE / each).exists()] == []


@pytest.mark.parametrize("name", TESTS)
def test_the_status_tests_pass(name: str, start: Processes) -> None:
    skip_if_taken(PORTS)
    process = start("run", name, cwd=EXAMPLE)

    code = process.ended()

    assert re.findall(r"statustest_(\w+) \.\.\. +\[OK\]", process.stdout) == TESTS[name]
    assert process.stdout.endswith(f"\n\nPASSED (successes={len(TESTS[name])})\n")
    assert code == 0


def test_one_process_answers(start: Processes) -> None:
    url = start("run", *ANY_PORT, "1-one-process.yaml", cwd=EXAMPLE).url()

    assert ask(url, 1, 2, 3).json() == RIGHT
    assert [ask(url, "one").status_code, ask(url).status_code] == [400, 400]


def test_a_calculation_is_called_by_hand(start: Processes) -> None:
    process = start("call", "1-one-process.yaml", "calculate.sum", "[1, 2, 3]", cwd=EXAMPLE)

    assert (process.ended(), process.stdout) == (0, "[14]\n")


def test_the_readme_shows_what_check_says(start: Processes, tmp_path: Path) -> None:
    text = (EXAMPLE / "1-one-process.yaml").read_text(encoding="utf-8")
    right = "        sum:\n            - map:"
    wrong = text.replace(right, right.replace("map", "mapp"))
    (tmp_path / "1-one-process.yaml").write_text(wrong, encoding="utf-8")

    process = start("check", "1-one-process.yaml", cwd=tmp_path)

    assert process.ended() == 1
    [shown] = re.findall(r"\$ piped check .*\n((?:.*\n)*?)```", README)
    assert process.stdout == shown


@pytest.mark.parametrize("server", ["3-server.yaml", "4-server.yaml"])
def test_workers_compute_for_the_server(server: str, start: Processes) -> None:
    skip_if_taken(PORTS)
    process = start("run", *ANY_PORT, server, cwd=EXAMPLE).started()
    workers = [start("run", f"3-{each}.yaml", cwd=EXAMPLE).started() for each in WORKERS]

    assert ask(process.url(), 1, 2, 3).json() == RIGHT
    assert [each.terminated(within_s=3) for each in (process, *workers)] == [0, 0, 0]


def test_a_frozen_worker_costs_one_answer_and_no_more_than_its_time(start: Processes) -> None:
    skip_if_taken(PORTS)
    url = start("run", *ANY_PORT, "4-server.yaml", cwd=EXAMPLE).url()
    square, _ = (start("run", f"3-{each}.yaml", cwd=EXAMPLE).started() for each in WORKERS)

    square.freeze()
    began = time.monotonic()
    late = ask(url, 1, 2, 3)
    took_s = time.monotonic() - began
    square.thaw()
    right = ask(url, 1, 2, 3)

    assert (late.status_code, json.loads(late.text)) == (504, {"success": False})
    assert 2 <= took_s <= 3.5
    assert right.json() == RIGHT


@pytest.mark.parametrize(
    "arguments",
    [
        ["service.yaml"],
        ["service.yaml", "--spawn", "math:2"],
        ["service-nats.yaml", "--spawn", "math:2"],
    ],
    ids=["one process", "workers", "workers over NATS"],
)
def test_the_pool_answers_wherever_its_workers_are(
    start: Processes, tmp_path: Path, arguments: list[str]
) -> None:
    document, *more = arguments
    for name in ("service.yaml", "service-nats.yaml"):  # the folder of the server is beside them
        (tmp_path / name).write_text((EXAMPLE / name).read_text())
    service = start("run", document, *more, "-O", "web.sum-square.port:0", cwd=tmp_path).started()
    if more:
        service.told('"event":"joined"')

    answer = httpx.get(f"{service.url()}?n=1&n=2&n=3", trust_env=False)

    assert answer.json() == RIGHT
    assert service.terminated() == 0
