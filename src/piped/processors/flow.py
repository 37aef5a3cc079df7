"""The way of batons: letting them pass, deciding, stopping, waiting, and ending the service."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import field
from typing import Annotated, Any

from piped.batons import Baton, BatonPath, getter
from piped.errors import PipelineError, Problem
from piped.processors._shown import shown
from piped.spec import (
    DecidingProcessor,
    Dependency,
    Duration,
    Lambda,
    Meta,
    Namespace,
    Processor,
    processor,
)


@processor("passthrough")
class Passthrough(Processor):
    """Let the baton pass as it is.

    Example:
        passthrough: {}
        in:  {n: 1}
        out: {n: 1}
    """

    def process(self, baton: Baton) -> Baton:
        return baton


@processor("lambda-decider")
class LambdaDecider(DecidingProcessor):
    """Choose by a lambda which consumers go on with the baton.

    The lambda gives the index of a consumer, or a list of indexes: 0 is the first, -1 the last,
    which is the next step of the chain; ``[]`` ends the baton's way here. The baton stays as it is.
    Where there is no input, the lambda gets None.

    Example:
        lambda-decider: {input_path: n, lambda: "n: 0 if n % 2 else 1"}
        in:  {n: 4}
        out: {n: 4}

    Raises:
        PipelineError: The lambda gave something else than indexes of consumers.
    """

    input_path: Annotated[
        BatonPath, Meta(description="Where the lambda's input is; '' is the whole baton.")
    ] = BatonPath("")
    lambda_: Annotated[
        Lambda, Meta(description="A lambda that gives the index of a consumer, or a list of them.")
    ]
    namespace: Annotated[Namespace, Meta(description="Names for the lambda.")] = field(
        default_factory=Namespace
    )
    _decide: Callable[[Any], Any] = field(init=False)
    _get: Callable[[Baton], Any] = field(init=False)

    def __post_init__(self) -> None:
        self._decide = self.lambda_.compile(self.namespace, self)
        self._get = getter(self.input_path, None)

    def check(self) -> Iterable[Problem]:
        yield from self.lambda_.check(self.namespace)

    def choose(self, baton: Baton, consumers: int) -> Sequence[int]:
        decision = self._decide(self._get(baton))
        chosen = decision if isinstance(decision, list | tuple) else (decision,)
        for index in chosen:
            if not isinstance(index, int) or not -consumers <= index < consumers:
                raise PipelineError(
                    f"expected the index of one of {consumers} consumers, or a list of them,"
                    f" got {shown(decision)}"
                )
        return chosen


@processor("stop")
class Stop(DecidingProcessor):
    """End the baton's way here if the decider says so; else let it pass.

    The baton stays as it is. Where there is no input, the decider gets None.

    Example:
        stop: {input_path: answer, decider: "answer: answer is not None"}
        in:  {answer: 42}
        out: {answer: 42}
    """

    input_path: Annotated[
        BatonPath, Meta(description="Where the decider's input is; '' is the whole baton.")
    ] = BatonPath("")
    decider: Annotated[Lambda, Meta(description="A lambda; true ends the baton's way here.")] = (
        field(default_factory=lambda: Lambda("input: bool(input)"))
    )
    namespace: Annotated[Namespace, Meta(description="Names for the decider.")] = field(
        default_factory=Namespace
    )
    _decide: Callable[[Any], Any] = field(init=False)
    _get: Callable[[Baton], Any] = field(init=False)

    def __post_init__(self) -> None:
        self._decide = self.decider.compile(self.namespace, self)
        self._get = getter(self.input_path, None)

    def check(self) -> Iterable[Problem]:
        yield from self.decider.check(self.namespace)

    def choose(self, baton: Baton, consumers: int) -> Sequence[int]:
        return () if self._decide(self._get(baton)) else range(consumers)


@processor("wait")
class Wait(Processor):
    """Wait some time, and let other batons go on meanwhile.

    Example:
        wait: {delay: 1ms}
        in:  {n: 1}
        out: {n: 1}
    """

    delay: Annotated[Duration, Meta(description="How long to wait, such as 250ms or 2s.")]

    async def process(self, baton: Baton) -> Baton:
        await asyncio.sleep(self.delay)
        return baton


@processor("shutdown")
class Shutdown(Processor):
    """End the service: what is in flight is finished, then the process ends.

    Without ``exit_code`` it is 1 among error consumers, else what the service has found by itself,
    such as 1 after failed status tests. The baton stays as it is.

    Example:
        shutdown: {exit_code: 0}
        in:  {done: true}
        out: {done: true}
    """

    exit_code: Annotated[
        Annotated[int, Meta(ge=0, le=255)] | None,
        Meta(description="The exit code of the process."),
    ] = None
    _service: Dependency[Any] = field(default_factory=lambda: Dependency("service"), init=False)

    def process(self, baton: Baton) -> Baton:
        code = self.exit_code
        if code is None and sys.exc_info()[1] is not None:
            code = 1
        self._service.value.stop(code)
        return baton
