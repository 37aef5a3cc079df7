"""Pipelines as steps of other pipelines."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import field
from typing import Annotated, Any, Literal

from piped.batons import MISSING, Baton, BatonPath, getter, setter
from piped.errors import BatonError, Problem
from piped.processors._alternatives import not_one_of
from piped.processors._pools import Deadline, Fallback, Workers, at_workers, wrong_pool
from piped.processors._running import certain, last, name_of, waits
from piped.processors._shown import shown
from piped.spec import (
    Dependencies,
    Dependency,
    InputOutputProcessor,
    Lambda,
    Meta,
    Namespace,
    PipelineName,
    PoolName,
    Step,
    absolute,
    processor,
)


@processor("run-pipeline")
class RunPipeline(InputOutputProcessor):
    """Send the input through another pipeline, and take its last result as the output.

    The pipeline is named by ``pipeline``, or by the baton at ``pipeline_path``. A relative name
    begins with dots: in ``web.compute``, ``.write`` is ``web.write``. If the other pipeline stops,
    this one goes on with what it had there.

    With ``workers`` the workers of that pool run the pipeline, which must be one of those that the
    pool serves: the input and the results cross as JSON or MessagePack, and what is raised there is
    raised here. With ``on_failure: fallback`` the fallback is the output instead.

    Example:
        run-pipeline: {pipeline: math.double, input_path: n, output_path: twice}
        in:  {n: 4}
        out: {n: 4, twice: 8}

    Raises:
        BatonError: There is no name of a pipeline at ``pipeline_path``, or the input cannot cross
            to workers.
        LookupError: The pipeline named in the baton does not exist.
        DeadlineExceeded: The workers have not answered in time.
        QueueFull: The pool has as many parts as it may have.
    """

    pipeline: Annotated[
        PipelineName | None, Meta(description="The pipeline, such as web.compute or .write.")
    ] = None
    pipeline_path: Annotated[
        BatonPath | None, Meta(description="Where in the baton the pipeline's name is.")
    ] = None
    only_last_result: Annotated[
        bool, Meta(description="Take the last result, instead of the list of all.")
    ] = True
    trace_path: Annotated[
        BatonPath | None, Meta(description="Where to store what happened at each step.")
    ] = None
    workers: Workers = None
    deadline: Deadline = None
    on_failure: Annotated[
        Literal["raise", "fallback"],
        Meta(description="What becomes of a failure at the workers: raise, or fallback."),
    ] = "raise"
    fallback: Fallback = MISSING
    _pipelines: Dependency[Any] | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        if self.pipeline_path is not None and self.workers is None:
            self._pipelines = Dependency("pipelines")

    @property
    def is_async(self) -> bool:
        if self.pipeline is None or self.trace_path is not None or self.workers is not None:
            return True
        return waits(self.pipeline)

    @property
    def certain_calls(self) -> tuple[str, ...]:
        return () if self.workers is not None else certain(self, self.pipeline)

    def check(self) -> Iterable[Problem]:
        if wrong := not_one_of("pipeline", self.pipeline, "pipeline_path", self.pipeline_path):
            yield wrong
        if self.trace_path == "":
            what = "expected a path for 'trace_path', got '', which is the whole baton"
            yield Problem("wrong-value", what, at="trace_path")
        if self.trace_path is not None and self.workers is not None:
            what = "what workers do cannot be traced here"
            yield Problem("wrong-value", what, at="trace_path")
        yield from wrong_pool(self, ("pipeline", self.pipeline))

    def call(self) -> Callable[[Any, Baton], Any]:
        take = last if self.only_last_result else list
        if self.workers is not None:
            return self._call_of_workers(self.workers, take)
        find = self._finder()

        def call(value: Any, baton: Baton) -> Any:
            return take(find(baton).now(value))

        async def async_call(value: Any, baton: Baton) -> Any:
            return take(await find(baton)(value))

        async def traced_call(value: Any, baton: Baton) -> Any:
            results, trace = await find(baton).traced(value)
            return take(results), trace

        if self.trace_path is not None:
            return traced_call
        return async_call if self.is_async else call

    def _call_of_workers(
        self, pool: PoolName, take: Callable[[list[Any]], Any]
    ) -> Callable[[Any, Baton], Any]:
        named = self._named()
        send = at_workers(self, take, falls_back=self.on_failure == "fallback")

        def call(value: Any, baton: Baton) -> Any:
            name = named(baton)
            return send(pool.value, name, value)

        return call

    def _finder(self) -> Callable[[Baton], Any]:
        """Return what finds the pipeline for a baton."""
        if self.pipeline is not None:
            pipeline = self.pipeline.value
            return lambda _baton: pipeline
        pipelines, named = self._pipelines, self._named()
        assert pipelines is not None
        return lambda baton: pipelines.value.find(named(baton))

    def _named(self) -> Callable[[Baton], str]:
        """Return what gives the full name of the pipeline for a baton."""
        if self.pipeline is not None:
            name = name_of(self.pipeline)
            return lambda _baton: name
        path = self.pipeline_path or ""
        get = getter(path, None)

        def named(baton: Baton) -> str:
            name = get(baton)
            if not isinstance(name, str) or not name.strip("."):
                raise BatonError(f"expected the name of a pipeline at '{path}', got {shown(name)}")
            try:
                return absolute(name.removeprefix("pipeline."), self.home)
            except ValueError as error:
                raise BatonError(f"{error}") from None

        return named

    def _put(self) -> Callable[[Baton, Any], Baton]:
        put = super()._put()
        if self.trace_path is None:
            return put
        put_trace = setter(self.trace_path)
        return lambda baton, traced: put_trace(put(baton, traced[0]), traced[1])


@processor("run-pipeline-if")
class RunPipelineIf(RunPipeline):
    """Send the input through another pipeline where a condition holds; else leave the baton.

    All else is as in run-pipeline. Where the condition has no input, it gets None.

    Example:
        run-pipeline-if: {pipeline: math.double, input_path: n, condition: "baton: baton['n'] > 3"}
        in:  {n: 4}
        out: {n: 8}
    """

    condition: Annotated[Lambda, Meta(description="A lambda; the pipeline runs if it is true.")] = (
        field(default_factory=lambda: Lambda("input: input"))
    )
    condition_input_path: Annotated[
        BatonPath, Meta(description="Where the condition's input is; '' is the whole baton.")
    ] = BatonPath("")
    namespace: Annotated[Namespace, Meta(description="Names for the condition.")] = field(
        default_factory=Namespace
    )
    dependencies: Annotated[Dependencies, Meta(description="Resources for the condition.")] = field(
        default_factory=Dependencies
    )

    @property
    def certain_calls(self) -> tuple[str, ...]:
        return ()

    def check(self) -> Iterable[Problem]:
        yield from super().check()
        yield from self.condition.check(self.namespace)

    def step(self) -> Step:
        run = super().step()
        holds = self.condition.compile(self.namespace, self)
        get = getter(self.condition_input_path, None)

        def step(baton: Baton) -> Any:
            return run(baton) if holds(get(baton)) else baton

        async def async_step(baton: Baton) -> Any:
            return await run(baton) if holds(get(baton)) else baton

        return async_step if self.is_async else step
