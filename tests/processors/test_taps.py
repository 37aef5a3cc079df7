from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from structlog.testing import capture_logs

from piped.errors import QueueFull
from piped.providers.background import Background
from tests.conftest import Clock
from tests.processors.conftest import Make, Problems, Run

TAP = "wire-tap: {pipeline: copies%s}"


class Later:
    """A background that does its work when the test says so."""

    def __init__(self) -> None:
        self.works: list[tuple[Callable[[], Awaitable[Any]], str]] = []

    def start(self, work: Callable[[], Awaitable[Any]], name: str) -> None:
        self.works.append((work, name))

    def do_all(self) -> None:
        for work, _ in self.works:
            asyncio.run(done(work))
        self.works.clear()


async def done(work: Callable[[], Awaitable[Any]]) -> None:
    await work()


class Full:
    def start(self, work: Any, name: str) -> None:
        raise QueueFull("10 tasks run in the background already")


class Copies:
    """Keeps what it gets."""

    is_async = False

    def __init__(self) -> None:
        self.batons: list[Any] = []
        self.error: Exception | None = None

    async def __call__(self, baton: Any) -> list[Any]:
        if self.error:
            raise self.error
        self.batons.append(baton)
        return [baton]


@pytest.fixture
def background() -> Later:
    return Later()


@pytest.fixture
def copies() -> Copies:
    return Copies()


def test_a_tapped_baton_goes_on_before_its_copy_does(
    run: Run, background: Later, copies: Copies
) -> None:
    baton = {"n": 1}

    result = run(TAP % "", baton, background=background, **{"pipeline.copies": copies})

    before = list(copies.batons)
    background.do_all()
    assert result is baton
    assert before == []
    assert copies.batons == [{"n": 1}]


@pytest.mark.parametrize(
    ("copy", "copied"),
    [
        ("", {"n": 1, "list": [{"m": 1}]}),
        (", copy: deep", {"n": 1, "list": [{"m": 1}]}),
        (", copy: shallow", {"n": 1, "list": [{"m": 2}]}),
        (", copy: none", {"n": 2, "list": [{"m": 2}]}),
    ],
)
def test_a_copy_is_as_deep_as_it_should_be(
    run: Run, background: Later, copies: Copies, copy: str, copied: Any
) -> None:
    baton: dict[str, Any] = {"n": 1, "list": [{"m": 1}]}

    run(TAP % copy, baton, background=background, **{"pipeline.copies": copies})
    baton["n"] = 2
    baton["list"][0]["m"] = 2
    background.do_all()

    assert copies.batons == [copied]


def test_a_deep_copy_shares_what_is_no_plain_container(
    run: Run, background: Later, copies: Copies
) -> None:
    class Context(dict[str, Any]):
        pass

    lock, context = asyncio.Lock(), Context()
    baton = {"lock": lock, "context": context, "t": ([1], {2}), "set": {3}, "b": bytearray(b"x")}

    run(TAP % "", baton, background=background, **{"pipeline.copies": copies})
    background.do_all()

    [copied] = copies.batons
    assert copied == baton
    assert copied["lock"] is lock
    assert copied["context"] is context
    assert copied["t"][0] is not baton["t"][0]  # type: ignore[index] # it is a tuple
    assert copied["set"] is not baton["set"]
    assert copied["b"] is not baton["b"]


def test_a_baton_that_contains_itself_can_be_copied(
    run: Run, background: Later, copies: Copies
) -> None:
    baton: dict[str, Any] = {"all": []}
    baton["self"] = baton
    baton["all"].append(baton)

    run(TAP % "", baton, background=background, **{"pipeline.copies": copies})
    background.do_all()

    [copied] = copies.batons
    assert copied is not baton
    assert copied["self"] is copied
    assert copied["all"] == [copied]


def test_only_a_part_of_the_baton_may_be_copied(
    run: Run, background: Later, copies: Copies
) -> None:
    resources = {"background": background, "pipeline.copies": copies}

    run(TAP % ", input_path: order.items", {"order": {"items": [1]}}, **resources)
    missing = run(TAP % ", input_path: order.items", {"n": 1}, **resources)
    background.do_all()

    assert copies.batons == [[1]]
    assert missing == {"n": 1}


def test_a_baton_that_is_too_deep_to_copy_goes_on(
    run: Run, background: Later, copies: Copies
) -> None:
    baton: list[Any] = []
    for _ in range(100_000):
        baton = [baton]

    with capture_logs() as lines:
        result = run(TAP % "", baton, background=background, **{"pipeline.copies": copies})

    assert result is baton
    assert [(line["event"], line["pipeline"]) for line in lines] == [("tap failed", "copies")]
    while baton:
        baton = baton.pop()


