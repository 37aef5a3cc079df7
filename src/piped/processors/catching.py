"""Pipelines that may fail, and what is done then."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import field
from typing import Annotated, Any, TypeAlias

import structlog

from piped.batons import Baton, BatonPath, setter
from piped.errors import Level, Problem, TooDeep
from piped.processors._failure import all_failed, report_of
from piped.processors._running import certain, later, name_of, now, shallow, waits
from piped.spec import (
    ErrorTypes,
    InputOutputProcessor,
    Meta,
    PipelineName,
    part,
    processor,
)

Way: TypeAlias = Callable[[Any], Any]

log = structlog.get_logger("piped.flow")


@part
class Catch:
    """One clause of try: which errors it takes, and what is done with the input then."""

    errors: Annotated[
        ErrorTypes, Meta(description="The class of exception to catch, or a list of classes.")
    ] = ErrorTypes((Exception,))
    then: Annotated[PipelineName, Meta(description="The pipeline that gets the input then.")]
    error_path: Annotated[
        BatonPath | None, Meta(description="Where {type, message, at} of the error goes.")
    ] = None

    def told(self) -> Callable[[Any, Exception], Any]:
        """Return what makes the baton for the clause's pipeline."""
        if self.error_path is None:
            return lambda value, _failure: shallow(value)
        put = setter(self.error_path)
        return lambda value, failure: put(shallow(value), report_of(failure))


@processor("try")
class Try(InputOutputProcessor):
    """Send the input through a pipeline, and where that fails, through one that deals with it.

    The first clause of ``catch`` that takes the error gets the input as it was given: each pipeline
    works on a shallow copy of a dict or a list of its own. While it runs, the error is Python's
    current exception, as it is for error consumers. The output is the last result of the pipeline
    that came to its end. An error that no clause takes, or that a clause raises, goes on.

    ``finally`` gets the input after all that, be it a success, an error or a cancellation. Its
    result is discarded.

    Example:
        try:
          input_path: n
          pipeline: math.double
          catch:
            - {errors: [TypeError, ValueError], then: math.square}
        in:  {n: 4}
        out: {n: 8}

    Raises:
        Exception: What the pipeline raised and no clause takes, or what a clause raised.
    """

    pipeline: Annotated[PipelineName, Meta(description="The pipeline that is tried.")]
    catch: Annotated[
        list[Catch], Meta(description="The clauses in order: {errors, then, error_path}.")
    ] = field(default_factory=list)
    finally_: Annotated[
        PipelineName | None, Meta(description="The pipeline that gets the input at the end.")
    ] = None

    @property
    def is_async(self) -> bool:
        return waits(self.pipeline, *(each.then for each in self.catch), self.finally_)

    @property
    def certain_calls(self) -> tuple[str, ...]:
        return certain(self, self.pipeline, self.finally_)

    def check(self) -> Iterable[Problem]:
        if not self.catch and self.finally_ is None:
            yield Problem("missing-parameter", "try needs 'catch' or 'finally', or both")
        taken: tuple[type[Exception], ...] = ()
        for index, clause in enumerate(self.catch):
            if all(issubclass(kind, taken) for kind in clause.errors):
                names = " and ".join(kind.__name__ for kind in clause.errors)
                what = f"no error reaches this clause: those before it take {names}"
                hint, at = "put it before them", f"catch[{index}]"
                yield Problem("unreachable-catch", what, at=at, hint=hint, level=Level.WARNING)
            taken += clause.errors

    def call(self) -> Callable[[Any, Baton], Any]:
        catching = self._catching_later() if self.is_async else self._catching()
        if self.finally_ is None:
            return lambda value, _baton: catching(value)
        return (_finishing_later if self.is_async else _finishing)(catching, self.finally_)

    def _catching(self) -> Way:
        attempt = now(self.pipeline)
        clauses = [(each.errors, each.told(), now(each.then)) for each in self.catch]

        def catching(value: Any) -> Any:
            try:
                return attempt(shallow(value))
            except TooDeep:  # where calls have no end, what is left to do has none
                raise
            except Exception as failure:
                for errors, told, way in clauses:
                    if isinstance(failure, errors):
                        return way(told(value, failure))
                raise

        return catching

    def _catching_later(self) -> Callable[[Any], Awaitable[Any]]:
        attempt = later(self.pipeline)
        clauses = [(each.errors, each.told(), later(each.then)) for each in self.catch]

        async def catching(value: Any) -> Any:
            try:
                return await attempt(shallow(value))
            except TooDeep:
                raise
            except Exception as failure:
                for errors, told, way in clauses:
                    if isinstance(failure, errors):
                        return await way(told(value, failure))
                raise

        return catching


