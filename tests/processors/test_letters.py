from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from structlog.testing import capture_logs

from piped.errors import BatonError, PipelineError, TooDeep
from tests.processors.conftest import Make, Run, run_in

LETTER = "dead-letter: {pipeline: letters%s}"


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
