from __future__ import annotations

import errno
import math
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from piped.errors import BatonError, PipedError
from piped.processors.files import NotWritten
from tests.processors.conftest import Make, Problems, Run, decoded


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "orders.log"


@pytest.mark.parametrize(
    ("options", "baton", "expected"),
    [
        ("", "one", "one\n"),
        ("", 7, "7\n"),
        ("", {"a": 1}, "{'a': 1}\n"),
        ("", [1, 2], "[1, 2]\n"),
        ("", b"bytes \xc3\xa9", "bytes é\n"),
        ("input_path: a.b", {"a": {"b": "é"}}, "é\n"),
        ("format: '%(id)05d;'", {"id": 7}, "00007;"),
        ("format: '%s-%s;'", ("a", "b"), "a-b;"),
        ("formatter: 'order: order[0] * 2'", ["ab"], "abab\n"),
        ("formatter: 'n: dumps(n)', namespace: {dumps: json.dumps}", {"a": "é"}, None),
    ],
)
def test_append_to_file_writes_a_line(
    run: Run, file: Path, options: str, baton: Any, expected: str | None
) -> None:
    result = run(f"append-to-file: {{file_path: {file}, {options}}}", baton)

    assert result is baton
    assert file.read_text("utf8") == (expected or '{"a": "\\u00e9"}\n')


def test_append_to_file_appends_to_what_is_there(make: Make, file: Path) -> None:
    file.write_text("old\n")
    step = make(f"append-to-file: {{file_path: {file}}}").step()

    step("new")
    between = file.read_text()
    step("newer")

    assert between == "old\nnew\n"
    assert file.read_text() == "old\nnew\nnewer\n"


def test_append_to_file_makes_the_file_when_the_first_line_comes(make: Make, file: Path) -> None:
    step = make(f"append-to-file: {{file_path: {file}}}").step()
    assert not file.exists()

    step("a")

    assert file.exists()


@pytest.mark.parametrize("baton", [{}, {"a": ""}, {"a": None}, {"a": 0}, {"a": []}])
def test_append_to_file_writes_nothing_where_there_is_nothing(
    run: Run, file: Path, baton: Any
) -> None:
    assert run(f"append-to-file: {{file_path: {file}, input_path: a}}", baton) is baton
    assert not file.exists()


def test_append_to_file_goes_on_in_a_new_file_when_the_old_one_was_moved(
    make: Make, file: Path
) -> None:
    moved = file.with_suffix(".1")
    step = make(f"append-to-file: {{file_path: {file}}}").step()
    step("before")

    file.rename(moved)
    step("after")

    assert (moved.read_text(), file.read_text()) == ("before\n", "after\n")


def test_append_to_file_goes_on_at_the_start_when_the_file_was_emptied(
    make: Make, file: Path
) -> None:
    step = make(f"append-to-file: {{file_path: {file}}}").step()
    step("before")

    os.truncate(file, 0)
    step("after")

    assert file.read_text() == "after\n"


def test_append_to_file_goes_on_when_the_file_was_removed(make: Make, file: Path) -> None:
    step = make(f"append-to-file: {{file_path: {file}}}").step()
    step("before")

    file.unlink()
    step("after")

    assert file.read_text() == "after\n"


def test_two_processors_can_append_to_one_file(make: Make, file: Path) -> None:
    first, second = (make(f"append-to-file: {{file_path: {file}}}").step() for _ in "ab")

    first("a")
    second("b")
    first("c")

    assert file.read_text() == "a\nb\nc\n"


def test_append_to_file_writes_big_lines_whole(run: Run, file: Path) -> None:
    line = "x" * 5_000_000

    run(f"append-to-file: {{file_path: {file}}}", line)

    assert file.stat().st_size == len(line) + 1


def test_append_to_file_writes_the_rest_of_what_was_written_in_part(
    make: Make, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.write
    step = make(f"append-to-file: {{file_path: {file}}}").step()
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, bytes(data)[:2]))

    step("abcde")

    assert file.read_text() == "abcde\n"


def test_append_to_file_knows_the_home_folder(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))

    run("append-to-file: {file_path: ~/a.log}", "line")

    assert (tmp_path / "a.log").read_text() == "line\n"


def test_append_to_file_takes_another_encoding(run: Run, file: Path) -> None:
    run(f"append-to-file: {{file_path: {file}, encode: latin1}}", "é")

    assert file.read_bytes() == b"\xe9\n"


