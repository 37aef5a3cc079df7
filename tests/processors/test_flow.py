from __future__ import annotations

from typing import Any

import pytest

from piped.errors import PipelineError
from tests.processors.conftest import Make, Problems, Run


def test_passthrough_returns_the_same_baton(run: Run) -> None:
    baton: dict[str, Any] = {}

    assert run("passthrough: {}", baton) is baton


@pytest.mark.parametrize(
    ("decision", "chosen"), [("1", [1]), ("[0, -1]", [0, -1]), ("[]", []), ("True", [1])]
)
def test_lambda_decider_chooses_consumers(make: Make, decision: str, chosen: list[int]) -> None:
    decider = make(f"lambda-decider: {{lambda: '_: {decision}'}}")

    assert list(decider.choose({}, 2)) == chosen


def test_lambda_decider_gets_none_where_there_is_no_input(make: Make) -> None:
    decider = make("lambda-decider: {input_path: n, lambda: 'n: 0 if n is None else 1'}")

    assert list(decider.choose({}, 2)) == [0]
    assert list(decider.choose({"n": 1}, 2)) == [1]


@pytest.mark.parametrize("decision", ["2", "-3", "None", "[0, 2]", "0.5"])
def test_lambda_decider_refuses_what_is_no_consumer(make: Make, decision: str) -> None:
    decider = make(f"lambda-decider: {{lambda: '_: {decision}'}}")

    with pytest.raises(PipelineError) as raised:
        decider.choose({}, 2)

    assert str(raised.value) == (
        f"expected the index of one of 2 consumers, or a list of them, got {decision}"
    )


def test_lambda_decider_names_what_nobody_defines(problems: Problems) -> None:
    found = problems("lambda-decider: {lambda: '_: where'}")

    assert found == [
        "nobody defines 'where' (add it to the namespace, as in namespace: {where: package.where})"
    ]


def test_stop_lets_pass_or_ends(make: Make) -> None:
    stop = make("stop: {input_path: done}")

    assert list(stop.choose({"done": False}, 2)) == [0, 1]
    assert list(stop.choose({}, 1)) == [0]
    assert list(stop.choose({"done": True}, 2)) == []


def test_stop_asks_its_decider(make: Make) -> None:
    stop = make("stop: {decider: \"baton: baton.get('id') not in baton['pending']\"}")

    assert list(stop.choose({"id": 1, "pending": {1: 1}}, 1)) == [0]
    assert list(stop.choose({"pending": {1: 1}}, 1)) == []


def test_stop_names_what_nobody_defines(problems: Problems) -> None:
    found = problems("stop: {decider: '_: where'}")

    assert found == [
        "nobody defines 'where' (add it to the namespace, as in namespace: {where: package.where})"
    ]


def test_wait_returns_the_same_baton(run: Run) -> None:
    baton: dict[str, Any] = {}

    assert run("wait: {delay: 0}", baton) is baton


def test_wait_needs_a_duration(problems: Problems) -> None:
    assert problems("wait: {delay: soon}") == [
        "expected a duration such as 2s or 250ms, got 'soon'"
    ]


class Service:
    def __init__(self) -> None:
        self.stopped: list[int | None] = []

    def stop(self, exit_code: int | None = None) -> None:
        self.stopped.append(exit_code)


def test_shutdown_leaves_the_exit_code_to_the_service(run: Run) -> None:
    service, baton = Service(), {"n": 1}

    result = run("shutdown: {}", baton, service=service)

    assert result is baton
    assert service.stopped == [None]


def test_shutdown_among_error_consumers_fails(run: Run) -> None:
    service = Service()

    try:
        raise ValueError
    except ValueError:
        run("shutdown: {}", {}, service=service)

    assert service.stopped == [1]


def test_shutdown_uses_the_exit_code_it_was_given(run: Run) -> None:
    service = Service()

    run("shutdown: {exit_code: 3}", {}, service=service)

    assert service.stopped == [3]


def test_shutdown_knows_the_exit_codes_there_are(problems: Problems) -> None:
    assert problems("shutdown: {exit_code: 256}") == ["expected int <= 255, got 256"]
