"""How components declare themselves: inert markers.

A marked class becomes a slotted, keyword-only dataclass with a ``Spec`` hung on it. Its fields are
its YAML keys, its annotations their types, its ``Meta`` descriptions their documentation. Marking
registers nothing: bundles are searched for marked classes when a document is loaded.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import CellType, FunctionType
from typing import Any, Final, Literal, TypeVar, dataclass_transform, get_type_hints

from msgspec import Meta

from piped.spec.bases import Processor, Provider

C = TypeVar("C", bound=type)

STEP_KEYS: Final = frozenset(
    {
        *("id", "existing"),
        *("consumers", "chained_consumers", "error_consumers", "chained_error_consumers"),
    }
)
"""What a step says among its processor's parameters: no parameter can have these names."""


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
    return lambda component: _declare(
        component, "processor", name, Processor, deprecated=deprecated
    )


@dataclass_transform(kw_only_default=True, field_specifiers=(field,))
def provider(name: str, *, entries: str | None = None) -> Callable[[C], C]:
    """Mark a class as the provider of a section of the document.

    Args:
        name: The section's key.
        entries: The field that takes the whole section, where its keys are the user's own names.
    """
    return lambda component: _declare(component, "provider", name, Provider, entries=entries)


@dataclass_transform(kw_only_default=True, field_specifiers=(field,))
def part(cls: C) -> C:
    """Mark a class as a mapping inside a section: a site of ``web``, a queue of ``zmq``."""
    name = re.sub(r"(?<=[a-z])(?=[A-Z])", "-", cls.__name__).lower()
    made: C = _declare(cls, "part", name, Provider if issubclass(cls, Provider) else object)
    return made


def _declare(cls: Any, kind: Any, name: str, base: type, **more: Any) -> Any:
    if not issubclass(cls, base):
        raise TypeError(f"a {kind} derives from {base.__name__}, and '{cls.__name__}' does not")
    for each in reversed(cls.__mro__[1:]):
        if (
            issubclass(each, base)
            and each is not object
            and "__dataclass_fields__" not in vars(each)
        ):
            dataclass(kw_only=True, eq=False)(each)  # its annotations are parameters too
    made: Any = dataclass(slots=True, kw_only=True, eq=False)(cls)
    _repair_super(cls, made)
    made.__spec__ = Spec(kind, name, made, **more)
    _fail_if_taken(made, base)
    if base is Processor:
        _fail_if_idle(made)
    return made


def _fail_if_taken(component: type, base: type) -> None:
    """Refuse parameters whose names mean something else to a step or to the base."""
    told = {name for name, each in _fields(base).items() if not each.init}
    taken = told | (STEP_KEYS if base is Processor else frozenset())
    for name, each in _fields(component).items():
        key = name.removesuffix("_")
        if each.init and key in taken:
            whose = "the base" if key in told else "every step"
            raise TypeError(
                f"'{component.__name__}' cannot have the parameter '{key}': {whose} has one"
            )


def _fail_if_idle(component: type) -> None:
    """Refuse a processor that has none of the verbs of its base, unless it is abstract."""
    base: Any = next(each for each in component.__mro__ if "__verbs__" in vars(each))
    verbs = base.__verbs__
    if not inspect.isabstract(component) and all(
        getattr(component, verb) is getattr(base, verb) for verb in verbs
    ):
        raise TypeError(f"'{component.__name__}' has no {verbs[0]}()")


def _fields(component: Any) -> Mapping[str, dataclasses.Field[Any]]:
    return getattr(component, "__dataclass_fields__", {})


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
