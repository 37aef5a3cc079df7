"""Contexts: objects that all pipelines of a service share, persisted or not."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import field
from typing import Annotated, Any, ClassVar, Final

from piped.batons import BatonPath, setter
from piped.errors import Problem
from piped.spec import Dependency, Meta, Processor, Step, processor

NAME_OF_CONTEXT: Final = BatonPath("<context>")


@processor("fetch-context")
class FetchContext(Processor):
    """Put a context into the baton: the shared object itself, not a copy.

    Example:
        fetch-context: {context: pending}
        in:  {n: 1}
        out: {n: 1, pending: {}}
    """

    answers: ClassVar[bool] = True  # a request may be put into the context
    section: ClassVar[str] = "context"

    context: Annotated[str, Meta(description="The name of the context, as below 'contexts'.")]
    output_path: Annotated[
        BatonPath | None,
        Meta(description="Where it goes: by default its own name; '' replaces the baton."),
    ] = NAME_OF_CONTEXT
    _context: Dependency[Any] = field(init=False)

    def __post_init__(self) -> None:
        self._context = Dependency(f"{self.section}.{self.context}")

    def check(self) -> Iterable[Problem]:
        if self.output_path is None:
            what = "expected a path for 'output_path', got None"
            yield Problem("wrong-value", what, at="output_path")

    def step(self) -> Step:
        path = self.output_path
        put = setter(self.context if path is None or path is NAME_OF_CONTEXT else path)
        context = self._context
        return lambda baton: put(baton, context.value)


@processor("fetch-persisted-context")
class FetchPersistedContext(FetchContext):
    """Put a persisted context into the baton: the shared object itself, not a copy.

    All else is as in fetch-context.

    Example:
        fetch-persisted-context: {context: visits}
        in:  {n: 1}
        out: {n: 1, visits: {}}
    """

    section: ClassVar[str] = "persisted_context"

    context: Annotated[
        str, Meta(description="The name of the context, as below 'persisted_contexts'.")
    ]
