"""Jobs for workers: what somebody else takes up when they are done."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, ClassVar

from piped.batons import MISSING, Baton, BatonPath
from piped.errors import BatonError, Problem
from piped.processors._pools import unnamed
from piped.processors._running import name_of
from piped.processors._shown import shown
from piped.spec import Input, InputOutputProcessor, Meta, PipelineName, PoolName, processor


@processor("submit-work")
class SubmitWork(InputOutputProcessor):
    """Give the input to the workers of a pool as a job, and go on without waiting for its end.

    The output is the job's key. The step is over when the job is on disk. It is done at least once;
    if its attempts are used up, it goes to the dead letters of the pool. A second job with the same
    key is not taken: it is the same job.

    When it is done, ``then`` is run here, with ``{key, pipeline, result}``.

    Example:
        submit-work: {workers: math, pipeline: math.double, input_path: n, key: order-17}
        in:  {n: 4}
        out: {n: 4, key: order-17}

    Raises:
        BatonError: The key in the baton is neither a text nor a number, or the input cannot cross.
        QueueFull: The pool has as many jobs as it may have.
        Unavailable: The disk refuses, or the step is run by a worker of that pool.
    """

    local_pipelines: ClassVar[tuple[str, ...]] = ("then",)
    is_for_later: ClassVar[bool] = True

    workers: Annotated[PoolName, Meta(description="The pool whose workers do it.")]
    pipeline: Annotated[PipelineName, Meta(description="The pipeline that they run.")]
    key: Annotated[
        Input[str] | None,
        Meta(description="What tells the job from others, or !path to it; by default random."),
    ] = None
    then: Annotated[
        PipelineName | None,
        Meta(description="The pipeline that is run here, later, with what came of the job."),
    ] = None
    output_path: Annotated[
        BatonPath | None,
        Meta(description="Where the key goes; '' replaces the baton, null discards the key."),
    ] = BatonPath("key")

    def check(self) -> Iterable[Problem]:
        yield from unnamed("pipeline", self.pipeline)
        if self.then is not None and self.then.inline is not None:
            what = "expected the name of a pipeline, got a list of steps"
            why = "a job may outlive this process, and finds it by its name"
            yield Problem("not-a-pipeline", what, at="then", why=why)

    async def process_input(self, value: Any, baton: Baton) -> str:
        key = self._key_in(baton)
        then = name_of(self.then) if self.then is not None else ""
        front = self.workers.value
        given: str = await front.submit(name_of(self.pipeline), value, key=key, then=then)
        return given

    def _key_in(self, baton: Baton) -> str:
        """Return the key of the job; '' where the pool shall make one up."""
        if self.key is None:
            return ""
        key = self.key.get(baton)
        if isinstance(key, bool) or not isinstance(key, str | int) or key == "":
            where = f" at '{self.key.given}'" if isinstance(self.key.given, BatonPath) else ""
            got = "nothing" if key is MISSING else shown(key)
            raise BatonError(f"expected a text or a number as the key{where}, got {got}")
        return str(key)
