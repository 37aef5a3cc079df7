"""Pipelines outside of the event loop: in threads, and in real child processes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import select
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Final

import pytest
from structlog.testing import capture_logs

from piped.engine.journey import journey, journey_text
from piped.errors import Misconfigured, Unavailable
from piped.workers import blocking
from piped.workers.blocking import Children, Threads
from piped.workers.crossing import Crossing
from piped.workers.errors import ChildDied
from piped.workers.failures import Passed
from piped.workers.frames import Work
from tests.conftest import Clock, Gate, has_ended, turn

pytestmark = pytest.mark.anyio

PATIENCE_S: Final = 15

DOCUMENT: Final = """\
workers:
  math:
    pipelines: [sum, fail, end, spin, hold, say, key, open, vast, call, odd]
    blocking: process
    transport: zmq
pipelines:
  sum: [{eval-lambda: {lambda: "numbers: sum(numbers)"}}]
  fail: [{eval-lambda: {lambda: "x: 1 / x"}}]
  end: [{eval-lambda: {namespace: {os: os}, lambda: "code: os._exit(code)"}}]
  spin:
    - exec-code:
        namespace: {os: os}
        code: |
          with open(input, "w") as file:
              file.write(f"{os.getpid()}\\n")
          while True:
              pass
  hold:
    - exec-code:
        namespace: {os: os, ctypes: ctypes}
        code: |
          with open(input, "w") as file:
              file.write(f"{os.getpid()}\\n")
          ctypes.PyDLL(None).sleep(1000)
  say:
    - eval-lambda: {lambda: "text: print(text) or text"}
    - log: {message: told}
  key:
    - eval-lambda:
        dependencies: {parts: workers}
        lambda: "_: self.dependencies.parts.idempotency_key()"
  open: [{eval-lambda: {namespace: {sys: sys}, lambda: "x: sys.stdin.read()"}}]
  vast: [{eval-lambda: {lambda: "size: 'x' * size"}}]
  call: [{run-pipeline: {pipeline: sum, workers: math}}]
  odd: [{eval-lambda: {lambda: "x: {x}"}}]
"""


class Pipeline:
    """What threads run: a plain function."""

    def __init__(self, now: Callable[[Any], Any]) -> None:
        self._now = now

    def now(self, value: Any) -> list[Any]:
        return [self._now(value)]


@pytest.fixture
async def threads() -> AsyncIterator[Threads]:
    made = Threads(1, "json")
    yield made
    await made.close()


def part(pipeline: str, value: Any, key: str = "") -> Work:
    payload = Crossing("json").encode(value)
    return Work(b"1", 1, pipeline, payload, PATIENCE_S, key=key, journey=journey.get())


async def run_in(threads: Threads, now: Callable[[Any], Any], value: Any) -> Any:
    """Run a function in a thread, and return its one result."""
    return Crossing("json").decode(await threads.run(part("it", value), Pipeline(now)))[0]


@pytest.fixture(autouse=True, scope="module")
def _quick_pause() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocking, "PAUSE_S", 0.01)
        yield


def write(path: Path, text: str) -> None:
    path.write_text(text)


@pytest.fixture
def document(tmp_path: Path) -> Path:
    path = tmp_path / "service.yaml"
    path.write_text(DOCUMENT)
    return path


@pytest.fixture
async def children(document: Path) -> AsyncIterator[Children]:
    made = Children(str(document), [], "math", 1, "json")
    yield made
    async with asyncio.timeout(PATIENCE_S):
        await made.close()


async def run(children: Children, pipeline: str, value: Any, key: str = "") -> Any:
    """Run a pipeline in a child; return its one result, or its failure."""
    try:
        async with asyncio.timeout(PATIENCE_S):
            return Crossing("json").decode(await children.run(part(pipeline, value, key), None))[0]
    except Passed as error:
        return error.failure


def busy(children: Children) -> int:
    """Return how many processes there are that cannot be given a part now."""
    return len(children._all) - len(children._idle)


async def pid_in(pipe: Path) -> int:
    """Return the number of the process that writes into a named pipe."""
    return await asyncio.to_thread(_pid_in, pipe)


def _pid_in(pipe: Path) -> int:
    descriptor = os.open(pipe, os.O_RDWR)  # so that it waits for nobody
    try:
        assert select.select([descriptor], [], [], PATIENCE_S)[0]
        return int(os.read(descriptor, 100))
    finally:
        os.close(descriptor)


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    """A named pipe, where a part says which process it runs in."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    return path


async def gone(children: Children) -> None:
    """Wait until no process is left that was killed."""
    async with asyncio.timeout(PATIENCE_S):
        for child in tuple(children._all):
            await child.gone.wait()


async def test_a_thread_runs_a_pipeline_while_the_loop_goes_on(threads: Threads) -> None:
    gate = Gate()

    async with asyncio.TaskGroup() as group:
        running = group.create_task(run_in(threads, gate.wait, 1))
        await gate.came.get()
        gate.open()

    assert running.result() == 1


