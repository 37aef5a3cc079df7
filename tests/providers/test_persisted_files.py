from __future__ import annotations

import errno
import fcntl
import os
import sqlite3
import stat
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from piped.errors import Misconfigured, Unavailable
from piped.providers.persisted_contexts import files
from piped.providers.persisted_contexts.files import NotSaved, Opened, real_path
from piped.providers.persisted_contexts.snapshots import snapshot


def opened(path: Path, max_size: int = 1000) -> Opened:
    return Opened(real_path(str(path)), files.FORMATS[path.suffix], max_size)


def stored(path: Path, **values: Any) -> None:
    with closing(opened(path)) as made:
        made.save(made.saved or {}, snapshot(values, {}, 1000))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b'{"a": 1,\n "b": x}', "is not JSON: invalid character, line 2, column 7"),
        (b'{"a": 1', "is not JSON: it ends too early, line 1, column 8"),
        (b"", "is not JSON: it ends too early, line 1, column 1"),
        (b'{"a":\n"\xff"}', "is not JSON: a text in it is not UTF-8, line 2, column 2"),
        (b'{"\xc3\xa5": 1} x', "is not JSON: trailing characters, line 1, column 10"),
        (b"[" * 100_000, "is not JSON: it is nested too deep"),
        (b'{"a": 1e999}', "is not JSON: number out of range"),
    ],
)
def test_a_file_that_is_not_json_is_told_with_the_place_and_left_as_it_is(
    tmp_path: Path, content: bytes, reason: str
) -> None:
    file = tmp_path / "jobs.json"
    file.write_bytes(content)

    with pytest.raises(Misconfigured) as caught:
        opened(file, 1 << 20)

    assert str(caught.value) == f"'{file}' {reason}"
    assert file.read_bytes() == content


def test_a_file_of_json_that_is_no_mapping_is_told(tmp_path: Path) -> None:
    file = tmp_path / "jobs.json"
    file.write_text("[1]")

    with pytest.raises(Misconfigured) as caught:
        opened(file)

    assert str(caught.value) == f"expected a mapping in '{file}', got list"


@pytest.mark.parametrize("name", ["jobs.json", "jobs.sqlite"])
def test_a_file_that_is_too_large_is_told(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    stored(file, a="x" * 500)

    with pytest.raises(Misconfigured) as caught:
        opened(file, 100)

    assert str(caught.value).startswith(f"'{file}' has 5")
    assert str(caught.value).endswith(" bytes, more than 100")


def test_what_has_just_enough_bytes_is_read_again(tmp_path: Path) -> None:
    file = tmp_path / "jobs.json"
    stored(file, **{'a"\n': 1, "b": [2]})

    with closing(opened(file, file.stat().st_size)) as made:
        assert made.found == {'a"\n': 1, "b": [2]}


def foreign(file: Path) -> None:
    with closing(sqlite3.connect(file)) as other:
        other.execute("CREATE TABLE context (key, value)")
        other.commit()


def no_database(file: Path) -> None:
    file.write_bytes(b"not a database at all" * 100)


def no_json(file: Path) -> None:
    stored(file, a=1)
    with closing(sqlite3.connect(file)) as other:
        other.execute("UPDATE context SET value = '{'")
        other.commit()


def no_table(file: Path) -> None:
    stored(file, a=1)
    with closing(sqlite3.connect(file)) as other:
        other.execute("ALTER TABLE context RENAME TO other")
        other.commit()


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (foreign, "is a database of somebody else"),
        (no_database, "cannot be read: file is not a database"),
        (no_json, "has no JSON at 'a': Input data was truncated"),
        (no_table, "cannot be read: no such table: context"),
    ],
)
def test_a_database_that_is_not_ours_is_told_and_left_as_it_is(
    tmp_path: Path, make: Callable[[Path], None], reason: str
) -> None:
    file = tmp_path / "jobs.sqlite"
    make(file)
    content = file.read_bytes()

    with pytest.raises(Misconfigured) as caught:
        opened(file)

    assert str(caught.value) == f"'{file}' {reason}"
    assert file.read_bytes() == content


def test_an_empty_database_is_a_new_one(tmp_path: Path) -> None:
    file = tmp_path / "jobs.sqlite"
    file.touch()

    with closing(opened(file)) as made:
        assert made.found is None


