"""Runs under way, each with its key: who comes meanwhile waits for the outcome of the one run."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import TracebackType
from typing import Any, Final

from piped.errors import PipelineError, TooDeep

LEAD: Final = object()
"""Stands for an outcome: there is none, and who gets it does the run."""


class Failed:
    """Stands where an outcome would be; several callers raise its error."""

    __slots__ = ("_error", "_traceback")

    def __init__(self, error: Exception) -> None:
        self._error = error
        self._traceback: TracebackType | None = error.__traceback__

    def again(self) -> Exception:
        """Return the error, without the frames of those who have raised it before."""
        return self._error.with_traceback(self._traceback)


class Flight:
    """A run under way, and who waits for it, in order."""

    __slots__ = ("waiting",)

    def __init__(self) -> None:
        self.waiting: OrderedDict[asyncio.Future[Any], None] = OrderedDict()


_led: ContextVar[tuple[Flight, ...]] = ContextVar("led", default=())


class Flights:
    """At most one run for each key.

    A run that is cancelled is handed over: one of those who wait does it in its turn. Where a run
    fails, they get its error too if errors are shared; else that is handed over as well.
    """

    __slots__ = ("_shares_errors", "_under_way")

    def __init__(self, *, shares_errors: bool) -> None:
        self._shares_errors = shares_errors
        self._under_way: dict[Hashable, Flight] = {}

    def begin(self, key: Hashable) -> bool:
        """Begin a run, unless one is under way; who began it must go on with ``leading``.

        Raises:
            PipelineError: It is under way around the caller.
        """
        flight = self._under_way.get(key)
        if flight is None:
            self._under_way[key] = Flight()
            return True
        if flight in _led.get():
            raise PipelineError("the pipeline comes back with its own key, and waits for itself")
        return False

    async def outcome(self, key: Hashable) -> Any:
        """Wait for what a run gives; LEAD, if the caller must go on with ``leading`` instead."""
        flight = self._under_way[key]
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        flight.waiting[future] = None
        try:
            outcome = await future
        except asyncio.CancelledError:
            flight.waiting.pop(future, None)
            if not future.cancelled() and future.done() and future.result() is LEAD:
                self._hand_over(key)
            raise
        if isinstance(outcome, Failed):
            raise outcome.again()
        return outcome

    @contextmanager
    def leading(self, key: Hashable) -> Iterator[None]:
        """Do a run inside of this; ``land`` ends it well, any exception badly."""
        token = _led.set((*_led.get(), self._under_way[key]))
        try:
            yield
        except BaseException as error:
            is_own = isinstance(error, TooDeep)  # and says nothing about others who wait
            if self._shares_errors and isinstance(error, Exception) and not is_own:
                self.land(key, Failed(error))
            else:
                self._hand_over(key)
            raise
        finally:
            _led.reset(token)

    def land(self, key: Hashable, outcome: Any) -> None:
        """End a run: give its outcome to all who wait."""
        for future in self._under_way.pop(key).waiting:
            if not future.done():
                future.set_result(outcome)

    def _hand_over(self, key: Hashable) -> None:
        """Let the first of those who wait do the run; without any, it is forgotten."""
        waiting = self._under_way[key].waiting
        while waiting:
            future, _ = waiting.popitem(last=False)
            if not future.done():
                future.set_result(LEAD)
                return
        del self._under_way[key]
