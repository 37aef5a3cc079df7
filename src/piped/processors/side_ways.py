"""Side ways of batons: copies that go on by themselves, and letters about those that failed."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import field
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal, NoReturn

import structlog

from piped.batons import MISSING, Baton, BatonPath, getter
from piped.errors import PipelineError, QueueFull, TooDeep
from piped.processors._failure import cause_of, origin_of, report_of
from piped.processors._running import later, name_of, now, shallow, waits
from piped.processors._tally import Tally
from piped.spec import (
    Dependency,
    InputOutputProcessor,
    Meta,
    PipelineName,
    Processor,
    Step,
    processor,
)

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


@processor("dead-letter")
class DeadLetter(InputOutputProcessor):
    """Send a letter about the failure that is being treated through a pipeline, and wait for it.

    It belongs among error consumers, or in a ``catch`` pipeline of try. The letter is
    ``{baton, error: {type, message, at, cause}, attempts, origin: {pipeline, place}, time}``:
    ``baton`` is the input, ``at`` and ``origin`` tell which step raised the error, ``cause`` is the
    error before it in the same form, or null, ``attempts`` is 1 unless retry has counted them,
    ``time`` is in UTC. The baton goes on as it is, unless ``output_path`` is given.

    Example:
        dead-letter: {input_path: order, pipeline: letters}

    Raises:
        PipelineError: No failure is being treated.
        Exception: What kept the letter from being delivered; its cause is the failure.
    """

    pipeline: Annotated[PipelineName, Meta(description="The pipeline that takes the letter.")]
    output_path: Annotated[
        BatonPath | None, Meta(description="Where the last result of the pipeline goes.")
    ] = None
    skip_if_nonexistent: Annotated[
        bool, Meta(description="Write no letter where there is no input.")
    ] = False

    @property
    def is_async(self) -> bool:
        return waits(self.pipeline)

    def call(self) -> Callable[[Any, Baton], Any]:
        if self.is_async:
            return self._call_later()
        send = now(self.pipeline)

        def call(value: Any, _baton: Baton) -> Any:
            failure = _current()
            letter = self._letter(value, failure)
            try:
                return send(letter)
            except TooDeep:
                raise
            except Exception as error:
                self._give_up(letter, failure, error)

        return call

    def _call_later(self) -> Callable[[Any, Baton], Any]:
        send = later(self.pipeline)

        async def call(value: Any, _baton: Baton) -> Any:
            failure = _current()
            letter = self._letter(value, failure)
            try:
                return await send(letter)
            except TooDeep:
                raise
            except Exception as error:
                self._give_up(letter, failure, error)

        return call

    def _letter(self, value: Any, failure: BaseException) -> dict[str, Any]:
        attempts = getattr(failure, "attempts", 1)
        return {
            "baton": shallow(value),
            "error": report_of(failure) | {"cause": cause_of(failure)},
            "attempts": attempts if isinstance(attempts, int) else 1,
            "origin": origin_of(failure, self.home),
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
        }

    def _give_up(
        self, letter: dict[str, Any], failure: BaseException, error: Exception
    ) -> NoReturn:
        """Say what the letter would have said, without the baton, and raise what has stopped it."""
        told = letter["error"]
        log.error(
            "letter not delivered",
            pipeline=name_of(self.pipeline),
            reason=f"{type(error).__name__}: {error}",
            error=f"{told['type']}: {told['message']}",
            at=told["at"],
            attempts=letter["attempts"],
        )
        if error is failure:
            raise error
        raise error from error.__cause__ or failure


def _current() -> BaseException:
    failure = sys.exc_info()[1]
    if failure is None:
        raise PipelineError(
            "there is no failure to write about: use it among error consumers or in a 'catch'"
        )
    return failure
