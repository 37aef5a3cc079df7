from __future__ import annotations

import os
from pathlib import Path

import pytest

from piped.document import load, plain
from tests.document.conftest import Folder, told


def test_a_missing_document_is_an_error(folder: Folder) -> None:
    document = load("conf/nope.yaml", environment={})

    assert told(document) == [
        "conf/nope.yaml:1:1: error[missing-file]: no file 'conf/nope.yaml'\n"
        f"    hint: check the path; the working directory is {folder.path}"
    ]
    assert plain(document.root) == {}
    assert document.file == Path("conf/nope.yaml")
    assert document.files == ()


@pytest.mark.parametrize("path", ["", "."])
def test_a_folder_is_no_document(folder: Folder, path: str) -> None:
    document = load(path, environment={})

    assert told(document) == [
        f"{folder.path}:1:1: error[unreadable-file]: "
        f"expected a file, got the folder '{folder.path}'"
    ]


def test_a_pipe_is_not_waited_for(folder: Folder) -> None:
    os.mkfifo("pipe.yaml")

    document = load("pipe.yaml", environment={})

    assert told(document) == [
        "pipe.yaml:1:1: error[unreadable-file]: expected a regular file, got 'pipe.yaml'"
    ]


@pytest.mark.skipif(not os.path.exists("/proc/self/mem"), reason="no /proc")
def test_a_file_that_cannot_be_read_is_an_error(folder: Folder) -> None:
    document = load("/proc/self/mem", environment={})

    assert told(document) == [
        "/proc/self/mem:1:1: error[unreadable-file]: "
        "cannot read '/proc/self/mem': input/output error"
    ]


def test_a_file_that_is_too_large_is_an_error(folder: Folder) -> None:
    folder.write("large.yaml", "# " + "x" * 1024 * 1024)
    folder.write("just.yaml", "a: 1 #" + "x" * (1024 * 1024 - 6))

    assert told(load("large.yaml", environment={})) == [
        "large.yaml:1:1: error[file-too-large]: 'large.yaml' is larger than 1048576 bytes"
    ]
    assert plain(load("just.yaml", environment={}).root) == {"a": 1}


def test_a_file_that_is_not_utf_8_is_an_error_with_its_place(folder: Folder) -> None:
    (folder.path / "latin.yaml").write_bytes("a: å\nb: bå".encode() + b"\xe5")

    assert told(load("latin.yaml", environment={})) == [
        "latin.yaml:2:6: error[not-utf-8]: 'latin.yaml' is not UTF-8 from this place on\n"
        "    hint: save the file as UTF-8"
    ]


def test_a_byte_order_mark_is_skipped(folder: Folder) -> None:
    (folder.path / "bom.yaml").write_bytes(b"\xef\xbb\xbfa: 1\r\nb: 2\r\n")

    document = load("bom.yaml", environment={})

    assert told(document) == []
    assert plain(document.root) == {"a": 1, "b": 2}


def test_the_path_of_a_document_is_expanded(folder: Folder) -> None:
    folder.write("home/a.yaml", "a: 1")

    for path in ("~/a.yaml", "$HOME/a.yaml", "${HOME}/a.yaml"):
        document = load(path, environment={"HOME": str(folder.path / "home")})

        assert told(document) == []
        assert document.file == folder.path / "home/a.yaml"
        assert document.files == (folder.path / "home/a.yaml",)


def test_a_home_directory_is_found_without_the_variable(folder: Folder) -> None:
    document = load("~/piped-nope.yaml", environment={})

    assert document.file == Path("~/piped-nope.yaml").expanduser()


@pytest.mark.parametrize("path", ["a\0b", "~a\0b/c", "x" * 5000, "\ud800", "~\udcff"])
def test_strange_paths_are_missing_files(folder: Folder, path: str) -> None:
    document = load(path, environment={})

    assert [problem.code for problem in document.problems] == ["missing-file"]


def test_a_removed_working_directory_is_no_exception(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gone").mkdir()
    (tmp_path / "a.yaml").write_text("a: 1")
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()

    document = load(tmp_path / "a.yaml", environment={})

    assert told(document) == []
    assert plain(document.root) == {"a": 1}
