"""Parts that a worker runs in its event loop, one after the other."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from time import perf_counter
from typing import Final

from piped.spec import PipelineName
from piped.workers.frames import Started, Work
from piped.workers.slate import Slate

TURN_S: Final = 0.001
"""How long parts may keep the event loop in one turn; one that takes longer has it for itself."""

AHEAD_S: Final = 0.005
"""How much work a worker that does one part after the other may have in stock."""

MAX_GROUP: Final = 64


class Held:
    """A part that this worker has."""

    __slots__ = (
        *("deadline", "is_cancelled", "is_lined", "is_running", "key", "may_run", "pipeline"),
        *("task", "work"),
    )

    def __init__(self, work: Work, pipeline: PipelineName | None, now: float) -> None:
        self.work = work
        self.key = (work.id, work.attempt)
        self.pipeline = pipeline  # None where the pool does not serve it
        self.is_lined = False  # it runs in the loop, one after the other
        self.deadline = now + work.left_s
        self.may_run = not work.must_ask
        self.is_running = False
        self.is_cancelled = False
        self.task: asyncio.Task[None] | None = None


class Line:
    """Runs parts for at most a turn of the loop at a time, and tells the front before it does.

    What is told is a group, in the order in which it runs: of those that are not answered yet, the
    first one is running. One that had to ask is in no group: it runs alone, as soon as it may.

    Where the front sees a ``slate``, what runs is written there, and nothing is told.

    Args:
        run: Runs a part, and answers it.
        send: Says something to the front.
        flush: Sends at once what was said.
    """

    def __init__(
        self,
        run: Callable[[Held], None],
        send: Callable[[Started], object],
        flush: Callable[[], object],
    ) -> None:
        self._run, self._send, self._flush = run, send, flush
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[Held] = deque()
        self._told: deque[Held] = deque()
        self._to_ask: deque[Held] = deque()
        self._asked: Held | None = None
        self._is_scheduled = False
        self._mean_s = 0.0
        self.slate: Slate | None = None

    def append(self, held: Held) -> None:
        """Run a part when those before it are done; one that has asked, in the next turn."""
        if held.work.must_ask:
            self._loop.call_soon(self._run_alone, held)
        else:
            self._waiting.append(held)
            self._schedule()

    def ask(self, held: Held) -> None:
        """Ask for a part. One is asked for at a time: none shall be blamed for another one."""
        self._to_ask.append(held)
        self._ask_next()

    def dropped(self, held: Held) -> None:
        """Be told that a part is not here any more."""
        if held is self._asked:
            self._asked = None
            self._ask_next()

    def note(self, took_s: float) -> None:
        """Note how long a part has taken."""
        self._mean_s += (took_s - self._mean_s) / 8 if self._mean_s else took_s

    def stock(self, most: int) -> int:
        """Return how many parts are as much as may be in stock, and no more than ``most``."""
        if self._mean_s * most <= AHEAD_S:
            return most
        return max(1, int(AHEAD_S / self._mean_s))

    def _ask_next(self) -> None:
        while self._asked is None and self._to_ask:
            held = self._to_ask.popleft()
            if not held.is_cancelled:
                self._asked = held
                self._send(Started((held.key,)))

    def _schedule(self) -> None:
        if not self._is_scheduled:
            self._is_scheduled = True
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        """Run what was said to run, and say what runs in the next turn."""
        self._is_scheduled = False
        group, self._told = self._told or self._tell_next(), deque()
        if not group:
            return
        self._flush()
        until = perf_counter() + TURN_S
        while group and perf_counter() < until:
            self._run_alone(group.popleft())
        self._told = group or self._tell_next()
        if self.slate is not None:
            self.slate.wipe()
        self._flush()
        if self._told or self._waiting:
            self._schedule()

    def _tell_next(self) -> deque[Held]:
        """Take as many parts as may be done in a turn, and say that they run."""
        group: deque[Held] = deque()
        most = max(1, min(int(TURN_S / self._mean_s), MAX_GROUP)) if self._mean_s else 1
        while self._waiting and len(group) < most:
            held = self._waiting.popleft()
            if not held.is_cancelled:
                group.append(held)
        if group and self.slate is None:
            self._send(Started(tuple(held.key for held in group)))
        return group

    def _run_alone(self, held: Held) -> None:
        if not held.is_cancelled:
            if self.slate is not None:
                self.slate.write(*held.key)
            self._run(held)
