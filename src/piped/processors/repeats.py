"""Repeats: batons that came before, and answers that are known already."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable
from dataclasses import field, replace
from typing import Annotated, Any

import structlog

from piped.batons import MISSING, Baton, BatonPath
from piped.errors import Problem
from piped.processors import _running
from piped.processors._clock import now
from piped.processors._flights import LEAD, Flights
from piped.processors._keys import key_at, key_of
from piped.processors._running import shallow
from piped.processors._tally import Tally
from piped.spec import (
    Duration,
    InputOutputProcessor,
    Lambda,
    Meta,
    Namespace,
    PipelineName,
    processor,
)

log = structlog.get_logger("piped.repeats")


@processor("dedupe")
class Dedupe(InputOutputProcessor):
    """Send the input through a pipeline unless the same key has been through it within a time.

    A repeat goes through ``repeated`` instead; without it, its output is its input. A repeat that
    comes while the first is under way waits for it. If the first fails, or is cancelled, its key
    is forgotten, and one of those that wait becomes the first; so does whoever comes later.

    Keys are compared as in cache. They are kept in memory, at most ``max_keys``: of more, the one
    that was treated longest ago is forgotten before its time, and the log tells how many were.

    Example:
        dedupe: {key_path: id, input_path: n, pipeline: math.double}
        in:  {id: a1, n: 4}
        out: {id: a1, n: 8}

    Raises:
        BatonError: There is no key, or one that cannot be compared.
        PipelineError: The pipeline comes back to this step with its own key.
        Exception: What the pipeline raised.
    """

    key_path: Annotated[BatonPath, Meta(description="Where in the baton the key is.")]
    pipeline: Annotated[PipelineName, Meta(description="The pipeline for the first of each key.")]
    repeated: Annotated[PipelineName | None, Meta(description="The pipeline for repeats.")] = None
    window: Annotated[
        Duration, Meta(description="How long a key is remembered after the first is treated.")
    ] = Duration(600.0)
    max_keys: Annotated[int, Meta(ge=1, description="How many keys are remembered.")] = 10_000
    _seen: OrderedDict[Hashable, float] = field(default_factory=OrderedDict, init=False)
    _flights: Flights = field(default_factory=lambda: Flights(shares_errors=False), init=False)
    _forgotten: Tally = field(
        default_factory=lambda: Tally(log, "keys forgotten before their time", every_s=60.0),
        init=False,
    )

    @property
    def is_async(self) -> bool:
        return _running.waits(self.pipeline, self.repeated)

    def call(self) -> Callable[[Any, Baton], Any]:
        if self.is_async:
            return self._call_later()
        find, flights = key_at(self.key_path), self._flights
        send = _running.now(self.pipeline)
        repeat = _running.now(self.repeated) if self.repeated else None

        def call(value: Any, baton: Baton) -> Any:
            key = key_of(find(baton))
            if self._is_known(key):
                return repeat(value) if repeat else value
            flights.begin(key)
            with flights.leading(key):
                result = send(value)
                self._treated(key)
            return result

        return call

    def _call_later(self) -> Callable[[Any, Baton], Any]:
        find, flights = key_at(self.key_path), self._flights
        send = _running.later(self.pipeline)
        repeat = _running.later(self.repeated) if self.repeated else None

        async def call(value: Any, baton: Baton) -> Any:
            key = key_of(find(baton))
            is_first = not self._is_known(key)
            if is_first and not flights.begin(key):
                is_first = await flights.outcome(key) is LEAD
            if not is_first:
                return await repeat(value) if repeat else value
            with flights.leading(key):
                result = await send(value)
                self._treated(key)
            return result

        return call

    def _is_known(self, key: Hashable) -> bool:
        moment = now()
        while self._seen and next(iter(self._seen.values())) <= moment:
            self._seen.popitem(last=False)
        return key in self._seen

    def _treated(self, key: Hashable) -> None:
        self._seen[key] = now() + self.window
        if len(self._seen) > self.max_keys:
            self._seen.popitem(last=False)
            pipeline = _running.name_of(self.pipeline)
            self._forgotten.add(pipeline=pipeline, max_keys=self.max_keys)
        self._flights.land(key, None)


@processor("cache")
class Cache(InputOutputProcessor):
    """Send the input through a pipeline, or give what it gave for the same key a while ago.

    Batons of one key that come at the same time share one run. If it fails, all of them get its
    error, which is not kept; if its baton is cancelled, one of the others does the run. Each gets
    a shallow copy of a dict or a list that is kept: the things in it are shared.

    A key is made of plain values: text, numbers, truths, lists, dicts (in any order) and values
    such as dates. ``1``, ``1.0``, ``true`` and ``'1'`` are different keys. When ``max_entries`` are
    kept, the least recently used one is forgotten.

    Example:
        cache: {pipeline: math.square, input_path: n, output_path: square, ttl: 5m}
        in:  {n: 4}
        out: {n: 4, square: 16}

    Raises:
        BatonError: There is no key, or one that cannot be compared.
        PipelineError: The pipeline comes back to this step with its own key.
        Exception: What the pipeline raised.
    """

    pipeline: Annotated[PipelineName, Meta(description="The pipeline whose results are kept.")]
    key_path: Annotated[
        BatonPath, Meta(description="Where in the input the key is; '' is the whole input.")
    ] = BatonPath("")
    key: Annotated[
        Lambda | None, Meta(description="A lambda that makes the key of the input instead.")
    ] = None
    namespace: Annotated[Namespace, Meta(description="Names for the lambda.")] = field(
        default_factory=Namespace
    )
    ttl: Annotated[Duration, Meta(description="How long a result is kept; 0 only shares runs.")] = (
        Duration(60.0)
    )
    max_entries: Annotated[int, Meta(ge=1, description="How many results are kept.")] = 1000
    _kept: OrderedDict[Hashable, tuple[float, Any]] = field(default_factory=OrderedDict, init=False)
    _flights: Flights = field(default_factory=lambda: Flights(shares_errors=True), init=False)

    @property
    def is_async(self) -> bool:
        return _running.waits(self.pipeline)

    def check(self) -> Iterable[Problem]:
        if self.key is None:
            return
        if self.key_path:
            what = "expected exactly one of 'key_path' and 'key', got both"
            yield Problem("exactly-one", what, at="key_path")
        for problem in self.key.check(self.namespace):
            yield replace(problem, at="key")

    def call(self) -> Callable[[Any, Baton], Any]:
        if self.is_async:
            return self._call_later()
        find, flights = self._finder(), self._flights
        send = _running.now(self.pipeline)

        def call(value: Any, _baton: Baton) -> Any:
            key = key_of(find(value))
            known = self._known(key)
            if known is not MISSING:
                return shallow(known)
            flights.begin(key)
            with flights.leading(key):
                result = send(value)
                self._keep(key, result)
            return result

        return call

    def _call_later(self) -> Callable[[Any, Baton], Any]:
        find, flights = self._finder(), self._flights
        send = _running.later(self.pipeline)

        async def call(value: Any, _baton: Baton) -> Any:
            key = key_of(find(value))
            known = self._known(key)
            if known is MISSING and not flights.begin(key):
                known = await flights.outcome(key)
            if known is not MISSING and known is not LEAD:
                return shallow(known)
            with flights.leading(key):
                result = await send(value)
                self._keep(key, result)
            return result

        return call

    def _finder(self) -> Callable[[Any], Any]:
        """Return what finds the key in an input."""
        if self.key is not None:
            return self.key.compile(self.namespace, self)
        return key_at(self.key_path, "input")

    def _known(self, key: Hashable) -> Any:
        """Return what is kept for a key; MISSING, if there is nothing, or it is too old."""
        expires, result = self._kept.get(key, (0.0, MISSING))
        if result is not MISSING:
            if expires <= now():
                del self._kept[key]
                return MISSING
            self._kept.move_to_end(key)
        return result

    def _keep(self, key: Hashable, result: Any) -> None:
        kept = shallow(result)  # the next step may change the result itself
        if self.ttl > 0:
            self._kept[key] = (now() + self.ttl, kept)
            if len(self._kept) > self.max_entries:
                self._kept.popitem(last=False)
        self._flights.land(key, kept)
