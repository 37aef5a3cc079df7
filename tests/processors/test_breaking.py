from __future__ import annotations

import asyncio
from typing import Any

import pytest
from structlog.testing import capture_logs

from piped.errors import CircuitOpen, TooDeep
from tests.conftest import Clock
from tests.processors.conftest import Make, Problems

pytestmark = pytest.mark.anyio

BREAKER = "circuit-breaker: {pipeline: a, failures: 2, within: 10s, open_for: 30s"


@pytest.fixture
def anyio_backend(movable_loop: tuple[str, dict[str, Any]]) -> tuple[str, dict[str, Any]]:
    return movable_loop


class Peer:
    """A pipeline that waits for its gate, and then raises its error or gives the baton back."""

    def __init__(self) -> None:
        self.error: BaseException | None = None
        self.gate = asyncio.Event()
        self.gate.set()
        self.batons: list[Any] = []

    def sync(self) -> Any:
        def call(baton: Any) -> Any:
            self.batons.append(baton)
            if self.error:
                raise self.error
            return baton

        return call

    def asynchronous(self) -> Any:
        call = self.sync()

        async def later(baton: Any) -> Any:
            await self.gate.wait()
            return call(baton)

        return later


@pytest.fixture
def peer() -> Peer:
    return Peer()


class Caller:
    """Sends batons through one processor."""

    def __init__(self, made: Any) -> None:
        self.step = made.step()
        self.is_async = made.is_async

    async def __call__(self, baton: Any = 1) -> Any:
        return await self.step(baton) if self.is_async else self.step(baton)

    async def fails(self, times: int, kind: type[BaseException] = OSError) -> None:
        for _ in range(times):
            with pytest.raises(kind):
                await self()

    async def begun(self, baton: Any = 1) -> asyncio.Task[Any]:
        task = asyncio.create_task(self(baton))
        await asyncio.sleep(0)
        return task


async def refusal(caller: Caller) -> CircuitOpen:
    with pytest.raises(CircuitOpen) as raised:
        await caller()
    return raised.value


@pytest.mark.parametrize("form", ["sync", "asynchronous"])
async def test_failures_open_the_circuit(make: Make, peer: Peer, form: str) -> None:
    caller = Caller(make(f"{BREAKER}}}", **{"pipeline.a": getattr(peer, form)()}))
    peer.error = OSError()

    await caller.fails(2)
    refused = await refusal(caller)

    assert str(refused) == "the circuit to 'a' is open"
    assert 29.9 < refused.retry_after_s <= 30
    assert len(peer.batons) == 2


async def test_failures_that_are_far_apart_do_not_count(
    make: Make, peer: Peer, clock: Clock
) -> None:
    caller = Caller(make(f"{BREAKER}}}", **{"pipeline.a": peer.asynchronous()}))
    peer.error = OSError()

    for _ in range(4):
        await caller.fails(1)
        await clock.advance(10.1)

    assert len(peer.batons) == 4


async def test_a_probe_that_succeeds_closes_the_circuit(
    make: Make, peer: Peer, clock: Clock
) -> None:
    caller = Caller(make(f"{BREAKER}}}", **{"pipeline.a": peer.asynchronous()}))
    peer.error = OSError()
    await caller.fails(2)
    peer.error = None

    await clock.advance(30.1)

    assert [await caller(n) for n in range(3)] == [0, 1, 2]
    peer.error = OSError()
    await caller.fails(1)
    peer.error = None
    assert await caller(3) == 3  # what was before the circuit was open does not count


async def test_a_probe_that_fails_opens_it_again(make: Make, peer: Peer, clock: Clock) -> None:
    caller = Caller(make(f"{BREAKER}}}", **{"pipeline.a": peer.asynchronous()}))
    peer.error = OSError()
    await caller.fails(2)
    await clock.advance(30.1)

    await caller.fails(1)
    await clock.advance(29.9)

    assert 0 < (await refusal(caller)).retry_after_s < 0.2


async def test_one_probe_passes_at_a_time(make: Make, peer: Peer, clock: Clock) -> None:
    caller = Caller(make(f"{BREAKER}}}", **{"pipeline.a": peer.asynchronous()}))
    peer.error = OSError()
    await caller.fails(2)
    await clock.advance(30.1)
    peer.error = None
    peer.gate.clear()

    probe = await caller.begun(7)
    refused = [await refusal(caller) for _ in range(50)]
    peer.gate.set()

    assert await probe == 7
    assert {str(each) for each in refused} == {
        "the circuit to 'a' is open, and a probe is under way"
    }
    assert {each.retry_after_s for each in refused} == {1.0}
    assert peer.batons == [1, 1, 7]


