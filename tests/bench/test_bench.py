"""The benchmarks run, and what they print has the shape of a table. No test asserts a speed."""

from __future__ import annotations

import importlib
import importlib.util
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from piped.app import blueprint_of

BENCH = Path(__file__).parents[2] / "bench"
NUMBER = re.compile(r"[+-]?\d[\d,]*(\.\d+)?%?|-")

pytestmark = pytest.mark.timeout(240)

Load = Callable[[str], Any]


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Iterator[Load]:
    """Import modules of bench/, which are no package; nothing of them remains."""
    known = set(sys.modules)
    monkeypatch.syspath_prepend(BENCH)
    yield importlib.import_module
    for name in set(sys.modules) - known:
        if str(BENCH) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def printed(name: str, *options: str) -> list[list[list[str]]]:
    """Run a benchmark and return the tables that it prints, as rows of cells."""
    done = subprocess.run(
        [sys.executable, str(BENCH / name), "--quick", *options],
        capture_output=True, text=True, timeout=200,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    tables = [each for each in done.stdout.split("\n\n") if each.startswith("|")]
    return [
        [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()]
        for table in tables
    ]


def test_the_first_service_is_measured_and_does_not_need_the_peers() -> None:
    [table] = printed("web.py", "--only", "first", "--peers-python", "none")

    head, _, *rows = table
    assert head == [
        "service", "connections", "req/s", "±", "CPU µs", "p99 ms", "errors", "ours : it", "CPU",
    ]  # fmt: skip
    assert [row[:2] for row in rows] == [["piped", "16"], ["piped", "64"]]
    assert all(NUMBER.fullmatch(cell) for row in rows for cell in row[1:])


def test_the_services_with_workers_are_measured() -> None:
    [table] = printed("web.py", "--only", "workers", "--peers-python", "none")

    _, _, *rows = table
    assert {row[0] for row in rows} == {"piped, a pool", "piped, queues"}
    assert all(NUMBER.fullmatch(cell) for row in rows for cell in row[1:])


def test_memory_is_told_after_numbers_of_requests_and_no_answer_is_wrong() -> None:
    [table] = printed("web.py", "--only", "memory", "--peers-python", "none")

    _, _, *rows = table
    assert [row[0] for row in rows] == ["1", "200", "2,000"]
    assert [row[2] for row in rows] == ["0", "0", "0"]


def test_what_is_tracked_stands_beside_what_is_wanted() -> None:
    [table] = printed("tracked.py")

    head, _, *rows = table
    assert head == ["what", "seen", "wanted"]
    assert [row[2] for row in rows] == ["65", "350", "0", "400,000", "5"]
    assert all(NUMBER.fullmatch(row[1]) for row in rows)


def test_documents_that_are_made_for_a_benchmark_have_no_errors(tmp_path: Path, load: Load) -> None:
    growth, limits, tracked, web = map(load, ("growth", "limits", "tracked", "web"))
    texts = {
        "grown.yaml": growth.document(pipelines=3, steps=5).text,
        "limits.yaml": limits.DOCUMENT.format(port=8080, limit=3),
        "tracked.yaml": tracked.DOCUMENT.format(folder=tmp_path, port=8080),
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    web.write_tutorial(tmp_path)

    for name in [*texts, *web.FIRST.documents, *web.QUEUED.documents]:
        assert blueprint_of(tmp_path / name).errors == [], name


def test_the_same_numbers_make_the_same_chart(tmp_path: Path, load: Load) -> None:
    plots = load("plots")
    axes = plots.Axes("Bodies", "bytes", is_steep=True)
    lines = {"piped": {1024: 50.0, 1 << 20: 900.0}, "another": {1024: 60.0, 1 << 20: 800.0}}
    if importlib.util.find_spec("matplotlib") is None:
        with pytest.raises(plots.NoMatplotlib) as caught:
            plots.draw(tmp_path / "no.svg", axes, lines)
        assert str(caught.value) == "no matplotlib: `pip install --group bench`"
        return

    for name in ("one.svg", "two.svg"):
        plots.draw(tmp_path / name, axes, lines)

    one, two = ((tmp_path / name).read_text() for name in ("one.svg", "two.svg"))
    assert one == two
    assert ">1 Ki</text>" in one
    assert ">1 Mi</text>" in one


def test_ratios_are_of_rounds_and_not_of_medians(
    load: Load, capsys: pytest.CaptureFixture[str]
) -> None:
    rounds = load("rounds")
    fixed = {"p99_ms": 1.0, "errors": 0.0}
    kept = {
        ("ours", 16): [
            {"rate": 100.0, "cpu_us": 10.0, **fixed}, {"rate": 10.0, "cpu_us": 10.0, **fixed},
            {"rate": 30.0, "cpu_us": 10.0, **fixed},
        ],
        ("theirs", 16): [
            {"rate": 50.0, "cpu_us": 20.0, **fixed}, {"rate": 5.0, "cpu_us": 15.0, **fixed},
            {"rate": 60.0, "cpu_us": 20.0, **fixed},
        ],
    }  # fmt: skip

    rounds.table(kept, "ours")

    assert capsys.readouterr().out.splitlines()[2:] == [
        "| ours | 16 | 30 | 150% | 10.0 | 1.00 | 0 | - | - |",
        "| theirs | 16 | 50 | 55% | 20.0 | 1.00 | 0 | 2.00 | 2.00 |",
    ]
