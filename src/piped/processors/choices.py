"""Choosing between pipelines."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import field, replace
from typing import Annotated, Any, TypeAlias

from piped.batons import Baton
from piped.errors import Problem
from piped.processors._running import later, now, waits
from piped.spec import (
    InputOutputProcessor,
    Lambda,
    Meta,
    Namespace,
    PipelineName,
    part,
    processor,
)

Holds: TypeAlias = Callable[[Any], Any]


@processor("when")
class When(InputOutputProcessor):
    """Send the input through one pipeline where a condition holds, through another where not.

    The condition gets the input. The output is the last result of the pipeline; where the condition
    does not hold and ``otherwise`` is not given, it is the input.

    Example:
        when: {input_path: n, condition: "n: n > 3", then: math.double, otherwise: math.square}
        in:  {n: 4}
        out: {n: 8}
    """

    condition: Annotated[
        Lambda, Meta(description="A lambda of the input that gives true or false.")
    ]
    then: Annotated[PipelineName, Meta(description="The pipeline if the condition holds.")]
    otherwise: Annotated[
        PipelineName | None, Meta(description="The pipeline if it does not hold.")
    ] = None
    namespace: Annotated[Namespace, Meta(description="Names for the condition.")] = field(
        default_factory=Namespace
    )

    @property
    def is_async(self) -> bool:
        return waits(self.then, self.otherwise)

    def check(self) -> Iterable[Problem]:
        for problem in self.condition.check(self.namespace):
            yield replace(problem, at="condition")

    def call(self) -> Callable[[Any, Baton], Any]:
        holds = self.condition.compile(self.namespace, self)
        return _chooser([(holds, self.then)], self.otherwise, self.is_async)


@part
class Case:
    """One way of switch: when it is taken, and where it leads."""

    condition: Annotated[
        Lambda, Meta(description="A lambda of the input that gives true or false.")
    ]
    then: Annotated[PipelineName, Meta(description="The pipeline if the condition holds.")]


@processor("switch")
class Switch(InputOutputProcessor):
    """Send the input through the pipeline of the first case whose condition holds.

    The conditions get the input, one after the other; those after the first that holds are not
    asked. The output is the last result of the pipeline; where no case holds and ``default`` is not
    given, it is the input.

    Example:
        switch:
          input_path: n
          cases:
            - {condition: "n: n < 0", then: math.square}
            - {condition: "n: n < 10", then: math.double}
        in:  {n: 4}
        out: {n: 8}
    """

    cases: Annotated[list[Case], Meta(description="The cases in order: {condition, then}.")]
    default: Annotated[
        PipelineName | None, Meta(description="The pipeline where no case holds.")
    ] = None
    namespace: Annotated[Namespace, Meta(description="Names for the conditions.")] = field(
        default_factory=Namespace
    )

    @property
    def is_async(self) -> bool:
        return waits(*(each.then for each in self.cases), self.default)

    def check(self) -> Iterable[Problem]:
        if not self.cases:
            yield Problem("wrong-value", "expected one case at least, got none", at="cases")
        for index, case in enumerate(self.cases):
            for problem in case.condition.check(self.namespace):
                yield replace(problem, at=f"cases[{index}].condition")

    def call(self) -> Callable[[Any, Baton], Any]:
        cases = [(case.condition.compile(self.namespace, self), case.then) for case in self.cases]
        return _chooser(cases, self.default, self.is_async)


def _chooser(
    cases: Sequence[tuple[Holds, PipelineName]], default: PipelineName | None, is_async: bool
) -> Callable[[Any, Baton], Any]:
    """Return what sends a value through the pipeline of the first case that holds."""
    send: Callable[[PipelineName], Callable[[Any], Any]] = later if is_async else now
    ways = [(holds, send(pipeline)) for holds, pipeline in cases]
    rest = send(default) if default else None

    def way_of(value: Any) -> Callable[[Any], Any] | None:
        for holds, way in ways:
            if holds(value):
                return way
        return rest

    def call(value: Any, _baton: Baton) -> Any:
        way = way_of(value)
        return way(value) if way else value

    async def async_call(value: Any, _baton: Baton) -> Any:
        way = way_of(value)
        return await way(value) if way else value

    return async_call if is_async else call
