"""Several pipelines at the same time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Final, TypeAlias

from piped.batons import MISSING, Baton, BatonPath, getter, setter
from piped.errors import Problem, TooDeep
from piped.processors._failure import report_of
from piped.processors._pools import (
    Deadline,
    Fallback,
    OnFailure,
    Outcome,
    Workers,
    all_of,
    each_of,
    fallback_of,
    first_of,
    outcome_of,
    wrong_pool,
)
from piped.processors._running import last, name_of, shallow, waits
from piped.processors.mapping import prefixed, wrong_paths
from piped.processors.parallel import at_once
from piped.spec import Meta, PipelineName, PoolName, Processor, Step, part, processor

NAME_OF_PIPELINE: Final = BatonPath("<pipeline>")
MISSING_PATH: Final = BatonPath("missing")


@part
class Scattered:
    """One pipeline of scatter-gather, with the place of its input and of its output."""

    pipeline: Annotated[PipelineName, Meta(description="The pipeline.")]
    input_path: Annotated[
        BatonPath, Meta(description="Where its baton is; '' is the whole baton.")
    ] = BatonPath("")
    output_path: Annotated[
        BatonPath | None,
        Meta(description="Where its last result goes; by default its name, without leading dots."),
    ] = NAME_OF_PIPELINE

    def __post_init__(self) -> None:
        if self.output_path is NAME_OF_PIPELINE and self.pipeline.inline is None:
            self.output_path = BatonPath(self.pipeline.name.lstrip("."))


@dataclass(frozen=True, slots=True)
class _Way:
    """One pipeline with all that is needed to run it, made when the graph is built."""

    name: str
    pipeline: Any  # None where workers run it
    output_path: BatonPath | None
    given: Callable[[Baton], Any]
    put: Callable[[Baton, Any], Baton]

    def now(self, value: Any) -> Outcome:
        try:
            return last(self.pipeline.now(value)), None
        except TooDeep:  # where calls have no end, what is left to do has none
            raise
        except Exception as error:
            return None, error

    async def later(self, value: Any) -> Outcome:
        return await outcome_of(self.pipeline(value))

    def report(self, error: Exception) -> dict[str, Any]:
        """Tell of its part, which has failed."""
        path = None if self.output_path is None else str(self.output_path)
        return {"pipeline": self.name, "output_path": path, "error": report_of(error)}


Sent: TypeAlias = tuple[_Way, Any]


@processor("scatter-gather")
class ScatterGather(Processor):
    """Send parts of the baton through several pipelines at the same time, and gather the results.

    Each pipeline gets a shallow copy of its part; its last result goes to its output path, once all
    are done. Parts that are missing are left out. If pipelines fail, the first failure is raised
    when all are done, and the baton stays as it was.

    With ``workers`` all parts are sent to the workers of that pool before the first answer is
    waited for. The first failure is raised and cancels what is under way, unless ``on_failure`` is
    ``fallback``: then the fallback is the result of a part that has failed; or ``partial``: such
    parts are left out, even if they are all, and a list at ``missing_path`` says of each
    ``{pipeline, output_path, error: {type, message, at}}``. It is empty where nothing is missing.

    Example:
        scatter-gather:
          mapping:
            - {pipeline: math.double, input_path: n, output_path: twice}
            - {pipeline: math.square, input_path: n}
        in:  {n: 4}
        out: {n: 4, twice: 8, math: {square: 16}}
    """

    mapping: Annotated[
        list[Scattered], Meta(description="The pipelines: {pipeline, input_path, output_path}.")
    ]
    copy: Annotated[
        bool, Meta(description="Give shallow copies of dicts and lists to the pipelines.")
    ] = True
    input_path_prefix: Annotated[str, Meta(description="Text put before each input path.")] = ""
    output_path_prefix: Annotated[str, Meta(description="Text put before each output path.")] = ""
    workers: Workers = None
    deadline: Deadline = None
    on_failure: Annotated[
        OnFailure,
        Meta(description="What becomes of failures at the workers: raise, fallback or partial."),
    ] = "raise"
    fallback: Fallback = MISSING
    missing_path: Annotated[
        BatonPath, Meta(description="Where 'partial' tells which parts are missing, and why.")
    ] = MISSING_PATH

    @property
    def is_async(self) -> bool:
        return self.workers is not None or waits(*(each.pipeline for each in self.mapping))

    @property
    def certain_calls(self) -> tuple[str, ...]:
        if self.workers is not None:
            return ()
        return tuple(name_of(each.pipeline) for each in self.mapping if self._source(each) == "")

    def check(self) -> Iterable[Problem]:
        pipelines = (
            (f"mapping[{index}].pipeline", each.pipeline) for index, each in enumerate(self.mapping)
        )
        yield from wrong_pool(self, *pipelines)
        if not self.missing_path:
            what = "expected a path for 'missing_path', got '', which is the whole baton"
            yield Problem("wrong-value", what, at="missing_path")
        elif self.missing_path != MISSING_PATH and self.on_failure != "partial":
            what = f"'missing_path' has no effect with 'on_failure: {self.on_failure}'"
            hint = "write 'on_failure: partial'"
            yield Problem("wrong-value", what, at="missing_path", hint=hint)
        for index, each in enumerate(self.mapping):
            at = f"mapping[{index}]"
            if each.output_path is NAME_OF_PIPELINE:
                what = "expected an 'output_path': a pipeline that is written in place has no name"
                yield Problem("missing-parameter", what, at=at, hint="null discards the result")
            yield from wrong_paths(self.input_path_prefix, {f"{at}.input_path": each.input_path})
            if each.output_path is not None:
                output = {f"{at}.output_path": each.output_path}
                yield from wrong_paths(self.output_path_prefix, output)

    def step(self) -> Step:
        if self.workers is not None:
            return self._step_of_workers(self.workers)
        given = self._given()

        def step(baton: Baton) -> Any:
            parts = given(baton)
            return _gather(baton, parts, [way.now(value) for way, value in parts])

        async def async_step(baton: Baton) -> Any:
            parts = given(baton)
            outcomes = await at_once([partial(way.later, value) for way, value in parts])
            return _gather(baton, parts, outcomes)

        return async_step if self.is_async else step

    def _step_of_workers(self, pool: PoolName) -> Step:
        given, deadline_s = self._given(), self.deadline
        put_missing = setter(self.missing_path)

        async def with_all(baton: Baton) -> Baton:
            parts = given(baton)
            return _put(baton, parts, await all_of(pool.value, _named(parts), deadline_s))

        async def with_fallbacks(baton: Baton) -> Baton:
            parts, front = given(baton), pool.value
            outcomes = await each_of(front, _named(parts), deadline_s)
            results = (
                result if error is None else fallback_of(self, front) for result, error in outcomes
            )
            return _put(baton, parts, results)

        async def with_some(baton: Baton) -> Baton:
            parts, missing = given(baton), []
            outcomes = await each_of(pool.value, _named(parts), deadline_s)
            for (way, _), (result, error) in zip(parts, outcomes, strict=True):
                if error is None:
                    baton = way.put(baton, result)
                else:
                    missing.append(way.report(error))
            return put_missing(baton, missing)

        steps: dict[OnFailure, Step] = {
            "raise": with_all,
            "fallback": with_fallbacks,
            "partial": with_some,
        }
        return steps[self.on_failure]

    def _given(self) -> Callable[[Baton], list[Sent]]:
        """Return what finds, for a baton, the ways to go and what goes them."""
        ways = [self._way(each) for each in self.mapping]

        def given(baton: Baton) -> list[Sent]:
            return [(way, value) for way in ways if (value := way.given(baton)) is not MISSING]

        return given

    def _way(self, part: Scattered) -> _Way:
        get = getter(self._source(part))
        given = (lambda baton: shallow(get(baton))) if self.copy and not self.workers else get
        name, path = name_of(part.pipeline), part.output_path
        pipeline = None if self.workers else part.pipeline.value
        if path is None:
            return _Way(name, pipeline, None, given, lambda baton, _result: baton)
        path = prefixed(self.output_path_prefix, path)
        return _Way(name, pipeline, path, given, setter(path))

    def _source(self, part: Scattered) -> BatonPath:
        return prefixed(self.input_path_prefix, part.input_path)


def _named(parts: list[Sent]) -> list[tuple[str, Any]]:
    return [(way.name, value) for way, value in parts]


def _gather(baton: Baton, parts: list[Sent], outcomes: list[Outcome]) -> Baton:
    """Store the results and return the baton to go on with; raise the first failure."""
    failures = [error for _, error in outcomes if error is not None]
    if failures:
        raise first_of(failures)
    return _put(baton, parts, (result for result, _ in outcomes))


def _put(baton: Baton, parts: list[Sent], results: Iterable[Any]) -> Baton:
    for (way, _), result in zip(parts, results, strict=True):
        baton = way.put(baton, result)
    return baton
