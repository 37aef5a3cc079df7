from __future__ import annotations

import errno
import os
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
