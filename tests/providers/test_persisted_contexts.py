from __future__ import annotations

import asyncio
import itertools
import json
import random
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from piped.document.nodes import Entry, Mapping, Node, Scalar
from piped.errors import Misconfigured, Place
from piped.providers.persisted_contexts import PersistedContext, PersistedContexts, json_file
from piped.providers.persisted_contexts.files import Opened
from piped.resources.context import Context
from piped.spec import Decoder, Duration, Size, spec_of
from tests.conftest import Clock, turn

HERE = Place("service.yaml", 1, 1)
BOTH = pytest.mark.parametrize("extension", ["json", "sqlite"])

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend(movable_loop: tuple[str, dict[str, Any]]) -> tuple[str, dict[str, Any]]:
    return movable_loop


def persisted(file: Path, **settings: Any) -> PersistedContext:
    made = PersistedContext(file=str(file), **settings)
    made.named("jobs")
    return made


def content_of(file: Path) -> dict[str, Any] | None:
    """Return what another process would read, when this one has let the file go."""
    kind = "json" if file.suffix == ".json" else "sqlite"
    with closing(Opened(file, kind, 1 << 20)) as opened:
        return opened.found


async def until(is_so: Callable[[], bool]) -> None:
    """Let the loop and its threads go on until something is so."""
    for _ in range(100_000):
        if is_so():
            return
        await asyncio.sleep(0)
    raise AssertionError("it did not come to pass")


