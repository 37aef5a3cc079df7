"""Dotted paths into batons."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from piped import batons
from piped.batons import MISSING, BatonPath, getter, setter
from piped.errors import BatonError


class Sealed:
    """An object whose attributes are what they are."""

    __slots__ = ("inner",)

    def __init__(self, inner: Any = None) -> None:
        self.inner = inner

    @property
    def fixed(self) -> int:
        return 1


@pytest.mark.parametrize(
    ("baton", "path", "expected"),
    [
        ({"a": 1}, "a", 1),
        ({"a": {"b": {"c": 1}}}, "a.b.c", 1),
        ({"a": 1}, "", {"a": 1}),
        ({"a": None}, "a", None),
        ({}, "a", MISSING),
        ({"a": {}}, "a.b.c", MISSING),
        ({"a": None}, "a.b", MISSING),
        ({"a": [1, 2]}, "a.0", MISSING),
        (SimpleNamespace(args={"n": 1}), "args.n", 1),
        ({"request": SimpleNamespace(path="/")}, "request.path", "/"),
        ("text", "a", MISSING),
        (5, "real", 5),
        (None, "a.b", MISSING),
    ],
)
def test_a_path_is_looked_up_as_item_first_and_then_as_attribute(
    baton: Any, path: str, expected: Any
) -> None:
    assert batons.get(baton, path) == expected


def test_an_item_hides_an_attribute_of_the_same_name() -> None:
    assert batons.get({"keys": 1}, "keys") == 1


def test_what_is_missing_is_the_default() -> None:
    assert [batons.get({}, path, 7) for path in ("a", "a.b", "a.b.c")] == [7, 7, 7]


def test_missing_is_false_and_shows_its_name() -> None:
    assert (bool(MISSING), repr(MISSING)) == (False, "MISSING")


def test_a_path_is_text() -> None:
    assert BatonPath("a.b") == "a.b"


@pytest.mark.parametrize(
    ("baton", "path", "expected"),
    [
        ({}, "a", {"a": 5}),
        ({}, "a.b.c", {"a": {"b": {"c": 5}}}),
        ({"a": {"x": 1}}, "a.b", {"a": {"x": 1, "b": 5}}),
        ({"a": 1}, "", 5),
        ({"a": {"b": 1}}, "a.b", {"a": {"b": 5}}),
    ],
)
def test_setting_makes_the_dicts_on_the_way(baton: Any, path: str, expected: Any) -> None:
    assert batons.set(baton, path, 5) == expected


def test_setting_returns_the_very_baton() -> None:
    baton: dict[str, Any] = {}

    assert batons.set(baton, "a.b", 5) is baton
    assert batons.set(baton, "a", 5) is baton


def test_attributes_that_exist_are_set() -> None:
    sealed = Sealed(SimpleNamespace(x=1))

    batons.set(sealed, "inner.x", 5)
    assert sealed.inner.x == 5

    batons.set(sealed, "inner", 6)
    assert sealed.inner == 6


@pytest.mark.parametrize(
    ("baton", "path", "text"),
    [
        (5, "a", "cannot set 'a': int has no place for 'a'"),
        ({"a": None}, "a.b", "cannot set 'a.b': NoneType has no place for 'b'"),
        ({"a": "text"}, "a.b.c", "cannot set 'a.b.c': str has no place for 'b'"),
        (Sealed(), "other", "cannot set 'other': Sealed has no place for 'other'"),
        (Sealed(), "fixed", "cannot set 'fixed': Sealed has no place for 'fixed'"),
        ({"a": [1]}, "a.x", "cannot set 'a.x': list has no place for 'x'"),
    ],
)
def test_what_cannot_be_set_is_told(baton: Any, path: str, text: str) -> None:
    with pytest.raises(BatonError) as caught:
        batons.set(baton, path, 5)

    assert str(caught.value) == text


def test_removing_takes_the_value_out() -> None:
    baton = {"a": {"b": 1, "c": 2}, "d": SimpleNamespace(e=3)}

    assert [batons.remove(baton, path) for path in ("a.b", "d.e", "d")] == [
        1,
        3,
        SimpleNamespace(),
    ]
    assert baton == {"a": {"c": 2}}


@pytest.mark.parametrize("path", ["a", "a.b", "a.b.c", "x.y"])
def test_removing_what_is_not_there_changes_nothing(path: str) -> None:
    baton = {"x": 1}

    assert batons.remove(baton, path) is MISSING
    assert baton == {"x": 1}


@pytest.mark.parametrize(
    ("baton", "path", "text"),
    [
        ({"a": 1}, "", "cannot remove the whole baton"),
        ({"a": Sealed()}, "a.fixed", "cannot remove 'a.fixed' from Sealed"),
        ({"a": "text"}, "a.upper", "cannot remove 'a.upper' from str"),
    ],
)
def test_what_cannot_be_removed_is_told(baton: Any, path: str, text: str) -> None:
    with pytest.raises(BatonError) as caught:
        batons.remove(baton, path)

    assert str(caught.value) == text


names = st.sampled_from(["a", "b", "c", "d"])
paths = st.lists(names, min_size=1, max_size=4).map(".".join)
leaves = st.one_of(st.none(), st.integers(), st.text(max_size=2), st.lists(st.integers()))
values = st.recursive(
    leaves,
    lambda inside: st.one_of(
        st.dictionaries(names, inside, max_size=3),
        st.dictionaries(names, inside, max_size=3).map(lambda each: SimpleNamespace(**each)),
    ),
)
trees = st.dictionaries(names, values, max_size=4)


def walk(baton: Any, path: str) -> Any:
    """Return what is at a path, by the words of the rule."""
    for part in path.split("."):
        if isinstance(baton, dict) and part in baton:
            baton = baton[part]
        elif hasattr(baton, part):
            baton = getattr(baton, part)
        else:
            return MISSING
    return baton


@given(trees, paths)
def test_a_getter_finds_what_a_naive_walk_finds(baton: Any, path: str) -> None:
    assert getter(path)(baton) is walk(baton, path)
    assert getter(path, 7)(baton) == (7 if walk(baton, path) is MISSING else walk(baton, path))


@given(trees, paths, leaves)
def test_what_was_set_is_there_until_it_is_removed(baton: Any, path: str, value: Any) -> None:
    try:
        result = setter(path)(baton, value)
    except BatonError:
        assume(False)

    assert result is baton
    assert batons.get(baton, path) is value
    assert batons.remove(baton, path) is value
    assert batons.get(baton, path) is MISSING


@given(trees, paths)
def test_removing_finds_what_getting_finds(baton: Any, path: str) -> None:
    before = batons.get(baton, path)

    assert batons.remove(baton, path) is before
    assert batons.get(baton, path) is MISSING


@pytest.mark.parametrize("value", [[1, [2]], {"a": {"b": 1}}])
def test_a_value_that_could_be_changed_is_fresh_each_time(value: Any) -> None:
    make = batons.fresh(value)
    first, second = make(), make()

    assert first == second == value
    assert first is not second


def test_a_fresh_value_is_new_to_its_depths() -> None:
    make = batons.fresh({"a": []})

    make()["a"].append(1)

    assert make() == {"a": []}


def test_a_value_that_cannot_be_changed_is_given_as_it_is() -> None:
    value = BatonPath("a.b")

    assert batons.fresh(value)() is value
