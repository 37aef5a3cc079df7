"""A document, understood and checked: its providers, its pipelines, and what is wrong with it.

Nothing is opened and nothing runs here. `piped check` prints the problems of a blueprint, and a
service is started from one that has no errors.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from piped.bundles import PROVIDERS, Catalog, catalog_of
from piped.document import Document, Mapping, Scalar, plain
from piped.document.overrides import OPTION, VARIABLE
from piped.document.report import MAX_PROBLEMS, too_many_problems
from piped.engine import (
    DefinitionReader,
    GraphBuilder,
    Need,
    Pipeline,
    endless_calls,
    groups,
    link,
)
from piped.errors import Level, Place, Problem, suggest
from piped.spec import (
    INVALID,
    Decoder,
    Dependency,
    Duration,
    Provider,
    dependencies_of,
)

OWN_KEYS: Final = ("drain", "includes", "pipelines", "plugins", "service_name")
OWN_RESOURCES: Final = ("pipelines", "service")
GONE: Final = (
    *("amqp", "cyclone", "database", "manholes", "pb", "persisted_contexts", "processes", "repl"),
    *("runmodes", "smtp", "statsd", "stdin", "zookeeper"),
)
FOLLOWS: Final = (  # what seems so where a part of the document was not read
    *("unknown-pipeline", "unknown-processor", "unknown-resource", "unread-key", "unused-pipeline"),
)
SECTIONS: Final = {"context": "contexts"}  # where the section is not named as its resources are
DRAIN_S: Final = 25.0


@dataclass(slots=True)
class Blueprint:
    """What a document describes, as far as it can be understood."""

    document: Document
    catalog: Catalog = field(default_factory=Catalog)
    providers: dict[str, Provider] = field(default_factory=dict)  # by section
    units: list[Provider] = field(default_factory=list)  # what is supervised on its own
    pipelines: dict[str, Pipeline] = field(default_factory=dict)  # those without errors
    pipeline_names: tuple[str, ...] = ()  # all of them
    parts: dict[str, tuple[str, ...]] = field(default_factory=dict)  # copied into each pipeline
    problems: list[Problem] = field(default_factory=list)
    needs: list[Need] = field(default_factory=list)  # of sound components and of others
    drain_s: float = DRAIN_S
    service_name: str = ""

    @property
    def errors(self) -> list[Problem]:
        """The problems that keep the document from starting."""
        return [each for each in self.problems if each.level is Level.ERROR]

    def errors_of(self, pipelines: Iterable[str]) -> list[Problem]:
        """Return the problems that keep some pipelines, and what they need, from running.

        What was not read, or not understood of the overrides, may concern any of them.
        """
        reading = [each for each in self.document.problems if each.level is Level.ERROR]
        if not self.document.is_complete:
            return reading
        names = list(pipelines)
        needed = self.needed_by(Dependency(f"pipeline.{each}") for each in names)
        kinds = {name.partition(".")[0] for name in needed if not name.startswith("pipeline.")}
        paths = {f"pipelines.{each}" for each in self.made_of(needed)}
        paths |= {SECTIONS.get(kind, kind) for kind in kinds} | self.document.aliased
        found = self._errors_at(paths)
        if any(each.code in FOLLOWS for each in found):  # a bundle may be broken
            found = self._errors_at({*paths, "plugins"})
        overrides = [e for e in reading if e.place and e.place.file in (OPTION, VARIABLE)]
        lost = [
            self._unknown_pipeline(each)
            for each in names
            if each not in self.pipeline_names and not self._errors_at({f"pipelines.{each}"})
        ]
        return list(dict.fromkeys([*overrides, *found, *lost]))

    def made_of(self, needed: Iterable[str]) -> set[str]:
        """Return the names of needed pipelines, and of those that are copied into them."""
        found: set[str] = set()
        ahead = [each.removeprefix("pipeline.") for each in needed if each.startswith("pipeline.")]
        while ahead:
            name = ahead.pop()
            if name not in found:
                found.add(name)
                ahead += self.parts.get(name, ())
        return found

    def _errors_at(self, paths: Iterable[str]) -> list[Problem]:
        """Return the errors at some paths, below and above them."""
        below = tuple(f"{path}{sign}" for path in paths for sign in (".", "["))
        above = {""} | {path[:i] for path in below for i, sign in enumerate(path) if sign in ".["}
        return [each for each in self.errors if each.at in above or each.at.startswith(below)]

    def _unknown_pipeline(self, name: str) -> Problem:
        what, hint = f"there is no pipeline '{name}'", suggest(name, self.pipeline_names)
        return Problem("unknown-pipeline", what, self.document.root.place, hint=hint)

    def offers(self) -> dict[str, Provider]:
        """Return who provides each resource that is not a pipeline."""
        return {name: unit for unit in self.units for name in unit.offers()}

    def needed_by(self, roots: Iterable[Dependency[Any]]) -> set[str]:
        """Return the names of all resources that some dependencies need, directly or not."""
        needed: set[str] = set()
        ahead = list(roots)
        while ahead:
            name = ahead.pop().name
            if name in needed:
                continue
            needed.add(name)
            pipelines = self._pipelines_behind(name)
            ahead += (each for pipeline in pipelines for each in pipeline.dependencies())
        return needed

    def needs_of_pipelines(self) -> dict[str, frozenset[str]]:
        """Return what each pipeline needs that is no pipeline, directly or not."""
        direct = {
            f"pipeline.{name}": {each.name for each in pipeline.dependencies()}
            for name, pipeline in self.pipelines.items()
        }
        ways = {"pipelines": set(direct), **direct}
        needs: dict[str, frozenset[str]] = {}
        for group in groups(ways):
            named = {name for each in group for name in ways[each]}
            others = {name for name in named if not name.startswith("pipeline.")}
            below = (needs[name] for name in named if name in needs)
            needs.update(dict.fromkeys(group, frozenset(others.union(*below))))
        return {name: needs[f"pipeline.{name}"] for name in self.pipelines}

    def _pipelines_behind(self, name: str) -> Iterable[Pipeline]:
        if name == "pipelines":  # named by batons: it may be any
            return self.pipelines.values()
        pipeline = self.pipelines.get(name.removeprefix("pipeline."))
        return [pipeline] if pipeline and name.startswith("pipeline.") else []


def draw(document: Document) -> Blueprint:
    """Return the blueprint of a document, with all its problems, in the order of the files."""
    blueprint = Blueprint(document, problems=list(document.problems))
    blueprint.catalog = catalog_of(document)
    blueprint.problems += blueprint.catalog.problems
    _draw_providers(blueprint)
    _draw_pipelines(blueprint)
    _check_resources(blueprint)
    _check_use(blueprint)
    problems = sorted(_told_once(blueprint), key=_in_order)
    if len(problems) > MAX_PROBLEMS + 1:
        problems[MAX_PROBLEMS:] = [too_many_problems(problems[MAX_PROBLEMS].place)]
    blueprint.problems = problems
    return blueprint


def _draw_providers(blueprint: Blueprint) -> None:
    decoder = Decoder()
    for key, entry in blueprint.document.root.items():
        spec = blueprint.catalog.providers.get(key)
        if spec is not None:
            made = decoder.section(spec, entry.node, str(key))
            if made is not INVALID:
                blueprint.providers[spec.name] = made
        elif key == "drain":
            drain = decoder.value(Duration, entry.node, "drain")
            blueprint.drain_s = DRAIN_S if drain is INVALID else drain
        elif key == "service_name":
            name = decoder.value(str, entry.node, "service_name")
            blueprint.service_name = "" if name is INVALID else name
        elif key not in OWN_KEYS and key not in blueprint.document.aliased:
            blueprint.problems.append(_unread(blueprint, str(key), entry.key_place))
    for section, provider in blueprint.providers.items():
        for unit in provider.units():
            unit.label = unit.label or section
            unit.drain_s = blueprint.drain_s
            blueprint.units.append(unit)
    blueprint.problems += decoder.problems
    blueprint.needs += [(each, None, "") for each in decoder.dependencies]


def _unread(blueprint: Blueprint, key: str, place: Place) -> Problem:
    what, known = f"nothing reads the key '{key}'", {*PROVIDERS, *blueprint.catalog.providers}
    hint = suggest(key, [*known, *OWN_KEYS])
    if key in GONE:
        hint = f"Piped 0.x had '{key}': see docs/differences.md"
    return Problem("unread-key", what, place, key, hint=hint, level=Level.WARNING)


def _draw_pipelines(blueprint: Blueprint) -> None:
    section = blueprint.document.root.get("pipelines")
    if section is None:
        return
    reader = DefinitionReader(blueprint.catalog.processors)
    if isinstance(section, Mapping | Scalar):
        reader.read(section)
    else:
        what = f"expected pipelines by their names, got {plain(section)!r}"
        blueprint.problems.append(Problem("not-a-pipeline", what, section.place, "pipelines"))
    builder = GraphBuilder(reader.definitions, blueprint.catalog.processors)
    graphs = {name: graph for name in reader.definitions if (graph := builder.build(name))}
    blueprint.pipelines = {name: Pipeline(graph) for name, graph in graphs.items()}
    blueprint.pipeline_names = tuple(reader.definitions)
    blueprint.parts = {
        name: tuple(part for part, _ in each.parts()) for name, each in reader.definitions.items()
    }
    link(blueprint.pipelines)
    blueprint.problems += [*reader.problems, *builder.problems, *endless_calls(graphs)]
    blueprint.needs += builder.needs


def _check_resources(blueprint: Blueprint) -> None:
    """Find the dependencies that nobody provides."""
    known = {*blueprint.offers(), *OWN_RESOURCES}
    known |= {f"pipeline.{name}" for name in blueprint.pipeline_names}
    broken = {str(key) for key in blueprint.document.root.entries} - {*blueprint.providers}
    for dependency, place, at in blueprint.needs:
        name, kind = dependency.name, dependency.name.partition(".")[0]
        if name not in known and SECTIONS.get(kind, kind) not in broken:
            where = (dependency.place or place, dependency.at or at)
            blueprint.problems.append(_unknown_resource(name, known, *where))


def _unknown_resource(name: str, known: set[str], place: Place | None, at: str) -> Problem:
    kind, dot, rest = name.partition(".")
    prefix = f"{kind}{dot}"
    related = [each.removeprefix(prefix) for each in known if dot and each.startswith(prefix)]
    if f"pipeline.{name}" in known:
        hint = f"did you mean 'pipeline.{name}'?"
    elif name.startswith("."):
        hint = "relative names work inside pipelines only: write 'pipeline.' and the whole name"
    else:
        hint = suggest(rest, related, prefix) if related else suggest(name, known)
    return Problem("unknown-resource", f"nobody provides '{name}'", place, at, hint=hint)


def _check_use(blueprint: Blueprint) -> None:
    """Find the pipelines that nothing can ever run."""
    roots = [
        each for provider in blueprint.providers.values() for each in dependencies_of(provider)
    ]
    if not roots or len(blueprint.pipelines) < len(blueprint.pipeline_names):
        return  # parts for others to include or to call; or nobody knows what a broken one uses
    needed = blueprint.needed_by(roots)
    used = blueprint.made_of(needed)
    for name, pipeline in blueprint.pipelines.items():
        if name not in used and "pipelines" not in needed:
            what, place, at = (
                f"nothing uses pipeline '{name}'",
                pipeline.graph.place,
                pipeline.graph.at,
            )
            blueprint.problems.append(Problem("unused-pipeline", what, place, at, level=Level.HINT))


def _told_once(blueprint: Blueprint) -> Iterator[Problem]:
    """Yield the problems, without those that only follow from a text that could not be read."""
    document = blueprint.document
    reading = {*document.problems}
    misread = {each.place for each in reading if each.level is Level.ERROR}
    broken = {each.place.file for each in reading if each.code == "yaml-syntax" and each.place}
    for problem in dict.fromkeys(blueprint.problems):
        place = problem.place
        follows = place in misread or (place is not None and place.file in broken)
        follows |= not document.is_complete and problem.code in FOLLOWS
        if problem in reading or not follows:
            yield problem


def _in_order(problem: Problem) -> tuple[str, int, int]:
    place = problem.place or Place("", 0, 0)
    return (place.file, place.line, place.column)
