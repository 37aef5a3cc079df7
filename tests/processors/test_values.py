from __future__ import annotations

from typing import Any

import pytest

from piped.errors import BatonError
from tests.processors.conftest import Make, Problems, Run


def test_set_value_sets_and_replaces(run: Run) -> None:
    assert run("set-value: {path: a.b, value: [1]}", {}) == {"a": {"b": [1]}}
    assert run("set-value: {path: '', value: null}", {}) is None


def test_set_value_gives_each_baton_its_own_copy(make: Make) -> None:
    step = make("set-value: {path: list, value: [[1]]}").step()

    step({})["list"][0].append(2)

    assert step({}) == {"list": [[1]]}


def test_set_values_sets_several(run: Run) -> None:
    text = "set-values: {path_prefix: 'x.', mapping: {a: 1, b.c: [2]}}"

    assert run(text, {}) == {"x": {"a": 1, "b": {"c": [2]}}}


def test_set_values_gives_each_baton_its_own_copies(make: Make) -> None:
    step = make("set-values: {mapping: {a: [], b: {}}}").step()

    step({})["a"].append(2)

    assert step({}) == {"a": [], "b": {}}


def test_set_values_refuses_paths_with_empty_parts(problems: Problems) -> None:
    assert problems("set-values: {mapping: {a..b: 1}}") == [
        "expected a path into the baton, got 'a..b', which has an empty part"
    ]


def test_remap_skips_what_is_missing(run: Run) -> None:
    pending = {"id": 1}
    text = "remap: {mapping: {sum: pending_baton.sum, square: pending_baton.square}}"

    run(text, {"sum": 14, "pending_baton": pending})

    assert pending == {"id": 1, "sum": 14}


def test_remap_extends_lists(run: Run) -> None:
    text = "remap: {extend: true, mapping: [{a: all}, {b: all}, {a: null}]}"

    assert run(text, {"a": 1, "b": [2]}) == {"a": 1, "b": [2], "all": [1, [2]]}
    assert run(text, {"a": 1, "all": [0]}) == {"a": 1, "all": [0, 1]}


def test_remap_extends_nothing_but_lists(run: Run) -> None:
    with pytest.raises(BatonError) as raised:
        run("remap: {extend: true, mapping: {a: b}}", {"a": 1, "b": 2})

    assert str(raised.value) == "expected a list at 'b', got int"


@pytest.mark.parametrize(
    ("option", "same", "same_inside"),
    [("{}", True, True), ("copy: true", False, True), ("deep_copy: true", False, False)],
)
def test_remap_copies_as_deep_as_it_is_told(
    run: Run, option: str, same: bool, same_inside: bool
) -> None:
    value: list[Any] = [[]]
    option = option.strip("{}")

    baton = run(f"remap: {{mapping: {{a: b}}, {option}}}", {"a": value})

    assert baton["b"] == value
    assert (baton["b"] is value) is same
    assert (baton["b"][0] is value[0]) is same_inside


def test_clean_baton_removes_first_and_keeps_then(run: Run) -> None:
    baton = {"a": {"b": 1, "c": 2, "d": 3}, "e": 4, "f": 5}

    result = run("clean-baton: {keep: [a.b, a.c, e, g], remove: [a.c, h.i]}", baton)

    assert result is baton
    assert baton == {"a": {"b": 1}, "e": 4}


def test_clean_baton_only_removes(run: Run) -> None:
    assert run("clean-baton: {remove: [a]}", {"a": 1, "b": 2}) == {"b": 2}


def test_clean_baton_keeps_values_of_dicts_only(run: Run) -> None:
    with pytest.raises(BatonError) as raised:
        run("clean-baton: {keep: [a]}", [])

    assert str(raised.value) == "expected a dict, got list"


@pytest.mark.parametrize("options", ["", "keep: []", "keep: null, remove: []"])
def test_clean_baton_needs_something_to_do(problems: Problems, options: str) -> None:
    assert problems(f"clean-baton: {{{options}}}") == [
        "clean-baton needs 'keep' or 'remove', got neither"
    ]


def test_clean_baton_does_not_take_the_whole_baton(problems: Problems) -> None:
    assert problems("clean-baton: {remove: ['']}") == [
        "expected paths into the baton, got '', which is the whole baton"
    ]


def test_increment_counter_begins_at_zero(run: Run) -> None:
    assert run("increment-counter: {counter_path: a.n}", {}) == {"a": {"n": 1}}
    assert run("increment-counter: {counter_path: n, increment: -0.5}", {"n": 2}) == {"n": 1.5}


def test_increment_counter_adds_to_numbers_only(run: Run) -> None:
    with pytest.raises(BatonError) as raised:
        run("increment-counter: {counter_path: n}", {"n": "1"})

    assert str(raised.value) == "expected a number at 'n', got str"
