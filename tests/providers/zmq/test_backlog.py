from __future__ import annotations

import pytest

from piped.errors import QueueFull
from piped.providers.zmq.backlog import Backlog


def test_messages_leave_in_the_order_in_which_they_came() -> None:
    backlog = Backlog("jobs", 10, 100, 30.0)
    backlog.append(b"one", 1.0)
    backlog.append([b"two", b"2"], 2.0)

    assert (backlog.first, backlog.since, backlog.size) == (b"one", 1.0, 7)
    assert [backlog.pop(), backlog.pop()] == [b"one", [b"two", b"2"]]
    assert (len(backlog), backlog.size) == (0, 0)


def test_bytes_are_bounded_too() -> None:
    backlog = Backlog("jobs", 10, 5, 30.0)
    backlog.append(b"1234", 1.0)

    with pytest.raises(QueueFull) as caught:
        backlog.append(b"56", 1.0)

    assert str(caught.value) == (
        "queue 'jobs' is full: 1 of 10 messages and 4 of 5 bytes wait for a peer"
    )
    assert backlog.refused == 1


def test_only_what_is_too_old_is_dropped() -> None:
    backlog = Backlog("jobs", 10, 100, 30.0)
    for second in (1.0, 2.0, 3.0):
        backlog.append(b"x", second)

    dropped = backlog.drop_stale(32.0)

    assert (len(backlog), dropped) == (1, 2)
