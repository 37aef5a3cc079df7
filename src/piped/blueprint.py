"""A document, understood: its providers, its pipelines, and what is wrong with it.

Nothing is opened and nothing runs here. `piped check` prints the problems of a blueprint, and a
service is started from one that has no errors.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field
from typing import Any, Final

from piped.bundles import Catalog
from piped.document import Document
from piped.document.overrides import OPTION, VARIABLE
from piped.engine import Need, Pipeline, groups
from piped.errors import Level, Problem, suggest
from piped.spec import Dependency, Provider

OWN_KEYS: Final = ("drain", "includes", "pipelines", "plugins", "service_name")
FOLLOWS: Final = (  # what seems so where a part of the document was not read
    *("unknown-pipeline", "unknown-processor", "unknown-resource", "unread-key", "unused-pipeline"),
)
SECTIONS: Final = {  # where the section is not named as its resources are
    "context": "contexts",
    "persisted_context": "persisted_contexts",
    "process": "processes",
}
DRAIN_S: Final = 25.0


@dataclass(slots=True)
class Blueprint:
    """What a document describes, as far as it can be understood."""

    document: Document
    catalog: Catalog = field(default_factory=Catalog)
    providers: dict[str, Provider] = field(default_factory=dict)  # by section
    units: list[Provider] = field(default_factory=list)  # what is supervised on its own
    pipelines: dict[str, Pipeline] = field(default_factory=dict)  # those without errors
    pipeline_names: tuple[str, ...] = ()  # all that have one of their own
    broken: Set[str] = frozenset()  # the pipelines with errors
    parts: dict[str, tuple[str, ...]] = field(default_factory=dict)  # copied into each pipeline
    problems: list[Problem] = field(default_factory=list)
    needs: list[Need] = field(default_factory=list)  # of sound components and of others
    drain_s: float = DRAIN_S
    service_name: str = ""

    @property
    def is_complete(self) -> bool:
        """Whether all of the text was read and all bundles were imported."""
        return self.document.is_complete and self.catalog.is_complete

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
        paths |= {SECTIONS.get(kind, kind) for kind in kinds}
        found = self._errors_at(paths)
        if any(each.code in FOLLOWS for each in found):  # a bundle may be broken
            found = self._errors_at({*paths, "plugins"})
        found += [e for e in self._errors_at(self.document.aliased) if e in reading]
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

    def needed_by(
        self, roots: Iterable[Dependency[Any]], offers: Mapping[str, Provider] | None = None
    ) -> set[str]:
        """Return the names of all resources that some dependencies need, directly or not.

        Args:
            roots: The dependencies.
            offers: What ``offers()`` returns, where it is known already.
        """
        needed: set[str] = set()
        ahead = list(roots)
        offers = self.offers() if offers is None else offers
        while ahead:
            name = ahead.pop().name
            if name in needed:
                continue
            needed.add(name)
            ahead += offers[name].requires() if name in offers else ()
            pipelines = self._pipelines_behind(name)
            ahead += (each for pipeline in pipelines for each in pipeline.dependencies())
        return needed

    def calls(self) -> dict[str, set[str]]:
        """Return the pipelines that each pipeline names."""
        return {
            name: {each.name.removeprefix("pipeline.") for each in pipeline.dependencies()}
            & self.pipelines.keys()
            for name, pipeline in self.pipelines.items()
        }

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
