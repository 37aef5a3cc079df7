"""The guard of the event loop: it notices what keeps the loop from turning, and says which step.

A thread asks the loop, a few times a second, to turn. Where the loop does not in time, the thread
looks at what the loop's thread is doing: the innermost runner among its frames knows the block and
the step. Batons pay nothing for it.
"""

from __future__ import annotations

import asyncio
import math
import selectors
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import FrameType
from typing import Final, Self, TypeAlias

import structlog

from piped.engine.blocks import Block
from piped.engine.counting import clocked
from piped.engine.nodes import GraphNode
from piped.engine.runners import run

LIMIT_S: Final = 0.25

STUCK_S: Final = 10.0
"""After how many seconds a hold is told though it has not ended."""

EVERY_S: Final = 10.0
"""How often, at most, holds at the same place are told."""

BUSY: Final = 0.02
"""From which share of a processor on the process is worth a closer look."""

MAX_PLACES: Final = 256
MAX_FRAMES: Final = 12
FEW: Final = 3  # frames, where those of all threads are told

OnHeld: TypeAlias = Callable[[str, float], object]

log = structlog.get_logger("piped.loop")


@dataclass(frozen=True, slots=True)
class Sighting:
    """What a thread was doing: the step, if it was one, and the stack, the innermost line last."""

    node: GraphNode | None
    stack: list[str]
    is_at_rest: bool = False  # it runs nothing: it waits, or there is no processor for it

    def __str__(self) -> str:
        return str(self.node) if self.node else "".join(self.stack[-1:])


@dataclass(slots=True)
class Ask:
    """One request to the loop that it turn, and what was seen while it did not."""

    since: float
    is_answered: bool = False
    is_kept: bool = False  # whether not even other threads could run
    is_told: bool = False
    seen: Sighting | None = None


@dataclass(slots=True, eq=False)
class Watch:
    """Watches the event loop of the thread that makes it; ``look`` is called in another one.

    ``on_held`` gets, in the loop, the place and the seconds of each hold, once it is over. The
    seconds count from the request to turn: a hold may have begun a little earlier.
    """

    limit_s: float = LIMIT_S
    on_held: OnHeld | None = None
    clock: Callable[[], float] = time.monotonic
    used: Callable[[], float] = time.process_time  # by the process, in seconds of a processor
    _loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop, init=False)
    _thread: int = field(default_factory=threading.get_ident, init=False)
    _ask: Ask = field(default_factory=lambda: Ask(-math.inf, is_answered=True), init=False)
    _looked: float = field(default=0.0, init=False)
    _due: float = field(default=0.0, init=False)
    _used: float = field(default=0.0, init=False)
    _told: dict[str, tuple[float, int]] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self._looked = self._due = self.clock()
        self._used = self.used()

    @property
    def is_held(self) -> bool:
        """Whether the loop has not turned for longer than the limit, and still does not."""
        return self._ask.seen is not None and not self._ask.is_answered

    def look(self) -> float:
        """Look at the loop once, and return in how many seconds to look again.

        Raises:
            RuntimeError: The loop is closed.
        """
        now, used = self.clock(), self.used()
        late_s, used_s, since_s = now - self._due, used - self._used, now - self._looked
        # This thread is late where the whole process stood still, which is nobody's doing, or
        # where some C code did not let go of the interpreter: then a processor was at work.
        is_still = late_s > self.limit_s / 4 and used_s < late_s / 2
        is_kept = late_s > self.limit_s and not is_still
        before = ask = self._ask
        if ask.is_answered:
            ask = self._ask = Ask(now - late_s if is_kept else now)
        elif is_still:
            ask.since += late_s
        ask.is_kept |= is_kept
        self._look_at_hold(ask, now)
        if ask is not before:
            self._loop.call_soon_threadsafe(self._turned, ask)
        pause_s = self.limit_s / 4 if used_s > BUSY * since_s else self.limit_s
        self._looked, self._due, self._used = now, now + pause_s, used
        return pause_s

    def _look_at_hold(self, ask: Ask, now: float) -> None:
        held_s = now - ask.since
        if held_s < self.limit_s:
            return
        is_stuck = held_s >= STUCK_S and not ask.is_told
        if ask.seen is None or is_stuck:
            seen = look_at(self._thread, ask.is_kept)
            if seen.is_at_rest:
                ask.since = now  # the loop would turn if the machine let it
                return
            ask.seen = seen
        if is_stuck and ask.seen is not None:
            ask.is_told = True
            log.error("the event loop does not turn", **_facts(ask.seen, held_s))

    def _turned(self, ask: Ask) -> None:
        """Tell, in the loop, of what has held it."""
        ask.is_answered = True
        if ask.seen is None:
            return
        now = self.clock()
        held_s, place = now - ask.since, str(ask.seen)
        untold = self._untold(place, now)
        if untold is not None:
            who = "a step" if ask.seen.node else "something"
            what = "the interpreter" if ask.is_kept else "the event loop"
            more = {"untold": untold} if untold else {}
            log.warning(f"{who} held {what}", **_facts(ask.seen, held_s), **more)
        if self.on_held is not None:
            self.on_held(place, held_s)

    def _untold(self, place: str, now: float) -> int | None:
        """Return how many holds at a place nobody was told of; None while it is too early."""
        last, untold = self._told.get(place, (-math.inf, 0))
        if now < last + EVERY_S:
            self._told[place] = (last, untold + 1)
            return None
        if len(self._told) >= MAX_PLACES:
            self._told.clear()
        self._told[place] = (now, 0)
        return untold