def test_the_copies_of_a_full_tap_are_dropped(
    make: Make, background: Later, copies: Copies
) -> None:
    tap = make(TAP % ", max_pending: 2", background=background, **{"pipeline.copies": copies})
    step = tap.step()

    async def run_all() -> None:
        for n in range(5):
            assert step(n) == n

    with capture_logs() as lines:
        asyncio.run(run_all())
    background.do_all()
    step(5)
    background.do_all()

    assert copies.batons == [0, 1, 5]
    assert lines == [
        {
            "event": "tap full",
            "pipeline": "copies",
            "count": 1,
            "log_level": "warning",
        }
    ]


def test_a_full_background_drops_the_copies_too(make: Make, copies: Copies) -> None:
    step = make(TAP % "", background=Full(), **{"pipeline.copies": copies}).step()

    async def run_one() -> Any:
        return step(1)

    with capture_logs() as lines:
        assert asyncio.run(run_one()) == 1

    assert [(line["event"], line["count"]) for line in lines] == [("tap full", 1)]


def test_all_graphs_of_a_tap_count_together(make: Make, background: Later, copies: Copies) -> None:
    tap = make(TAP % ", max_pending: 1", background=background, **{"pipeline.copies": copies})

    async def run_all() -> None:
        tap.step()(1)
        tap.step()(2)

    with capture_logs() as lines:
        asyncio.run(run_all())

    assert len(background.works) == 1
    assert [line["event"] for line in lines] == ["tap full"]


def test_a_tap_is_not_async_and_its_call_is_certain(make: Make, background: Later) -> None:
    async def later(baton: Any) -> Any:
        return baton

    resources = {"background": background, "pipeline.copies": later}

    assert not make(TAP % "", **resources).is_async
    assert make(TAP % "", **resources).certain_calls == ("copies",)
    assert make(TAP % ", input_path: n", **resources).certain_calls == ()


def test_a_tap_knows_three_ways_to_copy(problems: Problems) -> None:
    assert problems("wire-tap: {pipeline: a, copy: half}") == [
        "expected 'deep', 'shallow' or 'none', got 'half'"
    ]
    assert problems("wire-tap: {pipeline: a, max_pending: 0}") == ["expected int >= 1, got 0"]


@pytest.mark.anyio
class TestBackground:
    """A tap beside the real background, on a clock that the tests move."""

    @pytest.fixture
    def anyio_backend(self, movable_loop: tuple[str, dict[str, Any]]) -> Any:
        return movable_loop

    async def test_a_copy_goes_its_way_and_its_error_is_logged(
        self, make: Make, copies: Copies
    ) -> None:
        copies.error = ValueError("no")

        with capture_logs() as lines:
            async with Background().running() as resources:
                tap = make(TAP % "", **resources, **{"pipeline.copies": copies})
                assert tap.step()({"n": 1}) == {"n": 1}

        assert lines == [
            {
                "event": "background task failed",
                "task": "wire-tap to copies",
                "exc_info": True,
                "log_level": "error",
            }
        ]

    async def test_a_tap_that_failed_has_room_again(self, make: Make, copies: Copies) -> None:
        copies.error = ValueError("no")

        with capture_logs():
            async with Background().running() as resources:
                tap = make(TAP % ", max_pending: 1", **resources, **{"pipeline.copies": copies})
                step = tap.step()
                step(1)
                await asyncio.sleep(0)
                copies.error = None
                step(2)

        assert copies.batons == [2]

    async def test_copies_under_way_come_to_their_end_when_the_service_ends(
        self, make: Make
    ) -> None:
        ended: list[int] = []

        async def end(baton: int) -> None:
            for _ in range(10):
                await asyncio.sleep(0)
            ended.append(baton)

        async with Background().running() as resources:
            step = make(TAP % "", **resources, **{"pipeline.copies": end}).step()
            step(1)
            step(2)

        assert ended == [1, 2]

    async def test_the_log_tells_of_drops_once_a_second_and_of_all_of_them(
        self, make: Make, background: Later, copies: Copies, clock: Clock
    ) -> None:
        step = make(
            TAP % ", max_pending: 1", background=background, **{"pipeline.copies": copies}
        ).step()

        with capture_logs() as lines:
            for n in range(5):
                step(n)
            at_once = [line["count"] for line in lines]
            await clock.advance(1.0)
            after_a_second = [line["count"] for line in lines]
            await clock.advance(1.0)
            step(5)
            await clock.advance(1.0)

        assert at_once == [1]
        assert after_a_second == [1, 3]
        assert [line["count"] for line in lines] == [1, 3, 1]
