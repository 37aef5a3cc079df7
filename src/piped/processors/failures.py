"""Raising failures, and treating them among error consumers."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterable
from dataclasses import field
from typing import Annotated, Any, ClassVar, NoReturn

from piped.batons import Baton, BatonPath, fresh, setter
from piped.errors import PipelineError, Problem
from piped.spec import (
    ErrorTypes,
    Meta,
    Processor,
    Step,
    UnknownException,
    exception_named,
    processor,
)


@processor("raise-exception")
class RaiseException(Processor):
    """Raise an exception.

    Builtins are known by name, others by their dotted Python name.

    Example:
        raise-exception: {type: ValueError, args: the answer is missing}

    Raises:
        Exception: Always; its class is ``type``.
    """

    answers: ClassVar[bool] = True  # 500, or what the site says of the exception
    is_end: ClassVar[bool] = True

    type: Annotated[
        str, Meta(description="The class: ValueError, or a dotted name such as package.Failure.")
    ] = "Exception"
    args: Annotated[Any, Meta(description="Its argument, or a list of them.")] = field(
        default_factory=list
    )
    kwargs: Annotated[dict[str, Any], Meta(description="Its keyword arguments.")] = field(
        default_factory=dict
    )

    def check(self) -> Iterable[Problem]:
        try:
            exception_named(self.type)
        except UnknownException as error:
            yield Problem("unknown-exception", f"{error}", at="type", hint=error.hint)

    def step(self) -> Step:
        kind = exception_named(self.type)
        args = fresh(self.args if isinstance(self.args, list) else [self.args])
        kwargs = fresh(self.kwargs)

        def step(_baton: Baton) -> NoReturn:
            raise kind(*args(), **kwargs())

        return step


@processor("trap-failure")
class TrapFailure(Processor):
    """Let the baton pass if the failure is one of the named ones; else raise it again.

    It belongs among error consumers. The exception is stored in the baton where ``output_path`` is
    given.

    Example:
        trap-failure: {error_types: [KeyError, ValueError], output_path: error}

    Raises:
        PipelineError: No failure is being treated.
        Exception: The failure, where it is none of the named ones.
    """

    error_types: Annotated[
        ErrorTypes, Meta(description="The class of exception to trap, or a list of classes.")
    ]
    output_path: Annotated[
        BatonPath | None, Meta(description="Where the exception goes; '' replaces the baton.")
    ] = None

    def step(self) -> Step:
        trapped = self.error_types
        put = None if self.output_path is None else setter(self.output_path)

        def step(baton: Baton) -> Baton:
            failure = sys.exc_info()[1]
            if failure is None:
                raise PipelineError("there is no failure to trap: use it among error consumers")
            if not isinstance(failure, trapped):
                raise failure
            return baton if put is None else put(baton, failure)

        return step


@processor("print-failure-traceback")
class PrintFailureTraceback(Processor):
    """Print the traceback of the failure to stderr, with what caused it and where it happened.

    It belongs among error consumers. The baton stays as it is.

    Example:
        print-failure-traceback: {}
        in:  {n: 1}
        out: {n: 1}
    """

    def process(self, baton: Baton) -> Baton:
        if sys.exc_info()[1] is None:
            print("no failure is being treated", file=sys.stderr)
        else:
            traceback.print_exc()
        return baton
