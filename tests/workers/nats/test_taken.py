"""Which parts a worker leaves to others."""

from __future__ import annotations

from piped.workers.nats.taken import REMEMBERED, Former


def test_a_part_that_is_new_is_taken_whichever_attempt_it_is() -> None:
    former = Former()

    assert not former.leaves(b"a", 1)
    assert not former.leaves(b"b", 3)


def test_a_part_that_comes_back_is_left_twice_and_then_taken() -> None:
    former = Former()
    former.leaves(b"a", 1)

    left = [former.leaves(b"a", attempt) for attempt in range(2, 8)]

    assert left == [True, True, False, True, True, False]


def test_a_first_attempt_is_never_left() -> None:
    former = Former()

    left = [former.leaves(b"a", 1) for _ in range(4)]

    assert left == [False] * 4


def test_no_more_than_some_parts_are_remembered() -> None:
    former = Former()
    for number in range(REMEMBERED + 1):
        former.leaves(b"%d" % number, 1)

    assert not former.leaves(b"0", 2)
    assert former.leaves(b"%d" % REMEMBERED, 2)
