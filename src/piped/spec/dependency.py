"""What a component needs: named resources, reached through handles that are bound at start."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Generic, Protocol, TypeVar

from piped.document.nodes import Node
from piped.errors import Misconfigured, Place

T_co = TypeVar("T_co", covariant=True)

PLAIN: Final = frozenset({str, int, float, bool, bytes, type(None)})
"""Types of values in which no dependency can be: most fields have one of them."""


class Provided(Protocol[T_co]):
    """A named resource, seen by those who need it."""

    @property
    def is_ready(self) -> bool: ...

    @property
    def value(self) -> T_co:
        """The resource itself.

        Raises:
            Unavailable: It is lost, or not started yet.
        """

    async def wait(self) -> T_co:
        """Wait until it is ready, and return it."""


@dataclass(slots=True, eq=False)
class Dependency(Generic[T_co]):
    """A resource that a component needs, by name: ``pipeline.web.compute``, ``context.pending``.

    In a document: the name, or ``{provider: name, ...}``, whose other keys are ``options``.
    """

    name: str
    place: Place | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    at: str = ""
    resource: Provided[T_co] | None = None

    @property
    def value(self) -> T_co:
        """The resource itself; raises Unavailable while it is lost."""
        return self._bound().value

    @property
    def is_ready(self) -> bool:
        return self._bound().is_ready

    async def wait(self) -> T_co:
        """Wait until the resource is ready, and return it."""
        return await self._bound().wait()

    async def deliver(self, baton: Any) -> Any:
        """Call the resource with a baton, as soon as it is ready, and await its answer."""
        target: Any = await self.wait()
        result = target(baton)
        return await result if inspect.isawaitable(result) else result

    def _bound(self) -> Provided[T_co]:
        if self.resource is None:
            raise Misconfigured(f"'{self.name}' is not bound to a resource")
        return self.resource


@dataclass(slots=True, eq=False)
class PipelineName(Dependency[Any]):
    """A pipeline, by the name it has below ``pipelines``, or written in place of a name.

    A relative name begins with dots: each strips one part from the name of the pipeline in which
    it is written, so in ``web.compute`` the name ``.write`` is ``web.write``. What is written in
    place, ``inline``, gets its path in the document as its name.
    """

    inline: Node | None = None


@dataclass(slots=True, eq=False)
class PoolName(Dependency[Any]):
    """A pool of workers, by the name it has below ``workers``: its resource is ``workers.name``.

    The pipelines that a processor names beside it run there, not here.
    """


def absolute(name: str, pipeline: str) -> str:
    """Return the absolute name of a pipeline that is named in another one.

    Raises:
        ValueError: The name has more dots than the pipeline has parts.
    """
    rest = name.lstrip(".")
    dots = len(name) - len(rest)
    if not dots:
        return name
    parts = pipeline.split(".")
    if dots > len(parts):
        count = "1 part" if len(parts) == 1 else f"{len(parts)} parts"
        raise ValueError(f"'{name}' leads out of the pipelines: '{pipeline}' has {count}")
    return ".".join([*parts[: len(parts) - dots], rest])


class Dependencies(dict[str, Dependency[Any]]):
    """Named resources for code in a document: ``self.dependencies.name`` is the resource.

    So is ``self.dependencies["name"]``; the handles are its ``values()``.
    """

    __slots__ = ()

    def __getitem__(self, name: str) -> Any:
        return super().__getitem__(name).value

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"no dependency '{name}'") from None


def dependencies_of(component: object) -> Iterator[Dependency[Any]]:
    """Yield every dependency that a component holds, in its fields and in their parts."""
    if isinstance(component, Dependency):
        yield component
        return
    for each in _parts_of(component):
        if type(each) not in PLAIN:
            yield from dependencies_of(each)


def elsewhere(component: object) -> frozenset[Dependency[Any]]:
    """Return the pipelines that a processor names and has run by the workers of a pool."""
    found = [*dependencies_of(component)]
    if not any(isinstance(each, PoolName) for each in found):
        return frozenset()
    here = getattr(component, "local_pipelines", ())
    local = {each for name in here for each in dependencies_of(getattr(component, name))}
    return frozenset(e for e in found if isinstance(e, PipelineName) and e not in local)


def _parts_of(component: object) -> Iterable[object]:
    if isinstance(component, dict):
        return component.values()
    if isinstance(component, list | tuple):
        return component
    if hasattr(type(component), "__spec__"):
        fields: Iterable[str] = type(component).__dataclass_fields__  # type: ignore[attr-defined] # it is a dataclass
        return [getattr(component, name, None) for name in fields]
    return ()