async def test_a_thread_knows_what_the_caller_knows(threads: Threads) -> None:
    own: ContextVar[str] = ContextVar("own")
    own.set("here")
    journey.set(7)

    seen = await run_in(threads, lambda _: (own.get(), journey.get()), None)

    assert seen == ["here", 7]


async def test_what_fails_in_a_thread_fails_at_the_caller(threads: Threads) -> None:
    with pytest.raises(ZeroDivisionError, match="division by zero"):
        await run_in(threads, lambda x: 1 / x, 0)

    with pytest.raises(RuntimeError, match=r"^StopIteration: $"):  # else nobody would hear of it
        await run_in(threads, lambda x: next(iter(x)), ())


async def test_who_is_cancelled_leaves_a_thread_whose_place_is_taken_until_it_ends(
    threads: Threads,
) -> None:
    gate = Gate()
    async with asyncio.TaskGroup() as group:
        running = group.create_task(run_in(threads, gate.wait, 1))
        await gate.came.get()
        running.cancel()

    assert threads.stuck == 1
    async with asyncio.TaskGroup() as group:
        later = group.create_task(run_in(threads, str, 2))
        await turn()
        assert not later.done()
        gate.open()
    assert later.result() == "2"
    assert threads.stuck == 0


async def test_who_is_cancelled_before_a_thread_was_free_takes_no_place(threads: Threads) -> None:
    gate = Gate()
    async with asyncio.TaskGroup() as group:
        running = group.create_task(run_in(threads, gate.wait, 1))
        await gate.came.get()
        waiting = group.create_task(run_in(threads, lambda _: pytest.fail("it runs"), 2))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
        assert threads.stuck == 0
        gate.open()

    assert running.result() == 1
    assert await run_in(threads, str, 3) == "3"


async def test_a_child_runs_one_part_after_the_other(children: Children) -> None:
    results = [await run(children, "sum", [number, 1]) for number in range(3)]

    assert results == [1, 2, 3]
    assert (busy(children), children.stuck) == (0, 0)


async def test_a_failure_in_a_child_is_told_with_its_place(
    children: Children, document: Path
) -> None:
    failure = await run(children, "fail", 0)

    assert failure.type_name == "ZeroDivisionError"
    assert failure.message == "division by zero"
    assert failure.notes == (f"in pipelines.fail[0].eval-lambda ({document}:8:11)",)


async def test_results_that_cannot_cross_are_a_failure(children: Children) -> None:
    odd, vast = await run(children, "odd", 1), await run(children, "vast", 9 << 20)

    assert odd.message == "cannot cross to a worker: 0: expected plain data, got set"
    assert vast.message == ("cannot cross to a worker: expected at most 8323072 bytes, got 9437188")
    assert await run(children, "vast", 4 << 20) == "x" * (4 << 20)


async def test_what_a_part_prints_and_logs_is_logged_with_its_journey(children: Children) -> None:
    journey.set(7)

    with capture_logs() as logs:
        assert await run(children, "say", "good day") == "good day"
        await children.close()

    said = {each["event"]: each for each in logs}
    assert said["good day"]["worker"].startswith("math.")
    assert said["told"]["journey"] == journey_text(7)


async def test_a_part_knows_its_idempotency_key_and_reads_nothing_of_ours(
    children: Children,
) -> None:
    assert await run(children, "key", None, key="order-7") == "order-7"
    assert await run(children, "open", None) == ""
    assert await run(children, "key", None, key="order-8") == "order-8"


async def test_what_a_part_sends_to_its_own_pool_stays_in_its_process(children: Children) -> None:
    assert await run(children, "call", [1, 2]) == 3


@pytest.mark.parametrize(("code", "how"), [(7, "exit code 7"), (0, "exit code 0")])
async def test_a_child_that_ends_is_replaced(children: Children, code: int, how: str) -> None:
    with pytest.raises(ChildDied) as raised:
        await run(children, "end", code)

    assert str(raised.value) == f"a process of pool 'math' ended with {how}"
    assert await run(children, "sum", [1, 2]) == 3


async def test_a_child_that_is_killed_is_replaced(children: Children, pipe: Path) -> None:
    async with asyncio.TaskGroup() as group:
        running = group.create_task(caught(run(children, "spin", str(pipe))))
        os.kill(await pid_in(pipe), signal.SIGKILL)

    assert str(running.result()) == "a process of pool 'math' was ended by SIGKILL"
    assert await run(children, "sum", [1, 2]) == 3


async def caught(running: Any) -> BaseException | None:
    try:
        await running
    except ChildDied as error:
        return error
    return None


async def test_an_idle_child_that_dies_is_replaced(children: Children) -> None:
    await run(children, "sum", [1])
    (child,) = children._idle

    with capture_logs() as logs:
        os.kill(child.pid, signal.SIGKILL)
        async with asyncio.timeout(PATIENCE_S):
            await child.gone.wait()

    assert "idle process died" in [each["event"] for each in logs]
    assert await run(children, "sum", [1, 2]) == 3


