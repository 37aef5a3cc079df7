"""Reads what a document says of its pipelines.

The forms are those of the ancestor: a list is a chain; a mapping may have ``chained_consumers``,
``consumers``, ``error_consumers``, ``chained_error_consumers``, or ``inherits`` and ``overrides``.
A step is ``name``, ``{name: options}``, ``{__processor__: name, ...}``, ``{inline-pipeline: name}``
or ``{existing: id}``.
"""

from __future__ import annotations

from collections.abc import Container
from typing import Literal

from piped.document.nodes import Mapping, Node, Scalar, Sequence, plain
from piped.engine.definition import MAX_TURNS, Branches, PipelineDefinition, StepDefinition
from piped.engine.keys import FLOW, PIPELINE_KEYS, RESERVED, is_pipeline, mistaken, wrong_name
from piped.errors import Place, Problem, suggest


class DefinitionReader:
    """Reads the ``pipelines`` section; collects the definitions and what is wrong with them."""

    def __init__(self, processors: Container[str] = ()) -> None:
        self.processors = processors
        self.definitions: dict[str, PipelineDefinition] = {}
        self.problems: list[Problem] = []

    def read(self, section: Node, name: str = "", at: str = "pipelines") -> None:
        """Read a namespace, or a pipeline, and all that is below it."""
        match section:
            case Sequence():
                self._pipeline(name, section, at)
            case Mapping() if name and is_pipeline(section):
                self._pipeline(name, section, at)
            case Mapping() if name and (found := mistaken(section, self.processors, at)):
                self.problems += found
            case Mapping():
                for key, entry in section.items():
                    if problem := wrong_name(key, entry.key_place, f"{at}.{key}"):
                        self.problems.append(problem)
                        continue
                    self.read(entry.node, f"{name}.{key}" if name else f"{key}", f"{at}.{key}")
            case Scalar(value=None):
                pass
            case _:
                self._report(
                    "not-a-pipeline",
                    f"expected a pipeline or a namespace of pipelines, got {plain(section)!r}",
                    section.place,
                    at,
                    "a pipeline is a list of steps, or a mapping with 'chained_consumers'",
                )

    def read_parameter(self, node: Node, at: str, home: str) -> str:
        """Read a pipeline that stands in place of a name, once, and return the name it gets."""
        name = at.removeprefix("pipelines.")
        if name in self.definitions:
            return name
        if isinstance(node, Sequence) or (isinstance(node, Mapping) and is_pipeline(node)):
            self._pipeline(name, node, at, home)
        else:
            what = f"expected the name of a pipeline, or a list of steps, got {plain(node)!r}"
            self._report("not-a-pipeline", what, node.place, at)
        return name

    def _pipeline(self, name: str, node: Sequence | Mapping, at: str, home: str = "") -> None:
        made = PipelineDefinition(name, node.place, at, home=home or name)
        before = len(self.problems)
        if not name:
            self._report("not-a-pipeline", "a pipeline needs a name", node.place, at)
            return
        if name in self.definitions:
            other = self.definitions[name].place
            what = f"two pipelines are named '{name}', the other one at {other}"
            self._report("duplicate-pipeline", what, node.place, at)
            return
        if isinstance(node, Sequence):
            made.branches.chained_consumers = self._steps(node, at)
        else:
            self._mapping(made, node, at)
        self.definitions[name] = made
        made.is_sound = len(self.problems) == before
        if made.is_sound and made.inherits is None and not made.branches.sources():
            what, hint = f"pipeline '{name}' has no steps", "write '- passthrough' into it"
            self._report("empty-pipeline", what, node.place, at, hint)
            made.is_sound = False

    def _mapping(self, made: PipelineDefinition, node: Mapping, at: str) -> None:
        for key, entry in node.items():
            if key not in PIPELINE_KEYS:
                what, hint = f"a pipeline has no key '{key}'", suggest(str(key), PIPELINE_KEYS)
                self._report("unknown-parameter", what, entry.key_place, f"{at}.{key}", hint)
        made.branches = self._branches(node, at)
        if "max_turns" in node.entries:
            made.max_turns = self._count(node.entries["max_turns"].node, f"{at}.max_turns")
        if "inherits" in node.entries:
            parent = node.entries["inherits"].node
            made.inherits = self._pipeline_name(parent, f"{at}.inherits")
            made.inherits_place = parent.place
            overrides = node.get("overrides")
            made.overrides = self._steps(overrides, f"{at}.overrides") if overrides else []
            self._check_overrides(made.overrides)
            if any(True for _ in made.branches.steps()):
                what = f"pipeline '{made.name}' inherits '{made.inherits}' and has own consumers"
                hint = "leave the consumers to the parent, or inline it with 'inline-pipeline'"
                self._report("inherits-with-consumers", what, node.place, at, hint)
        elif "overrides" in node.entries:
            what = f"pipeline '{made.name}' has 'overrides' and inherits nothing"
            place = node.entries["overrides"].key_place
            self._report("overrides-without-inherits", what, place, f"{at}.overrides")

    def _check_overrides(self, overrides: list[StepDefinition]) -> None:
        for step in overrides:
            if step.kind != "processor" or step.id or any(True for _ in step.branches.steps()):
                what = "an override names a processor and its options, nothing else"
                hint = "the ids and consumers of the parent are kept"
                self._report("wrong-override", what, step.place, step.at, hint)

    def _branches(self, node: Mapping, at: str) -> Branches:
        found = Branches()
        for key in FLOW:
            if (branch := node.get(key)) is not None:
                setattr(found, key, self._steps(branch, f"{at}.{key}"))
        return found

    def _steps(self, node: Node, at: str) -> list[StepDefinition]:
        if not isinstance(node, Sequence):
            if not (isinstance(node, Scalar) and node.value is None):
                what = f"expected a list of steps, got {plain(node)!r}"
                self._report("not-a-list-of-steps", what, node.place, at)
            return []
        steps = (self._step(item, f"{at}[{i}]") for i, item in enumerate(node.items))
        return [step for step in steps if step]

    def _step(self, node: Node, at: str) -> StepDefinition | None:
        match node:
            case Scalar(value=str() as name):
                return StepDefinition("processor", name, node.place, f"{at}.{name}", _empty(node))
            case Mapping():
                return self._mapping_step(node, at)
        self._not_a_step(node, at, f"expected a step, got {plain(node)!r}")
        return None

    def _mapping_step(self, node: Mapping, at: str) -> StepDefinition | None:
        for kind in ("existing", "inline-pipeline"):
            if kind in node.entries:
                return self._reference(kind, node, at)
        if "__processor__" in node.entries:
            entry = node.entries["__processor__"]
            name = self._name(entry.node, f"{at}.__processor__")
            own = {key: each for key, each in node.items() if key != "__processor__"}
            options = Mapping(node.place, own)
            return self._processor(name, entry.node.place, options, [node], at) if name else None
        names = [key for key in node.entries if key not in RESERVED]
        if len(names) != 1:
            shown = ", ".join(f"'{name}'" for name in names) or "none"
            what = f"a step names one processor, this one names {shown}"
            is_lost = bool(names) and plain(node.entries[names[0]].node) is None
            hint = f"indent '{names[1]}' more than '{names[0]}'" if is_lost else ""
            self._not_a_step(node, at, what, hint)
            return None
        entry = node.entries[names[0]]
        if not isinstance(entry.node, Mapping):
            given = plain(entry.node)
            what = f"expected a mapping of options after '{names[0]}:', got "
            what += "nothing" if given is None else repr(given)
            hint = f"write '- {names[0]}' or '- {names[0]}: {{}}' for a step without options"
            if given is not None:
                hint = f"write the name of the parameter too, as in '- {names[0]}: {{name: value}}'"
            self._report("not-a-step", what, entry.key_place, f"{at}.{names[0]}", hint)
            return None
        return self._processor(str(names[0]), entry.key_place, entry.node, [node, entry.node], at)

    def _processor(
        self, name: str, place: Place, options: Mapping, sources: list[Mapping], at: str
    ) -> StepDefinition:
        at = f"{at}.{name}"
        taken = (*FLOW, "id")
        own = {key: entry for key, entry in options.items() if key not in taken}
        step = StepDefinition("processor", name, place, at, Mapping(options.place, own))
        self._flow(step, sources)
        return step

    def _reference(self, kind: str, node: Mapping, at: str) -> StepDefinition | None:
        entry = node.entries[kind]
        read = self._name if kind == "existing" else self._pipeline_name
        name = read(entry.node, f"{at}.{kind}")
        if name is None:
            return None
        made: Literal["existing", "inline-pipeline"]
        made = "existing" if kind == "existing" else "inline-pipeline"
        step = StepDefinition(made, name, entry.key_place, f"{at}.{kind}", _empty(node))
        allowed = (kind,) if kind == "existing" else (kind, *FLOW)
        for key, other in node.items():
            if key not in allowed:
                what, hint = f"'{kind}' has no key '{key}'", suggest(str(key), allowed)
                self._report("unknown-parameter", what, other.key_place, f"{at}.{key}", hint)
        if kind != "existing":
            self._flow(step, [node])
        return step

    def _flow(self, step: StepDefinition, sources: list[Mapping]) -> None:
        """Read what stands beside the options or inside them: the id and the branches."""
        for source in sources:
            if (id_ := source.get("id")) is not None:
                if step.id is not None:
                    what = f"'{step.name}' has two ids, beside its options and among them"
                    hint = "remove one of them"
                    self._report("duplicate-key", what, id_.place, f"{step.at}.id", hint)
                step.id = self._name(id_, f"{step.at}.id")
            found = self._branches(source, step.at)
            for key in FLOW:
                getattr(step.branches, key).extend(getattr(found, key))

    def _name(self, node: Node, at: str) -> str | None:
        if isinstance(node, Scalar) and isinstance(node.value, str) and node.value:
            return node.value
        self._report("wrong-value", f"expected a name, got {plain(node)!r}", node.place, at)
        return None

    def _pipeline_name(self, node: Node, at: str) -> str | None:
        name = self._name(node, at)
        return name and name.removeprefix("pipeline.")

    def _count(self, node: Node, at: str) -> int:
        value = plain(node)
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return value
        self._report("wrong-value", f"expected int >= 1, got {value!r}", node.place, at)
        return MAX_TURNS

    def _not_a_step(self, node: Node, at: str, what: str, hint: str = "") -> None:
        forms = "'name', '{name: {options}}', '{inline-pipeline: name}' or '{existing: id}'"
        self._report("not-a-step", what, node.place, at, hint or f"a step is {forms}")

    def _report(self, code: str, what: str, place: Place, at: str, hint: str = "") -> None:
        self.problems.append(Problem(code, what, place, at, hint=hint))


def _empty(node: Node) -> Mapping:
    return Mapping(node.place)
