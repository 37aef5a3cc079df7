"""From a document to its blueprint: every component made and joined, nothing opened."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from piped.blueprint import DRAIN_S, FOLLOWS, OWN_KEYS, Blueprint
from piped.bundles import catalog_of
from piped.checks import check
from piped.document import Document, Mapping, Scalar, plain
from piped.document.report import MAX_PROBLEMS, too_many_problems
from piped.engine import DefinitionReader, GraphBuilder, Pipeline, endless_calls, link
from piped.errors import Level, Place, Problem, suggest
from piped.spec import INVALID, Decoder, Dependency, Duration, PipelineName, Provider, Spec
from piped.spec.imports import NotInstalled, without_imports
from piped.spec.types import ELSEWHERE

GONE: Final = (
    *("amqp", "cyclone", "database", "manholes", "pb", "repl", "runmodes", "smtp", "statsd"),
    "zookeeper",
)


def draw(document: Document, *, may_import: bool = True) -> Blueprint:
    """Return the blueprint of a document, with all its problems, in the order of the files.

    Args:
        document: What was read.
        may_import: Whether its bundles and namespaces are imported; else, what depends on them is
            not looked at.
    """
    if not may_import:
        with without_imports():
            return _drawn(document)
    return _drawn(document)


def _drawn(document: Document) -> Blueprint:
    blueprint = Blueprint(document, problems=list(document.problems))
    blueprint.catalog = catalog_of(document)
    blueprint.problems += blueprint.catalog.problems
    _draw_providers(blueprint)
    _draw_pipelines(blueprint)
    _draw_unwritten(blueprint)
    blueprint.problems += check(blueprint)
    problems = sorted(_told_once(blueprint), key=_in_order)
    if len(problems) > MAX_PROBLEMS + 1:
        problems[MAX_PROBLEMS:] = [too_many_problems(problems[MAX_PROBLEMS].place)]
    blueprint.problems = problems
    return blueprint


def _draw_providers(blueprint: Blueprint) -> None:
    decoder = Decoder()
    for key, entry in blueprint.document.root.items():
        spec = _provider_spec(blueprint, str(key), entry.key_place)
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
        _supervise(blueprint, section, provider)
    blueprint.problems += decoder.problems
    for dependency in decoder.dependencies:
        _note_need(blueprint, dependency)
    for unit in blueprint.units:
        own = [each for each in unit.requires() if each not in decoder.dependencies]
        blueprint.needs += [(each, unit.place, unit.at) for each in own]


def _note_need(blueprint: Blueprint, dependency: Dependency[Any]) -> None:
    """Note what a provider needs: a pipeline too by its name only, which is that of a resource."""
    if isinstance(dependency, PipelineName):
        if dependency.inline is not None:
            what = "expected the name of a pipeline, got a list of steps"
            where = (dependency.place, dependency.at)
            blueprint.problems.append(Problem("not-a-pipeline", what, *where, hint=ELSEWHERE))
            return
        if not dependency.name.startswith("."):
            dependency.name = f"pipeline.{dependency.name}"
    blueprint.needs.append((dependency, None, ""))


def _provider_spec(blueprint: Blueprint, section: str, place: Place) -> Spec | None:
    try:
        return blueprint.catalog.providers.get(section)
    except NotInstalled as error:
        what = f"'{section}' cannot be used: {error}"
        blueprint.problems.append(Problem("not-installed", what, place, section, hint=error.hint))
        return None


def _supervise(blueprint: Blueprint, section: str, provider: Provider) -> None:
    for unit in provider.units():
        unit.label = unit.label or section
        unit.drain_s = blueprint.drain_s
        blueprint.units.append(unit)


def _draw_unwritten(blueprint: Blueprint) -> None:
    """Make the providers that are needed as they are, without a section of their own."""
    wanted = {dependency.name for dependency, _, _ in blueprint.needs}
    for section in sorted(wanted - blueprint.document.root.entries.keys()):
        spec = _provider_spec(blueprint, section, blueprint.document.root.place)
        if spec and not any(each.required for each in spec.parameters.values()):
            made = blueprint.providers[section] = spec.component()
            _supervise(blueprint, section, made)


def _unread(blueprint: Blueprint, key: str, place: Place) -> Problem:
    what = f"nothing reads the key '{key}'"
    hint = suggest(key, [*blueprint.catalog.providers, *OWN_KEYS])
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
    builder = GraphBuilder(reader, blueprint.catalog.processors)
    graphs = builder.build_all()
    blueprint.pipelines = {name: Pipeline(graph) for name, graph in graphs.items()}
    blueprint.pipeline_names = tuple(
        name for name, each in reader.definitions.items() if not each.is_parameter
    )
    blueprint.broken = reader.definitions.keys() - graphs.keys()
    blueprint.parts = {
        name: tuple(part for part, _ in each.parts()) for name, each in reader.definitions.items()
    }
    link(blueprint.pipelines)
    blueprint.problems += [*reader.problems, *builder.problems, *endless_calls(graphs)]
    blueprint.needs += builder.needs


def _told_once(blueprint: Blueprint) -> Iterator[Problem]:
    """Yield the problems, without those that only follow from a text that could not be read."""
    document = blueprint.document
    reading = {*document.problems}
    misread = {each.place for each in reading if each.level is Level.ERROR}
    broken = {each.place.file for each in reading if each.code == "yaml-syntax" and each.place}
    for problem in dict.fromkeys(blueprint.problems):
        place = problem.place
        follows = place in misread or (place is not None and place.file in broken)
        follows |= not blueprint.is_complete and problem.code in FOLLOWS
        if problem in reading or not follows:
            yield problem


def _in_order(problem: Problem) -> tuple[str, int, int]:
    place = problem.place or Place("", 0, 0)
    return (place.file, place.line, place.column)