@pytest.mark.parametrize("pipeline", ["spin", "hold"])
async def test_who_is_cancelled_kills_the_child(
    children: Children, pipe: Path, pipeline: str
) -> None:
    async with asyncio.TaskGroup() as group:
        running = group.create_task(run(children, pipeline, str(pipe)))
        descriptor = os.pidfd_open(await pid_in(pipe))
        running.cancel()

    assert (busy(children), children.stuck) == (1, 1)
    assert await asyncio.to_thread(has_ended, descriptor)
    await gone(children)
    assert await run(children, "sum", [1, 2]) == 3


async def test_signals_do_not_end_a_child(children: Children) -> None:
    await run(children, "sum", [1])
    pid = children._idle[0].pid

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(pid, number)

    assert await run(children, "sum", [1, 2]) == 3
    assert children._idle[0].pid == pid


@pytest.mark.parametrize(
    ("pool", "text", "what"),
    [
        ("math", "pipelines: [", r".*service\.yaml:1:\d+: error\[yaml-syntax\]: "),
        ("math", DOCUMENT.replace("1 / x", "1 / y"), r".*service\.yaml:8:.*: error\[.*'y'"),
        ("meth", DOCUMENT, r"there is no pool 'meth' \(did you mean 'math'\?\)$"),
    ],
)
async def test_a_child_that_cannot_start_says_why(
    document: Path, pool: str, text: str, what: str
) -> None:
    write(document, text)
    children = Children(str(document), [], pool, 1, "json")

    for _ in range(2):
        with pytest.raises(
            Misconfigured, match=rf"^a process of pool '{pool}' cannot start: {what}"
        ):
            await run(children, "sum", [1])

    assert busy(children) == 0


async def test_overrides_reach_the_child(document: Path) -> None:
    override = 'pipelines.sum: [{eval-lambda: {lambda: "x: 42"}}]'
    children = Children(str(document), [override], "math", 1, "json")

    assert await run(children, "sum", [1]) == 42

    await children.close()


async def test_a_child_that_is_not_ready_in_time_is_killed(
    children: Children, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocking, "START_S", 0.001)

    with pytest.raises(Unavailable, match=r"^a process of pool 'math' was not ready within 0.001 "):
        await run(children, "sum", [1])

    await gone(children)
    assert busy(children) == 0


async def test_closing_ends_idle_children_and_kills_busy_ones(document: Path, pipe: Path) -> None:
    children = Children(str(document), [], "math", 2, "json")
    async with asyncio.TaskGroup() as group:
        running = group.create_task(caught(run(children, "spin", str(pipe))))
        await pid_in(pipe)
        await run(children, "sum", [1])
        (idle,) = children._idle

        async with asyncio.timeout(PATIENCE_S):
            await children.close()

    assert str(running.result()) == "a process of pool 'math' was ended by SIGKILL"
    assert idle.code == 0
    with pytest.raises(Unavailable, match=r"^the processes of pool 'math' are closed$"):
        await run(children, "sum", [1])


PARENT: Final = """\
import asyncio, sys
from piped.workers.blocking import Children
from piped.workers.frames import Work
work = Work(b"1", 1, sys.argv[2], sys.argv[3].encode(), 15)
asyncio.run(Children(sys.argv[1], [], "math", 1, "json").run(work, None))
"""


@pytest.mark.parametrize("pipeline", ["spin", "hold"])
async def test_children_die_with_their_worker_even_in_the_middle_of_a_part(
    document: Path, pipe: Path, pipeline: str
) -> None:
    command = [sys.executable, "-c", PARENT, str(document), pipeline, json.dumps(str(pipe))]
    parent = await asyncio.create_subprocess_exec(*command)
    try:
        descriptor = os.pidfd_open(await pid_in(pipe))
    finally:
        with contextlib.suppress(ProcessLookupError):
            parent.kill()
        await parent.wait()

    assert await asyncio.to_thread(has_ended, descriptor)


class TestPause:
    """After a death the next child is not started at once."""

    @pytest.fixture
    def anyio_backend(self, movable_loop: Any) -> Any:
        return movable_loop

    async def test_it_doubles_with_each_death_until_a_part_is_done(
        self, children: Children, clock: Clock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(blocking, "PAUSE_S", 10.0)

        for pause_s in (0, 10, 20):
            async with asyncio.TaskGroup() as group:
                running = group.create_task(caught(run_for_ever(children, "end", 7)))
                await clock.advance(pause_s - 5)
                assert busy(children) == (0 if pause_s else 1)
                await clock.advance(5)
            assert isinstance(running.result(), ChildDied)

        async with asyncio.TaskGroup() as group:
            done = group.create_task(run_for_ever(children, "sum", [1]))
            await clock.advance(29)
            assert busy(children) == 0
            await clock.advance(1)
        assert done.result() == b"[1]"


async def run_for_ever(children: Children, pipeline: str, value: Any) -> Any:
    return await children.run(part(pipeline, value), None)
