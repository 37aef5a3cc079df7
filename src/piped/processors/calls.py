"""Calling Python: a function by its dotted name, and a method of a resource."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from dataclasses import field
from typing import Annotated, Any, ClassVar, Final

from piped.batons import MISSING, Baton, BatonPath, setter
from piped.errors import BatonError, Problem
from piped.processors._arguments import filled
from piped.processors._shown import kind_of, shown
from piped.spec import Dependency, Input, Meta, Processor, Step, find_python, processor, undeclared

CALL: Final = "__call__"


@processor("call-named-any")
class CallNamedAny(Processor):
    """Call a Python function, or a class, by its dotted name.

    Its arguments are those of the document; where ``!path`` stands in them, the baton's value at
    that path is taken. A coroutine function is awaited. Changes the baton in place.

    Example:
        call-named-any: {name: math.hypot, args: [3, 4], output_path: diagonal}
        in:  {}
        out: {diagonal: 5.0}

    Raises:
        BatonError: There is nothing at a path.
        UndeclaredAwait: It returned an awaitable without ``await: true``.
    """

    answers: ClassVar[bool] = True  # what is called may get the request

    name: Annotated[str, Meta(description="What is called, such as math.hypot.")]
    output_path: Annotated[
        BatonPath | None,
        Meta(description="Where the result goes; '' replaces the baton, null discards the result."),
    ] = BatonPath("result")
    args: Annotated[list[Any], Meta(description="Its arguments, !path values among them.")] = field(
        default_factory=list
    )
    kwargs: Annotated[
        dict[str, Any], Meta(description="Its keyword arguments, !path values among them.")
    ] = field(default_factory=dict)
    await_: Annotated[bool, Meta(description="Wait for the result where it is awaitable.")] = False

    @property
    def is_async(self) -> bool:
        return self.await_ or inspect.iscoroutinefunction(find_python(self.name))

    def check(self) -> Iterable[Problem]:
        try:
            found = find_python(self.name)
        except ValueError as error:
            yield Problem("wrong-value", f"{error}", at="name")
            return
        if not callable(found):
            what = f"expected the name of something to call, got '{self.name}': {kind_of(found)}"
            yield Problem("wrong-value", what, at="name")

    def step(self) -> Step:
        function: Callable[..., Any] = find_python(self.name)
        args, kwargs = filled(self.args, "args"), filled(self.kwargs, "kwargs")
        put = _putter(self.output_path)

        def step(baton: Baton) -> Baton:
            result = function(*args(baton), **kwargs(baton))
            if hasattr(result, "__await__"):
                raise undeclared(result)
            return put(baton, result)

        async def async_step(baton: Baton) -> Baton:
            result = function(*args(baton), **kwargs(baton))
            return put(baton, await result if hasattr(result, "__await__") else result)

        return async_step if self.is_async else step


@processor("call-dependency")
class CallDependency(Processor):
    """Call a method of a resource, or the resource itself, as soon as it is ready.

    ``arguments`` is one argument; with ``unpack_arguments`` a list is several, and a dict keyword
    arguments. Where ``!path`` stands in it, the baton's value at that path is taken. The result is
    awaited where it is awaitable, and goes into the baton if ``output_path`` says where.

    Example:
        call-dependency:
          dependency: context.pending
          method: setdefault
          arguments: [state, open]
          unpack_arguments: true
          output_path: state
        in:  {id: 7}
        out: {id: 7, state: open}

    Raises:
        BatonError: There is nothing at a path, no such method, or nothing that can be unpacked.
        Misconfigured: The resource has failed for good.
    """

    answers: ClassVar[bool] = True  # the resource may get the request

    dependency: Annotated[Dependency[Any], Meta(description="The resource.")]
    method: Annotated[
        Input[str],
        Meta(
            description="The method that is called; by default the resource itself. One that the"
            " baton names must not begin with '_'."
        ),
    ] = field(default_factory=lambda: Input(CALL))
    arguments: Annotated[
        Any, Meta(description="What it is called with, !path values among it.")
    ] = MISSING
    unpack_arguments: Annotated[
        bool, Meta(description="Take a list apart into arguments, a dict into keyword arguments.")
    ] = False
    output_path: Annotated[
        BatonPath | None,
        Meta(description="Where the result goes; '' replaces the baton, null discards the result."),
    ] = None

    @property
    def is_async(self) -> bool:
        return True

    def check(self) -> Iterable[Problem]:
        given = self.arguments
        if self.unpack_arguments and not isinstance(given, list | dict | BatonPath):
            got = "nothing" if given is MISSING else shown(given)
            what = f"expected a list or a mapping to unpack, got {got}"
            yield Problem("wrong-value", what, at="unpack_arguments")

    def step(self) -> Step:
        dependency, find, arguments = self.dependency, self._finder(), self._arguments()
        put = _putter(self.output_path)

        async def step(baton: Baton) -> Baton:
            args, kwargs = arguments(baton)
            result = find(await dependency.wait(), baton)(*args, **kwargs)
            return put(baton, await result if hasattr(result, "__await__") else result)

        return step

    def _finder(self) -> Callable[[Any, Baton], Callable[..., Any]]:
        """Return what finds the method of the resource for a baton."""
        given = self.method.given
        name_of = filled(given, "method")
        is_public = isinstance(given, BatonPath)  # who sends batons must not reach what is private

        def find(resource: Any, baton: Baton) -> Any:
            name = name_of(baton)
            if not isinstance(name, str):
                raise BatonError(f"expected the name of a method at '{given}', got {kind_of(name)}")
            hidden = is_public and name.startswith("_")
            method = None if hidden else getattr(resource, name, None)
            if not callable(method):
                raise BatonError(f"'{self.dependency.name}' has no method {shown(name)}")
            return method

        return find

    def _arguments(self) -> Callable[[Baton], tuple[list[Any], dict[str, Any]]]:
        """Return what gives the arguments and the keyword arguments for a baton."""
        if self.arguments is MISSING:
            return lambda _baton: ([], {})
        fill, unpack = filled(self.arguments, "arguments"), self.unpack_arguments

        def arguments(baton: Baton) -> tuple[list[Any], dict[str, Any]]:
            value = fill(baton)
            if not unpack:
                return [value], {}
            if isinstance(value, dict):
                return [], value
            if isinstance(value, list | tuple):
                return list(value), {}
            raise BatonError(f"expected a list or a dict to unpack, got {kind_of(value)}")

        return arguments


def _putter(path: BatonPath | None) -> Callable[[Baton, Any], Baton]:
    return (lambda baton, _result: baton) if path is None else setter(path)