async def test_a_cancelled_probe_leaves_its_slot(make: Make, peer: Peer, clock: Clock) -> None:
    caller = Caller(make(f"{BREAKER}}}", **{"pipeline.a": peer.asynchronous()}))
    peer.error = OSError()
    await caller.fails(2)
    await clock.advance(30.1)
    peer.error = None
    peer.gate.clear()

    probe = await caller.begun(7)
    probe.cancel()
    with pytest.raises(asyncio.CancelledError):
        await probe
    peer.gate.set()

    assert await caller(8) == 8
    assert await caller(9) == 9


async def test_what_began_before_says_nothing_about_now(
    make: Make, peer: Peer, clock: Clock
) -> None:
    peer.gate.clear()
    peer.error = OSError()
    caller = Caller(make(f"{BREAKER}}}", **{"pipeline.a": peer.asynchronous()}))
    old = [await caller.begun() for _ in range(9)]
    peer.gate.set()
    await asyncio.gather(*old, return_exceptions=True)
    await clock.advance(29)
    assert 0.9 < (await refusal(caller)).retry_after_s < 1  # only the first two have opened it

    peer.gate.clear()
    await clock.advance(1.1)
    probe = await caller.begun()
    peer.error = None
    peer.gate.set()
    await probe

    assert await caller(3) == 3


async def test_a_late_success_does_not_close_an_open_circuit(make: Make) -> None:
    async def outcome(future: asyncio.Future[int]) -> int:
        return await future

    futures: list[asyncio.Future[int]] = [asyncio.Future() for _ in range(3)]
    caller = Caller(make(f"{BREAKER}}}", **{"pipeline.a": outcome}))
    tasks = [await caller.begun(each) for each in futures]
    for each in futures[:2]:
        each.set_exception(OSError())
    await asyncio.gather(*tasks[:2], return_exceptions=True)

    futures[2].set_result(7)

    assert await tasks[2] == 7
    await refusal(caller)


async def test_other_errors_count_as_an_answer(make: Make, peer: Peer, clock: Clock) -> None:
    caller = Caller(make(f"{BREAKER}, errors: OSError}}", **{"pipeline.a": peer.sync()}))
    peer.error = ValueError()
    await caller.fails(5, ValueError)
    peer.error = OSError()
    await caller.fails(2)
    await clock.advance(30.1)

    peer.error = ValueError()
    await caller.fails(5, ValueError)  # the first one closes it


async def test_what_has_no_end_says_nothing(make: Make, peer: Peer) -> None:
    caller = Caller(make(f"{BREAKER}}}", **{"pipeline.a": peer.sync()}))
    peer.error = TooDeep("deep")

    await caller.fails(5, TooDeep)


@pytest.mark.parametrize("form", ["sync", "asynchronous"])
async def test_refused_batons_may_go_another_way(make: Make, peer: Peer, form: str) -> None:
    resources = {"pipeline.a": getattr(peer, form)(), "pipeline.b": lambda n: -n}
    caller = Caller(make(f"{BREAKER}, fallback: b}}", **resources))
    peer.error = OSError()

    await caller.fails(2)  # a failure is one all the same

    assert await caller(7) == -7
    assert peer.batons == [1, 1]


async def test_each_change_is_logged_once(make: Make, peer: Peer, clock: Clock) -> None:
    caller = Caller(make(f"{BREAKER}}}", **{"pipeline.a": peer.asynchronous()}))

    with capture_logs() as logs:
        peer.error = OSError()
        await caller.fails(2)
        await refusal(caller)
        await refusal(caller)
        await clock.advance(30.1)
        peer.error = None
        await caller()
        await caller()

    assert logs == [
        {"event": "circuit open", "log_level": "warning", "pipeline": "a", "open_for_s": 30.0},
        {"event": "circuit half-open", "log_level": "info", "pipeline": "a"},
        {"event": "circuit closed", "log_level": "info", "pipeline": "a"},
    ]


async def test_a_step_that_is_made_twice_has_one_circuit(make: Make, peer: Peer) -> None:
    made = make(f"{BREAKER}}}", **{"pipeline.a": peer.sync()})
    peer.error = OSError()

    await Caller(made).fails(2)

    await refusal(Caller(made))


def test_circuit_breaker_is_async_if_one_of_its_pipelines_is(make: Make, peer: Peer) -> None:
    assert not make(f"{BREAKER}}}", **{"pipeline.a": peer.sync()}).is_async
    resources = {"pipeline.a": peer.sync(), "pipeline.b": peer.asynchronous()}
    assert make(f"{BREAKER}, fallback: b}}", **resources).is_async


def test_circuit_breaker_needs_a_failure(problems: Problems) -> None:
    assert problems("circuit-breaker: {pipeline: a, failures: 0}") == ["expected int >= 1, got 0"]
