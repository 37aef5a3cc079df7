"""Limits: how many batons pass in a time, and how many are under way at once."""

from __future__ import annotations

import asyncio
import math
from collections import OrderedDict
from collections.abc import Callable, Hashable
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import structlog

from piped.batons import Baton, BatonPath
from piped.errors import DeadlineExceeded, QueueFull, Throttled
from piped.processors import _running
from piped.processors._clock import now
from piped.processors._keys import key_at, key_of
from piped.processors._tally import Tally
from piped.spec import (
    Duration,
    InputOutputProcessor,
    Meta,
    PipelineName,
    Processor,
    Step,
    processor,
)

log = structlog.get_logger("piped.limits")


@dataclass(slots=True, eq=False)
class _Bucket:
    """What one key has used up: until ``used_s`` all is taken that its rate gives."""

    used_s: float = -math.inf
    waiting: int = 0
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)


@processor("throttle")
class Throttle(Processor):
    """Let so many batons pass in a time, and refuse or hold those above.

    Any time can begin with a ``burst``; then they pass at the rate. With ``key_path`` each key,
    compared as in cache, has a rate of its own. Of more than ``max_keys`` the least recently used
    is forgotten: it may burst again. With ``when_over: wait`` batons wait in order, at most
    ``max_waiting`` of them. The baton stays as it is.

    Example:
        throttle: {rate: 100, per: 1m, burst: 10, key_path: client}
        in:  {client: 192.0.2.1}
        out: {client: 192.0.2.1}

    Raises:
        Throttled: It comes too soon; ``retry_after_s`` says when to come again.
        BatonError: There is no key, or one that cannot be compared.
    """

    rate: Annotated[
        int | float,
        Meta(ge=0.001, le=1_000_000_000, description="How many batons may pass in a time."),
    ]
    per: Annotated[Duration, Meta(gt=0, description="The time of the rate.")] = Duration(1.0)
    burst: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        Meta(description="How many may pass at once after a pause; the rate if not given."),
    ] = None
    key_path: Annotated[
        BatonPath | None, Meta(description="Where in the baton the key is; each has its own rate.")
    ] = None
    max_keys: Annotated[int, Meta(ge=1, description="How many keys are remembered.")] = 10_000
    when_over: Annotated[
        Literal["fail", "wait"], Meta(description="What becomes of a baton above the rate.")
    ] = "fail"
    max_waiting: Annotated[
        int, Meta(ge=0, description="How many batons may wait, of all keys together.")
    ] = 1000
    _interval_s: float = field(default=0.0, init=False)
    _ahead_s: float = field(default=0.0, init=False)  # how far a burst may be ahead of the rate
    _buckets: OrderedDict[Hashable, _Bucket] = field(default_factory=OrderedDict, init=False)
    _waiting: int = field(default=0, init=False)
    _forgotten: Tally = field(
        default_factory=lambda: Tally(log, "throttled keys forgotten", every_s=60.0), init=False
    )

    def __post_init__(self) -> None:
        burst = math.ceil(self.rate) if self.burst is None else self.burst
        self._interval_s = self.per / self.rate
        self._ahead_s = (burst - 1 + 0.001) * self._interval_s  # sums of floats are not exact

    @property
    def is_async(self) -> bool:
        return self.when_over == "wait"

    def step(self) -> Step:
        bucket_of = self._finder()

        def step(baton: Baton) -> Baton:
            bucket = bucket_of(baton)
            if pause := self._pause(bucket):
                raise self._over(pause)
            self._take(bucket)
            return baton

        async def async_step(baton: Baton) -> Baton:
            bucket = bucket_of(baton)
            if bucket.waiting or self._pause(bucket):
                await self._turn(bucket)
            self._take(bucket)
            return baton

        return async_step if self.is_async else step

    async def _turn(self, bucket: _Bucket) -> None:
        """Wait, after those who wait already, until the next baton may pass."""
        if self._waiting >= self.max_waiting:
            raise self._over(self._pause(bucket) + bucket.waiting * self._interval_s)
        self._waiting += 1
        bucket.waiting += 1
        try:
            async with bucket.turn:
                while pause := self._pause(bucket):  # noqa: ASYNC110 - no event, the time ends it
                    await asyncio.sleep(pause)
        finally:
            self._waiting -= 1
            bucket.waiting -= 1

    def _pause(self, bucket: _Bucket) -> float:
        """Return how long until the next baton of a bucket may pass."""
        return max(bucket.used_s - self._ahead_s - now(), 0.0)

    def _take(self, bucket: _Bucket) -> None:
        bucket.used_s = max(bucket.used_s, now()) + self._interval_s

    def _over(self, retry_after_s: float) -> Throttled:
        return Throttled(f"more than {self.rate} in {self.per:g}s", retry_after_s)

    def _finder(self) -> Callable[[Baton], _Bucket]:
        """Return what finds the bucket of a baton."""
        if self.key_path is None:
            return lambda _baton: self._bucket(None)
        fetch = key_at(self.key_path)
        return lambda baton: self._bucket(key_of(fetch(baton)))

    def _bucket(self, key: Hashable) -> _Bucket:
        bucket = self._buckets.get(key)
        if bucket is None:
            self._make_room()
            bucket = self._buckets[key] = _Bucket()
        self._buckets.move_to_end(key)
        return bucket

    def _make_room(self) -> None:
        """Forget the least recently used key for which nobody waits, if there are too many."""
        for _ in range(len(self._buckets)):
            if len(self._buckets) < self.max_keys:
                return
            key, bucket = self._buckets.popitem(last=False)
            if bucket.waiting:
                self._buckets[key] = bucket
            elif bucket.used_s > now():  # else it has its whole burst anyway
                self._forgotten.add(pipeline=self.home, max_keys=self.max_keys)


