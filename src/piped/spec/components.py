"""How components declare themselves: inert markers, and the bases of processors and providers.

A marked class becomes a slotted, keyword-only dataclass with a ``Spec`` hung on it. Its fields are
its YAML keys, its annotations their types, its ``Meta`` descriptions their documentation. Marking
registers nothing: bundles are searched for marked classes when a document is loaded.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from functools import cached_property
from types import CellType, FunctionType
from typing import (
    Annotated,
    Any,
    ClassVar,
    Final,
    Literal,
    TypeAlias,
    TypeVar,
    dataclass_transform,
    get_type_hints,
)

from msgspec import Meta

from piped.batons import MISSING, Baton, BatonPath, getter, setter
from piped.errors import Problem, UndeclaredAwait

C = TypeVar("C", bound=type)

Step: TypeAlias = Callable[[Baton], Any]

SAME_AS_INPUT: Final = BatonPath("<input_path>")


@dataclass(frozen=True)
class Parameter:
    """One YAML key of a component: the field behind it, its type, and whether it must be given."""

    key: str
    field: str
    hint: Any
    required: bool
    default: Any
    description: str


@dataclass(frozen=True)
class Spec:
    """What a component says of itself."""

    kind: Literal["processor", "provider", "part"]
    name: str
    component: type
    entries: str | None = None  # the one field that takes the whole section of a provider
    deprecated: str = ""

    @cached_property
    def parameters(self) -> Mapping[str, Parameter]:
        """The YAML keys, in the order of the fields."""
        hints = get_type_hints(self.component, include_extras=True)
        found = {}
        for each in dataclasses.fields(self.component):
            if not each.init:
                continue
            key = each.name.removesuffix("_")
            given = each.default_factory
            default = each.default if given is dataclasses.MISSING else given()
            required = default is dataclasses.MISSING
            hint = hints[each.name]
            found[key] = Parameter(key, each.name, hint, required, default, _description(hint))
        return found

    @property
    def summary(self) -> str:
        """The first line of the component's docstring."""
        return (inspect.getdoc(self.component) or "").partition("\n")[0]


def _description(hint: Any) -> str:
    for extra in getattr(hint, "__metadata__", ()):
        if isinstance(extra, Meta) and extra.description:
            return extra.description
    return ""


def spec_of(component: object) -> Spec | None:
    """Return the spec that was hung on this very class, not on one of its bases."""
    kind = component if isinstance(component, type) else type(component)
    spec = kind.__dict__.get("__spec__")
    return spec if isinstance(spec, Spec) else None


@dataclass_transform(kw_only_default=True, field_specifiers=(field,))
def processor(name: str, *, deprecated: str = "") -> Callable[[C], C]:
    """Mark a class as the processor of that name."""
    return lambda component: _declare(component, "processor", name, deprecated=deprecated)


@dataclass_transform(kw_only_default=True, field_specifiers=(field,))
def provider(name: str, *, entries: str | None = None) -> Callable[[C], C]:
    """Mark a class as the provider of a section of the document.

    Args:
        name: The section's key.
        entries: The field that takes the whole section, where its keys are the user's own names.
    """
    return lambda component: _declare(component, "provider", name, entries=entries)


@dataclass_transform(kw_only_default=True, field_specifiers=(field,))
def part(cls: C) -> C:
    """Mark a class as a mapping inside a section: a site of ``web``, a queue of ``zmq``."""
    name = re.sub(r"(?<=[a-z])(?=[A-Z])", "-", cls.__name__).lower()
    made: C = _declare(cls, "part", name)
    return made


def _declare(cls: Any, kind: Any, name: str, **more: Any) -> Any:
    made: Any = dataclass(slots=True, kw_only=True, eq=False)(cls)
    _repair_super(cls, made)
    made.__spec__ = Spec(kind, name, made, **more)
    return made


def _repair_super(old: type, new: type) -> None:
    """Let zero-argument ``super()`` find the class that ``slots=True`` has made anew."""
    for member in vars(new).values():
        function = inspect.unwrap(
            getattr(member, "fget", None) or getattr(member, "__func__", member)
        )
        if not isinstance(function, FunctionType):
            continue
        for cell in function.__closure__ or ():
            if _holds(cell, old):
                cell.cell_contents = new