class LoopGuard:
    """Warns of steps that hold the running event loop for longer than a limit: ``async with`` it.

    Holds of twice the limit never escape it, nor do those of half as much more in a process that
    is at work; shorter ones may. A sleeping process wakes once in a limit for it.

    Args:
        limit_s: How long a step may hold the loop.
        on_held: What is called in the loop, after each hold, with the place and the seconds.
    """

    def __init__(self, limit_s: float = LIMIT_S, on_held: OnHeld | None = None) -> None:
        self._limit_s, self._on_held = limit_s, on_held
        self._watch: Watch | None = None
        self._thread: threading.Thread | None = None
        self._ended = threading.Event()

    async def __aenter__(self) -> Self:
        self.start()
        return self

    async def __aexit__(self, *_error: object) -> None:
        self.stop()

    @property
    def is_held(self) -> bool:
        """Whether the loop has not turned for longer than the limit, and still does not."""
        return self._watch is not None and self._watch.is_held

    def start(self) -> None:
        """Begin to guard the loop that runs in this thread."""
        self._watch = Watch(self._limit_s, self._on_held)
        self._ended.clear()
        self._thread = threading.Thread(
            target=self._go_on, args=(self._watch,), name="loop-guard", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Guard it no more."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join(timeout=1.0)  # it may hang in a log that nobody reads
            self._thread = None

    def _go_on(self, watch: Watch) -> None:
        pause_s = 0.0
        while not self._ended.wait(pause_s):
            try:
                pause_s = watch.look()
            except RuntimeError:  # the loop is closed
                return


def look_at(thread: int, is_kept: bool = False) -> Sighting:
    """Return what a thread is doing.

    Args:
        thread: Its identity, as ``threading.get_ident`` tells it.
        is_kept: It may have been another one that kept all from running. Where this one is in no
            step, another one's step is told, or else the innermost lines of each.
    """
    frames = sys._current_frames()  # there is no public way to see other threads
    found = _sighting(frames.pop(thread, None))
    if found.node or not is_kept:
        return found
    frames.pop(threading.get_ident(), None)
    all_found = [found, *map(_sighting, frames.values())]
    steps = [each for each in all_found if each.node]
    return steps[0] if steps else Sighting(None, [s for e in all_found for s in e.stack[-FEW:]])


def _sighting(frame: FrameType | None) -> Sighting:
    node, stack = None, list[str]()
    is_at_rest = frame is not None and _rests(frame)
    while frame is not None:
        code = frame.f_code
        block = frame.f_locals.get("block") if code.co_filename == _RUNNERS else None
        if isinstance(block, Block) and block.nodes:
            node = block.node_of(frame.f_locals.get("step"))
            break
        if len(stack) < MAX_FRAMES and code.co_filename != _CLOCK:
            stack.append(f"{code.co_filename}:{frame.f_lineno} in {code.co_name}")
        frame = frame.f_back
    return Sighting(node, stack[::-1], is_at_rest)


def _rests(frame: FrameType) -> bool:
    """Tell whether a loop itself waits there: uvloop's has no frames of its own."""
    code, caller = frame.f_code, frame.f_back
    by = "" if caller is None else caller.f_code.co_name
    return code is _RUN or (code.co_filename == selectors.__file__ and by == "_run_once")


def _facts(seen: Sighting, held_s: float) -> dict[str, object]:
    step = {"step": seen.node.at, "place": str(seen.node.place)} if seen.node else {}
    return {**step, "held_s": round(held_s, 3), "stack": "\n".join(seen.stack)}


_RUN: Final = asyncio.Runner.run.__code__
_RUNNERS: Final = run.__code__.co_filename
_CLOCK: Final = clocked.__code__.co_filename  # it stands around the steps of some runs
