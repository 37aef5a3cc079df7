"""The folders of the sockets of spawned pools: made, held, and removed, sooner or later."""

from __future__ import annotations

import fcntl
import os
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from structlog.testing import capture_logs

from piped.workers.rooms import LOCK, private_room, remove_leftovers
from tests.stories.processes import Processes, processes

SERVICE: Final = """
workers: {math: {pipelines: [one]}}
pipelines:
  one: [passthrough]
  web: [{run-pipeline: {workers: math, pipeline: one}}]
"""


@pytest.fixture
def start() -> Iterator[Processes]:
    """Start a process of `piped`."""
    yield from processes()


@pytest.fixture
def place() -> Iterator[Path]:
    """Where temporary folders are made; its path is short enough for sockets."""
    before = tempfile.tempdir
    with tempfile.TemporaryDirectory(prefix="rooms", dir="/tmp") as folder:
        tempfile.tempdir = folder
        yield Path(folder)
        tempfile.tempdir = before


def left_over(place: Path, name: str = "piped-abcd_123") -> Path:
    """Make a folder as a front that was killed leaves it."""
    folder = place / name
    folder.mkdir()
    (folder / LOCK).touch()
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(folder / "math"))
    return folder


def test_a_private_room_is_ours_alone_and_gone_at_the_end() -> None:
    with private_room("math") as overrides:
        transport, listen = overrides
        socket_ = Path(listen.removeprefix("workers.math.listen:ipc://"))
        mode = socket_.parent.stat().st_mode & 0o777
        socket_.touch()
        remove_leftovers()
        is_there = socket_.exists()

    assert transport == "workers.math.transport:zmq"
    assert (mode, socket_.name, is_there) == (0o700, "math", True)
    assert not socket_.parent.exists()


def test_a_private_room_has_a_short_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = tmp_path / ("x" * 80)
    deep.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(deep))

    with private_room("a pool / with a very long name, and signs that no path should have") as room:
        path = room[1].partition("ipc://")[2]
        folder = Path(path).parent
        is_there = folder.is_dir()

    assert is_there
    assert len(path) <= 60
    assert [*deep.iterdir()] == []
    assert not folder.exists()


def test_what_a_killed_front_has_left_is_removed_by_the_next_one(
    place: Path, tmp_path: Path, start: Processes
) -> None:
    (tmp_path / "service.yaml").write_text(SERVICE)
    run = ("run", "service.yaml", "--spawn", "math:1")

    killed = start(*run, cwd=tmp_path, TMPDIR=str(place))
    killed.told('"event":"joined"')
    [left] = place.iterdir()
    killed.kill()
    left_files = {each.name for each in left.iterdir()}
    following = start(*run, cwd=tmp_path, TMPDIR=str(place))
    following.told('"event":"joined"')
    [own] = place.iterdir()
    code = following.terminated()

    assert left_files == {LOCK, "math"}
    assert own != left
    assert following.told(f'"event":"folder of a dead front removed","folder":"{left}"')
    assert (code, [*place.iterdir()]) == (0, [])


def test_the_room_of_a_front_that_lives_stays(
    place: Path, tmp_path: Path, start: Processes
) -> None:
    (tmp_path / "service.yaml").write_text(SERVICE)
    run = ("run", "service.yaml", "--spawn", "math:1")

    living = start(*run, cwd=tmp_path, TMPDIR=str(place))
    living.told('"event":"joined"')
    [room] = place.iterdir()
    remove_leftovers()

    assert {each.name for each in room.iterdir()} == {LOCK, "math"}
    assert living.terminated() == 0


def test_a_folder_that_was_left_over_is_removed_once(place: Path) -> None:
    folder = left_over(place)

    with capture_logs() as lines:
        remove_leftovers()
        remove_leftovers()

    own = [each for each in lines if str(place) in each["folder"]]
    assert own == [
        {"event": "folder of a dead front removed", "log_level": "info", "folder": str(folder)}
    ]
    assert [*place.iterdir()] == []


def test_a_folder_whose_lock_is_held_stays(place: Path) -> None:
    folder = left_over(place)

    with (folder / LOCK).open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        remove_leftovers()

    assert {each.name for each in folder.iterdir()} == {LOCK, "math"}


def test_a_folder_of_another_name_stays(place: Path) -> None:
    folders = [left_over(place, each) for each in ("piped-x", "piped-abcd_1234", "mine-abcd_123")]

    remove_leftovers()

    assert sorted(place.iterdir()) == sorted(folders)


def test_a_folder_without_a_lock_stays(place: Path) -> None:
    folder = left_over(place)
    (folder / LOCK).unlink()

    remove_leftovers()

    assert [each.name for each in folder.iterdir()] == ["math"]


@pytest.mark.parametrize("is_folder", [False, True])
def test_a_folder_with_something_else_in_it_stays_as_it_is(place: Path, is_folder: bool) -> None:
    folder = left_over(place)
    other = folder / "notes"
    other.mkdir() if is_folder else other.touch()

    remove_leftovers()

    assert {each.name for each in folder.iterdir()} == {LOCK, "math", "notes"}


def test_a_link_to_a_folder_is_not_followed(place: Path, tmp_path: Path) -> None:
    (tmp_path / LOCK).touch()
    link = place / "piped-abcd_123"
    link.symlink_to(tmp_path)

    remove_leftovers()

    assert link.is_symlink()
    assert (tmp_path / LOCK).exists()


def test_a_lock_that_is_a_link_is_none(place: Path, tmp_path: Path) -> None:
    folder = left_over(place)
    (folder / LOCK).unlink()
    (tmp_path / "file").touch()
    (folder / LOCK).symlink_to(tmp_path / "file")

    remove_leftovers()

    assert {each.name for each in folder.iterdir()} == {LOCK, "math"}


def test_a_folder_of_somebody_else_stays(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = left_over(place)
    monkeypatch.setattr("os.geteuid", lambda: os.getuid() + 1)

    remove_leftovers()

    assert {each.name for each in folder.iterdir()} == {LOCK, "math"}
