from __future__ import annotations

import errno
import os
import resource
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from piped.providers.web.access.writer import Sink, Unwritten


def test_a_line_that_was_torn_off_does_not_spoil_the_next_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = Sink(str(tmp_path / "log"))
    write, calls = os.write, []

    def write_half(fd: int, content: memoryview) -> int:
        calls.append(len(content))
        if len(calls) == 1:
            return write(fd, content[:6])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as full:
        full.setattr(os, "write", write_half)
        with pytest.raises(Unwritten) as raised:
            sink.write(b"one\ntwo\nthree\n")
    sink.write(b"four\n")
    sink.close()

    assert (raised.value.lines, raised.value.reason) == (2, "no space left on device")
    assert (tmp_path / "log").read_text() == "one\ntw\nfour\n"


def test_a_file_that_cannot_be_made_anew_is_tried_again(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    sink = Sink(str(folder / "log"))
    sink.write(b"one\n")
    folder.rename(tmp_path / "old")

    with pytest.raises(Unwritten) as raised:
        sink.write(b"two\n")
    folder.mkdir()
    sink.write(b"three\n")
    sink.close()

    assert (raised.value.lines, raised.value.reason) == (1, "no such file or directory")
    assert (tmp_path / "old" / "log").read_text() == "one\n"
    assert (folder / "log").read_text() == "three\n"


def test_a_line_that_was_torn_off_is_lost_once_however_long_the_disk_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = Sink(str(tmp_path / "log"))
    lost = []

    with monkeypatch.context() as full:
        full.setattr(os, "write", writing(4, 2))
        for lines in (b"one\ntwo\n", b"three\n", b"four\n"):
            with pytest.raises(Unwritten) as raised:
                sink.write(lines)
            lost.append(raised.value.lines)
    sink.write(b"five\n")
    sink.close()

    assert lost == [1, 1, 1]
    assert (tmp_path / "log").read_text() == "one\nth\nfive\n"


def test_a_file_that_is_made_anew_does_not_begin_with_the_end_of_a_torn_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = Sink(str(tmp_path / "log"))
    with monkeypatch.context() as full:
        full.setattr(os, "write", writing(2))
        with pytest.raises(Unwritten):
            sink.write(b"one\n")

    (tmp_path / "log").rename(tmp_path / "old")
    sink.write(b"two\n")
    sink.close()

    assert (tmp_path / "log").read_text() == "two\n"


def test_a_file_that_is_full_when_it_is_closed_does_not_keep_the_next_one_from_its_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = Sink(str(tmp_path / "log"))
    close = os.close

    def close_late(fd: int) -> None:
        close(fd)
        raise OSError(errno.EDQUOT, "Disk quota exceeded")

    (tmp_path / "log").rename(tmp_path / "old")
    with monkeypatch.context() as late:
        late.setattr(os, "close", close_late)
        sink.write(b"one\n")
    sink.write(b"two\n")
    sink.close()

    assert (tmp_path / "log").read_text() == "one\ntwo\n"


def test_a_pipe_that_is_full_is_waited_for_however_many_files_are_open(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # which waits for no writer
    os.set_blocking(reader, True)

    with many_files(1024), open(reader, "rb") as pipe, ThreadPoolExecutor(1) as threads:
        sink = Sink(str(path))
        reading = threads.submit(pipe.read)
        try:
            sink.write(LINES)
        finally:
            sink.close()

    assert reading.result() == LINES


LINES = b"line\n" * 100_000
"""More than a pipe has room for."""


def writing(*sizes: int) -> Callable[[int, memoryview], int]:
    """Return what writes so many bytes at a time, and finds the disk full between them."""
    write, ahead = os.write, [each for size in sizes for each in (size, 0)]

    def write_some(fd: int, content: memoryview) -> int:
        size = ahead.pop(0) if ahead else 0
        if not size:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(fd, content[:size])

    return write_some


@contextmanager
def many_files(number: int) -> Iterator[None]:
    """Have all numbers below one be those of open files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < number + 64:
        pytest.skip(f"the system lets us open {hard} files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, number + 64), hard))
    with ExitStack() as opened:
        opened.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        file = os.open(os.devnull, os.O_RDONLY)
        while file < number:
            opened.callback(os.close, file)
            file = os.dup(file)
        os.close(file)
        yield