class _Place:
    """One of the places under a limit, which a baton has as long as it is under way."""

    __slots__ = ("is_held",)

    def __init__(self) -> None:
        self.is_held = True


_held: ContextVar[tuple[tuple[LimitConcurrency, _Place], ...]] = ContextVar("held", default=())


@processor("limit-concurrency")
class LimitConcurrency(InputOutputProcessor):
    """Send the input through a pipeline, with so many at most in it at the same time.

    Others wait, in order. A baton that comes back to this step from within the pipeline passes: it
    has its place already. A pipeline that awaits nothing is never in use twice.

    Example:
        limit-concurrency: {pipeline: math.double, input_path: n, limit: 4}
        in:  {n: 4}
        out: {n: 8}

    Raises:
        QueueFull: ``max_waiting`` wait already.
        DeadlineExceeded: It has waited for longer than ``wait``.
        Exception: What the pipeline raised.
    """

    pipeline: Annotated[PipelineName, Meta(description="The pipeline whose use is limited.")]
    limit: Annotated[
        int, Meta(ge=1, description="How many batons may be in the pipeline at the same time.")
    ] = 10
    max_waiting: Annotated[
        int, Meta(ge=0, description="How many may wait for a place; more are refused.")
    ] = 100
    wait: Annotated[
        Duration | None, Meta(description="How long each may wait for a place, such as 2s.")
    ] = None
    _taken: int = field(default=0, init=False)
    _waiting: OrderedDict[asyncio.Future[bool], None] = field(
        default_factory=OrderedDict, init=False
    )

    @property
    def is_async(self) -> bool:
        return _running.waits(self.pipeline)

    @property
    def certain_calls(self) -> tuple[str, ...]:
        return _running.certain(self, self.pipeline)

    def call(self) -> Callable[[Any, Baton], Any]:
        if not self.is_async:
            send_now = _running.now(self.pipeline)
            return lambda value, _baton: send_now(value)
        send = _running.later(self.pipeline)

        async def call(value: Any, _baton: Baton) -> Any:
            held = _held.get()
            if any(step is self and place.is_held for step, place in held):
                return await send(value)
            await self._enter()
            place = _Place()
            token = _held.set((*held, (self, place)))
            try:
                return await send(value)
            finally:
                _held.reset(token)
                place.is_held = False
                self._leave()

        return call

    async def _enter(self) -> None:
        """Take a place, or wait for one that somebody leaves."""
        if self._taken < self.limit:
            self._taken += 1
            return
        if len(self._waiting) >= self.max_waiting:
            raise QueueFull(f"{self.limit} are under way and {self.max_waiting} wait already")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[bool] = loop.create_future()
        self._waiting[future] = None
        timer = None if self.wait is None else loop.call_later(self.wait, self._expire, future)
        try:
            has_place = await future
        except asyncio.CancelledError:
            self._waiting.pop(future, None)
            if not future.cancelled() and future.done() and future.result():
                self._leave()
            raise
        finally:
            if timer is not None:
                timer.cancel()
        if not has_place:
            raise DeadlineExceeded(f"waited {self.wait:g}s for one of {self.limit} places")

    def _expire(self, future: asyncio.Future[bool]) -> None:
        self._waiting.pop(future, None)
        if not future.done():
            future.set_result(False)

    def _leave(self) -> None:
        """Give the place to the first of those who wait; without any, it is free."""
        while self._waiting:
            future, _ = self._waiting.popitem(last=False)
            if not future.done():
                future.set_result(True)
                return
        self._taken -= 1
