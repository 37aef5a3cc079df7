"""The file of a pool's jobs: what is acknowledged is in it, whatever happens next."""

from __future__ import annotations

import os
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from piped.errors import Misconfigured, QueueFull
from piped.workers import job_file
from piped.workers.failures import Failure
from piped.workers.job_database import NotStored
from piped.workers.job_file import Job, JobFile, Limits, UnknownLetter

BOOM = Failure("ValueError", "boom", cause=Failure("OSError", "no disk"))


def job(key: str, **more: Any) -> Job:
    return Job(key, "sum", **{"payload": b"[1]", **more})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / ".piped" / "jobs" / "math.sqlite"


@pytest.fixture
def opened(path: Path) -> Iterator[Callable[..., JobFile]]:
    """Open the file, as often as one likes."""
    made: list[JobFile] = []

    def opened(**limits: int) -> JobFile:
        made.append(JobFile(path, Limits(**limits)))
        return made[-1]

    yield opened
    for each in made:
        each.close()


def dead(file: JobFile, *keys: str) -> None:
    """Make dead letters."""
    for key in keys:
        file.submit(job(key))
        [taken] = file.take(1, 0.0)
        file.bury(taken, BOOM)


def keys(jobs: list[Job]) -> list[str]:
    return [each.key for each in jobs]


def test_the_oldest_jobs_are_begun_first(opened: Callable[..., JobFile]) -> None:
    file = opened()
    for key in ("c", "a", "b"):
        file.submit(job(key, format="msgpack", then="web.done", journey=2**62))

    found = file.take(2, 0.0)

    assert found == [
        Job(key, "sum", "msgpack", "web.done", 2**62, attempts=1, payload=b"[1]")
        for key in ("c", "a")
    ]
    assert keys(file.take(2, 0.0)) == ["b"]
    assert file.take(2, 0.0) == []