def test_a_database_gets_only_what_has_changed_and_stays_readable(tmp_path: Path) -> None:
    file = tmp_path / "jobs.sqlite"
    told: list[str] = []
    before = snapshot({"a": 1, "b": 2, "c": 3}, {}, 1000)

    with closing(opened(file)) as made:
        made.save({}, before)
        made._store._connection.set_trace_callback(told.append)  # type: ignore[attr-defined] # one of two
        made.save(before, snapshot({"a": 1, "b": 5}, before, 1000))
        with closing(sqlite3.connect(file)) as other:
            rows = other.execute("SELECT key, value FROM context").fetchall()

    assert rows == [("a", "1"), ("b", "5")]
    assert [each for each in told if "'" in each] == [
        "DELETE FROM context WHERE key = 'c'",
        "INSERT INTO context (key, value) VALUES ('b', '5')"
        " ON CONFLICT (key) DO UPDATE SET value = excluded.value",
    ]


def test_a_database_that_somebody_has_locked_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from piped.providers.persisted_contexts import sqlite_file

    monkeypatch.setattr(sqlite_file, "PATIENCE_S", 0.0)
    file = tmp_path / "jobs.sqlite"
    stored(file, a=1)

    with closing(opened(file)) as made, closing(sqlite3.connect(file)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(NotSaved, match=r"^database is locked$"):
            made.save({}, {"a": b"2"})
        other.execute("ROLLBACK")
        made.save({}, {"a": b"3"})
    with closing(opened(file)) as made:
        assert made.found == {"a": 3}


def test_a_database_that_is_locked_at_the_start_is_away_for_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from piped.providers.persisted_contexts import sqlite_file

    monkeypatch.setattr(sqlite_file, "PATIENCE_S", 0.0)
    file = tmp_path / "jobs.sqlite"

    with closing(sqlite3.connect(file)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(Unavailable) as caught:
            opened(file)

    assert str(caught.value) == f"'{file}' cannot be read: database is locked"


@pytest.mark.parametrize("name", ["jobs.json", "jobs.sqlite"])
def test_links_are_followed_and_the_mode_stays(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    file, link = folder / name, tmp_path / name
    link.symlink_to(file)
    stored(link, a=1)
    file.chmod(0o640)

    stored(link, a=2)

    assert link.is_symlink()
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    with closing(opened(file)) as made:
        assert made.found == {"a": 2}


def test_what_a_killed_process_has_left_is_in_nobodys_way(tmp_path: Path) -> None:
    file = tmp_path / "jobs.json"
    (tmp_path / ".jobs.json.new").write_text('{"half')
    (tmp_path / "jobs.json.lock").touch()

    stored(file, a=1)

    assert sorted(each.name for each in tmp_path.iterdir()) == ["jobs.json", "jobs.json.lock"]


@pytest.mark.parametrize("broken", ["fsync", "fchmod"])
def test_a_write_that_fails_leaves_the_old_file_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    file = tmp_path / "jobs.json"
    stored(file, a=1)

    def fail(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with closing(opened(file)) as made:
        monkeypatch.setattr(os, broken, fail)
        with pytest.raises(NotSaved, match=r"^No space left on device$"):
            made.save({}, {"a": b"2"})

    assert file.read_text() == '{\n"a":1\n}\n'
    assert sorted(each.name for each in tmp_path.iterdir()) == ["jobs.json", "jobs.json.lock"]


def test_the_folder_has_to_be_there(tmp_path: Path) -> None:
    file = tmp_path / "none" / "jobs.json"

    with pytest.raises(Misconfigured) as caught:
        opened(file)

    assert str(caught.value) == f"there is no folder for '{file}'"


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo])
def test_what_is_no_file_is_not_opened(tmp_path: Path, make: Callable[[Path], None]) -> None:
    file = tmp_path / "jobs.json"
    make(file)

    with pytest.raises(Misconfigured) as caught:
        opened(file)

    assert str(caught.value) == f"expected a file, got something else at '{file}'"


def test_links_in_a_circle_lead_nowhere(tmp_path: Path) -> None:
    file = tmp_path / "jobs.json"
    file.symlink_to(file)

    with pytest.raises(Misconfigured) as caught:
        opened(file)

    assert str(caught.value) == (f"'{file}' cannot be used: Too many levels of symbolic links")


@pytest.mark.parametrize(
    ("number", "kind"), [(errno.EACCES, Misconfigured), (errno.EIO, Unavailable)]
)
def test_failures_of_the_system_tell_whether_another_try_is_worth_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, kind: type[Exception]
) -> None:
    file = tmp_path / "jobs.json"

    def fail(*_: Any) -> None:
        raise OSError(number, "no")

    monkeypatch.setattr(fcntl, "flock", fail)

    with pytest.raises(kind) as caught:
        opened(file)

    assert str(caught.value) == f"'{file}' cannot be used: no"


def test_home_is_where_the_heart_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))

    assert real_path("~/jobs.json") == tmp_path / "jobs.json"
    assert real_path("~nobody-has-this-name/jobs.json").name == "jobs.json"
