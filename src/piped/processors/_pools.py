"""What the processors that send work to a pool have in common: parameters, checks, and the join."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from typing import Annotated, Any, Literal, Protocol, TypeAlias

from piped.batons import MISSING, fresh
from piped.errors import Problem, TooDeep, add_note
from piped.processors._running import last
from piped.spec import Duration, Meta, PipelineName, PoolName

OnFailure = Literal["raise", "fallback", "partial"]

Workers = Annotated[
    PoolName | None,
    Meta(description="The pool whose workers run the pipeline; null runs it here."),
]
Deadline = Annotated[
    Annotated[Duration, Meta(gt=0)] | None,
    Meta(description="How long the workers may take; null is the deadline of the pool."),
]
Fallback = Annotated[
    Any,
    Meta(description="What stands for what failed; by default the fallback of the pool, or null."),
]

Results: TypeAlias = list[Any]
Outcome: TypeAlias = tuple[Any, Exception | None]
"""The last result of a pipeline, or why there is none."""


class Gathered(Protocol):
    """Parts that are under way together."""

    @property
    def future(self) -> asyncio.Future[list[Results]]: ...

    def cancel(self) -> None:
        """End what is left of them."""


class Front(Protocol):
    """The resource of a pool."""

    @property
    def fallback(self) -> Any: ...

    def call(
        self, pipeline: str, value: Any, deadline_s: float | None = None
    ) -> asyncio.Future[Results]: ...

    def call_all(
        self, calls: Iterable[tuple[str, Any]], deadline_s: float | None = None
    ) -> Gathered: ...


class Sender(Protocol):
    """A processor with these parameters."""

    @property
    def workers(self) -> PoolName | None: ...
    @property
    def deadline(self) -> float | None: ...
    @property
    def on_failure(self) -> OnFailure: ...
    @property
    def fallback(self) -> Any: ...


def wrong_pool(step: Sender, *pipelines: tuple[str, PipelineName | None]) -> Iterator[Problem]:
    """Yield what is wrong with the parameters about workers.

    Args:
        step: The processor.
        pipelines: Those that the workers would run, after the paths of their parameters.
    """
    if step.workers is None:
        given = {
            "deadline": step.deadline is not None,
            "on_failure": step.on_failure != "raise",
            "fallback": step.fallback is not MISSING,
        }
        for name in (name for name, is_given in given.items() if is_given):
            what = f"'{name}' is about workers, and there are none"
            yield Problem("without-workers", what, at=name, hint="add 'workers: POOL'")
        return
    if step.fallback is not MISSING and step.on_failure != "fallback":
        what = f"'fallback' has no effect with 'on_failure: {step.on_failure}'"
        yield Problem("wrong-value", what, at="fallback", hint="write 'on_failure: fallback'")
    for at, pipeline in pipelines:
        yield from unnamed(at, pipeline)


def unnamed(at: str, pipeline: PipelineName | None) -> Iterator[Problem]:
    """Yield the problem of a pipeline that has no name by which workers know it."""
    if pipeline is not None and pipeline.inline is not None:
        what = "expected the name of a pipeline that the pool serves, got a list of steps"
        yield Problem("not-a-pipeline", what, at=at)


def fallback_of(step: Sender, front: Front) -> Any:
    """Return what stands for a result that has failed: the step's own, or the pool's, or None."""
    value = front.fallback if step.fallback is MISSING else step.fallback
    return None if value is MISSING else fresh(value)()


def at_workers(
    step: Sender, take: Callable[[Results], Any], *, falls_back: bool
) -> Callable[[Front, str, Any], Awaitable[Any]]:
    """Return what sends a value through a pipeline at the workers, and gives the output.

    Args:
        step: The processor.
        take: What makes the output of the results.
        falls_back: Whether the fallback is the output where the workers fail, or their pool.
    """
    deadline_s = step.deadline

    async def send(front: Front, name: str, value: Any) -> Any:
        try:
            results = await front.call(name, value, deadline_s)
        except TooDeep:
            raise
        except Exception:
            if falls_back:
                return fallback_of(step, front)
            raise
        return take(results)

    return send


async def all_of(
    front: Front, parts: Sequence[tuple[str, Any]], deadline_s: float | None
) -> list[Any]:
    """Send values through pipelines, all before the first answer, and return their last results.

    The first failure cancels the others, and is raised. It needs no task: this is the hot path.
    """
    if not parts:
        return []
    sent = front.call_all(parts, deadline_s)
    try:
        return [last(each) for each in await sent.future]
    except BaseException:
        sent.cancel()
        raise


async def each_of(
    front: Front, parts: Iterable[tuple[str, Any]], deadline_s: float | None
) -> list[Outcome]:
    """Send values through pipelines, all before the first answer, and return what became of each.

    Raises:
        TooDeep: Where calls have no end, what is left to do has none.
    """
    sent = [_sent(front, name, value, deadline_s) for name, value in parts]
    try:
        return [await outcome_of(each) for each in sent]
    except BaseException:
        _abandon(sent)
        raise


async def outcome_of(results: Awaitable[Results]) -> Outcome:
    """Return the last of the results of a pipeline, or why there are none.

    Raises:
        TooDeep: Where calls have no end, what is left to do has none.
    """
    try:
        return last(await results), None
    except TooDeep:
        raise
    except Exception as error:
        return None, error


def first_of(failures: Sequence[BaseException]) -> BaseException:
    """Return the first of several failures, with notes about the others."""
    first, *others = failures
    for other in others:
        add_note(first, f"another part failed too: {type(other).__name__}: {other}")
    return first


def _sent(front: Front, name: str, value: Any, deadline_s: float | None) -> asyncio.Future[Results]:
    """Send a value; where the pool refuses it, it has failed at once."""
    try:
        return front.call(name, value, deadline_s)
    except Exception as error:
        refused: asyncio.Future[Results] = asyncio.get_running_loop().create_future()
        refused.set_exception(error)
        return refused


def _abandon(sent: Iterable[asyncio.Future[Results]]) -> None:
    """Cancel what is under way; what has failed meanwhile is nobody's concern."""
    for future in sent:
        if not future.cancel() and not future.cancelled():
            future.exception()
