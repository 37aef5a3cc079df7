"""Names that lead to other names."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from piped.engine.cycles import groups, is_cycle, way_back


def test_names_that_lead_to_one_another_stand_together_behind_what_they_lead_to() -> None:
    ways = {"a": ["b", "nobody"], "b": ["c"], "c": ["b", "d"], "d": ["d"], "e": []}

    found = [sorted(group) for group in groups(ways)]

    assert found == [["d"], ["b", "c"], ["a"], ["e"]]
    assert [is_cycle(group, ways) for group in found] == [True, True, False, False]


def test_the_way_back_is_the_shortest() -> None:
    ways = {"a": ["b", "c"], "b": ["c"], "c": ["a", "x"], "x": ["x"]}

    assert way_back(ways, "a") == ["a", "c", "a"]
    assert way_back(ways, "b") == ["b", "c", "a", "b"]
    assert way_back(ways, "x") == ["x", "x"]


def test_a_chain_of_many_names_needs_no_recursion() -> None:
    ways = {str(n): [str(n + 1)] for n in range(5000)}

    assert [group[0] for group in groups(ways)] == [str(n) for n in reversed(range(5000))]


NAMES = st.sampled_from("abcdef")


@given(st.dictionaries(NAMES, st.lists(NAMES)))
def test_groups_are_those_that_reach_one_another(ways: dict[str, list[str]]) -> None:
    reached = {name: {name, *known} for name, known in ways.items()}
    for _ in ways:
        for name, known in reached.items():
            reached[name] = known.union(*(reached.get(each, ()) for each in known))

    found = list(groups(ways))

    assert sorted(name for group in found for name in group) == sorted(ways)
    for number, group in enumerate(found):
        before = {name for each in found[: number + 1] for name in each}
        for name in group:
            mutual = {n for n in ways if n in reached[name] and name in reached[n]}
            assert mutual == set(group)
            assert {each for each in ways[name] if each in ways} <= before
        if is_cycle(group, ways):
            way = way_back(ways, group[0])
            assert way[0] == way[-1] == group[0]
            assert all(b in ways[a] for a, b in pairwise(way))
