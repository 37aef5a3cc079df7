"""Parts that run in the loop, one after the other: what is said of them, and when."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator

import pytest

from piped.workers.frames import Started, Work
from piped.workers.line import MAX_GROUP, TURN_S, Held, Line
from piped.workers.slate import NOTHING, Slate, SlateReader
from tests.conftest import turn

pytestmark = pytest.mark.anyio

_numbers = itertools.count()


def held(*, must_ask: bool = False) -> Held:
    id_ = next(_numbers).to_bytes(16, "big")
    return Held(Work(id_, 1, "sum", b"1", 5.0, must_ask), None, now=0.0)


@pytest.fixture
def slate() -> Iterator[Slate]:
    made = Slate(b"one")
    yield made
    made.close()


class Log:
    """Keeps what a line says and runs, in its order."""

    def __init__(self, during: Callable[[Held], None] = lambda _held: None) -> None:
        self.told: list[list[Held]] = []
        self.ran: list[Held] = []
        self.flushed = 0
        self._known: dict[tuple[bytes, int], Held] = {}
        self._during = during
        self.line = Line(self._run, self._hear, self._flush)

    def add(self, count: int) -> list[Held]:
        parts = [held() for _ in range(count)]
        for each in parts:
            self._known[each.key] = each
            self.line.append(each)
        return parts

    def ask(self) -> Held:
        part = held(must_ask=True)
        self._known[part.key] = part
        self.line.ask(part)
        return part

    def _run(self, part: Held) -> None:
        self.ran.append(part)
        self._during(part)
        self.line.dropped(part)

    def _hear(self, frame: Started) -> None:
        self.told.append([self._known[key] for key in frame.parts])

    def _flush(self) -> None:
        self.flushed += 1


async def test_parts_run_in_the_order_in_which_they_came() -> None:
    log = Log()

    parts = log.add(5)
    await turn()

    assert log.ran == parts
    assert [part for group in log.told for part in group] == parts


async def test_parts_that_are_quick_are_told_in_groups() -> None:
    log = Log()
    log.line.note(TURN_S / 10)

    log.add(25)
    await turn()

    assert [len(group) for group in log.told] == [10, 10, 5]


async def test_no_group_is_without_bound() -> None:
    log = Log()
    log.line.note(1e-9)

    log.add(MAX_GROUP + 1)
    await turn()

    assert [len(group) for group in log.told] == [MAX_GROUP, 1]


async def test_what_runs_is_sent_before_it_runs() -> None:
    seen: list[int] = []
    log = Log(lambda _part: seen.append(log.flushed))

    log.add(1)
    await turn()

    assert seen == [1]


async def test_where_the_front_sees_a_slate_nothing_is_told(slate: Slate) -> None:
    seen: list[tuple[bytes, int]] = []
    reader = SlateReader(os.getpid(), slate.fd, b"one")
    log = Log(lambda _part: seen.append(reader.running()))
    log.line.slate = slate

    parts = log.add(3)
    await turn()
    after = reader.running()
    reader.close()

    assert log.told == []
    assert log.ran == parts
    assert seen == [part.key for part in parts]
    assert after == NOTHING


async def test_one_that_was_cancelled_is_not_run() -> None:
    log = Log()

    first, second = log.add(2)
    first.is_cancelled = True
    await turn()

    assert log.ran == [second]
    assert log.told == [[second]]


async def test_one_is_asked_for_at_a_time_and_runs_alone() -> None:
    log = Log()
    first, second = log.ask(), log.ask()
    before = list(log.told)

    log.line.append(first)
    await turn()

    assert before == [[first]]
    assert log.told == [[first], [second]]
    assert log.ran == [first]


async def test_one_that_is_not_here_any_more_is_not_asked_for() -> None:
    log = Log()
    first, second, third = log.ask(), log.ask(), log.ask()

    second.is_cancelled = True
    log.line.dropped(first)

    assert log.told == [[first], [third]]


@pytest.mark.parametrize(("took_s", "stock"), [(0.0, 8), (1e-5, 8), (0.002, 2), (0.1, 1)])
async def test_the_longer_parts_take_the_fewer_are_in_stock(took_s: float, stock: int) -> None:
    log = Log()

    log.line.note(took_s)

    assert log.line.stock(8) == stock
