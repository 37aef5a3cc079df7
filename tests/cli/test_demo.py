"""`piped demo`: the first experience, and what it says when something is not as said."""

from __future__ import annotations

import re
import shutil
import time
from pathlib import Path

import pytest
from click.testing import Result

from piped.cli import demo
from tests.cli.conftest import Invoke
from tests.stories.processes import Processes

STORY = """\
Piped *: a service, and two workers that compute for it

starting   server   process *
starting   sum      process *
starting   square   process *
listening  http://127.0.0.1:*/
asking     the sum of the squares of 1..10, and the square of their sum
answer     {"sum": 385, "square": 3025, "diff": 2640}   after *ms
freezing   sum      process *
asking     the sum of the squares of 1..10, and the square of their sum
answer     {"success": false}   after *s
thawing    sum      process *
asking     the sum of the squares of 1..10, and the square of their sum
answer     {"sum": 385, "square": 3025, "diff": 2640}   after *ms
stopping   all processes
documents  *
DEMO PASSED
"""


@pytest.fixture
def documents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The documents of the demo, to be spoilt."""
    copy = tmp_path / "demo"
    shutil.copytree(demo.DOCUMENTS, copy)
    monkeypatch.setattr(demo, "DOCUMENTS", copy)
    return copy


def spoil(file: Path, old: str, new: str) -> None:
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new), encoding="utf-8")


def test_demo_passes_and_tells_its_story(start: Processes, tmp_path: Path) -> None:
    began = time.monotonic()
    process = start("demo", cwd=tmp_path)

    assert process.ended(within_s=15) == 0
    assert time.monotonic() - began < 15
    told = re.escape(STORY).replace(r"\*", "[^\n]+")
    assert re.fullmatch(told, process.stdout), process.stdout
    assert process.stderr == ""
    assert list(tmp_path.iterdir()) == []
    [documents] = re.findall(r"documents +(.+)", process.stdout)
    assert {each.name for each in Path(documents).iterdir()} >= {"server.yaml", "sum.yaml"}


def failed(result: Result, reason: str, log: str) -> None:
    assert result.exit_code == 1
    assert "DEMO PASSED" not in result.stdout
    assert result.stderr.startswith(f"\nnot as said: {reason}\nthe log of server:\n")
    assert log in result.stderr
    assert result.stderr.endswith("\nDEMO FAILED\n")


def test_demo_fails_where_a_process_does_not_start(invoke: Invoke, documents: Path) -> None:
    spoil(documents / "sum.yaml", "decode-json", "decode-jsn")

    result = invoke("demo")

    failed(result, "sum did not start", "error[unknown-processor]: there is no processor")


def test_demo_fails_where_an_answer_is_wrong(invoke: Invoke, documents: Path) -> None:
    spoil(documents / "square.yaml", "** 2", "** 3")

    result = invoke("demo")

    expected = '{"sum": 385, "square": 3025, "diff": 2640}'
    failed(result, f"expected {expected}", '"event":"started"')
    assert '"square": 166375' in result.stdout


def test_demo_fails_where_no_answer_comes(
    invoke: Invoke, documents: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil(documents / "square.yaml", "queue_name: worker_square_out", "queue_name: worker_lost")
    spoil(documents / "queues.yaml", "    queues:\n", "    queues:\n" + LOST)
    spoil(documents / "server.yaml", "time() - 2", "time() - 60")
    monkeypatch.setattr(demo, "PATIENCE_S", 1.5)

    result = invoke("demo")

    assert result.exit_code == 1
    assert "DEMO PASSED" not in result.stdout
    assert result.stderr.startswith("\nnot as said: ")


LOST = '        worker_lost: {type: PUB, connects: ["tcp://127.0.0.1:1"]}\n'


def test_demo_leaves_no_process_behind(
    invoke: Invoke, documents: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil(documents / "square.yaml", "** 2", "** 3")
    made: list[demo.Child] = []
    start = demo.start

    async def remembered(name: str, environment: dict[str, str]) -> demo.Child:
        made.append(await start(name, environment))
        return made[-1]

    monkeypatch.setattr(demo, "start", remembered)

    invoke("demo")

    assert len(made) == 3
    assert all(child.process.returncode is not None for child in made)


def test_demo_takes_apart_groups_of_errors() -> None:
    first, second = demo.NotAsSaid("first"), TimeoutError()
    group = BaseExceptionGroup("outer", [BaseExceptionGroup("inner", [first]), second])

    assert list(demo.leaves(group)) == [first, second]
