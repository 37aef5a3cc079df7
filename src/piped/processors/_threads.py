"""Code that runs in a thread, one of the ``threads`` of the service."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from piped.errors import Level, Problem
from piped.spec import Dependencies, Dependency, Meta, undeclared

BLOCKING: Final = Meta(
    description="Run the code in a thread, beside the event loop: it keeps Python busy, or waits."
)

THREAD_SAFE: Final = "context."
"""The beginning of the names of resources that code in a thread may use without a thought."""


def in_thread(function: Callable[..., Any], threads: Dependency[Any]) -> Callable[..., Any]:
    """Return what calls a function in a thread, and awaits its result."""

    async def call(*args: Any) -> Any:
        result = await threads.value.run(function, *args)
        if hasattr(result, "__await__"):
            raise undeclared(result)
        return result

    return call


def check_blocking(waits: bool, hint: str, dependencies: Dependencies) -> Iterable[Problem]:
    """Yield what speaks against running code in a thread.

    Args:
        waits: Whether the code awaits anything.
        hint: What to do then.
        dependencies: What the code reaches as ``self.dependencies``.
    """
    if waits:
        what = "code that runs in a thread cannot await: there is no event loop"
        yield Problem("blocking-await", what, at="blocking", hint=hint)
    for key, each in dependencies.items():
        if not each.name.startswith(THREAD_SAFE):
            what = f"'{each.name}' may belong to the event loop, and the code runs in a thread"
            hint = "use it in a step of its own, without 'blocking'"
            at = f"dependencies.{key}"
            yield Problem("bound-to-loop", what, at=at, hint=hint, level=Level.WARNING)
