from __future__ import annotations

from typing import Any

import pytest

from piped.errors import BatonError
from tests.processors.conftest import Problems, Run


def test_flatten_nested_lists_flattens_lists_only(run: Run) -> None:
    text = "flatten-nested-lists: {path_prefix: 'x.', paths: [a, b, missing]}"

    baton = run(text, {"x": {"a": [[[1], 2], (3, 4)], "b": "text"}})

    assert baton == {"x": {"a": [1, 2, (3, 4)], "b": "text"}}


def test_flatten_nested_lists_goes_as_deep_as_it_must(run: Run) -> None:
    nested: list[Any] = [1]
    for _ in range(10_000):
        nested = [nested]

    assert run("flatten-nested-lists: {paths: ['']}", nested) == [1]


def test_flatten_nested_lists_finds_a_list_in_itself(run: Run) -> None:
    endless: list[Any] = [1]
    endless.append([endless])

    with pytest.raises(BatonError) as raised:
        run("flatten-nested-lists: {paths: [a]}", {"a": endless})

    assert str(raised.value) == "cannot flatten a list that contains itself"


def test_flatten_nested_lists_refuses_paths_with_empty_parts(problems: Problems) -> None:
    assert problems("flatten-nested-lists: {path_prefix: 'x.', paths: ['']}") == [
        "expected a path into the baton, got 'x.', which has an empty part"
    ]


def test_group_by_value_groups_in_place(run: Run) -> None:
    items = [{"k": 1}, {"k": 2}, {}, {"k": 1, "n": 3}]

    baton = run("group-by-value: {key_path: k, fallback: none}", items)

    assert baton == {1: [{"k": 1}, {"k": 1, "n": 3}], 2: [{"k": 2}], "none": [{}]}


def test_group_by_value_takes_methods_of_the_items_for_no_values(run: Run) -> None:
    text = "group-by-value: {key_path: %s, fallback: none}"

    assert run(text % "index", ["a", [], {}]) == {"none": ["a", [], {}]}
    assert run(text % "k.index", [{"k": "a"}]) == {"none": [{"k": "a"}]}


def test_group_by_value_groups_texts_by_themselves(run: Run) -> None:
    assert run("group-by-value: {key_path: ''}", ["a", "b", "a"]) == {"a": ["a", "a"], "b": ["b"]}


def test_group_by_value_of_nothing_is_empty(run: Run) -> None:
    assert run("group-by-value: {key_path: k, input_path: a}", {}) == {"a": {}}


def test_group_by_value_groups_nothing_but_lists(run: Run) -> None:
    with pytest.raises(BatonError) as raised:
        run("group-by-value: {key_path: k}", {})

    assert str(raised.value) == "expected a list, got dict"


def test_group_by_value_needs_values_that_can_be_names(run: Run) -> None:
    with pytest.raises(BatonError) as raised:
        run("group-by-value: {key_path: k}", [{"k": []}])

    assert str(raised.value) == "cannot group by 'k': got list"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("", [1, 1, 2, 3]),
        ("uniquify: true", [1, 2, 3]),
        ("sort: false", [3, 1, 2, 1]),
        ("sort: false, uniquify: true", [3, 1, 2]),
    ],
)
def test_flatten_list_of_dictionaries_sorts_and_uniquifies(
    run: Run, options: str, expected: list[int]
) -> None:
    items = [{"a": {"n": n}} for n in (3, 0, 1, None, 2, 1)]

    baton = run(
        f"flatten-list-of-dictionaries: {{key_path: a.n, {options}}}",
        [*items, {}, {"a": 1}, 5],
    )

    assert baton == expected


def test_flatten_list_of_dictionaries_takes_methods_of_the_items_for_no_values(run: Run) -> None:
    text = "flatten-list-of-dictionaries: {key_path: index}"

    assert run(text, ["text", [], {"index": 1}]) == [1]


def test_flatten_list_of_dictionaries_keeps_its_input(run: Run) -> None:
    text = "flatten-list-of-dictionaries: {key_path: n, input_path: a, output_path: b}"

    assert run(text, {"a": ()}) == {"a": (), "b": []}
    assert run(text, {}) == {}


def test_flatten_list_of_dictionaries_flattens_nothing_but_lists(run: Run) -> None:
    with pytest.raises(BatonError) as raised:
        run("flatten-list-of-dictionaries: {key_path: n}", {"n": 1})

    assert str(raised.value) == "expected a list, got dict"


@pytest.mark.parametrize(
    ("options", "act"),
    [
        ("", "sort"),
        ("uniquify: true, sort: false", "uniquify"),
        ("uniquify: true", "sort or uniquify"),
    ],
)
def test_flatten_list_of_dictionaries_tells_what_has_no_order(
    run: Run, options: str, act: str
) -> None:
    with pytest.raises(BatonError) as raised:
        run(f"flatten-list-of-dictionaries: {{key_path: n, {options}}}", [{"n": [1]}, {"n": "a"}])

    assert str(raised.value) == f"cannot {act} the values at 'n': got list, str"
