from __future__ import annotations

import math

import pytest

from piped.providers.web import tallies
from piped.providers.web.tallies import BOUNDS_S, RouteTally, Times


def test_a_time_is_counted_up_to_the_next_bound_and_that_one_included() -> None:
    times = Times()

    for each in (0.0, 0.001, 0.0011, 10.0, 10.1, math.inf):
        times.add(each)

    assert times.counts == [2, 1, *[0] * (len(BOUNDS_S) - 3), 1, 2]


def test_a_time_counts_as_often_as_it_stands_for_others() -> None:
    times = Times()

    times.add(0.5, share=3)

    assert times.counts[BOUNDS_S.index(0.5)] == sum(times.counts) == 3
    assert times.spent_s == 1.5


def test_each_answer_of_a_route_is_counted_and_a_time_where_it_is_timed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tallies, "perf_counter", lambda: 7.0)
    tally = RouteTally("/orders")

    tally.answer(200, begun=6.75)
    tally.answer(200, begun=0.0)
    tally.answer(404, begun=0.0)

    assert tally.answered == {200: 2, 404: 1}
    assert (sum(tally.times.counts), tally.times.spent_s) == (1, 0.25)