def _finishing(act: Way, finish: PipelineName) -> Callable[[Any, Baton], Any]:
    """Return what acts, and in the end sends the input through a pipeline."""
    end = now(finish)

    def call(value: Any, _baton: Baton) -> Any:
        try:
            result = act(value)
        except TooDeep:
            raise
        except Exception:
            end(shallow(value))
            raise
        end(shallow(value))
        return result

    return call


def _finishing_later(act: Way, finish: PipelineName) -> Callable[[Any, Baton], Any]:
    """Do the same as ``_finishing`` for what must be awaited, and can be cancelled."""
    end = later(finish)

    async def call(value: Any, _baton: Baton) -> Any:
        try:
            result = await act(value)
        except TooDeep:
            raise
        except asyncio.CancelledError:
            try:
                await end(shallow(value))
            except Exception:  # it must not hide that the baton's way has been cancelled
                log.exception("finally failed after a cancellation", pipeline=name_of(finish))
            raise
        except Exception:
            await end(shallow(value))
            raise
        await end(shallow(value))
        return result

    return call


@processor("fallback")
class Fallback(InputOutputProcessor):
    """Send the input through the first of several pipelines that does not fail.

    They are tried one after the other, each with a shallow copy of its own if the input is a dict
    or a list. The output is the last result of the first success. Errors other than ``errors`` are
    no reason to try another one, and go on.

    Example:
        fallback: {input_path: n, pipelines: [math.double, math.square]}
        in:  {n: 4}
        out: {n: 8}

    Raises:
        AllPipelinesFailed: None succeeded; its ``failures`` are their errors, in order.
    """

    pipelines: Annotated[list[PipelineName], Meta(description="The pipelines, in order.")]
    errors: Annotated[
        ErrorTypes, Meta(description="The class, or classes, of exceptions after which to go on.")
    ] = ErrorTypes((Exception,))

    @property
    def is_async(self) -> bool:
        return waits(*self.pipelines)

    @property
    def certain_calls(self) -> tuple[str, ...]:
        return certain(self, *self.pipelines[:1])

    def check(self) -> Iterable[Problem]:
        if not self.pipelines:
            yield Problem("wrong-value", "expected one pipeline at least, got none", at="pipelines")

    def call(self) -> Callable[[Any, Baton], Any]:
        if self.is_async:
            return self._call_later()
        ways = [now(each) for each in self.pipelines]

        def call(value: Any, _baton: Baton) -> Any:
            failures: list[Exception] = []
            for way in ways:
                try:
                    return way(shallow(value))
                except Exception as failure:
                    self._note(failure, failures)
            raise all_failed(failures)

        return call

    def _call_later(self) -> Callable[[Any, Baton], Awaitable[Any]]:
        ways = [later(each) for each in self.pipelines]

        async def call(value: Any, _baton: Baton) -> Any:
            failures: list[Exception] = []
            for way in ways:
                try:
                    return await way(shallow(value))
                except Exception as failure:
                    self._note(failure, failures)
            raise all_failed(failures)

        return call

    def _note(self, failure: Exception, failures: list[Exception]) -> None:
        """Add a failure after which the next pipeline is tried; raise any other again."""
        if isinstance(failure, TooDeep) or not isinstance(failure, self.errors):
            raise failure
        failures.append(failure)