def test_the_same_key_is_one_job_while_it_is_known(
    opened: Callable[..., JobFile], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = opened()

    assert file.submit(job("a"))
    assert not file.submit(job("a"))
    file.take(1, 0.0)
    assert not file.submit(job("a"))
    file.done("a")
    assert not file.submit(job("a"))

    monkeypatch.setattr(job_file, "REMEMBERED_S", -1.0)
    assert file.submit(job("a"))


def test_only_so_many_finished_keys_are_known(
    opened: Callable[..., JobFile], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_file, "REMEMBERED", 2)
    file = opened()
    for key in "abc":
        file.submit(job(key))
        file.take(1, 0.0)
        file.done(key)

    assert [file.submit(job(key)) for key in "abc"] == [True, False, False]


def test_a_job_that_has_failed_waits_and_counts(opened: Callable[..., JobFile]) -> None:
    file = opened()
    file.submit(job("a"))
    file.take(1, 0.0)

    file.failed("a", BOOM, due=5.0)

    assert file.take(1, 4.9) == []
    assert [each.attempts for each in file.take(1, 5.0)] == [2]


def test_a_job_that_nobody_has_begun_does_not_count(opened: Callable[..., JobFile]) -> None:
    file = opened()
    file.submit(job("a"))
    file.take(1, 0.0)

    file.later("a", due=5.0)

    assert [each.attempts for each in file.take(1, 5.0)] == [1]


def test_a_buried_job_is_a_letter(opened: Callable[..., JobFile]) -> None:
    file = opened()
    dead(file, "a", "b")

    assert keys([each.job for each in file.dead()]) == ["a", "b"]
    assert file.dead()[0].job.payload == b""
    letter = file.show("a")
    assert (letter.kind, letter.failure, letter.job.payload) == ("job", BOOM, b"[1]")
    assert letter.job.attempts == 1
    assert letter.submitted_at <= letter.died_at
    assert not file.submit(job("a"))


def test_a_requeued_letter_is_like_a_new_job(opened: Callable[..., JobFile]) -> None:
    file = opened()
    dead(file, "a", "b", "c")

    assert file.requeue(["a", "c", "a"]) == 2

    assert [(each.key, each.attempts) for each in file.take(9, 0.0)] == [("a", 1), ("c", 1)]
    assert file.requeue(None) == 1
    assert file.dead() == []


def test_a_dropped_letter_is_gone_and_its_key_is_new(opened: Callable[..., JobFile]) -> None:
    file = opened()
    dead(file, "a", "b", "c")

    assert (file.drop(["a"]), file.drop(None)) == (1, 2)

    assert file.dead() == []
    assert file.submit(job("a"))


@pytest.mark.parametrize("act", [JobFile.requeue, JobFile.drop])
def test_an_unknown_key_changes_nothing(
    opened: Callable[..., JobFile], act: Callable[..., int]
) -> None:
    file = opened()
    dead(file, "order-1", "order-2")

    with pytest.raises(UnknownLetter) as caught:
        act(file, ["order-1", "order-22"])

    assert str(caught.value) == (
        "there is no dead letter 'order-22' (did you mean 'order-2'? known: order-1, order-2)"
    )
    assert keys([each.job for each in file.dead()]) == ["order-1", "order-2"]


def test_without_a_file_there_is_nothing_and_none_is_made(
    opened: Callable[..., JobFile], path: Path
) -> None:
    file = opened()

    assert (file.dead(), file.take(1, 0.0), file.drop(None), file.requeue(None)) == ([], [], 0, 0)
    with pytest.raises(UnknownLetter) as caught:
        file.drop(["a"])
    assert str(caught.value) == "there is no dead letter 'a' (known: none)"
    assert not path.parent.parent.exists()


def test_parts_that_were_set_aside_are_bounded(opened: Callable[..., JobFile]) -> None:
    file = opened(parts=2)

    dropped = [file.set_aside(job(key, attempts=1), BOOM) for key in ("a", "b", "c", "c")]

    assert dropped == [0, 0, 1, 0]
    assert [(each.job.key, each.kind) for each in file.dead()] == [("b", "part"), ("c", "part")]


def test_a_job_is_no_part_besides(opened: Callable[..., JobFile]) -> None:
    file = opened()
    file.submit(job("a"))

    file.set_aside(job("a"), BOOM)

    assert file.dead() == []


def test_beyond_its_limits_a_job_is_refused(opened: Callable[..., JobFile]) -> None:
    file = opened(jobs=1, dead=1)
    file.submit(job("a"))

    with pytest.raises(QueueFull) as queued:
        file.submit(job("b"))
    [taken] = file.take(1, 0.0)
    file.bury(taken, BOOM)
    with pytest.raises(QueueFull) as buried:
        file.submit(job("b"))
    with pytest.raises(QueueFull) as large:
        opened(size_bytes=1).submit(job("b"))

    assert str(queued.value) == "1 jobs are queued already"
    assert str(buried.value) == "1 dead letters are kept already: requeue or drop some"
    assert str(large.value).startswith("the jobs have ")


def test_only_its_owner_can_read_the_file(opened: Callable[..., JobFile], path: Path) -> None:
    file = opened()
    file.submit(job("a"))
    file.take(1, 0.0)

    assert {stat.S_IMODE(each.stat().st_mode) for each in path.parent.iterdir()} == {0o600}
    assert len([*path.parent.iterdir()]) == 4  # with its log, their index, and the lock
    for folder in (path.parent, path.parent.parent):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_one_process_runs_the_jobs_and_another_takes_over(opened: Callable[..., JobFile]) -> None:
    first, second = opened(), opened()
    for key in ("a", "b", "c"):
        first.submit(job(key))
    first.take(1, 0.0)
    [b] = first.take(1, 0.0)
    first.failed(b.key, BOOM, due=1e9)

    assert second.submit(job("d"))
    assert second.take(9, 0.0) == []
    first.close()
    found = second.take(9, 0.0)

    assert [(each.key, each.attempts) for each in found] == [
        *(("a", 2), ("b", 2)),
        *(("c", 1), ("d", 1)),
    ]


def test_a_file_that_is_away_is_made_anew(opened: Callable[..., JobFile], path: Path) -> None:
    file = opened()
    file.submit(job("a"))
    for each in path.parent.iterdir():
        each.unlink()

    assert file.take(1, 0.0) == []
    with pytest.raises(NotStored) as caught:
        file.done("a")
    assert file.submit(job("b"))

    assert str(caught.value) == f"'{path}' is not there any more"
    assert keys(opened().take(9, 0.0)) == ["b"]


@pytest.mark.parametrize("content", [b"no database at all, " * 99, b"SQLite format 3\0" * 99])
def test_a_file_that_is_no_database_is_told_and_left_as_it_is(
    opened: Callable[..., JobFile], path: Path, content: bytes
) -> None:
    path.parent.mkdir(parents=True)
    path.write_bytes(content)

    with pytest.raises(Misconfigured) as caught:
        opened().submit(job("a"))

    assert str(caught.value) == (
        f"'{path}' cannot be read: file is not a database: move it away, or restore it"
    )
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("application_id = 7", "is a database of somebody else: move it away"),
        (
            "user_version = 2",
            "was written by a later version of Piped (expected form 1, got 2): "
            "install that one, or move the file away",
        ),
    ],
)
def test_a_file_of_somebody_else_is_told(
    opened: Callable[..., JobFile], path: Path, change: str, told: str
) -> None:
    file = opened()
    file.submit(job("a"))
    file.close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA {change}")

    with pytest.raises(Misconfigured) as caught:
        file.dead()

    assert str(caught.value) == f"'{path}' {told}"


