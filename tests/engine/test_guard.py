from __future__ import annotations

import asyncio
import os
import selectors
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
import uvloop
from structlog.testing import capture_logs

from piped.batons import Baton
from piped.engine import Pipeline, guard
from piped.engine.guard import MAX_PLACES, LoopGuard, Sighting, Watch, look_at
from piped.spec import DecidingProcessor, Processor, processor
from tests.conftest import turn
from tests.engine.conftest import OTHERS, Fail, compiled, specs

pytestmark = pytest.mark.anyio


@processor("hold")
class Hold(Processor):
    """Call what the baton says, which takes its time."""

    def process(self, baton: Baton) -> Baton:
        baton["hold"]()
        return baton


@processor("wait-and-hold")
class WaitAndHold(Processor):
    """The same, after it has waited."""

    async def process(self, baton: Baton) -> Baton:
        await asyncio.sleep(0)
        baton["hold"]()
        return baton


@processor("hold-and-choose")
class HoldAndChoose(DecidingProcessor):
    """Take its time to choose all consumers."""

    def choose(self, baton: Baton, consumers: int) -> Sequence[int]:
        baton["hold"]()
        return range(consumers)


def pipelines_of(text: str) -> dict[str, Pipeline]:
    components = specs(*OTHERS, Fail, Hold, WaitAndHold, HoldAndChoose)
    pipelines, problems = compiled(text, components, "service.yaml")
    assert problems == []
    return pipelines


