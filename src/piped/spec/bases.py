"""The bases of processors and providers: what they are to the engine and to the application."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Final, Self, TypeAlias

from msgspec import Meta

from piped.batons import MISSING, Baton, BatonPath, fresh, getter, setter
from piped.errors import Place, Problem, UndeclaredAwait
from piped.spec.dependency import Dependency

Step: TypeAlias = Callable[[Baton], Any]

SAME_AS_INPUT: Final = BatonPath("<input_path>")


@dataclass(slots=True, kw_only=True, eq=False)
class Processor:
    """One step of a pipeline: it takes a baton and returns the baton to go on with.

    An author overrides one of two. Simple: ``process``, ``def`` when it need not wait and ``async
    def`` when it must. Compiled: ``step``, which is asked once, when the graph is built, for the
    function to call with each baton, and ``is_async`` where that is a coroutine function. Where
    both are overridden, the engine runs what ``step`` returns.

    ``home`` is told by the engine: the name of the pipeline in which the processor is written.
    """

    __verbs__: ClassVar[tuple[str, ...]] = ("process", "step")  # it must have one of its own
    answers: ClassVar[bool] = False  # it may answer a request, or give it to one who may
    is_end: ClassVar[bool] = False  # no baton ever goes on from it
    local_pipelines: ClassVar[tuple[str, ...]] = ()  # parameters that no pool of workers runs
    is_for_later: ClassVar[bool] = False  # it does not wait for the pipelines that it names

    node_name: Annotated[
        str | None, Meta(description="A label for graphs and traces instead of the name.")
    ] = None
    home: str = field(default="", init=False)

    def process(self, baton: Baton) -> Any:
        """Treat one baton and return the one to go on with."""
        return self.step()(baton)

    @property
    def is_async(self) -> bool:
        """Whether the step must be awaited; asked again when the pipelines it calls are known."""
        return inspect.iscoroutinefunction(self.process)

    @property
    def certain_calls(self) -> tuple[str, ...]:
        """The full names of the pipelines that each baton is certainly sent through."""
        return ()

    def step(self) -> Step:
        """Return what the engine calls for each baton, a coroutine function if ``is_async``."""
        if not _overrides(self, Processor, "process"):
            raise NotImplementedError(f"{type(self).__name__} has no process()")
        return self.process

    def check(self) -> Iterable[Problem]:
        """Yield what is wrong with the parameters taken together.

        A problem may say in ``at`` which parameter, or what in it, it is about: ``code``,
        ``mapping[1]``. It is then told with that path and that place.
        """
        return ()


@dataclass(slots=True, kw_only=True, eq=False)
class DecidingProcessor(Processor):
    """A processor that chooses which of its consumers go on with the baton."""

    __verbs__: ClassVar[tuple[str, ...]] = ("choose",)

    def process(self, baton: Baton) -> Any:
        """Return the baton as it is; what decides is ``choose``."""
        return baton

    def choose(self, baton: Baton, consumers: int) -> Sequence[int]:
        """Return the indexes, from 0, of the consumers that get the baton; none ends its way here.

        Args:
            baton: What ``process`` returned.
            consumers: How many there are.
        """
        raise NotImplementedError(f"{type(self).__name__} has no choose()")


@dataclass(slots=True, kw_only=True, eq=False)
class InputOutputProcessor(Processor):
    """A processor that works on one value of the baton: from ``input_path`` to ``output_path``.

    An author overrides ``process_input``, ``def`` or ``async def``; or ``call``, which is asked
    once for the function to call with each value, and ``is_async``. One that overrides ``process``
    treats the baton as a whole; there ``super().process(baton)`` leads from path to path.
    """

    __verbs__: ClassVar[tuple[str, ...]] = ("process_input", "call", "process", "step")

    input_path: Annotated[
        BatonPath, Meta(description="Where the input is; '' is the whole baton.")
    ] = BatonPath("")
    output_path: Annotated[
        BatonPath | None,
        Meta(description="Where the output goes; '' replaces the baton, null discards the output."),
    ] = SAME_AS_INPUT
    skip_if_nonexistent: Annotated[
        bool, Meta(description="Leave the baton as it is where there is no input.")
    ] = True
    input_fallback: Annotated[
        Any, Meta(description="The input where there is none, unless that is skipped.")
    ] = None

    def process_input(self, value: Any, baton: Baton) -> Any:
        """Treat one value and return what goes to the output path."""
        return self.call()(value, baton)

    @property
    def is_async(self) -> bool:
        own = _overrides(self, InputOutputProcessor, "process")
        return inspect.iscoroutinefunction(self.process if own else self.process_input)

    def call(self) -> Callable[[Any, Baton], Any]:
        """Return what is called with each value and baton; made once."""
        if not _overrides(self, InputOutputProcessor, "process_input"):
            raise NotImplementedError(f"{type(self).__name__} has no process_input()")
        return self.process_input

    def process(self, baton: Baton) -> Any:
        if _overrides(self, InputOutputProcessor, "process"):  # and calls this one by super()
            return self._way(inspect.iscoroutinefunction(self.process_input))(baton)
        return self.step()(baton)

    def step(self) -> Step:
        if _overrides(self, InputOutputProcessor, "process"):
            return self.process
        return self._way(self.is_async)

    def _way(self, waits: bool) -> Step:
        """Return what takes a baton's value from its path, through ``call``, to the other path."""
        call, get, put = self.call(), getter(self.input_path), self._put()
        skip, fallback = self.skip_if_nonexistent, fresh(self.input_fallback)

        def step(baton: Baton) -> Any:
            value = get(baton)
            if value is MISSING:
                if skip:
                    return baton
                value = fallback()
            result = call(value, baton)
            if hasattr(result, "__await__"):
                raise undeclared(result)
            return put(baton, result)

        async def async_step(baton: Baton) -> Any:
            value = get(baton)
            if value is MISSING:
                if skip:
                    return baton
                value = fallback()
            return put(baton, await call(value, baton))

        return async_step if waits else step

    def _put(self) -> Callable[[Baton, Any], Baton]:
        if self.output_path is None:
            return lambda baton, _result: baton
        if self.output_path is SAME_AS_INPUT:
            return setter(self.input_path)
        return setter(self.output_path)