class Disk:
    """Stands for the disk below JSON files: it may be full, and it counts."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.tried = 0
        self.written: list[bytes] = []
        self.is_full = False
        self.gate = threading.Event()
        self.gate.set()
        self._write = json_file.write_whole
        monkeypatch.setattr(json_file, "write_whole", self.write)

    def write(self, path: Path, content: bytes) -> None:
        self.tried += 1
        self.gate.wait(10)
        if self.is_full:
            raise OSError(28, "No space left on device")
        self._write(path, content)
        self.written.append(content)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    """A disk that is written to at once, in the loop: threads have no clock to move."""

    async def at_once(function: Callable[..., Any], *given: Any) -> Any:
        return function(*given)

    monkeypatch.setattr(asyncio, "to_thread", at_once)
    return Disk(monkeypatch)


@BOTH
async def test_what_pipelines_put_in_is_there_when_the_process_starts_again(
    tmp_path: Path, extension: str
) -> None:
    file = tmp_path / f"jobs.{extension}"

    async with persisted(file, initial={"seen": []}).running() as first:
        first["persisted_context.jobs"]["seen"].append(1)
        first["persisted_context.jobs"]["last"] = {"name": "Åse", "big": 10**30}
    async with persisted(file, initial={"not": "used"}).running() as second:
        found = second["persisted_context.jobs"]

    assert isinstance(found, Context)
    assert list(found.items()) == [("seen", [1]), ("last", {"name": "Åse", "big": 10**30})]


@BOTH
async def test_what_is_taken_out_is_gone_and_what_is_new_comes_last(
    tmp_path: Path, extension: str
) -> None:
    file = tmp_path / f"jobs.{extension}"

    async with persisted(file, initial={"a": 1, "b": 2, "c": 3}).running() as first:
        del first["persisted_context.jobs"]["a"]
        first["persisted_context.jobs"].update(b=4, d=5)

    assert list((content_of(file) or {}).items()) == [("b", 4), ("c", 3), ("d", 5)]


@BOTH
async def test_the_file_is_there_with_its_first_content_as_soon_as_it_runs(
    tmp_path: Path, extension: str
) -> None:
    file = tmp_path / f"jobs.{extension}"

    async with persisted(file, initial={"a": 1}).running():
        is_there = file.exists()

    assert is_there
    assert content_of(file) == {"a": 1}


async def test_json_has_a_line_a_key(tmp_path: Path) -> None:
    file = tmp_path / "jobs.json"

    async with persisted(file, initial={"a": {"b": [1, 2.5]}, 'q"': None}).running():
        pass

    assert file.read_text() == '{\n"a":{"b":[1,2.5]},\n"q\\"":null\n}\n'


async def test_changes_deep_inside_are_saved_within_the_time_that_is_given(
    tmp_path: Path, clock: Clock, disk: Disk
) -> None:
    file = tmp_path / "jobs.json"

    async with persisted(file, initial={"a": {"b": []}}, save_within=Duration(5.0)).running() as on:
        await turn()
        on["persisted_context.jobs"]["a"]["b"].append("new")
        await clock.advance(4.0)
        before = len(disk.written)
        await clock.advance(1.5)
        saved = json.loads(file.read_bytes())

    assert before == 1
    assert saved == {"a": {"b": ["new"]}}


async def test_nothing_is_written_where_nothing_has_changed(
    tmp_path: Path, clock: Clock, disk: Disk
) -> None:
    file = tmp_path / "jobs.json"
    file.write_text('{"a": 1}')

    with capture_logs() as lines:
        async with persisted(file).running():
            for _ in range(5):
                await clock.advance(1.0)

    assert disk.tried == 0
    assert file.read_text() == '{"a": 1}'
    assert lines == []


async def test_each_save_is_told_at_the_level_debug(tmp_path: Path) -> None:
    with capture_logs() as lines:
        async with persisted(tmp_path / "jobs.json", initial={"a": 1}).running():
            pass

    assert lines == [
        {
            "event": "context saved",
            "context": "persisted_context.jobs",
            "keys": 1,
            "size_bytes": 1,
            "log_level": "debug",
        }
    ]


async def test_a_full_disk_is_told_once_and_the_service_goes_on_in_memory(
    tmp_path: Path, clock: Clock, disk: Disk
) -> None:
    file = tmp_path / "jobs.json"

    with capture_logs() as lines:
        async with persisted(file, initial={"n": 0}).running() as on:
            await turn()
            disk.is_full = True
            on["persisted_context.jobs"]["n"] = 1
            await clock.advance(1.0)
            await clock.advance(2.0)
            tried, whole = disk.tried, file.read_text()
            disk.is_full = False
            await clock.advance(4.0)
            saved = json.loads(file.read_text())

    assert tried == 3
    assert whole == '{\n"n":0\n}\n'
    assert saved == {"n": 1}
    assert [each for each in lines if each["log_level"] != "debug"] == [
        {
            "event": "context not saved",
            "context": "persisted_context.jobs",
            "file": str(file),
            "reason": "No space left on device",
            "log_level": "error",
        },
        {
            "event": "context can be saved again",
            "context": "persisted_context.jobs",
            "log_level": "info",
        },
    ]


async def test_a_full_disk_is_tried_less_and_less_often(
    tmp_path: Path, clock: Clock, disk: Disk
) -> None:
    times: list[float] = []
    now = asyncio.get_running_loop().time

    async with persisted(tmp_path / "jobs.json", initial={"n": 0}).running() as on:
        disk.is_full = True
        on["persisted_context.jobs"]["n"] = 1
        begun = now()
        while now() - begun < 100:
            tried = disk.tried
            await clock.advance(0.5)
            if disk.tried > tried:
                times.append(now() - begun)
        disk.is_full = False

    gaps = [later - sooner for sooner, later in itertools.pairwise(times)]
    assert gaps == pytest.approx([2, 4, 8, 16, 30, 30], abs=1.5)


async def test_what_could_not_be_saved_at_the_end_is_told(tmp_path: Path, disk: Disk) -> None:
    file = tmp_path / "jobs.json"

    with capture_logs() as lines:
        async with persisted(file, initial={"n": 0}).running() as on:
            disk.is_full = True
            on["persisted_context.jobs"]["n"] = 1

    assert lines[-1] == {
        "event": "changes are lost",
        "context": "persisted_context.jobs",
        "reason": "No space left on device",
        "log_level": "error",
    }
    assert content_of(file) == {"n": 0}


def itself() -> list[Any]:
    found: list[Any] = []
    found.append(found)
    return found


@pytest.mark.parametrize(
    ("value", "at", "reason"),
    [
        ([{"due": date(2024, 1, 1)}], "job[0].due", "date is not JSON"),
        ({"a": object()}, "job.a", "object is not JSON"),
        (b"bytes", "job", "bytes is not JSON"),
        ({1, 2}, "job", "set is not JSON"),
        ({"a": {7: "x"}}, "job.a", "expected text as a key, got 7 (int)"),
        ([1.0, float("nan")], "job[1]", "nan is no number of JSON"),
        ("\ud800", "job", "'\\ud800' is not Unicode"),
        (itself(), "job", "it is nested too deep, or contains itself"),
        ("x" * 200, "", "it has more than 100 bytes"),
    ],
)
async def test_what_would_not_come_back_is_told_once_and_the_last_good_state_stays(
    tmp_path: Path, clock: Clock, value: Any, at: str, reason: str
) -> None:
    file = tmp_path / "jobs.json"

    with capture_logs() as lines:
        async with persisted(file, initial={"n": 0}, max_size=Size(100)).running() as on:
            on["persisted_context.jobs"].update(n=1, job=value)
            await clock.advance(1.0)
            await clock.advance(1.0)
            kept = json.loads(file.read_bytes())
            del on["persisted_context.jobs"]["job"]

    assert kept == {"n": 0}
    assert content_of(file) == {"n": 1}
    assert [each for each in lines if each["log_level"] == "error"] == [
        {
            "event": "context not saved",
            "context": "persisted_context.jobs",
            "file": str(file),
            "reason": f"cannot be stored: {reason}",
            **({"at": at} if at else {}),
            "log_level": "error",
        }
    ]


async def test_a_key_that_is_no_text_is_told_with_its_type(tmp_path: Path) -> None:
    with capture_logs() as lines:
        async with persisted(tmp_path / "jobs.json").running() as on:
            on["persisted_context.jobs"][7] = "x"

    assert [(each["event"], each["reason"]) for each in lines[1:]] == [
        ("context not saved", "cannot be stored: expected text as a key, got 7 (int)"),
        ("changes are lost", "cannot be stored: expected text as a key, got 7 (int)"),
    ]


async def test_tuples_come_back_as_lists_and_kinds_of_text_as_text(tmp_path: Path) -> None:
    class Name(str):
        __slots__ = ()

    class Number(int):
        pass

    file = tmp_path / "jobs.json"

    async with persisted(file).running() as on:
        on["persisted_context.jobs"].update(pair=(1, [2]), name=Name("x"), n=Number(3))

    assert content_of(file) == {"pair": [1, [2]], "name": "x", "n": 3}


@BOTH
async def test_two_processes_cannot_use_one_file(tmp_path: Path, extension: str) -> None:
    file = tmp_path / f"jobs.{extension}"
    other = tmp_path / f"other.{extension}"
    other.symlink_to(file)

    async with persisted(file).running():
        with pytest.raises(Misconfigured) as caught:
            async with persisted(other).running():
                pass
    async with persisted(other).running():
        pass

    assert str(caught.value) == f"'{file}' is used by another process"


async def test_it_yields_the_same_dict_when_it_runs_again(tmp_path: Path) -> None:
    context = persisted(tmp_path / "jobs.json", initial={"a": 1})

    async with context.running() as first:
        first["persisted_context.jobs"]["b"] = 2
    async with context.running() as second:
        pass

    assert second["persisted_context.jobs"] is first["persisted_context.jobs"]


async def test_a_save_that_is_cancelled_ends_before_the_file_is_let_go(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, disk = tmp_path / "jobs.json", Disk(monkeypatch)

    async def run() -> None:
        async with persisted(file, initial={"n": 0}).running() as on:
            await turn()
            disk.gate.clear()
            on["persisted_context.jobs"]["n"] = 1
            await asyncio.Event().wait()

    task = asyncio.create_task(run())
    await until(lambda: len(disk.written) == 1)
    await until(lambda: not disk.gate.is_set())
    await clock.advance(1.5)
    await until(lambda: disk.tried == 2)
    task.cancel()
    await asyncio.sleep(0)
    with pytest.raises(Misconfigured):
        Opened(file, "json", 100)
    disk.gate.set()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert content_of(file) == {"n": 1}


KILLED = """
import asyncio, sys
import structlog
from piped.providers.persisted_contexts import PersistedContext
from piped.spec import Duration

