from __future__ import annotations

import pytest

from piped import sampling
from piped.sampling import Samples


class Clock:
    """Tells the time that it was told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(sampling, "perf_counter", made)
    return made


def count(samples: Samples, clock: Clock, number: int, every_s: float) -> list[int]:
    """Count so many things, one in each time; return the shares of those that were timed."""
    shares = []
    for _ in range(number):
        clock.now += every_s
        if samples.ahead > 0:
            samples.ahead -= 1
        else:
            assert samples.begin() == clock.now
            shares.append(samples.share)
    return shares


def test_all_of_what_is_rare_are_timed(clock: Clock) -> None:
    samples = Samples(most=64, often_s=0.1)

    shares = count(samples, clock, 100, every_s=0.06)

    assert shares == [1] * 100
    assert samples.count == 100


def test_few_of_what_is_frequent_are_timed_and_stand_for_all(clock: Clock) -> None:
    samples = Samples(most=64, often_s=0.1)

    shares = count(samples, clock, 20_000, every_s=0.0001)

    assert samples.count == 20_000
    assert 20_000 - 128 <= sum(shares) <= 20_000
    assert 64 / 2 < sum(shares) / len(shares) < 64 * 2
    assert max(shares) < 128


def test_what_has_become_rare_is_soon_timed_again(clock: Clock) -> None:
    samples = Samples(most=64, often_s=0.1)
    count(samples, clock, 1000, every_s=0.0001)

    shares = count(samples, clock, 300, every_s=1.0)

    assert shares[-100:] == [1] * 100
    assert samples.count == 1300


def test_who_may_let_none_by_times_all_from_then_on(clock: Clock) -> None:
    samples = Samples(most=64, often_s=0.1)
    count(samples, clock, 1000, every_s=0.0001)

    samples.bound(1)
    shares = count(samples, clock, 10, every_s=0.0001)

    assert shares[1:] == [1] * 9
    assert samples.count == 1010
