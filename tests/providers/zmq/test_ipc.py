from __future__ import annotations

import socket as unix
from pathlib import Path

import pytest

from piped.providers.zmq import ipc


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("ipc:///run/jobs", "/run/jobs"),
        ("ipc://jobs", "jobs"),
        ("ipc://*", ""),
        ("ipc://@jobs", ""),
        ("tcp://127.0.0.1:5000", ""),
    ],
)
def test_only_some_addresses_are_files(address: str, expected: str) -> None:
    assert ipc.path_of(address) == expected


def test_a_file_that_is_not_a_socket_is_in_use(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("precious")

    with pytest.raises(FileExistsError):
        ipc.fail_if_in_use(str(tmp_path / "precious"))


def test_a_link_is_not_taken_for_what_it_points_to(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "nothing")

    with pytest.raises(FileExistsError):
        ipc.fail_if_in_use(str(tmp_path / "link"))


def test_what_a_dead_process_has_left_may_be_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # the whole path may be too long for a socket
    with unix.socket(unix.AF_UNIX) as dead:
        dead.bind("jobs")

    ipc.fail_if_in_use("jobs")
    ipc.fail_if_in_use("nothing")


def test_to_remove_what_is_not_there_is_no_error(tmp_path: Path) -> None:
    ipc.remove(str(tmp_path / "nothing"))
