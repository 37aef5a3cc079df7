from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.processors.conftest import Make, Problems, Run


def double(n: int) -> int:
    return n * 2


def square(n: int) -> int:
    return n * n


async def double_later(n: int) -> int:
    return n * 2


async def square_later(n: int) -> int:
    return n * n


every_way = pytest.mark.parametrize(
    ("double", "square"),
    [
        (double, square),
        (double_later, square_later),
        (double_later, square),
        (double, square_later),
    ],
    ids=["sync", "async", "then async", "otherwise async"],
)

EITHER = "when: {condition: 'n: n > 3', then: double, otherwise: square}"
IF = "when: {condition: 'n: n > 3', then: double}"
SWITCH = """
    switch:
      cases:
        - {condition: "n: n > 100", then: double}
        - {condition: "n: n > 10", then: square}
        - {condition: "n: n > 5", then: double}
      default: square
"""


@every_way
def test_when_chooses_one_of_two_pipelines(run: Run, double: Any, square: Any) -> None:
    resources = {"pipeline.double": double, "pipeline.square": square}

    assert run(EITHER, 4, **resources) == 8
    assert run(EITHER, 3, **resources) == 9


@pytest.mark.parametrize("double", [double, double_later])
def test_when_without_otherwise_leaves_the_input(run: Run, double: Any) -> None:
    assert run(IF, 4, **{"pipeline.double": double}) == 8
    assert run(IF, 3, **{"pipeline.double": double}) == 3


def test_when_that_does_not_hold_gives_the_same_baton(run: Run) -> None:
    baton = {"n": 1}
    text = "when: {condition: \"baton: baton['n'] > 3\", then: double}"

    assert run(text, baton, **{"pipeline.double": double}) is baton


@pytest.mark.parametrize("double", [double, double_later])
def test_when_goes_from_path_to_path(run: Run, double: Any) -> None:
    text = "when: {condition: 'n: n > 3', then: double, input_path: n, output_path: m}"

    assert run(text, {"n": 4}, **{"pipeline.double": double}) == {"n": 4, "m": 8}
    assert run(text, {"n": 3}, **{"pipeline.double": double}) == {"n": 3, "m": 3}
    assert run(text, {}, **{"pipeline.double": double}) == {}


def test_when_asks_about_the_fallback_where_there_is_no_input(run: Run) -> None:
    text = (
        "when: {condition: 'n: n > 3', then: double, input_path: n,"
        " skip_if_nonexistent: false, input_fallback: 5}"
    )

    assert run(text, {}, **{"pipeline.double": double}) == {"n": 10}


@pytest.mark.parametrize(("value", "output"), [("''", 7), ("[]", 7), ("0", 7), ("'no'", 14)])
def test_when_takes_any_value_for_true_or_false(run: Run, value: str, output: int) -> None:
    text = f'when: {{condition: "_: {value}", then: double}}'

    assert run(text, 7, **{"pipeline.double": double}) == output


@pytest.mark.parametrize("double", [double, double_later])
def test_when_raises_what_its_condition_raises(run: Run, double: Any) -> None:
    with pytest.raises(TypeError):
        run(IF, None, **{"pipeline.double": double})


def test_when_sees_its_namespace(run: Run) -> None:
    text = "when: {condition: 'n: isqrt(n) > 3', then: double, namespace: {isqrt: math.isqrt}}"

    assert run(text, 16, **{"pipeline.double": double}) == 32


def test_when_is_async_only_if_a_pipeline_is(make: Make) -> None:
    def made(double: Any, square: Any) -> Any:
        return make(EITHER, **{"pipeline.double": double, "pipeline.square": square})

    assert not made(double, square).is_async
    assert made(double_later, square).is_async
    assert made(double, square_later).is_async


def test_when_names_what_nobody_defines(problems: Problems) -> None:
    assert problems("when: {condition: 'n: n > most', then: double}") == [
        "nobody defines 'most' (add it to the namespace, as in namespace: {most: package.most})"
    ]


def test_when_needs_a_condition_and_a_pipeline(problems: Problems) -> None:
    assert problems("when: {}") == [
        "when needs the parameter 'condition' (add condition: 'n: n * 2')",
        "when needs the parameter 'then' (add then: web.compute)",
    ]


def test_nobody_is_certain_to_be_called_by_a_choice(make: Make) -> None:
    resources = {"pipeline.double": double, "pipeline.square": square}

    assert make(EITHER, **resources).certain_calls == ()
    assert make(SWITCH, **resources).certain_calls == ()


@every_way
@pytest.mark.parametrize(("n", "output"), [(101, 202), (11, 121), (6, 12), (5, 25)])
def test_switch_takes_the_first_case_that_holds(
    run: Run, double: Any, square: Any, n: int, output: int
) -> None:
    resources = {"pipeline.double": double, "pipeline.square": square}

    assert run(SWITCH, n, **resources) == output


@pytest.mark.parametrize("double", [double, double_later])
def test_switch_without_default_leaves_the_input(run: Run, double: Any) -> None:
    text = "switch: {cases: [{condition: 'n: n > 3', then: double}], input_path: n}"
    baton = {"n": 1}

    result = run(text, baton, **{"pipeline.double": double})

    assert result is baton
    assert baton == {"n": 1}


def test_switch_asks_no_case_after_the_first_that_holds(run: Run) -> None:
    text = """
        switch:
          cases:
            - {condition: "_: True", then: double}
            - {condition: "_: 1 / 0", then: double}
    """

    assert run(text, 2, **{"pipeline.double": double}) == 4


def test_switch_gives_each_caller_its_own_case(make: Make) -> None:
    async def double_in_turn(n: int) -> int:
        await asyncio.sleep(0)
        return n * 2

    async def square_in_turn(n: int) -> int:
        await asyncio.sleep(0)
        return n * n

    resources = {"pipeline.double": double_in_turn, "pipeline.square": square_in_turn}
    step = make(SWITCH, **resources).step()

    async def run_all() -> Any:
        return await asyncio.gather(step(101), step(11), step(5))

    assert asyncio.run(run_all()) == [202, 121, 25]


def test_switch_needs_a_case(problems: Problems) -> None:
    assert problems("switch: {cases: []}") == ["expected one case at least, got none"]


def test_switch_names_what_nobody_defines_in_a_case(problems: Problems) -> None:
    text = "switch: {cases: [{condition: 'n: n', then: a}, {condition: 'n: n > most', then: b}]}"

    assert problems(text) == [
        "nobody defines 'most' (add it to the namespace, as in namespace: {most: package.most})"
    ]


def test_switch_takes_cases_and_nothing_else(problems: Problems) -> None:
    text = "switch: {cases: [{condition: 'n: n', than: a}, {}]}"

    assert problems(text) == [
        "case has no parameter 'than' (did you mean 'then'? known: condition, then)",
        "case needs the parameter 'then' (add then: web.compute)",
        "case needs the parameter 'condition' (add condition: 'n: n * 2')",
        "case needs the parameter 'then' (add then: web.compute)",
    ]
