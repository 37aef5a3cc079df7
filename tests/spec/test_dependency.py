"""Handles to resources, and the names of pipelines."""

from __future__ import annotations

from dataclasses import field
from typing import Any

import pytest

from piped.batons import Baton
from piped.errors import Misconfigured, Unavailable
from piped.resources import Resource
from piped.spec import (
    Dependencies,
    Dependency,
    PipelineName,
    Processor,
    absolute,
    dependencies_of,
    part,
    processor,
)


def ready(value: Any) -> Resource:
    """Return a resource that is ready."""
    resource = Resource("r")
    resource.ready(value)
    return resource


def test_a_dependency_that_is_not_bound_says_so() -> None:
    with pytest.raises(Misconfigured, match=r"^'r' is not bound to a resource$"):
        _ = Dependency[Any]("r").value


def test_a_dependency_gives_the_value_while_it_is_ready() -> None:
    resource = ready(5)
    dependency = Dependency[Any]("r", resource=resource)
    assert (dependency.is_ready, dependency.value) == (True, 5)

    resource.lost("gone")

    assert not dependency.is_ready
    with pytest.raises(Unavailable, match=r"^'r' is not available: gone$"):
        _ = dependency.value


@pytest.mark.anyio
async def test_a_baton_is_delivered_to_functions_and_to_coroutine_functions() -> None:
    async def slow(baton: Any) -> Any:
        return [baton]

    given = [Dependency[Any]("r", resource=ready(target)) for target in (str, slow)]

    assert [await each.deliver(5) for each in given] == ["5", [5]]
    assert await given[0].wait() is str


@pytest.mark.parametrize(
    ("name", "home", "expected"),
    [
        ("a.b", "web.compute", "a.b"),
        (".write", "web.compute", "web.write"),
        ("..b.three", "ns.a.one", "ns.b.three"),
        ("...chain", "ns.a.one", "chain"),
        (".other", "one", "other"),
    ],
)
def test_each_leading_dot_strips_one_part(name: str, home: str, expected: str) -> None:
    assert absolute(name, home) == expected


def test_a_name_with_too_many_dots_is_an_error() -> None:
    with pytest.raises(
        ValueError, match=r"^'\.\.\.x' leads out of the pipelines: 'a\.b' has 2 par"
    ):
        absolute("...x", "a.b")


def test_resources_of_code_are_reached_by_attribute() -> None:
    them = Dependencies({"queue": Dependency("r", resource=ready(5))})

    assert (them.queue, them["queue"]) == (5, 5)
    with pytest.raises(KeyError, match=r"^'qeue'$"):
        _ = them["qeue"]
    with pytest.raises(AttributeError, match=r"^no dependency 'qeue'$"):
        _ = them.qeue


@part
class Piece:
    """A part that holds one."""

    needs: Dependency[Any] | None = None


@processor("holds-many")
class HoldsMany(Processor):
    """Hold dependencies in every way."""

    one: Dependency[Any] | None = None
    many: list[Any] = field(default_factory=list)
    named: dict[str, Any] = field(default_factory=dict)
    piece: Piece | None = None
    _own: Dependency[Any] = field(default_factory=lambda: Dependency("own"), init=False)

    def process(self, baton: Baton) -> Baton:
        return baton


def test_all_dependencies_of_a_component_are_found_in_fields_lists_names_and_parts() -> None:
    made = HoldsMany(
        one=Dependency("1"),
        many=[Dependency("2"), (Dependency("3"), 5)],
        named={"a": Dependencies({"b": Dependency("4")})},
        piece=Piece(needs=PipelineName("5")),
    )

    assert [each.name for each in dependencies_of(made)] == ["1", "2", "3", "4", "5", "own"]
