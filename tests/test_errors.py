"""Hints for unknown names, and errors in groups."""

from __future__ import annotations

import difflib

from hypothesis import given
from hypothesis import strategies as st

from piped.errors import LONGEST, SHOWN, Place, Problem, suggest, unwrapped


def test_the_nearest_name_and_all_are_told() -> None:
    assert suggest("wiat", ["wait", "stop"]) == "did you mean 'wait'? known: stop, wait"
    assert suggest("wiat", ["wait"]) == "did you mean 'wait'?"
    assert suggest("x", ["wait", "stop", "wait"]) == "known: stop, wait"
    assert suggest("x", []) == "known: none"


def test_what_all_names_begin_with_is_shown_and_not_compared() -> None:
    assert suggest("q", ["p"], "pipeline.") == "known: pipeline.p"
    assert suggest("pq", ["ppq", "x"], "pipeline.") == (
        "did you mean 'pipeline.ppq'? known: pipeline.ppq, pipeline.x"
    )


def test_a_name_that_is_very_long_is_not_compared() -> None:
    names = [f"n{n:02}" for n in range(20)]

    assert suggest("n" * 501, names) == f"known: {', '.join(names[:SHOWN])}, ..."


WORDS = st.text("abcde", max_size=6)


@given(WORDS, st.sets(WORDS, min_size=1, max_size=40))
def test_the_names_that_are_shown_are_those_most_like_it(name: str, known: set[str]) -> None:
    near = difflib.get_close_matches(name, sorted(known), n=1)
    shown = sorted(difflib.get_close_matches(name, sorted(known), n=SHOWN, cutoff=0))

    hint = suggest(name, known)

    assert hint.startswith(f"did you mean '{near[0]}'?" if near else "known: ")
    assert ("known: " in hint) is (not near or 1 < len(known) <= SHOWN)
    if "known: " in hint:
        assert hint.partition("known: ")[2].removesuffix(", ...") == ", ".join(shown)


def test_a_group_of_one_is_its_error_with_the_notes_of_both() -> None:
    error = ValueError("a")
    error.add_note("inside")
    group = ExceptionGroup("outer", [ExceptionGroup("inner", [error])])
    group.add_note("inside")
    group.add_note("outside")

    assert unwrapped(unwrapped(group)) is error
    assert error.__notes__ == ["inside", "outside"]


def test_a_group_of_several_stays_one() -> None:
    group = ExceptionGroup("several", [ValueError("a"), KeyError("b")])

    assert unwrapped(group) is group


def test_a_problem_takes_one_line_for_each_thing_it_says() -> None:
    problem = Problem(
        "wrong", "no 'a\nb\x1b[31m'", Place("a\udcff.yaml", 1, 2), at="a\tb", hint="é"
    )

    assert str(problem) == (
        "a\\udcff.yaml:1:2: error[wrong]: no 'a\\nb\\x1b[31m'\n    at: a\\tb\n    hint: é"
    )


def test_a_line_of_a_problem_is_cut_where_nobody_would_read_on() -> None:
    first, hint = str(Problem("wrong", "x" * LONGEST, hint="y")).splitlines()

    assert (len(first), first[-4:], hint) == (LONGEST, "x...", "    hint: y")
