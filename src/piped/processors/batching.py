"""Batches: many batons that a pipeline gets as one list."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from contextvars import Context, ContextVar
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import structlog

from piped.batons import Baton
from piped.errors import BatonError, PipelineError, Problem, QueueFull, Unavailable
from piped.processors import _json
from piped.processors._clock import now
from piped.processors._flights import Failed
from piped.processors._running import later, name_of, shallow
from piped.processors._shown import kind_of
from piped.processors._text import size_of
from piped.spec import (
    Dependency,
    Duration,
    InputOutputProcessor,
    Meta,
    PipelineName,
    Size,
    processor,
)

log = structlog.get_logger("piped.batch")

_sending: ContextVar[Batch | None] = ContextVar("sending", default=None)


@dataclass(frozen=True, slots=True, eq=False)
class _Item:
    """An input, and who waits for what becomes of it."""

    value: Any
    caller: asyncio.Future[Any] | None

    @property
    def is_wanted(self) -> bool:
        return self.caller is None or not self.caller.cancelled()

    def answer(self, outcome: Any) -> None:
        if self.caller is not None and not self.caller.done():
            self.caller.set_result(outcome)


@dataclass(slots=True, eq=False)
class _Batch:
    """Inputs that are collected until the batch is closed, or due."""

    due_s: float
    items: list[_Item] = field(default_factory=list)
    size_bytes: int = 0
    closed: asyncio.Event = field(default_factory=asyncio.Event)


@processor("batch")
class Batch(InputOutputProcessor):
    """Collect inputs, and send them through a pipeline as one list.

    A batch is sent when it has ``count`` inputs, when another one would make it larger than
    ``bytes``, or when its first input has waited ``within`` a time; and as soon as the service is
    asked to end. One batch is sent after the other, in order; meanwhile the next ones are
    collected.

    ``wait_for: nothing`` lets the baton go on at once; its output is its input, and the pipeline
    gets a shallow copy of a dict or a list. A batch that fails is logged and gone: no error
    consumer of this step gets it.

    With ``wait_for: batch`` the output is the last result of the pipeline, for each baton a shallow
    copy; with ``wait_for: item`` that must be a list as long as the batch, of which each baton gets
    its own item. Then an error goes to every baton of the batch. A baton that is cancelled is left
    out, if its batch is not sent yet, and does not disturb the others.

    Example:
        batch: {pipeline: math.doubles, input_path: n, count: 500, within: 2ms, wait_for: item}
        in:  {n: 4}
        out: {n: 8}

    Raises:
        QueueFull: ``max_pending`` inputs are collected or being sent already.
        BatonError: The pipeline gave no list with an item for each baton; or with ``bytes``, the
            input is neither text nor bytes, and has no JSON.
        PipelineError: The pipeline waits for a batch that can only be sent after its own.
        Unavailable: The batch was given up, because the service ends.
        Exception: What the pipeline raised.
    """

    pipeline: Annotated[PipelineName, Meta(description="The pipeline that gets the lists.")]
    count: Annotated[int, Meta(ge=1, description="How many inputs a batch has at most.")] = 100
    bytes_: Annotated[
        Size | None,
        Meta(description="How large a batch may be: its text and bytes, and all else as JSON."),
    ] = None
    within: Annotated[
        Duration, Meta(description="How long the first input of a batch waits at most.")
    ] = Duration(1.0)
    wait_for: Annotated[
        Literal["nothing", "batch", "item"],
        Meta(description="What the baton waits for: nothing, its batch, or its own item of it."),
    ] = "nothing"
    max_pending: Annotated[
        int, Meta(ge=1, description="How many inputs may be collected or being sent.")
    ] = 10_000
    _background: Dependency[Any] = field(
        default_factory=lambda: Dependency("background"), init=False
    )
    _batches: deque[_Batch] = field(default_factory=deque, init=False)
    _pending: int = field(default=0, init=False)
    _service: Dependency[Any] = field(default_factory=lambda: Dependency("service"), init=False)
    _sender: Any = field(default=None, init=False)  # the background in which batches are sent
    _watcher: Any = field(default=None, init=False)  # the one that says when the service ends
    _is_ending: bool = field(default=False, init=False)

    @property
    def is_async(self) -> bool:
        return self.wait_for != "nothing"

    def check(self) -> Iterable[Problem]:
        if self.max_pending < self.count:
            what = f"expected at least the {self.count} of 'count', got {self.max_pending}"
            yield Problem("wrong-value", what, at="max_pending")

    def call(self) -> Callable[[Any, Baton], Any]:
        def call(value: Any, _baton: Baton) -> Any:
            self._add(_Item(shallow(value), None))
            return value

        async def async_call(value: Any, _baton: Baton) -> Any:
            if _sending.get() is self:
                raise PipelineError("the pipeline of a batch waits for one that comes after it")
            caller = asyncio.get_running_loop().create_future()
            self._add(_Item(value, caller))
            outcome = await caller
            if isinstance(outcome, Failed):
                raise outcome.again()
            return outcome

        return async_call if self.is_async else call

    def _add(self, item: _Item) -> None:
        """Put an item into the batch that is being collected, or into a new one."""
        size = _size_of(item.value) if self.bytes_ is not None else 0
        if self._pending >= self.max_pending:
            raise QueueFull(f"{self.max_pending} inputs are collected or being sent already")
        background = self._background.value
        self._watch(background)
        batch = self._collecting(size)
        batch.items.append(item)
        batch.size_bytes += size
        self._pending += 1
        if self._is_full(batch):
            batch.closed.set()
        try:
            self._start(background)
        except Exception:
            batch.items.pop()
            self._pending -= 1
            raise

    def _collecting(self, size: int) -> _Batch:
        """Return the batch that has room for an item of a size."""
        batch = self._batches[-1] if self._batches else None
        if batch is None or batch.closed.is_set() or not self._has_room(batch, size):
            if batch is not None:
                batch.closed.set()
            batch = _Batch(now() if self._is_ending else now() + self.within)
            self._batches.append(batch)
        return batch

    def _has_room(self, batch: _Batch, size: int) -> bool:
        limit = self.bytes_
        return limit is None or not batch.items or batch.size_bytes + size <= limit

    def _is_full(self, batch: _Batch) -> bool:
        limit = self.bytes_
        is_large = limit is not None and batch.size_bytes >= limit
        return is_large or len(batch.items) >= self.count

    def _watch(self, background: Any) -> None:
        """Have a background say, once, when the service ends."""
        if background is not self._watcher:
            self._is_ending = False
            self._watcher = background
            Context().run(background.on_end, self._service.value.stopped, self._end)

    def _start(self, background: Any) -> None:
        """Send what is collected in the background, unless that is being done already.

        It belongs to many batons, so it begins in a context of its own.
        """
        if background is not self._sender:
            Context().run(background.start, self._send_all, f"batch to {name_of(self.pipeline)}")
            self._sender = background

    def _end(self) -> None:
        """Send what is collected now, and from now on what comes as soon as that may be."""
        self._is_ending = True
        for batch in self._batches:
            batch.closed.set()

    async def _send_all(self) -> None:
        """Send one batch after the other until nothing is collected any more."""
        _sending.set(self)
        send = later(self.pipeline)
        try:
            while self._batches:
                batch = self._batches[0]
                await _until_due(batch)
                await self._send(batch.items, send)
                self._batches.popleft()
                self._pending -= len(batch.items)
        except asyncio.CancelledError:
            self._give_up()
            raise
        finally:
            self._sender = None

    async def _send(self, items: list[_Item], send: Callable[[Any], Awaitable[Any]]) -> None:
        items = [each for each in items if each.is_wanted]
        if not items:
            return
        try:
            result = await send([each.value for each in items])
            outcomes = self._outcomes(result, len(items))
        except Exception as error:
            if self.wait_for == "nothing":
                log.exception("batch failed", pipeline=name_of(self.pipeline), items=len(items))
            outcomes = [Failed(error)] * len(items)
        for item, outcome in zip(items, outcomes, strict=True):
            item.answer(outcome)

    def _outcomes(self, result: Any, size: int) -> list[Any]:
        """Return what each baton of a batch gets."""
        if self.wait_for != "item":
            return [shallow(result) for _ in range(size)]
        if not isinstance(result, list | tuple) or len(result) != size:
            is_list = isinstance(result, list | tuple)
            got = f"one of {len(result)}" if is_list else kind_of(result)
            raise BatonError(f"expected a list of {size} items for a batch of {size}, got {got}")
        return list(result)

    def _give_up(self) -> None:
        items = [item for batch in self._batches for item in batch.items if item.is_wanted]
        log.warning("batches given up", pipeline=name_of(self.pipeline), items=len(items))
        for item in items:
            item.answer(Failed(Unavailable("the batch was given up, because the service ends")))
        self._batches.clear()
        self._pending = 0


async def _until_due(batch: _Batch) -> None:
    """Wait until a batch is closed, or close it when its time has come."""
    left = batch.due_s - now()
    if left > 0:
        with suppress(TimeoutError):
            async with asyncio.timeout(left):
                await batch.closed.wait()
    batch.closed.set()


def _size_of(value: Any) -> int:
    """Return the size of a value in bytes: of text as UTF-8, of what is neither, as JSON."""
    if isinstance(value, str):
        return size_of(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return memoryview(value).nbytes
    return len(_json.encode(value))