def _overrides(component: object, base: type, verb: str) -> bool:
    return getattr(type(component), verb) is not getattr(base, verb)


def undeclared(result: Any) -> UndeclaredAwait:
    """Return the error for an awaitable that a synchronous step has returned."""
    if inspect.iscoroutine(result):
        result.close()
    kind = type(result).__name__
    return UndeclaredAwait(
        f"a step that is not async returned an awaitable ({kind}): declare it by 'await: true' or"
        " 'async def'"
    )


@dataclass(slots=True, kw_only=True, eq=False)
class Provider:
    """A section of the document that brings resources, or batons, or both.

    The fields without a YAML key are told before ``running()`` is entered: where it is written, the
    name for messages, the offered names that somebody depends on, whether it shall bring batons to
    its own pipelines, how many seconds it may drain, whether people debug the process, and the file
    of the document with the overrides that it was read with.
    """

    is_first: ClassVar[bool] = False  # all others run under it: started first, closed last
    is_edge: ClassVar[bool] = False  # takes requests: started last, closed first
    runs_pipelines: ClassVar[bool] = False  # any: closed before all that pipelines need
    overlaps: ClassVar[bool] = False  # at a reload, the new one may open while the old one is open

    essential: Annotated[
        bool, Meta(description="Whether the process fails when this has failed for good.")
    ] = False
    place: Place | None = field(default=None, init=False)
    at: str = field(default="", init=False)
    label: str = field(default="", init=False)
    needed: frozenset[str] = field(default=frozenset(), init=False)
    is_feeding: bool = field(default=False, init=False)
    drain_s: float = field(default=25.0, init=False)
    is_debug: bool = field(default=False, init=False)
    document: tuple[str, tuple[str, ...]] = field(default=("", ()), init=False)

    def units(self) -> Iterator[Provider]:
        """Yield what is supervised on its own: the provider itself, unless it consists of parts."""
        yield self

    def offers(self) -> Iterable[str]:
        """Return the names of the resources that it can provide."""
        return ()

    def asks(self) -> Iterable[Dependency[Any]]:
        """Return the pipelines that must answer each baton that they get from it."""
        return ()

    def feeds(self) -> bool:
        """Tell whether it brings batons by itself, and so runs though nobody needs it."""
        return False

    def requires(self) -> Iterable[Dependency[Any]]:
        """Return what it needs whenever it runs, though it brings no batons."""
        return ()

    def listens(self, needed: Set[str]) -> Iterable[tuple[str, str]]:
        """Yield each address that it binds, and the path, below its own, of what binds it.

        Addresses are ``host:port`` or begin with a scheme; free ports are left out. ``needed`` are
        the names of all resources that somebody depends on.
        """
        return ()

    def unused(self, needed: Set[str]) -> Iterable[str]:
        """Yield the paths, below its own, of what neither brings batons nor is needed.

        '' is the provider itself.
        """
        return ()

    def copies(self) -> Iterable[str]:
        """Return the names of the resources that it has built in processes of its own.

        At a reload it is replaced when one of them, or what they need, has changed.
        """
        return ()

    def take_over(self, old: Self) -> bool:
        """Take over, at a reload, what an old declaration of the same name keeps; undone likewise.

        Returns:
            Whether what ``running()`` of the old one has opened goes on as that of this one. Else
            this one is opened, and the old one is closed.
        """
        return False

    async def settled(self) -> None:
        """Wait until all requests that it has now are answered."""

    def running(self) -> AbstractAsyncContextManager[Mapping[str, Any]]:
        """Open, yield the resources by name, and close: the whole life of the provider."""
        raise NotImplementedError(f"{type(self).__name__} has no running()")

    def check(self) -> Iterable[Problem]:
        """Yield what is wrong with the section as a whole; ``at`` as in processors."""
        return ()
