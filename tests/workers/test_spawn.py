"""Workers that a front starts itself: started, watched, ended; here, programs stand for them."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any, Final

import pytest
from structlog.testing import capture_logs

from piped.errors import Misconfigured, Unavailable, unwrapped
from piped.resources import Resource, Supervisor
from piped.spec import Dependency
from piped.workers.parts import WorkerState
from piped.workers.spawn import (
    GRACE_S,
    MOST,
    Order,
    Spawn,
    orders_of,
    spawned,
)
from tests.conftest import Clock, has_ended

pytestmark = pytest.mark.anyio

FOR_EVER: Final = "import signal\nprint('ready', flush=True)\nwhile True: signal.pause()"
OBEDIENT: Final = (
    "import signal, sys\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit(0))\n" + FOR_EVER
)
STUBBORN: Final = (
    "import signal\nsignal.signal(signal.SIGTERM, lambda *_: print('no', flush=True))\n" + FOR_EVER
)

Make = Callable[..., Spawn]


class Front:
    """Says of its workers what the test says."""

    def __init__(self) -> None:
        self.states: list[WorkerState] = []

    def hears(self, pid: int, silent_s: float = 0.0, host: str = "") -> None:
        host = host or socket.gethostname()
        self.states = [WorkerState("math-1", pid, host, 1, 0, False, 0, 0, silent_s)]

    def workers(self) -> list[WorkerState]:
        return self.states


@pytest.fixture
def front() -> Front:
    return Front()


@pytest.fixture
def pool(front: Front) -> Resource:
    resource = Resource("workers.math")
    resource.ready(front)
    return resource


@pytest.fixture
def make(pool: Resource) -> Make:
    def made(code: str, leaving: asyncio.Event | None = None, number: int = 1) -> Spawn:
        command = [sys.executable, "-S", "-c", code]
        unit = Spawn(front=Dependency("workers.math", resource=pool), command=command)
        unit.named(f"math-{number}", leaving or asyncio.Event())
        return unit

    return made


async def told(lines: list[Any], event: str, worker: str = "") -> dict[str, Any]:
    """Wait for a line of the log, perhaps of a certain worker, and return it."""
    async with asyncio.timeout(8):
        while True:
            for each in lines:
                if each["event"] == event and worker in ("", each.get("worker")):
                    return dict(each)
            await asyncio.sleep(0.001)


async def failure_of(unit: Spawn) -> BaseException:
    """Return the error with which a worker leaves by itself."""
    with pytest.raises(Exception) as caught:  # noqa: PT011 - the tests look at it
        async with unit.running():
            await asyncio.Event().wait()
    return unwrapped(caught.value)


def lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize(
    ("text", "order"),
    [
        ("math", Order("math", 1)),
        ("math:2", Order("math", 2)),
        ("math:0", Order("math", 0)),
        (f"math:{MOST}", Order("math", MOST)),
    ],
)
def test_an_order_names_a_pool_and_perhaps_a_number(text: str, order: Order) -> None:
    assert Order.read(text) == order


@pytest.mark.parametrize("text", ["", ":2", "math:", "math:x", "math:-1", "math:65", "math:٢"])
def test_no_order_is_made_of_anything_else(text: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - its text is looked at
        Order.read(text)

    assert str(caught.value) == f"expected POOL or POOL:N with N from 0 to 64, got {text!r}"


def test_each_pool_is_ordered_once() -> None:
    assert orders_of(["math:2", "text"]) == [Order("math", 2), Order("text", 1)]
    with pytest.raises(ValueError, match=r"^pool 'math' is named twice$"):
        orders_of(["math:2", "math"])


def test_each_worker_has_a_name_and_a_lifeline() -> None:
    units = spawned(Order("math", 2), ["-v", "--", "math", "service.yaml"], 7.0)

    assert [each.label for each in units] == ["spawn.math-1", "spawn.math-2"]
    assert [each.front.name for each in units] == ["workers.math"] * 2
    assert {each.drain_s for each in units} == {7.0}
    assert units[1].command == [
        *(sys.executable, "-P", "-m", "piped", "work"),
        *("--name", "math-2", "--lifeline", "0", "-v", "--", "math", "service.yaml"),
    ]


async def test_what_a_worker_writes_is_in_the_log_to_the_last_word(make: Make) -> None:
    code = (
        "import os\nprint('out')\n"
        "os.write(2, b'x' * 300_000 + b'\\nlast word')\nraise SystemExit(1)"
    )

    with capture_logs() as lines:
        await failure_of(make(code))

    said = [each for each in lines if each["event"] != "worker started"]
    assert sorted(len(each["event"]) for each in said) == [3, 9, 300_000]
    assert {each["worker"] for each in said} == {"math-1"}


@pytest.mark.parametrize(
    ("code", "how"),
    [
        ("pass", "ended with exit code 0"),
        ("raise SystemExit(3)", "ended with exit code 3"),
        ("import os; os.kill(os.getpid(), 9)", "was ended by SIGKILL"),
    ],
)
async def test_a_worker_that_ends_is_started_again(make: Make, code: str, how: str) -> None:
    error = await failure_of(make(code))

    assert isinstance(error, Unavailable)
    assert str(error) == f"'math-1' {how}"


async def test_five_ends_in_a_minute_are_enough(make: Make) -> None:
    unit = make("raise SystemExit(1)")

    errors = [await failure_of(unit) for _ in range(5)]

    assert [type(each) for each in errors] == [Unavailable] * 4 + [Misconfigured]
    assert str(errors[4]) == "'math-1' ended with exit code 1, and has ended 5 times in a minute"


async def test_one_that_always_ends_fails_and_the_other_goes_on(make: Make) -> None:
    leaving = asyncio.Event()
    bad, good = make("raise SystemExit(1)", leaving), make(OBEDIENT, leaving, 2)
    supervisor = Supervisor([bad, good], {})

    with capture_logs() as lines:
        async with asyncio.TaskGroup() as group:
            await supervisor.start(group)
            failed = await told(lines, "failed for good")
            states = [each.state for each in supervisor.lives]
            await supervisor.stop()

    assert failed["provider"] == "spawn.math-1"
    assert states == ["failed", "ready"]
    assert [each["exit_code"] for each in lines if each["event"] == "worker ended"] == [0]


async def test_all_of_a_pool_are_told_to_end_when_the_first_is_left(make: Make) -> None:
    leaving = asyncio.Event()
    units = [make(OBEDIENT, leaving, number) for number in (1, 2, 3)]

    with capture_logs() as lines:
        async with AsyncExitStack() as stack:
            for each in units:
                await stack.enter_async_context(each.running())
            for number in (1, 2, 3):
                await told(lines, "ready", f"math-{number}")
            leaving.set()  # as the one does that is left first
            ended = [await told(lines, "worker ended", f"math-{number}") for number in (1, 2, 3)]

    assert [each["exit_code"] for each in ended] == [0, 0, 0]


async def test_none_is_started_any_more_when_all_are_to_end(make: Make) -> None:
    leaving = asyncio.Event()
    leaving.set()

    with capture_logs() as lines:
        async with make(FOR_EVER, leaving).running():
            pass

    assert lines == []


async def test_only_the_worker_is_asked_to_end_and_not_what_works_for_it(make: Make) -> None:
    code = (
        "import os, signal, sys\npid = os.fork()\n"
        "if not pid: os.close(1); os.close(2); signal.pause()\n"
        "def end(*_):\n    print(os.waitpid(pid, os.WNOHANG)); sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, end)\nprint(pid, flush=True)\n" + FOR_EVER
    )

    with capture_logs() as lines:
        async with make(code).running():
            await told(lines, "ready")
            other = os.pidfd_open(int(lines[1]["event"]))

    assert [each["event"] for each in lines[2:]] == ["ready", "(0, 0)", "worker ended"]
    assert has_ended(other, 8.0)  # nobody is left behind


async def test_a_worker_dies_at_once_when_we_are_cancelled(make: Make) -> None:
    async def run() -> None:
        async with make(STUBBORN).running():
            await asyncio.Event().wait()

    with capture_logs() as lines:
        task = asyncio.ensure_future(run())
        pid = (await told(lines, "worker started"))["pid"]
        await told(lines, "ready")
        task.cancel()
        await asyncio.wait([task])

    assert task.cancelled()
    assert not lives(pid)


async def test_it_may_not_be_started_in_a_terminals_group(make: Make) -> None:
    with capture_logs() as lines:
        async with make(FOR_EVER).running():
            pid = (await told(lines, "worker started"))["pid"]
            group = os.getsid(pid)

    assert group == pid


class TestTime:
    """Where the clock is moved."""

    @pytest.fixture
    def anyio_backend(self, movable_loop: Any) -> Any:
        return movable_loop

    async def test_five_ends_in_more_than_a_minute_are_not(self, make: Make, clock: Clock) -> None:
        unit, errors = make("pass"), []

        for _ in range(6):
            errors.append(await failure_of(unit))
            await clock.advance(16)

        assert {type(each) for each in errors} == {Unavailable}

    async def test_a_worker_that_does_not_end_is_killed(self, make: Make, clock: Clock) -> None:
        leaving = asyncio.Event()
        unit = make(STUBBORN, leaving)
        unit.drain_s = 100.0

        with capture_logs() as lines:
            async with unit.running():
                pid = (await told(lines, "worker started"))["pid"]
                await told(lines, "ready")
                leaving.set()
                await told(lines, "no")
                await clock.advance(100.0 + GRACE_S - 1)
                is_patient = lives(pid)
                await clock.advance(2)

        assert is_patient
        assert (await told(lines, "worker killed"))["after_s"] == 105.0
        assert (await told(lines, "worker ended"))["signal"] == "SIGKILL"

    async def test_a_frozen_worker_is_killed(self, make: Make, front: Front, clock: Clock) -> None:
        unit = make(FOR_EVER)

        async def freeze() -> None:
            pid = (await told(lines, "worker started"))["pid"]
            await told(lines, "ready")
            front.hears(pid)
            await clock.advance(1.01)
            front.states = []  # given up, because it is silent
            os.kill(pid, signal.SIGSTOP)
            for _ in range(7):
                await clock.advance(1.01)

        with capture_logs() as lines:
            async with asyncio.TaskGroup() as group:
                group.create_task(freeze())
                error = await failure_of(unit)

        assert str(error) == "'math-1' was ended by SIGKILL"
        line = await told(lines, "worker frozen, killing it")
        assert (line["worker"], line["log_level"]) == ("math-1", "error")
        assert 6.0 < line["silent_s"] < 8.0

    @pytest.mark.parametrize(
        "case", ["heard", "never heard", "on another host", "front lost", "silent once"]
    )
    async def test_no_other_worker_is(
        self, make: Make, front: Front, pool: Resource, clock: Clock, case: str
    ) -> None:
        def say(second: int) -> None:
            silences_s = {"silent once": 20.0 * (second % 2), "front lost": 1.0 * second}
            if case == "on another host":
                front.hears(pid, 20.0, host="far")
            elif case != "never heard":
                front.hears(pid, silences_s.get(case, 0.5))
            if case == "front lost" and second == 4:
                pool.lost("the broker is away")

        with capture_logs() as lines:
            async with make(OBEDIENT).running():
                pid = (await told(lines, "worker started"))["pid"]
                await told(lines, "ready")
                for second in range(12):
                    say(second)
                    await clock.advance(1.01)

        assert [each["event"] for each in lines] == ["worker started", "ready", "worker ended"]