def tell(_logger, _method, line):
    print(line["event"], flush=True)
    raise structlog.DropEvent

async def main(file):
    made = PersistedContext(file=file, initial={"n": 0, "text": ""}, save_within=Duration(0.01))
    made.named("jobs")
    async with made.running() as on:
        context = on["persisted_context.jobs"]
        print(context["n"], flush=True)
        while True:
            context["n"] += 1
            context["text"] = "x" * (context["n"] % 100_000)
            await asyncio.sleep(0)

structlog.configure(processors=[tell])
asyncio.run(main(sys.argv[1]))
"""


@BOTH
def test_a_process_that_is_killed_leaves_a_whole_file_and_loses_no_save(
    tmp_path: Path, extension: str
) -> None:
    file = tmp_path / f"jobs.{extension}"
    chance, counts = random.Random(1), [-1]

    for _ in range(5):
        with subprocess.Popen(
            [sys.executable, "-c", KILLED, str(file)], stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            count = next(line for line in process.stdout if line.strip().isdigit())
            assert process.stdout.readline() == "context saved\n"
            threading.Event().wait(chance.uniform(0, 0.1))  # how long it lives is not ours to move
            process.kill()
        last = content_of(file)
        assert last is not None
        assert len(last["text"]) == last["n"] % 100_000
        counts += [int(count), last["n"]]

    assert counts[2::2] == sorted(set(counts[2::2]))
    assert counts[3::2] == counts[2:-1:2]


FULL = """
import asyncio, resource, sys
import structlog
from piped.providers.persisted_contexts import PersistedContext

