from __future__ import annotations

from typing import Any

import pytest

from piped.errors import BatonError
from tests.processors.conftest import Make, Problems, Run


@pytest.mark.parametrize(
    ("own", "given", "expected"),
    [
        ({}, "{a: 1}", {"a": 1}),
        ({"a": 1}, "{a: 2}", {"a": [1, 2]}),
        ({"a": 1}, "{a: 1}", {"a": [1, 1]}),
        ({"a": [1]}, "{a: [2, 3]}", {"a": [1, 2, 3]}),
        ({"a": [1]}, "{a: 2}", {"a": [1, 2]}),
        ({"a": 1}, "{a: [2]}", {"a": [1, 2]}),
        ({"a": None}, "{a: null}", {"a": [None, None]}),
        ({"a": {"b": 1, "c": 2}}, "{a: {b: 3, d: 4}}", {"a": {"b": [1, 3], "c": 2, "d": 4}}),
        ({"a": {"b": 1}}, "{a: 2}", {"a": [{"b": 1}, 2]}),
        ({"a": 1}, "{a: {b: 2}}", {"a": [1, {"b": 2}]}),
        ({1: "x"}, "{1: y}", {1: ["x", "y"]}),
        ({"a": 1}, "{}", {"a": 1}),
    ],
)
def test_merge_with_dict_merges_into_the_baton(
    run: Run, own: dict[Any, Any], given: str, expected: dict[Any, Any]
) -> None:
    baton = run(f"merge-with-dict: {{dict: {given}}}", own)

    assert baton is own
    assert baton == expected


@pytest.mark.parametrize("arguments", ["{}", "{inline: true}"])
def test_merge_with_dict_changes_dicts_in_the_baton_in_place(run: Run, arguments: str) -> None:
    inner = {"b": 1}

    run(f"merge-with-dict: {{dict: {{a: {{c: 2}}}}, merge_args: {arguments}}}", {"a": inner})

    assert inner == {"b": 1, "c": 2}


def test_merge_with_dict_can_leave_the_baton_as_it_is(run: Run) -> None:
    own = {"a": {"b": [1]}, "c": 2}
    text = "merge-with-dict: {dict: {a: {b: [3]}, c: 4}, merge_args: {inline: false}}"

    baton = run(text, own)

    assert baton == {"a": {"b": [1, 3]}, "c": [2, 4]}
    assert own == {"a": {"b": [1]}, "c": 2}


def test_merge_with_dict_can_replace(run: Run) -> None:
    text = """
        merge-with-dict:
          dict: {a: {b: 3}, c: [4], d: {e: 5}}
          merge_args: {replace_primitives: true}
    """

    baton = run(text, {"a": {"b": 1, "x": 2}, "c": [2], "d": 1})

    assert baton == {"a": {"b": 3, "x": 2}, "c": [4], "d": {"e": 5}}


def test_merge_with_dict_gives_each_baton_its_own_values(make: Make) -> None:
    step = make("merge-with-dict: {dict: {tags: [a], meta: {tries: []}}}").step()

    first = step({})
    first["tags"].append("b")
    first["meta"]["tries"].append(1)

    assert step({}) == {"tags": ["a"], "meta": {"tries": []}}


def test_merge_with_dict_bears_a_baton_that_contains_itself(run: Run) -> None:
    own: dict[str, Any] = {"n": 1}
    own["me"] = own

    baton = run("merge-with-dict: {dict: {me: {n: 2}}}", own)

    assert baton["n"] == [1, 2]


@pytest.mark.parametrize(("baton", "kind"), [([], "list"), ("text", "str"), (None, "NoneType")])
def test_merge_with_dict_needs_a_dict(run: Run, baton: Any, kind: str) -> None:
    with pytest.raises(BatonError) as raised:
        run("merge-with-dict: {dict: {a: 1}}", baton)

    assert str(raised.value) == f"expected a dict, got {kind}"


def test_merge_with_dict_checks_its_parameters(problems: Problems) -> None:
    assert problems("merge-with-dict: {}") == [
        "merge-with-dict needs the parameter 'dict' (add dict: mapping of names to any value)"
    ]
    assert problems("merge-with-dict: {dict: [1]}") == [
        "expected mapping of names to any value, got [1]"
    ]
    assert problems("merge-with-dict: {dict: {}, merge_args: {inlin: true}}") == [
        "merge-args has no parameter 'inlin'"
        " (did you mean 'inline'? known: inline, replace_primitives)"
    ]
