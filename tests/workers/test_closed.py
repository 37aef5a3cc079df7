"""What is remembered of parts that nobody waits for any more."""

from __future__ import annotations

from typing import Any

import pytest

from piped.workers.closed import Closed
from piped.workers.parts import Part


def part(number: int, *holders: bytes) -> Part:
    """Return a part that these have had, one after the other."""
    caller: Any = None
    made = Part(number.to_bytes(16, "big"), "sum", b"1", 2.0, caller, 0.0)
    made.holders.update(enumerate(holders, 1))
    return made


@pytest.mark.parametrize(
    ("holders", "is_answered", "attempt", "address", "kind"),
    [
        ([b"a"], True, 1, b"a", "double"),
        ([b"a"], False, 1, b"a", "late"),
        ([b"a", b"b"], True, 1, b"a", "double"),
        ([b"a", b"b"], False, 2, b"b", "late"),
        ([b"a"], True, 1, b"b", "forged"),
        ([b"a"], True, 2, b"a", "forged"),
        ([b"a", b"b"], True, 1, b"b", "forged"),
        ([], False, 1, b"a", "forged"),
    ],
)
def test_an_answer_for_a_closed_part_is_told_by_who_had_it(
    holders: list[bytes], is_answered: bool, attempt: int, address: bytes, kind: str
) -> None:
    closed, one = Closed(), part(1, *holders)

    closed.add(one, is_answered=is_answered)

    assert closed.kind_of(one.id, attempt, address) == kind


def test_an_answer_for_a_part_that_nobody_knows_is_forged() -> None:
    assert Closed().kind_of(b"unknown", 1, b"a") == "forged"


def test_a_closed_part_is_remembered_for_a_minute_at_least_and_two_at_most() -> None:
    closed, early, late = Closed(), part(1, b"a"), part(2, b"a")
    closed.forget(1000.0)
    closed.add(early, is_answered=True)
    closed.forget(1059.9)
    closed.add(late, is_answered=True)

    closed.forget(1060.0)
    closed.forget(1119.9)
    assert closed.kind_of(early.id, 1, b"a") == closed.kind_of(late.id, 1, b"a") == "double"

    closed.forget(1120.0)
    assert closed.kind_of(early.id, 1, b"a") == closed.kind_of(late.id, 1, b"a") == "forged"
    assert len(closed) == 0


def test_of_too_many_closed_parts_the_latest_are_remembered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Closed, "KEPT", 10)
    closed, parts = Closed(), [part(number, b"a") for number in range(100)]
    sizes = []

    for each in parts:
        closed.add(each, is_answered=True)
        sizes.append(len(closed))

    assert max(sizes) == 10
    assert {closed.kind_of(each.id, 1, b"a") for each in parts[-5:]} == {"double"}
    assert closed.kind_of(parts[0].id, 1, b"a") == "forged"