@dataclass
class Past:
    """Time that passes when a test says so, while a watch looks whenever it wants to."""

    now: float = 100.0
    used: float = 0.0
    held: list[tuple[str, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        on_held = lambda place, held_s: self.held.append((place, round(held_s, 3)))  # noqa: E731
        self.watch = Watch(0.25, on_held, lambda: self.now, lambda: self.used)
        self.pauses: list[float] = []
        self.look()

    def look(self) -> None:
        self.pauses.append(self.watch.look())
        self.next = self.now + self.pauses[-1]

    def go_on(self, seconds: float, share: float = 1.0) -> None:
        """Have the watch look, and let time pass; the process uses a share of one processor."""
        self.look()
        end = self.now + seconds
        while self.next <= end:
            self.used += (self.next - self.now) * share
            self.now = self.next
            self.look()
        self.used += (end - self.now) * share
        self.now = end

    def skip(self, seconds: float, share: float) -> None:
        """Let time pass in which not even the watch can look."""
        late = self.next - self.now + seconds
        self.now += late
        self.used += late * share
        self.look()

    def holding(self, seconds: float) -> dict[str, Any]:
        """Return a baton whose steps take so many seconds."""
        return {"hold": lambda: self.go_on(seconds)}


@pytest.fixture
async def past() -> Past:
    made = Past()
    await turn()
    return made


@pytest.mark.parametrize(
    ("text", "step"),
    [
        ("p: [passthrough, hold]", "pipelines.p[1].hold (service.yaml:1:18)"),
        ("p: [passthrough, wait-and-hold]", "pipelines.p[1].wait-and-hold (service.yaml:1:18)"),
        ("p: [hold: {consumers: [passthrough, passthrough]}]", "pipelines.p[0].hold"),
        ("p: [passthrough, hold-and-choose, passthrough]", "pipelines.p[1].hold-and-choose"),
        ("p: [fail: {error_consumers: [hold]}]", "pipelines.p[0].fail.error_consumers[0].hold"),
        ("p: [fail: {error_consumers: [wait-and-hold]}]", "pipelines.p[0].fail.error_consumers[0]"),
        ("p: [run-pipeline: {pipeline: q}]\nq: [hold]", "pipelines.q[0].hold (service.yaml:2:5)"),
        ("p: [run-pipeline: {pipeline: q}]\nq: [wait-and-hold]", "pipelines.q[0].wait-and-hold"),
    ],
)
async def test_the_step_that_holds_the_loop_is_named(past: Past, text: str, step: str) -> None:
    pipeline = pipelines_of(text)["p"]

    await pipeline(past.holding(0.6))
    await turn()

    [(place, _)] = past.held
    assert place.startswith(step)


async def test_a_hold_is_told_when_it_is_over(past: Past) -> None:
    pipeline = pipelines_of("p: [passthrough, hold]")["p"]

    with capture_logs() as logs:
        await pipeline(past.holding(0.6))
        before = list(logs)
        await turn()

    assert before == []
    [line] = logs
    stack = line.pop("stack").splitlines()
    assert [each.rpartition(" in ")[2] for each in stack[:2]] == ["process", "<lambda>"]
    assert line == {
        "event": "a step held the event loop",
        "log_level": "warning",
        "step": "pipelines.p[1].hold",
        "place": "service.yaml:1:18",
        "held_s": 0.6,
    }
    assert past.held == [("pipelines.p[1].hold (service.yaml:1:18)", 0.6)]


async def test_what_is_no_step_is_told_by_its_stack(past: Past) -> None:
    def hold_by_myself() -> None:
        past.go_on(0.6)

    with capture_logs() as logs:
        hold_by_myself()
        await turn()

    [line] = logs
    assert line["event"] == "something held the event loop"
    assert "step" not in line
    stack = line["stack"].splitlines()
    assert any(each.endswith(" in hold_by_myself") for each in stack)
    assert past.held == [(stack[-1], 0.6)]


async def test_a_step_within_the_limit_and_one_that_waits_are_not_told(past: Past) -> None:
    pipelines = pipelines_of("short: [hold]\nwaits: [wait-and-hold, wait-and-hold, wait-and-hold]")

    await pipelines["short"](past.holding(0.24))
    await pipelines["waits"](past.holding(0.2))
    past.go_on(0.0)
    await turn()

    assert past.held == []


async def test_a_hold_can_be_seen_while_it_lasts(past: Past) -> None:
    past.watch.on_held = None

    past.go_on(0.6)
    during = past.watch.is_held
    await turn()
    after = past.watch.is_held

    assert (during, after) == (True, False)


async def test_holds_at_one_place_are_told_once_in_a_while_and_all_handed_on(past: Past) -> None:
    pipelines = pipelines_of("p: [hold]\nother: [hold]")

    with capture_logs() as logs:
        for name in ("p", "p", "p", "other"):
            await pipelines[name](past.holding(0.6))
            await turn()
        for _ in range(100):
            past.go_on(0.1)
            await turn()
        await pipelines["p"](past.holding(0.6))
        await turn()

    told = [(each["step"], each.get("untold")) for each in logs]
    assert told == [
        ("pipelines.p[0].hold", None),
        ("pipelines.other[0].hold", None),
        ("pipelines.p[0].hold", 2),
    ]
    assert len(past.held) == 5


async def test_of_too_many_places_the_old_ones_are_forgotten(past: Past) -> None:
    names = [f"p{number}" for number in range(MAX_PLACES + 1)]
    pipelines = pipelines_of("\n".join(f"{name}: [hold]" for name in names))

    with capture_logs() as logs:
        for name in (*names, "p0"):
            past.now += 0.001  # far less than the time in which a place is told once
            past.watch.look()
            await turn(2)
            past.watch.limit_s = 0.0
            pipelines[name].now({"hold": past.watch.look})
            past.watch.limit_s = 0.25
            await turn(2)

    assert len(past.held) == len(logs) == MAX_PLACES + 2
    assert logs[-1]["step"] == "pipelines.p0[0].hold"


async def test_a_process_that_stood_still_blames_nobody(past: Past) -> None:
    pipeline = pipelines_of("p: [hold]")["p"]

    await pipeline({"hold": lambda: past.skip(3600.0, share=0.0)})
    await turn()

    assert past.held == []


async def test_a_loop_that_is_at_rest_and_gets_no_processor_is_held_by_nobody(
    past: Past, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "look_at", lambda *_args: Sighting(None, [], is_at_rest=True))

    with capture_logs() as logs:
        past.go_on(25.0, share=0.0)
        await turn()

    assert (past.held, logs) == ([], [])


@pytest.mark.parametrize("loop_factory", [asyncio.SelectorEventLoop, uvloop.new_event_loop])
def test_it_can_be_seen_that_a_loop_is_at_rest(
    loop_factory: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    def look_until_at_rest(thread: int) -> bool:
        end = time.monotonic() + 10
        while not look_at(thread).is_at_rest and time.monotonic() < end:
            time.sleep(0)
        return time.monotonic() < end

    async def live() -> bool:
        at_work = look_at(threading.get_ident()).is_at_rest
        return not at_work and await asyncio.to_thread(look_until_at_rest, threading.get_ident())

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        is_seen = runner.run(live())

    assert is_seen


def test_who_waits_for_a_program_is_not_at_rest() -> None:
    reader, writer = os.pipe()
    inside = threading.Event()

    def wait() -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(reader, selectors.EVENT_READ)
            inside.set()
            selector.select()

    thread = threading.Thread(target=wait)
    thread.start()
    assert inside.wait(10)
    assert thread.ident is not None
    is_at_rest = look_at(thread.ident).is_at_rest
    os.write(writer, b"x")
    thread.join(10)
    os.close(reader)
    os.close(writer)

    assert not is_at_rest


async def test_a_hold_counts_without_the_time_in_which_the_process_stood_still(past: Past) -> None:
    def hold() -> None:
        past.go_on(0.15)
        past.skip(3600.0, share=0.0)
        past.go_on(0.5)

    hold()
    await turn()

    [(_, held_s)] = past.held
    assert 0.25 < held_s < 1.0


async def test_what_keeps_even_other_threads_from_running_is_told_apart(past: Past) -> None:
    pipeline = pipelines_of("p: [hold]")["p"]

    with capture_logs() as logs:
        await pipeline({"hold": lambda: past.skip(2.0, share=1.0)})
        await turn()

    assert [(each["event"], each["step"]) for each in logs] == [
        ("a step held the interpreter", "pipelines.p[0].hold")
    ]
    assert past.held == [("pipelines.p[0].hold (service.yaml:1:5)", 2.0)]


@pytest.mark.parametrize("is_step", [True, False])
async def test_another_thread_may_be_what_keeps_all_from_running(past: Past, is_step: bool) -> None:
    pipeline = pipelines_of("p: [hold]")["p"]
    begun, ended = threading.Event(), threading.Event()

    def keep_all() -> None:
        begun.set()
        ended.wait(10)

    target: Callable[[], Any] = lambda: pipeline.now({"hold": keep_all})  # noqa: E731
    thread = threading.Thread(target=target if is_step else keep_all)
    thread.start()
    begun.wait(10)

    with capture_logs() as logs:
        past.skip(2.0, share=1.0)
        ended.set()
        await turn()
    thread.join()

    [line] = logs
    who = "a step" if is_step else "something"
    assert line["event"] == f"{who} held the interpreter"
    assert ("step" in line) is is_step
    assert " in wait" in line["stack"]  # what keep_all calls


async def test_a_loop_that_does_not_turn_for_long_is_told_at_once(past: Past) -> None:
    pipeline = pipelines_of("p: [hold]")["p"]
    told: list[list[str]] = []

    def hold() -> None:
        past.go_on(25.0)
        told.append([each["event"] for each in logs])

    with capture_logs() as logs:
        await pipeline({"hold": hold})
        await turn()

    assert told == [["the event loop does not turn"]]
    assert [(each["event"], each["log_level"], each["step"]) for each in logs] == [
        ("the event loop does not turn", "error", "pipelines.p[0].hold"),
        ("a step held the event loop", "warning", "pipelines.p[0].hold"),
    ]


async def test_a_process_at_work_is_looked_at_more_often(past: Past) -> None:
    past.go_on(0.1, share=0.0)
    past.look()
    at_rest = past.pauses[-1]
    past.go_on(0.1, share=0.5)
    past.look()
    at_work = past.pauses[-1]

    assert (at_rest, at_work) == (0.25, 0.0625)


def until_held(guard: LoopGuard) -> Callable[[], None]:
    """Return what holds a loop until its guard has seen that, ten seconds at most."""

    def hold() -> None:
        end = time.monotonic() + 10
        while not guard.is_held and time.monotonic() < end:
            pass

    return hold


async def test_a_guard_looks_from_a_thread_of_its_own() -> None:
    pipeline = pipelines_of("p: [hold]")["p"]
    held: asyncio.Queue[tuple[str, float]] = asyncio.Queue()
    guard = LoopGuard(0.02, lambda *facts: held.put_nowait(facts))

    async with guard:
        await pipeline({"hold": until_held(guard)})
        place, held_s = await asyncio.wait_for(held.get(), 10)

    assert place == "pipelines.p[0].hold (service.yaml:1:5)"
    assert 0.02 <= held_s < 10
    assert held.empty()
    assert not guard.is_held


def test_a_guard_watches_the_loop_of_any_thread() -> None:
    pipeline = pipelines_of("p: [hold]")["p"]
    held: list[str] = []

    async def live() -> None:
        over = asyncio.Event()

        def on_held(place: str, _held_s: float) -> None:
            held.append(place)
            over.set()

        async with LoopGuard(0.02, on_held) as guard:
            await pipeline({"hold": until_held(guard)})
            await asyncio.wait_for(over.wait(), 10)

    thread = threading.Thread(target=lambda: asyncio.run(live()))
    thread.start()
    thread.join()

    assert held == ["pipelines.p[0].hold (service.yaml:1:5)"]


def test_the_thread_of_a_guard_ends_with_the_loop() -> None:
    guard = LoopGuard(0.01)

    async def begin() -> threading.Thread:
        before = set(threading.enumerate())
        guard.start()
        [thread] = set(threading.enumerate()) - before
        return thread

    thread = asyncio.run(begin())
    thread.join(10)

    assert not thread.is_alive()
    guard.stop()


def test_a_guard_that_was_never_started_has_seen_nothing() -> None:
    guard = LoopGuard()

    guard.stop()

    assert not guard.is_held