async def main(file):
    made = PersistedContext(file=file, initial={"n": 0})
    made.named("jobs")
    async with made.running() as on:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
        on["persisted_context.jobs"]["n"] = "x" * 100_000

structlog.configure(processors=[structlog.processors.JSONRenderer()])
asyncio.run(main(sys.argv[1]))
"""


@BOTH
def test_a_file_that_may_not_grow_stays_whole(tmp_path: Path, extension: str) -> None:
    file = tmp_path / f"jobs.{extension}"

    done = subprocess.run(
        [sys.executable, "-c", FULL, str(file)], capture_output=True, text=True, check=True
    )

    events = [json.loads(line)["event"] for line in done.stdout.splitlines()]
    assert events == ["context saved", "context not saved", "changes are lost"]
    assert content_of(file) == {"n": 0}
    assert {each.name for each in tmp_path.iterdir()} <= {
        *(file.name, f"{file.name}.lock", f"{file.name}-wal", f"{file.name}-shm"),
    }


def node_of(value: Any) -> Node:
    if isinstance(value, dict):
        return Mapping(HERE, {key: Entry(HERE, node_of(each)) for key, each in value.items()})
    return Scalar(HERE, value)


def problems_of(section: dict[str, Any]) -> list[str]:
    spec = spec_of(PersistedContexts)
    assert spec is not None
    decoder = Decoder()
    decoder.section(spec, node_of(section), "persisted_contexts")
    return [str(each).removeprefix("service.yaml:1:1: ") for each in decoder.problems]


def test_a_section_of_contexts_is_supervised_one_by_one() -> None:
    spec = spec_of(PersistedContexts)
    assert spec is not None
    section = {"jobs": {"file": "jobs.json"}, "users": {"file": "u.dat", "format": "sqlite"}}

    made = Decoder().section(spec, node_of(section), "persisted_contexts")

    assert [each.label for each in made.units()] == [
        "persisted_contexts.jobs",
        "persisted_contexts.users",
    ]
    assert [list(each.offers()) for each in made.units()] == [
        ["persisted_context.jobs"],
        ["persisted_context.users"],
    ]
    assert not any(each.feeds() for each in made.units())


@pytest.mark.parametrize(
    ("section", "problem"),
    [
        (
            {"jobs": {"file": "jobs.dat"}},
            "error[wrong-value]: expected a file named .json or .sqlite, or a format, got"
            " 'jobs.dat'\n    at: persisted_contexts.jobs.file\n    hint: add format: json",
        ),
        (
            {"jobs": {"file": "jobs.json", "initial": {"a": {"b": "\ud800"}}}},
            "error[wrong-value]: cannot be stored: '\\ud800' is not Unicode\n"
            "    at: persisted_contexts.jobs.initial.a.b",
        ),
        (
            {"jobs": {"file": "jobs.json"}, "users": {"file": "./jobs.json"}},
            "error[shared-file]: 'jobs' and 'users' are kept in one file, './jobs.json'\n"
            "    at: persisted_contexts.users.file",
        ),
        (
            {"jobs": {"file": "jobs.json", "save_within": 0}},
            "error[wrong-value]: expected duration >= 0.01, got 0\n"
            "    at: persisted_contexts.jobs.save_within",
        ),
    ],
)
def test_what_is_wrong_with_a_section_is_told(
    section: dict[str, Any], problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    assert problems_of(section) == [problem]