def test_append_to_file_goes_on_once_the_folder_is_there(make: Make, tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    step = make(f"append-to-file: {{file_path: {folder}/a.log}}").step()

    with pytest.raises(NotWritten) as raised:
        step("a")
    folder.mkdir()
    step("b")

    path = f"{folder}/a.log"
    assert str(raised.value) == f"cannot append to '{path}': there is no folder '{folder}'"
    assert (folder / "a.log").read_text() == "b\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_append_to_file_tells_that_the_disk_is_full(run: Run) -> None:
    with pytest.raises(NotWritten) as raised:
        run("append-to-file: {file_path: /dev/full}", "line")

    assert str(raised.value) == "cannot append to '/dev/full': no space left on device"


def test_append_to_file_tells_that_it_may_not_write(
    run: Run, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> int:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(os, "open", refuse)

    with pytest.raises(NotWritten) as raised:
        run(f"append-to-file: {{file_path: {file}}}", "line")

    assert str(raised.value) == f"cannot append to '{file}': permission denied"


def test_append_to_file_does_not_write_to_a_folder(run: Run, tmp_path: Path) -> None:
    with pytest.raises(NotWritten) as raised:
        run(f"append-to-file: {{file_path: {tmp_path}}}", "line")

    assert str(raised.value) == f"cannot append to '{tmp_path}': is a directory"
    assert isinstance(raised.value, PipedError)
    assert isinstance(raised.value, OSError)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
def test_append_to_file_does_not_wait_for_who_reads_a_named_pipe(run: Run, file: Path) -> None:
    os.mkfifo(file)

    with pytest.raises(NotWritten) as raised:
        run(f"append-to-file: {{file_path: {file}}}", "line")

    assert str(raised.value) == f"cannot append to '{file}': no such device or address"


def test_append_to_file_leaves_no_file_open(
    make: Make, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened, closed = list[int](), list[int]()
    open_, close = os.open, os.close
    step = make(f"append-to-file: {{file_path: {file}}}").step()

    def opening(*args: Any) -> int:
        opened.append(open_(*args))
        return opened[-1]

    def closing(number: int) -> None:
        closed.append(number)
        close(number)

    monkeypatch.setattr(os, "open", opening)
    monkeypatch.setattr(os, "close", closing)
    step("a")
    monkeypatch.setattr(os, "write", lambda *_: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        step("b")

    assert len(opened) == 2
    assert opened == closed


def test_a_new_file_has_the_usual_permissions(run: Run, file: Path) -> None:
    run(f"append-to-file: {{file_path: {file}}}", "line")

    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE(file.stat().st_mode) == 0o666 & ~mask


@pytest.mark.parametrize(
    ("options", "baton", "message"),
    [
        (
            "format: '%d'",
            "x",
            "cannot format 'x' as '%d' (TypeError: %d format: a real number is required, not str)",
        ),
        ("format: '%(a)s'", {"b": 1}, "cannot format {'b': 1} as '%(a)s' (KeyError: 'a')"),
        (
            "format: '%s %s'",
            "x",
            "cannot format 'x' as '%s %s' (TypeError: not enough arguments for format string)",
        ),
        (
            "format: '%d'",
            math.inf,
            "cannot format inf as '%d' (OverflowError: cannot convert float infinity to integer)",
        ),
        (
            "",
            [10**5000],
            "cannot format <list> as '%s\\n' (ValueError: Exceeds the limit (4300 digits) for"
            " integer string conversion; use sys.set_int_max_str_digits() to increase the limit)",
        ),
        ("encode: latin1", "€", "cannot encode '€' at position 0 in 'latin1'"),
        ("", b"\xff", "not text in 'utf8': byte 0xff at position 0"),
    ],
)
def test_append_to_file_tells_what_does_not_fit(
    run: Run, file: Path, options: str, baton: Any, message: str
) -> None:
    with pytest.raises(BatonError) as raised:
        run(f"append-to-file: {{file_path: {file}, {options}}}", baton)

    assert str(raised.value) == message
    assert not file.exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("encode: utf9", "expected an encoding such as utf8, got 'utf9'"),
        (
            "format: '100%'",
            "expected a format such as '%s', got '100%': incomplete format",
        ),
        (
            "format: '%y'",
            "expected a format such as '%s', got '%y':"
            " unsupported format character 'y' (0x79) at index 1",
        ),
        (
            "formatter: 'a: f(a)'",
            "nobody defines 'f' (add it to the namespace, as in namespace: {f: package.f})",
        ),
    ],
)
def test_append_to_file_is_checked(problems: Problems, options: str, message: str) -> None:
    assert problems(f"append-to-file: {{file_path: a, {options}}}") == [message]


def test_append_to_file_needs_a_path(problems: Problems) -> None:
    assert problems("append-to-file: {file_path: ''}") == ["expected str of length >= 1, got ''"]


@pytest.mark.parametrize("form", ["%d", "%(a)s", "%s %s", "%%"])
def test_append_to_file_takes_any_format_that_may_fit(form: str) -> None:
    assert decoded(f"append-to-file: {{file_path: a, format: '{form}'}}")[1] == []
