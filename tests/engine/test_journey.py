"""The number of a baton's journey."""

from __future__ import annotations

from piped.engine import journey, new_journey
from piped.engine.journey import journey_text


def test_a_journey_has_a_number_of_63_bits_that_was_never_used() -> None:
    numbers = [new_journey() for _ in range(1000)]

    assert len(set(numbers)) == 1000
    assert all(0 < number < 2**63 for number in numbers)


def test_outside_of_any_journey_the_number_is_0() -> None:
    assert journey.get() == 0


def test_a_journey_is_shown_in_base_36() -> None:
    assert [journey_text(n) for n in (0, 35, 36, 36**3 + 10)] == ["0", "z", "10", "100a"]
