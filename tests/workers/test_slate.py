from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from piped.workers.slate import NOTHING, Slate, SlateReader, new_slate

OWNER = b"\x01" + bytes(range(16, 0, -1)) + b"\0"
PART = bytes(range(16))


@pytest.fixture
def slate() -> Iterator[Slate]:
    made = new_slate(OWNER)
    if made is None:
        pytest.skip("this system has no files without a name")
    yield made
    made.close()


def reader_of(slate: Slate, owner: bytes = OWNER) -> SlateReader:
    return SlateReader(os.getpid(), slate.fd, owner)


def test_what_is_written_is_read_until_it_is_wiped(slate: Slate) -> None:
    reader = reader_of(slate)
    found = [reader.running()]

    slate.write(PART, 3)
    found.append(reader.running())
    slate.wipe()
    found.append(reader.running())
    reader.close()

    assert found == [NOTHING, (PART, 3), NOTHING]


def test_it_is_read_when_its_writer_was_killed() -> None:
    writer = (
        "import os, signal, sys; from piped.workers.slate import Slate\n"
        f"slate = Slate({OWNER!r}); print(slate.fd, flush=True); sys.stdin.readline()\n"
        f"slate.write({PART!r}, 2); os.kill(os.getpid(), signal.SIGKILL)"
    )
    command = [sys.executable, "-c", writer]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        reader = SlateReader(process.pid, int(process.stdout.readline()), OWNER)
        process.stdin.write(b"\n")
        process.stdin.flush()
        process.wait()

    assert reader.running() == (PART, 2)
    reader.close()


def test_that_of_another_worker_is_refused(slate: Slate) -> None:
    with pytest.raises(OSError, match=r"is no slate$"):
        reader_of(slate, b"another")


def test_what_is_no_slate_is_refused_and_closed(tmp_path: Path) -> None:
    fifo, short = tmp_path / "fifo", tmp_path / "short"
    os.mkfifo(fifo)
    short.write_bytes(b"x")
    held = [os.open(fifo, os.O_RDWR), os.open(short, os.O_RDONLY), os.open("/dev/zero", 0)]
    before = len(os.listdir("/proc/self/fd"))

    for fd in held:
        with pytest.raises(OSError, match="slate"):
            SlateReader(os.getpid(), fd, OWNER)
    after = len(os.listdir("/proc/self/fd"))
    for fd in held:
        os.close(fd)

    assert after == before


def test_one_that_has_become_too_short_ends_nothing_but_the_question(slate: Slate) -> None:
    reader = reader_of(slate)

    os.ftruncate(slate.fd, 3)

    with pytest.raises(OSError, match=r"^a slate is too short$"):
        reader.running()
    reader.close()


def test_a_process_that_is_not_there_has_none() -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()

    with pytest.raises(FileNotFoundError):
        SlateReader(ended.pid, 3, OWNER)


def test_it_may_be_read_while_it_is_written(slate: Slate) -> None:
    reader, is_over = reader_of(slate), threading.Event()

    def write() -> None:
        while not is_over.is_set():
            slate.write(PART, 1)
            slate.wipe()

    thread = threading.Thread(target=write)
    thread.start()
    found = {reader.running() for _ in range(1000)}
    is_over.set()
    thread.join()
    reader.close()

    assert {attempt for _, attempt in found} <= {0, 1}