def test_where_no_folder_can_be_made_nothing_is_taken(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    file = JobFile(tmp_path / "file" / "math.sqlite")

    with pytest.raises(NotStored) as caught:
        file.submit(job("a"))

    assert str(caught.value) == f"'{tmp_path}/file/math.sqlite' cannot be used: not a directory"


def test_on_a_full_disk_nothing_is_acknowledged_that_is_not_stored(
    opened: Callable[..., JobFile], path: Path
) -> None:
    file = opened()
    file.submit(job("a"))
    connection = file._database.opened()
    assert connection is not None
    [pages] = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages + 2}")

    stored = ["a"]

    def fill() -> None:
        for number in range(100):
            file.submit(job(f"b{number}", payload=b"x" * 1000))
            stored.append(f"b{number}")

    with pytest.raises(NotStored) as caught:
        fill()

    assert str(caught.value) == f"'{path}' cannot be used: database or disk is full"
    assert caught.value.http_status == 503
    file.close()
    assert keys(opened().take(999, 0.0)) == stored
    assert 1 < len(stored) < 100


SUBMITTER = """\
import sys, time
from pathlib import Path
from piped.workers.job_file import Job, JobFile

file = JobFile(Path(sys.argv[1]))
for number in range(100_000):
    file.submit(Job(f"{sys.argv[2]}{number}", "sum", payload=b"1"))
    print(number, flush=True)
    time.sleep(0.002)  # SQLite's locks are not fair
"""


def submitter(path: Path, name: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", SUBMITTER, str(path), name]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def killed_after(process: subprocess.Popen[str], jobs: int) -> int:
    """Kill a submitter in the midst of its work, and return how many jobs it was told are kept."""
    assert process.stdout is not None
    told = [process.stdout.readline() for _ in range(jobs)]
    os.kill(process.pid, signal.SIGKILL)
    told += process.stdout.readlines()
    return sum(each.endswith("\n") for each in told)


def test_kill_9_loses_nothing_that_was_acknowledged(
    opened: Callable[..., JobFile], path: Path
) -> None:
    with submitter(path, "a") as process:
        told = killed_after(process, 20)

    found = keys(opened().take(100_000, 0.0))

    assert told >= 20
    assert found[:told] == [f"a{number}" for number in range(told)]
    assert len(found) <= told + 1  # one may have been stored and not told


def test_two_processes_may_begin_with_one_file_at_once(
    opened: Callable[..., JobFile], path: Path
) -> None:
    with submitter(path, "a") as first, submitter(path, "b") as second:
        told = [killed_after(each, 10) for each in (first, second)]

    found = keys(opened().take(100_000, 0.0))

    for name, count in zip("ab", told, strict=True):
        own = [key for key in found if key.startswith(name)]
        assert own[:count] == [f"{name}{number}" for number in range(count)]


def test_a_damaged_file_is_told(opened: Callable[..., JobFile], path: Path) -> None:
    file = opened()
    for number in range(50):
        file.submit(job(f"{number}", payload=b"x" * 2000))
    file.close()
    whole = path.read_bytes()
    path.write_bytes(whole[:4096] + b"\xff" * (len(whole) - 4096))

    with pytest.raises(Misconfigured) as caught:
        file.take(99, 0.0)

    assert str(caught.value) == (
        f"'{path}' cannot be read: database disk image is malformed: move it away, or restore it"
    )
