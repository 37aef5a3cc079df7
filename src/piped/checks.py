"""What may be wrong with a document as a whole, though each of its parts is sound."""

from __future__ import annotations

from collections.abc import Iterator, Set
from typing import Final

from piped.blueprint import SECTIONS, Blueprint
from piped.document import Mapping
from piped.engine import Pipeline
from piped.errors import Level, Place, Problem, suggest
from piped.pool_checks import check_pools
from piped.spec import dependencies_of

OWN_RESOURCES: Final = ("pipelines", "service")
ANYWHERE: Final = ("0.0.0.0", "*", "[::]", "[*]")  # noqa: S104 - recognized, not bound


def check(blueprint: Blueprint) -> Iterator[Problem]:
    """Yield what is wrong with a blueprint that nobody sees who looks at one component only."""
    yield from _unprovided(blueprint)
    needed = _needed(blueprint)
    yield from _unused(blueprint, needed)
    yield from _listening_twice(blueprint, needed)
    yield from _unanswered(blueprint)
    yield from check_pools(blueprint)


def _unprovided(blueprint: Blueprint) -> Iterator[Problem]:
    """Yield the dependencies that nobody provides."""
    known = {*blueprint.offers(), *OWN_RESOURCES}
    known |= {f"pipeline.{name}" for name in blueprint.pipeline_names}
    there = {str(key) for key in blueprint.document.root.entries}
    broken = there - {*blueprint.providers}
    for dependency, place, at in blueprint.needs:
        name, kind = dependency.name, dependency.name.partition(".")[0]
        section = SECTIONS.get(kind, kind)
        if name not in known and section not in broken:
            where = (dependency.place or place, dependency.at or at)
            is_absent = section in blueprint.catalog.providers and section not in there
            yield _unknown_resource(name, known, *where, section if is_absent else "")


def _unknown_resource(
    name: str, known: set[str], place: Place | None, at: str, absent: str
) -> Problem:
    kind, dot, rest = name.partition(".")
    prefix = f"{kind}{dot}"
    related = [each.removeprefix(prefix) for each in known if dot and each.startswith(prefix)]
    if f"pipeline.{name}" in known:
        hint = f"did you mean 'pipeline.{name}'?"
    elif absent:
        hint = f"the document has no section '{absent}'"
    elif name.startswith("."):
        hint = "relative names work inside pipelines only: write 'pipeline.' and the whole name"
    else:
        hint = suggest(rest, related, prefix) if related else suggest(name, known)
    return Problem("unknown-resource", f"nobody provides '{name}'", place, at, hint=hint)


def _needed(blueprint: Blueprint) -> Set[str]:
    """Return the names of all resources that what brings batons needs, directly or not."""
    providers = blueprint.providers.values()
    return blueprint.needed_by(each for one in providers for each in dependencies_of(one))


def _unused(blueprint: Blueprint, needed: Set[str]) -> Iterator[Problem]:
    """Yield the pipelines that nothing can ever run, and what else is there for nobody."""
    if blueprint.broken or not _is_fed(blueprint):
        return  # parts for others to include or to call; or nobody knows what a broken one uses
    used = blueprint.made_of(needed)
    for name in blueprint.pipeline_names:
        if name not in used and "pipelines" not in needed:
            graph = blueprint.pipelines[name].graph
            what = f"nothing uses pipeline '{name}'"
            yield Problem("unused-pipeline", what, graph.place, graph.at, level=Level.HINT)
    own = blueprint.document.root.place.file
    for unit in blueprint.units:
        for path in unit.unused(needed):
            at = ".".join(filter(None, (unit.at, path)))
            place = _place_of(blueprint, at)
            if place and place.file == own:  # what is included may be shared with others
                what = f"nothing uses '{at}'"
                yield Problem("unused-resource", what, place, at, level=Level.HINT)


def _is_fed(blueprint: Blueprint) -> bool:
    """Tell whether a pipeline gets batons: workers only do what other pipelines send them."""
    feeders = (each for section, each in blueprint.providers.items() if section != "workers")
    needs = (need for each in feeders for need in dependencies_of(each))
    return any(need.name == "pipelines" or need.name.startswith("pipeline.") for need in needs)


def _place_of(blueprint: Blueprint, path: str) -> Place | None:
    """Return the place of a key of the document."""
    above, _, key = path.rpartition(".")
    node = blueprint.document.root.find(above)
    entry = node.entries.get(key) if isinstance(node, Mapping) else None
    return entry.key_place if entry else None


def _listening_twice(blueprint: Blueprint, needed: Set[str]) -> Iterator[Problem]:
    """Yield the addresses that two of one process would listen on."""
    taken: list[tuple[str, str, Place | None]] = []
    told: set[tuple[str, str]] = set()
    for unit in blueprint.units:
        for address, path in unit.listens(needed):
            at = ".".join(filter(None, (unit.at, path)))
            place = _place_of(blueprint, at) or unit.place
            for other, whose, where in taken:
                if whose != at and (whose, at) not in told and _overlap(address, other):
                    told.add((whose, at))
                    what = f"'{at}' listens on {address}, as '{whose}' does already"
                    why = f"'{whose}' is at {where}"
                    yield Problem("address-twice", what, place, at, why)
                    break
            taken.append((address, at, place))


def _overlap(one: str, other: str) -> bool:
    """Tell whether two addresses, ``host:port`` or ``ipc://path``, cannot both be listened on."""
    if one == other:
        return True
    if "://" in one or "://" in other:
        return False
    (host, _, port), (host_2, _, port_2) = one.rpartition(":"), other.rpartition(":")
    is_same_family = host.startswith("[") == host_2.startswith("[")
    return port == port_2 and is_same_family and (host in ANYWHERE or host_2 in ANYWHERE)


def _unanswered(blueprint: Blueprint) -> Iterator[Problem]:
    """Yield the pipelines that get requests and have no step that could ever answer them."""
    if blueprint.broken:
        return
    able = _able_to_answer(blueprint)
    for unit in blueprint.units:
        for each in unit.asks():
            name = each.name.removeprefix("pipeline.")
            if name in blueprint.pipelines and name not in able:
                what = f"no step that is reached from pipeline '{name}' can answer a request"
                hint = "end it with 'write-web-response', or requests wait for their deadline"
                yield Problem(
                    "unanswered-request", what, each.place, each.at, hint=hint, level=Level.WARNING
                )


def _able_to_answer(blueprint: Blueprint) -> Set[str]:
    """Return the pipelines with a step that may answer, and those that lead to one."""
    able = {name for name, each in blueprint.pipelines.items() if _may_answer(each)}
    calls = blueprint.calls()
    while more := {name for name, called in calls.items() if not called.isdisjoint(able)} - able:
        able |= more
    return able


def _may_answer(pipeline: Pipeline) -> bool:
    """Tell whether a step may answer: it says so, is not ours, or leads wherever a baton says."""
    return any(each.name == "pipelines" for each in pipeline.dependencies()) or any(
        each.answers or not type(each).__module__.startswith("piped.")
        for each in pipeline.processors()
    )
