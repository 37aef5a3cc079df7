from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from structlog.testing import capture_logs

from piped.errors import BatonError, PipelineError, QueueFull, TooDeep
from piped.providers.background import Background
from tests.conftest import Clock
from tests.processors.conftest import Make, Problems, Run, run_in

TAP = "wire-tap: {pipeline: copies%s}"
LETTER = "dead-letter: {pipeline: letters%s}"


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


class Letters:
    """Keeps the letters; each may fail to be delivered."""

    def __init__(self) -> None:
        self.letters: list[Any] = []
        self.error: Exception | None = None

    def take(self, letter: Any) -> Any:
        if self.error:
            raise self.error
        self.letters.append(letter)
        return len(self.letters)

    async def take_later(self, letter: Any) -> Any:
        await asyncio.sleep(0)
        return self.take(letter)


@pytest.fixture
def letters() -> Letters:
    return Letters()


@pytest.fixture(params=["sync", "async"])
def post(request: pytest.FixtureRequest, letters: Letters) -> dict[str, Any]:
    """The pipeline of the letters, in both ways."""
    if request.param == "sync":
        return {"pipeline.letters": lambda letter: letters.take(letter)}

    async def take_later(letter: Any) -> Any:
        return await letters.take_later(letter)

    return {"pipeline.letters": take_later}


def treat(processor: Any, error: BaseException, baton: Any) -> Any:
    """Send a baton through a processor while an error is being treated."""
    try:
        raise error
    except type(error):
        return run_in(processor, baton)


def noted(error: BaseException, *notes: str) -> Any:
    for note in notes:
        error.add_note(note)
    return error


def test_a_letter_tells_all_that_is_known(make: Make, letters: Letters, post: Any) -> None:
    error = noted(
        BatonError("expected text, got int"),
        "in pipelines.web.pay.chained_consumers[0].mask (site.yaml:3:7)",
        "in pipelines.web.main[2].run-pipeline (site.yaml:9:7)",
    )
    error.__cause__ = noted(KeyError("card"), "in pipelines.card[0].read (card.yaml:2:5), line 4")
    before = datetime.now(UTC)
    baton = {"n": 1}

    result = treat(make(LETTER % "", **post), error, baton)

    [letter] = letters.letters
    time = datetime.fromisoformat(letter.pop("time"))
    assert time.tzinfo is not None
    assert abs((time - before).total_seconds()) < 10
    assert result is baton
    assert letter == {
        "baton": {"n": 1},
        "error": {
            "type": "BatonError",
            "message": "expected text, got int",
            "at": "pipelines.web.pay.chained_consumers[0].mask (site.yaml:3:7)",
            "cause": {
                "type": "KeyError",
                "message": "'card'",
                "at": "pipelines.card[0].read (card.yaml:2:5), line 4",
                "cause": None,
            },
        },
        "attempts": 1,
        "origin": {"pipeline": "web.pay", "place": "site.yaml:3:7"},
    }


@pytest.mark.parametrize(
    ("note", "pipeline", "place"),
    [
        ("in pipelines.pay[0].mask (site.yaml:3:7)", "pay", "site.yaml:3:7"),
        ("in pipelines.web.pay.consumers[1].mask (a.yaml:3:7)", "web.pay", "a.yaml:3:7"),
        ("in pipelines.pay.error_consumers[1].log (a.yaml:3:7), line 5", "pay", "a.yaml:3:7"),
        (
            "in pipelines.pay.chained_error_consumers[1].x (a b (1).yaml:3:7)",
            "pay",
            "a b (1).yaml:3:7",
        ),
        ("in pipelines.pay[0].try.catch[0].then[1].mask (a.yaml:3:7)", "pay", "a.yaml:3:7"),
        ("in pipelines.pay by card[0].mask (a.yaml:3:7)", "pay by card", "a.yaml:3:7"),
    ],
)
def test_a_letter_knows_where_the_error_was_raised(
    make: Make, letters: Letters, post: Any, note: str, pipeline: str, place: str
) -> None:
    treat(make(LETTER % "", **post), noted(ValueError("no"), "a note", note), {})

    [letter] = letters.letters
    assert letter["origin"] == {"pipeline": pipeline, "place": place}
    assert letter["error"]["at"] == note.removeprefix("in ")


def test_a_letter_about_an_error_from_nowhere_names_its_own_pipeline(
    make: Make, letters: Letters, post: Any
) -> None:
    treat(make(LETTER % "", **post), ValueError("no"), {})

    [letter] = letters.letters
    assert letter["origin"] == {"pipeline": "web.compute", "place": ""}
    assert letter["error"] == {"type": "ValueError", "message": "no", "at": "", "cause": None}


def test_a_letter_that_is_written_in_place_names_the_pipeline_around_it(
    make: Make, letters: Letters, post: Any
) -> None:
    made = make(LETTER % "", **post)
    made.home = "web.compute[0].timeout.otherwise"

    treat(made, ValueError("no"), {})

    assert letters.letters[0]["origin"] == {"pipeline": "web.compute", "place": ""}


