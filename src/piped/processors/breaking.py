"""Circuits: what fails too often is left alone for a while."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, Literal

import structlog

from piped.batons import Baton
from piped.errors import CircuitOpen, TooDeep
from piped.processors import _running
from piped.processors._clock import now
from piped.spec import Duration, ErrorTypes, InputOutputProcessor, Meta, PipelineName, processor

PROBING_S: Final = 1.0
"""When to come again while a probe is under way, whose end nobody knows."""

log = structlog.get_logger("piped.circuit")


@dataclass(slots=True, eq=False)
class _Circuit:
    """Closed: all pass. Open: nobody does. Half-open: one at a time does, as a probe.

    ``changes`` counts the changes of state: what began before the last one says nothing any more.
    """

    name: str
    failures: int
    within_s: float
    open_for_s: float
    state: Literal["closed", "open", "half-open"] = "closed"
    changes: int = 0
    is_probed: bool = False
    reopens_s: float = 0.0
    failed_s: deque[float] = field(default_factory=deque)

    def refusal(self) -> CircuitOpen | None:
        """Return why a baton may not pass; None if it may, which it must do at once."""
        if self.state == "open":
            left = self.reopens_s - now()
            if left > 0:
                return CircuitOpen(f"the circuit to '{self.name}' is open", left)
            self._change("half-open")
        if self.is_probed:
            text = f"the circuit to '{self.name}' is open, and a probe is under way"
            return CircuitOpen(text, min(PROBING_S, self.open_for_s))
        return None

    @contextmanager
    def watched(self, errors: ErrorTypes) -> Iterator[None]:
        """Let a baton pass and learn from how that ends."""
        began = self.changes
        self.is_probed = self.state == "half-open"
        try:
            yield
        except BaseException as error:
            says_nothing = isinstance(error, TooDeep) or not isinstance(error, Exception)
            self._learn(began, None if says_nothing else not isinstance(error, errors))
            raise
        self._learn(began, True)

    def _learn(self, began: int, succeeded: bool | None) -> None:
        """Take in how a passage ended; None, if that says nothing."""
        if began != self.changes:
            return
        self.is_probed = False
        if self.state == "half-open" and succeeded:
            self._change("closed")
        elif succeeded is False and (self.state == "half-open" or self._is_too_much()):
            self.reopens_s = now() + self.open_for_s
            self._change("open")

    def _is_too_much(self) -> bool:
        moment = now()
        self.failed_s.append(moment)
        while self.failed_s[0] < moment - self.within_s:
            self.failed_s.popleft()
        return len(self.failed_s) >= self.failures

    def _change(self, state: Literal["closed", "open", "half-open"]) -> None:
        self.state = state
        self.changes += 1
        self.failed_s.clear()
        if state == "open":
            log.warning("circuit open", pipeline=self.name, open_for_s=self.open_for_s)
        else:
            log.info(f"circuit {state}", pipeline=self.name)


@processor("circuit-breaker")
class CircuitBreaker(InputOutputProcessor):
    """Send the input through a pipeline, but leave that alone for a while if it fails often.

    ``failures`` errors ``within`` a time open the circuit: for ``open_for`` every baton is refused
    at once, or sent through ``fallback``. Then it is half-open: one baton at a time passes, as a
    probe. If it succeeds the circuit is closed again, if it fails it is open again; others are
    refused meanwhile. An error that is none of ``errors`` counts as a success: the pipeline did
    answer. A baton that is cancelled says nothing.

    Example:
        circuit-breaker: {pipeline: math.double, input_path: n, failures: 3, open_for: 10s}
        in:  {n: 4}
        out: {n: 8}

    Raises:
        CircuitOpen: The circuit is open, and there is no ``fallback``; ``retry_after_s`` says when
            to come again.
        Exception: What the pipeline raised.
    """

    pipeline: Annotated[PipelineName, Meta(description="The pipeline that may be left alone.")]
    failures: Annotated[int, Meta(ge=1, description="How many failures open the circuit.")] = 5
    within: Annotated[Duration, Meta(description="The time in which they have to happen.")] = (
        Duration(10.0)
    )
    open_for: Annotated[
        Duration, Meta(description="How long nothing is tried once the circuit is open.")
    ] = Duration(30.0)
    errors: Annotated[
        ErrorTypes, Meta(description="The class, or classes, of exceptions that are failures.")
    ] = ErrorTypes((Exception,))
    fallback: Annotated[
        PipelineName | None, Meta(description="The pipeline for batons that are refused.")
    ] = None
    _circuit: _Circuit = field(init=False)

    def __post_init__(self) -> None:
        self._circuit = _Circuit("", self.failures, self.within, self.open_for)

    @property
    def is_async(self) -> bool:
        return _running.waits(self.pipeline, self.fallback)

    def call(self) -> Callable[[Any, Baton], Any]:
        circuit, errors = self._circuit, self.errors
        circuit.name = _running.name_of(self.pipeline)
        if self.is_async:
            return self._call_later()
        send = _running.now(self.pipeline)
        instead = _running.now(self.fallback) if self.fallback else None

        def call(value: Any, _baton: Baton) -> Any:
            refusal = circuit.refusal()
            if refusal is not None:
                if instead is None:
                    raise refusal
                return instead(value)
            with circuit.watched(errors):
                return send(value)

        return call

    def _call_later(self) -> Callable[[Any, Baton], Any]:
        circuit, errors = self._circuit, self.errors
        send = _running.later(self.pipeline)
        instead = _running.later(self.fallback) if self.fallback else None

        async def call(value: Any, _baton: Baton) -> Any:
            refusal = circuit.refusal()
            if refusal is not None:
                if instead is None:
                    raise refusal
                return await instead(value)
            with circuit.watched(errors):
                return await send(value)

        return call
