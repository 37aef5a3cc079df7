"""A pipeline for each item of a list."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Annotated, Any

from piped.batons import MISSING, Baton
from piped.errors import AllPipelinesFailed, BatonError, Problem, TooDeep
from piped.processors._failure import all_failed, report_of
from piped.processors._pools import (
    Deadline,
    Fallback,
    OnFailure,
    Workers,
    at_workers,
    fallback_of,
    wrong_pool,
)
from piped.processors._running import name_of, waits
from piped.processors._shown import kind_of
from piped.processors.parallel import at_once
from piped.spec import (
    InputOutputProcessor,
    Lambda,
    Meta,
    Namespace,
    PipelineName,
    PoolName,
    processor,
)


@dataclass(frozen=True, slots=True)
class _Failed:
    """Stands where a result would be."""

    error: Exception

    def report(self) -> dict[str, Any]:
        return {"error": report_of(self.error)}


class _Success(Exception):
    """Ends the work on the other items."""

    def __init__(self, outcome: Any) -> None:
        self.outcome = outcome


@processor("for-each")
class ForEach(InputOutputProcessor):
    """Send each item of a list through a pipeline, and collect the results.

    Takes a list, a dict (its values) or another iterable; gives a list, or for a dict a dict with
    the same keys. With ``chunk_size`` the pipeline gets lists of items, and the output is a list.

    A failure ends it. With ``fail_on_error: false`` it stands at the item's place instead, as
    ``{error: {type, message, at}}``. With ``done_on_first`` the output is the first success alone,
    and failures are skipped.

    With ``workers`` the workers of that pool run the pipeline, for ``max_parallel`` items at the
    same time unless ``parallel: false`` says one after the other. With ``on_failure: fallback`` the
    fallback stands at the place of what has failed there, or is the output if all has and
    ``done_on_first`` is asked for; ``on_failure: partial`` is the same as ``fail_on_error: false``.

    Example:
        for-each: {input_path: numbers, pipeline: math.double}
        in:  {numbers: [1, 2, 3]}
        out: {numbers: [2, 4, 6]}

    Raises:
        AllPipelinesFailed: ``done_on_first``, or ``parallel`` without ``fail_on_error`` and without
            ``workers``, had items, but no success.
        BatonError: The input has no items.
    """

    pipeline: Annotated[PipelineName, Meta(description="The pipeline that each item goes through.")]
    chunk_size: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        Meta(description="How many items the pipeline gets at once, as a list."),
    ] = None
    result_processor: Annotated[
        Lambda, Meta(description="A lambda that makes one output of a pipeline's results.")
    ] = field(default_factory=lambda: Lambda("results: results[-1]"))
    namespace: Annotated[Namespace, Meta(description="Names for the result processor.")] = field(
        default_factory=Namespace
    )
    parallel: Annotated[
        bool | None,
        Meta(description="Treat items at the same time; by default only if workers do it."),
    ] = None
    max_parallel: Annotated[
        int, Meta(ge=1, description="How many items are treated at the same time at most.")
    ] = 100
    done_on_first: Annotated[
        bool, Meta(description="Be done with the first success, which alone is the output.")
    ] = False
    fail_on_error: Annotated[
        bool, Meta(description="Raise the first failure, instead of telling of it in its place.")
    ] = True
    workers: Workers = None
    deadline: Deadline = None
    on_failure: Annotated[
        OnFailure,
        Meta(description="What becomes of failures at the workers: raise, fallback or partial."),
    ] = "raise"
    fallback: Fallback = MISSING

    @property
    def is_async(self) -> bool:
        return bool(self.parallel) or self.workers is not None or waits(self.pipeline)

    def check(self) -> Iterable[Problem]:
        yield from wrong_pool(self, ("pipeline", self.pipeline))
        for problem in self.result_processor.check(self.namespace):
            yield replace(problem, at="result_processor")

    def call(self) -> Callable[[Any, Baton], Any]:
        pick = self.result_processor.compile(self.namespace, self)
        if self.workers is not None:
            return self._call_of_workers(self.workers, pick)
        pipeline = self.pipeline.value

        def now(item: Any) -> Any:
            return pick(pipeline.now(item))

        async def later(item: Any) -> Any:
            return pick(await pipeline(item))

        if not self.is_async:
            return lambda items, _baton: self._one_by_one(items, now)
        run = self._at_the_same_time if self.parallel else self._one_by_one_async

        async def call(items: Any, _baton: Baton) -> Any:
            return await run(items, later)

        return call

    def _call_of_workers(
        self, pool: PoolName, pick: Callable[[Any], Any]
    ) -> Callable[[Any, Baton], Any]:
        name, falls_back = name_of(self.pipeline), self.on_failure == "fallback"
        run = self._one_by_one_async if self.parallel is False else self._at_the_same_time
        send = at_workers(self, pick, falls_back=falls_back and not self.done_on_first)

        async def call(items: Any, _baton: Baton) -> Any:
            front = pool.value
            try:
                return await run(items, partial(send, front, name))
            except AllPipelinesFailed:
                if falls_back:
                    return fallback_of(self, front)
                raise

        return call

    def _one_by_one(self, given: Any, call: Callable[[Any], Any]) -> Any:
        outcomes = []
        for item in self._items(given):
            try:
                outcome = call(item)
            except Exception as error:
                outcome = self._failed(error)
            else:
                if self.done_on_first:
                    return outcome
            outcomes.append(outcome)
        return self._gathered(given, outcomes)

    async def _one_by_one_async(self, given: Any, call: Callable[[Any], Awaitable[Any]]) -> Any:
        outcomes = []
        for item in self._items(given):
            try:
                outcome = await call(item)
            except Exception as error:
                outcome = self._failed(error)
            else:
                if self.done_on_first:
                    return outcome
            outcomes.append(outcome)
        return self._gathered(given, outcomes)

    async def _at_the_same_time(self, given: Any, call: Callable[[Any], Awaitable[Any]]) -> Any:
        items = self._items(given)
        outcomes: list[Any] = [None] * len(items)
        ahead = deque(enumerate(items))

        async def work() -> None:
            try:
                while ahead:
                    index, item = ahead.popleft()
                    try:
                        outcomes[index] = await call(item)
                    except Exception as error:
                        outcomes[index] = self._failed(error)
                    else:
                        if self.done_on_first:
                            raise _Success(outcomes[index])
            finally:
                ahead.clear()  # who cannot be cancelled must not go on, either

        try:
            await at_once([work] * min(self.max_parallel, len(items)))
        except _Success as success:
            return success.outcome
        return self._gathered(given, outcomes)

    def _failed(self, error: Exception) -> _Failed:
        """Return what stands for a failure, or raise one that ends it all.

        Where calls have no end, what is left to do has none either.
        """
        is_lenient = self.done_on_first or not self.fail_on_error or self.on_failure == "partial"
        if isinstance(error, TooDeep) or not is_lenient:
            raise error
        return _Failed(error)

    def _items(self, given: Any) -> list[Any]:
        if isinstance(given, str | bytes | bytearray) or not isinstance(given, Iterable):
            raise BatonError(f"expected a list or a dict, got {kind_of(given)}")
        items = list(given.values() if isinstance(given, Mapping) else given)
        size = self.chunk_size
        if size is None:
            return items
        return [items[start : start + size] for start in range(0, len(items), size)]

    def _gathered(self, given: Any, outcomes: list[Any]) -> Any:
        if self.done_on_first or (self.parallel and self.workers is None):
            failures = [each.error for each in outcomes if isinstance(each, _Failed)]
            if failures and len(failures) == len(outcomes):
                raise all_failed(failures)
        results = [each.report() if isinstance(each, _Failed) else each for each in outcomes]
        if isinstance(given, Mapping) and self.chunk_size is None:
            return dict(zip(given, results, strict=True))
        return results
