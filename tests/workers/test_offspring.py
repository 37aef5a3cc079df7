"""A child process as its worker sees it, where it does what ours do not."""

from __future__ import annotations

import asyncio
import sys
from typing import Final

import pytest

from piped.errors import Misconfigured
from piped.workers import offspring
from piped.workers.errors import ChildDied
from piped.workers.offspring import Done, Job, Offspring, Ready, framed, job_in

pytestmark = pytest.mark.anyio

PATIENCE_S: Final = 15

READY: Final = framed(Ready())
CODE: Final = """\
import os, subprocess, sys
os.write(1, bytes.fromhex(sys.argv[1]))
"""
WAIT: Final = "sys.stdin.read()\n"
ORPHAN: Final = """\
subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], start_new_session=True)
"""


async def started(said: bytes, then: str = WAIT) -> Offspring:
    """Start a process that says something, and wait until it is ready."""
    child = Offspring("math", lambda _child: None)
    async with asyncio.timeout(PATIENCE_S):
        await child.start((sys.executable, "-c", CODE + then, said.hex()))
    return child


async def end(child: Offspring) -> None:
    child.kill()
    async with asyncio.timeout(PATIENCE_S):
        await child.gone.wait()


@pytest.mark.parametrize(
    ("said", "what"),
    [
        (b"\xff\xff\xff\xff", "a frame of 4294967295 bytes"),
        (b"\0\0\0\1\x07", "what cannot be read"),
        (b"\0\0\0\2\x91\x07", "what cannot be read"),
    ],
)
async def test_a_child_that_says_nonsense_is_killed(said: bytes, what: str) -> None:
    child = Offspring("math", lambda _child: None)

    with pytest.raises(ChildDied) as raised:
        await child.start((sys.executable, "-c", CODE + WAIT, said.hex()))

    assert str(raised.value) == f"a process of pool 'math' has sent {what}, and was killed"
    async with asyncio.timeout(PATIENCE_S):
        await child.gone.wait()
    assert child.code == -9


async def test_what_nobody_has_asked_for_is_not_heard() -> None:
    child = await started(READY + framed(Done(b"1")) + framed(Done(b"2")))

    assert child.is_ready
    await end(child)
    with pytest.raises(ChildDied, match=r"^a process of pool 'math' was ended by SIGKILL$"):
        await child.ask(Job("sum", b"1", "json"))


async def test_frames_are_read_whatever_the_pieces_they_come_in() -> None:
    child = Offspring("math", lambda _child: None)
    child._answer = answer = asyncio.get_running_loop().create_future()

    for byte in framed(Done(b"x" * 100)):
        child.pipe_data_received(1, bytes([byte]))

    assert answer.result() == Done(b"x" * 100)


async def test_pipes_that_a_stranger_holds_do_not_keep_a_dead_child(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(offspring, "LINGER_S", 0.05)

    child = await started(READY, ORPHAN + WAIT)

    await end(child)
    assert child.code == -9


async def test_a_program_that_is_not_there_is_misconfigured() -> None:
    ended: list[Offspring] = []
    child = Offspring("math", ended.append)

    with pytest.raises(Misconfigured, match=r"^cannot be started: no such file or directory$"):
        await child.start(("/nowhere/python",))

    assert ended == [child]
    assert child.gone.is_set()


def test_a_job_is_read_as_it_was_written() -> None:
    job = Job("sum", b"[1]", "msgpack", "order-7", 7)

    frame = framed(job)

    assert int.from_bytes(frame[:4], "big") == len(frame) - 4
    assert job_in(frame[4:]) == job
