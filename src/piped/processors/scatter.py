"""Several pipelines at the same time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Final, TypeAlias

from piped.batons import MISSING, Baton, BatonPath, getter, setter
from piped.errors import Problem, TooDeep, add_note
from piped.processors._running import last, name_of, shallow, waits
from piped.processors.mapping import prefixed, wrong_paths
from piped.processors.parallel import at_once
from piped.spec import Meta, PipelineName, Processor, Step, part, processor

NAME_OF_PIPELINE: Final = BatonPath("<pipeline>")


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


Outcome: TypeAlias = tuple[Any, Exception | None]


@dataclass(frozen=True, slots=True)
class _Way:
    """One pipeline with all that is needed to run it, made when the graph is built."""

    pipeline: Any
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
        try:
            return last(await self.pipeline(value)), None
        except TooDeep:
            raise
        except Exception as error:
            return None, error


@processor("scatter-gather")
class ScatterGather(Processor):
    """Send parts of the baton through several pipelines at the same time, and gather the results.

    Each pipeline gets a shallow copy of its part; its last result goes to its output path, once all
    are done. Parts that are missing are left out. If pipelines fail, the first failure is raised
    when all are done, and the baton stays as it was.

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

    @property
    def is_async(self) -> bool:
        return waits(*(each.pipeline for each in self.mapping))

    @property
    def certain_calls(self) -> tuple[str, ...]:
        return tuple(name_of(each.pipeline) for each in self.mapping if self._source(each) == "")

    def check(self) -> Iterable[Problem]:
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
        ways = [self._way(each) for each in self.mapping]

        def given(baton: Baton) -> list[tuple[_Way, Any]]:
            return [(way, value) for way in ways if (value := way.given(baton)) is not MISSING]

        def step(baton: Baton) -> Any:
            parts = given(baton)
            return _gather(baton, parts, [way.now(value) for way, value in parts])

        async def async_step(baton: Baton) -> Any:
            parts = given(baton)
            outcomes = await at_once([partial(way.later, value) for way, value in parts])
            return _gather(baton, parts, outcomes)

        return async_step if self.is_async else step

    def _way(self, part: Scattered) -> _Way:
        get = getter(self._source(part))
        given = (lambda baton: shallow(get(baton))) if self.copy else get
        if part.output_path is None:
            return _Way(part.pipeline.value, given, lambda baton, _result: baton)
        put = setter(prefixed(self.output_path_prefix, part.output_path))
        return _Way(part.pipeline.value, given, put)

    def _source(self, part: Scattered) -> BatonPath:
        return prefixed(self.input_path_prefix, part.input_path)


def _gather(baton: Baton, parts: list[tuple[_Way, Any]], outcomes: list[Outcome]) -> Baton:
    """Store the results and return the baton to go on with; raise the first failure."""
    failures = [error for _, error in outcomes if error is not None]
    if failures:
        first, *others = failures
        for other in others:
            add_note(first, f"another part failed too: {type(other).__name__}: {other}")
        raise first
    for (way, _), (result, _) in zip(parts, outcomes, strict=True):
        baton = way.put(baton, result)
    return baton
