"""Taps: copies of batons that go another way, for which nobody waits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field
from typing import Annotated, Any, Final, Literal

import structlog

from piped.batons import MISSING, Baton, BatonPath, getter
from piped.errors import QueueFull
from piped.processors._running import later, name_of, shallow
from piped.processors._tally import Tally
from piped.spec import Dependency, Meta, PipelineName, Processor, Step, processor

CONTAINERS: Final = (dict, list, tuple, set, bytearray)

log = structlog.get_logger("piped.flow")


def deep(value: Any) -> Any:
    """Return a copy of a value with copies of all plain containers in it, at any depth.

    What is more than a container, such as a request or a context, is one thing for all.
    """
    return _deep(value, {})


def _deep(value: Any, known: dict[int, Any]) -> Any:
    kind = value.__class__
    if kind not in CONTAINERS:
        return value
    if id(value) in known:  # it contains itself, or is contained twice
        return known[id(value)]
    if kind is dict:
        made: dict[Any, Any] = {}
        known[id(value)] = made
        made.update((key, _deep(each, known)) for key, each in value.items())
        return made
    if kind is list:
        items: list[Any] = []
        known[id(value)] = items
        items.extend(_deep(each, known) for each in value)
        return items
    return tuple(_deep(each, known) for each in value) if kind is tuple else kind(value)


def same(value: Any) -> Any:
    """Return the value itself."""
    return value


COPIES: Final = {"deep": deep, "shallow": shallow, "none": same}


@processor("wire-tap")
class WireTap(Processor):
    """Send a copy of the baton through a pipeline in the background; the baton goes on at once.

    What the pipeline gives is thrown away; where it fails, that is logged. While ``max_pending``
    copies are on their way, further ones are dropped; the log tells how many, once a second at
    most. Where there is nothing at ``input_path``, nothing is sent.

    A copy is of dicts, lists, tuples and sets. Other objects in them, such as a request or a
    context, are shared with the baton.

    Example:
        wire-tap: {input_path: n, pipeline: math.double}
        in:  {n: 4}
        out: {n: 4}
    """

    pipeline: Annotated[PipelineName, Meta(description="The pipeline that gets the copies.")]
    input_path: Annotated[
        BatonPath, Meta(description="What of the baton is copied; '' is the whole baton.")
    ] = BatonPath("")
    copy: Annotated[
        Literal["deep", "shallow", "none"],
        Meta(description="How far the copy goes; 'none' sends the value itself."),
    ] = "deep"
    max_pending: Annotated[
        int, Meta(ge=1, description="How many copies may be on their way at the same time.")
    ] = 1000
    _background: Dependency[Any] = field(
        default_factory=lambda: Dependency("background"), init=False
    )
    _pending: int = field(default=0, init=False)
    _full: Tally = field(default_factory=lambda: Tally(log, "tap full", every_s=1.0), init=False)

    @property
    def certain_calls(self) -> tuple[str, ...]:
        return () if self.input_path else (name_of(self.pipeline),)

    def step(self) -> Step:
        get, copied, send = getter(self.input_path), COPIES[self.copy], later(self.pipeline)
        name = name_of(self.pipeline)

        def step(baton: Baton) -> Baton:
            value = get(baton)
            if value is MISSING:
                return baton
            if self._pending >= self.max_pending:
                self._full.add(pipeline=name)
                return baton
            try:
                self._start(send, copied(value))
            except QueueFull:
                self._full.add(pipeline=name)
            except Exception:
                log.exception("tap failed", pipeline=name)
            return baton

        return step

    def _start(self, send: Callable[[Any], Any], value: Any) -> None:
        async def work() -> None:
            try:
                await send(value)
            finally:
                self._pending -= 1

        self._background.value.start(work, f"wire-tap to {name_of(self.pipeline)}")
        self._pending += 1