def test_a_letter_counts_the_attempts_of_retry(make: Make, letters: Letters, post: Any) -> None:
    error: Any = ValueError("no")
    error.attempts = 5

    treat(make(LETTER % "", **post), error, {})

    assert letters.letters[0]["attempts"] == 5


def test_a_letter_tells_causes_up_to_a_bound(make: Make, letters: Letters, post: Any) -> None:
    error: BaseException = ValueError(0)
    for n in range(1, 50):
        later = ValueError(n)
        later.__context__ = error
        error = later

    treat(make(LETTER % "", **post), error, {})

    told, messages = letters.letters[0]["error"], []
    while told:
        messages.append(told["message"])
        told = told["cause"]
    assert messages == ["49", "48", "47", "46", "45", "44"]


def test_a_letter_leaves_out_what_an_error_hides(make: Make, letters: Letters, post: Any) -> None:
    error = ValueError("no")
    error.__context__ = KeyError("x")
    error.__suppress_context__ = True

    treat(make(LETTER % "", **post), error, {})

    assert letters.letters[0]["error"]["cause"] is None


def test_a_letter_can_be_written_as_json(make: Make, letters: Letters, post: Any) -> None:
    treat(make(LETTER % "", **post), KeyError("x"), {"n": [1]})

    assert json.loads(json.dumps(letters.letters[0])) == letters.letters[0]


def test_what_the_pipeline_makes_of_a_letter_does_not_change_the_baton(make: Make) -> None:
    def spoil(letter: Any) -> Any:
        letter["baton"]["spoilt"] = True
        return letter

    baton = {"n": 1}

    result = treat(make(LETTER % "", **{"pipeline.letters": spoil}), ValueError(), baton)

    assert result == {"n": 1}


def test_a_letter_may_be_about_a_part_of_the_baton(make: Make, letters: Letters, post: Any) -> None:
    dead_letter = make(LETTER % ", input_path: order, output_path: number", **post)

    result = treat(dead_letter, ValueError(), {"order": 7})

    assert result == {"order": 7, "number": 1}
    assert letters.letters[0]["baton"] == 7


def test_a_letter_is_written_where_there_is_no_input(
    make: Make, letters: Letters, post: Any
) -> None:
    treat(make(LETTER % ", input_path: order", **post), ValueError(), {})

    assert letters.letters[0]["baton"] is None


def test_there_is_no_letter_without_a_failure(run: Run, letters: Letters, post: Any) -> None:
    with pytest.raises(PipelineError) as raised:
        run(LETTER % "", {}, **post)

    assert str(raised.value) == (
        "there is no failure to write about: use it among error consumers or in a 'catch'"
    )
    assert letters.letters == []


def test_a_letter_that_cannot_be_delivered_is_an_error_and_is_logged_once(
    make: Make, letters: Letters, post: Any
) -> None:
    letters.error = OSError("disk full")
    error: Any = noted(ValueError("no"), "in pipelines.pay[0].mask (site.yaml:3:7)")
    error.attempts = 3

    with capture_logs() as lines, pytest.raises(OSError, match="disk full") as raised:
        treat(make(LETTER % "", **post), error, {"card": "5500 0000"})

    assert raised.value is letters.error
    assert raised.value.__cause__ is error
    assert lines == [
        {
            "event": "letter not delivered",
            "pipeline": "letters",
            "reason": "OSError: disk full",
            "error": "ValueError: no",
            "at": "pipelines.pay[0].mask (site.yaml:3:7)",
            "attempts": 3,
            "log_level": "error",
        }
    ]


def test_an_undelivered_letter_keeps_the_cause_of_what_stopped_it(
    make: Make, letters: Letters, post: Any
) -> None:
    letters.error, cause = OSError("disk full"), KeyError("x")
    letters.error.__cause__ = cause

    with capture_logs(), pytest.raises(OSError, match="disk full") as raised:
        treat(make(LETTER % "", **post), ValueError("no"), {})

    assert raised.value.__cause__ is cause


def test_a_pipeline_that_raises_the_failure_again_is_no_cause_of_it(
    make: Make, letters: Letters, post: Any
) -> None:
    letters.error = error = ValueError("no")

    with capture_logs(), pytest.raises(ValueError, match="no") as raised:
        treat(make(LETTER % "", **post), error, {})

    assert raised.value is error
    assert error.__cause__ is None


def test_an_endless_call_is_not_about_the_letter(make: Make, letters: Letters, post: Any) -> None:
    letters.error = TooDeep("too deep")

    with capture_logs() as lines, pytest.raises(TooDeep):
        treat(make(LETTER % "", **post), ValueError("no"), {})

    assert lines == []


def test_nobody_is_certain_to_get_a_letter(make: Make, post: Any) -> None:
    assert make(LETTER % "", **post).certain_calls == ()