def _holds(cell: CellType, value: object) -> bool:
    try:
        return cell.cell_contents is value
    except ValueError:  # it is empty: the name is bound further down in the same function
        return False


@dataclass(slots=True, kw_only=True, eq=False)
class Processor:
    """One step of a pipeline: it takes a baton and returns the baton to go on with.

    ``process`` is ``def`` when it need not wait and ``async def`` when it must. ``step`` is the
    plain callable that the engine runs, made once when the graph is built.
    """

    node_name: Annotated[
        str | None, Meta(description="A label for graphs and traces instead of the name.")
    ] = None

    def process(self, baton: Baton) -> Any:
        """Treat one baton and return the one to go on with."""
        raise NotImplementedError(f"{type(self).__name__} has no process()")

    @property
    def is_async(self) -> bool:
        """Whether the step must be awaited; asked again when the pipelines it calls are known."""
        return inspect.iscoroutinefunction(self.process)

    def step(self) -> Step:
        """Return what the engine calls for each baton, a coroutine function if ``is_async``."""
        return self.process

    def check(self) -> Iterable[Problem]:
        """Yield what is wrong with the parameters taken together."""
        return ()


@dataclass(slots=True, kw_only=True, eq=False)
class DecidingProcessor(Processor):
    """A processor that chooses which of its consumers go on with the baton."""

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
    """A processor that works on one value of the baton: from ``input_path`` to ``output_path``."""

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
        raise NotImplementedError(f"{type(self).__name__} has no process_input()")

    @property
    def is_async(self) -> bool:
        return inspect.iscoroutinefunction(self.process_input)

    def call(self) -> Callable[[Any, Baton], Any]:
        """Return what is called with each value and baton; made once."""
        return self.process_input

    def process(self, baton: Baton) -> Any:
        return self.step()(baton)

    def step(self) -> Step:
        call, get = self.call(), getter(self.input_path)
        put = self._put()
        skip, fallback = self.skip_if_nonexistent, self.input_fallback

        def step(baton: Baton) -> Any:
            value = get(baton)
            if value is MISSING:
                if skip:
                    return baton
                value = fallback
            result = call(value, baton)
            if hasattr(result, "__await__"):
                raise undeclared(result)
            return put(baton, result)

        async def async_step(baton: Baton) -> Any:
            value = get(baton)
            if value is MISSING:
                if skip:
                    return baton
                value = fallback
            return put(baton, await call(value, baton))

        return async_step if self.is_async else step

    def _put(self) -> Callable[[Baton, Any], Baton]:
        if self.output_path is None:
            return lambda baton, _result: baton
        if self.output_path is SAME_AS_INPUT:
            return setter(self.input_path)
        return setter(self.output_path)


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

    The fields without a YAML key are told by the application before ``running()`` is entered: the
    name for messages, the offered names that somebody depends on, whether it shall bring batons to
    its own pipelines, how many seconds it may drain, and whether people debug the process.
    """

    is_edge: ClassVar[bool] = False  # takes requests: started last, closed first

    essential: Annotated[
        bool, Meta(description="Whether the process fails when this has failed for good.")
    ] = False
    label: str = field(default="", init=False)
    needed: frozenset[str] = field(default=frozenset(), init=False)
    is_feeding: bool = field(default=False, init=False)
    drain_s: float = field(default=25.0, init=False)
    is_debug: bool = field(default=False, init=False)

    def units(self) -> Iterator[Provider]:
        """Yield what is supervised on its own: the provider itself, unless it consists of parts."""
        yield self

    def offers(self) -> Iterable[str]:
        """Return the names of the resources that it can provide."""
        return ()

    def feeds(self) -> bool:
        """Tell whether it brings batons by itself, and so runs though nobody needs it."""
        return False

    def running(self) -> AbstractAsyncContextManager[Mapping[str, Any]]:
        """Open, yield the resources by name, and close: the whole life of the provider."""
        raise NotImplementedError(f"{type(self).__name__} has no running()")

    def check(self) -> Iterable[Problem]:
        """Yield what is wrong with the section as a whole."""
        return ()
