"""JSON Schemas of parameters: their types, bounds and defaults, and the parts they consist of.

They are what editors check while somebody types, and so before any tag is followed: a number may
be written as the name of an environment variable, as in ``port: !env PORT``.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Final, TypeAlias, Union, get_args, get_origin, get_type_hints

from msgspec import Meta

from piped.batons import MISSING, BatonPath
from piped.document import parse, plain
from piped.spec.components import Parameter, Spec, spec_of
from piped.spec.described import default_value, prose_of
from piped.spec.types import ROWS, Duration, Input, Size
from piped.spec.words import unannotated

Schema: TypeAlias = dict[str, Any]

NUMBERS: Final = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum"} | {
    "lt": "exclusiveMaximum",
    "multiple_of": "multipleOf",
}
LENGTHS: Final = {"array": "Items", "object": "Properties", "string": "Length"}
PLAIN: Final = {int: "integer", float: "number", bool: "boolean", str: "string", type(None): "null"}

ALIAS_PATTERN: Final = r"^[^\s.]+(\.[^\s.]+)+$"

ENV: Final[Schema] = {"$ref": "#/definitions/env"}
ALIAS: Final[Schema] = {"$ref": "#/definitions/alias"}
OUTSIDE: Final[Schema] = {"$ref": "#/definitions/outside"}

TAGGED: Final[dict[str, Schema]] = {
    "env": {
        "description": "What stands behind !env, with a default.",
        "type": "object",
        "properties": {"name": {"type": "string"}, "default": {}},
        "required": ["name"],
        "additionalProperties": False,
    },
    "alias": {
        "description": "What stands behind !alias: a path in the document.",
        "type": "string",
        "pattern": ALIAS_PATTERN,
    },
    "outside": {
        "description": "What stands behind !env or !alias in place of a value.",
        "anyOf": [{"type": "string", "pattern": "^[A-Z_][A-Z0-9_]*$"}, ENV, ALIAS],
    },
}
"""Editors see what a tag stands before, and not what it becomes."""


@dataclass(slots=True)
class Values:
    """Makes schemas of types; collects those of the parts inside them, each once.

    Where ``is_whole`` is false, nothing is required: includes may bring what a mapping lacks. What
    stands in a list is replaced, not merged, and so it is whole.
    """

    definitions: dict[str, Schema] = field(default_factory=dict)
    is_whole: bool = False
    _names: dict[tuple[type, bool], str] = field(default_factory=dict)

    def parameter(self, parameter: Parameter) -> Schema:
        """Return the schema of a parameter, with what it means and its default."""
        told: Schema = {}
        if parameter.description:
            told["description"] = parameter.description
        default = default_value(parameter)
        if default is not MISSING:
            told["default"] = default
        return with_words(self.value(parameter.hint), told)

    def parameters(self, spec: Spec) -> Schema:
        """Return the schema of the mapping of a component's parameters; others are refused."""
        made: Schema = {"type": "object", **told_of(spec)}
        made["properties"] = {
            key: self.parameter(each) for key, each in sorted(spec.parameters.items())
        }
        required = sorted(key for key, each in spec.parameters.items() if each.required)
        if required and self.is_whole:
            made["required"] = required
        else:
            made["type"] = ["object", "null"]
        return {**made, "additionalProperties": False}

    def value(self, hint: Any) -> Schema:
        """Return the schema of what a document may say for a type."""
        found = list(self._choices(hint, {}))
        if any(each == {} for each in found):
            return {}
        ends = [each for each in (OUTSIDE, ENV) if each in found]
        kinds = merged([each for each in found if each not in ends])
        choices = [*kinds, *ends[:1]]
        return choices[0] if len(choices) == 1 else {"anyOf": choices}

    def _choices(self, hint: Any, bounds: Mapping[str, Any]) -> Iterator[Schema]:
        """Yield the schema of each kind of value that a type lets one choose from."""
        bounds = {**bounds, **bounds_of(hint)}
        bare = unannotated(hint)
        origin, arguments = get_origin(bare), get_args(bare)
        if origin in (Union, types.UnionType):
            for each in arguments:
                yield from self._choices(each, bounds)
        elif origin is Input:
            yield from self._choices(arguments[0], bounds)
            yield {**ROWS[BatonPath].schema, "description": "A path, behind !path."}
        elif origin is typing.Literal:
            yield {"enum": list(arguments)}
            yield ENV
        elif row := ROWS.get(origin or bare):
            yield bounded(dict(row.schema), bounds)
            if bare is Duration or bare is Size:
                yield OUTSIDE
        elif bare in PLAIN:
            yield bounded({"type": PLAIN[bare]}, bounds)
            if bare is not type(None):
                yield ENV if bare is str else OUTSIDE
        else:
            yield from self._containers(bare, bounds)

    def _containers(self, bare: Any, bounds: Mapping[str, Any]) -> Iterator[Schema]:
        origin, arguments = get_origin(bare) or bare, get_args(bare)
        if isinstance(bare, type) and (spec := spec_of(bare)):
            yield self.part(spec)
        elif origin is list:
            yield or_alias(bounded({"type": "array", **self._items(arguments)}, bounds))
        elif origin is dict:
            inner = self.value(arguments[1]) if arguments else {}
            entries = {"additionalProperties": inner} if inner else {}
            yield or_alias(bounded({"type": "object", **entries}, bounds))
        else:
            yield {}

    def _items(self, arguments: tuple[Any, ...]) -> Schema:
        was_whole, self.is_whole = self.is_whole, True
        inner = self.value(arguments[0]) if arguments else {}
        self.is_whole = was_whole
        return {"items": inner} if inner else {}

    def part(self, spec: Spec) -> Schema:
        """Return the reference to a part, defined once."""
        known = (spec.component, self.is_whole)
        if known not in self._names:
            name, number = spec.name, 1
            while name in self.definitions:
                number += 1
                name = f"{spec.name}-{number}"
            self._names[known] = name
            self.definitions[name] = {}  # taken: a part may contain itself
            reads_itself = hasattr(spec.component, "__read__")
            made = self._tree(spec) if reads_itself else self.parameters(spec)
            self.definitions[name] = or_alias(made)
        return {"$ref": f"#/definitions/{self._names[known]}"}

    def _tree(self, spec: Spec) -> Schema:
        """Return the schema of a part that reads itself: its keys are the user's own.

        What is not theirs stands below ``__key__``; the field with the mapping tells the rest.
        """
        made: Schema = {"type": "object", **told_of(spec)}
        hints = get_type_hints(spec.component, include_extras=True)
        for each in fields(spec.component):
            if each.name.startswith("_"):
                continue
            bare = unannotated(hints[each.name])
            if get_origin(bare) is dict:
                made["additionalProperties"] = self.value(get_args(bare)[1])
            else:
                made.setdefault("properties", {})[f"__{each.name}__"] = self.value(bare)
        return made


def merged(kinds: Iterable[Schema]) -> list[Schema]:
    """Return schemas, each once; those that only name types, as one with the others' null."""
    unique: list[Schema] = []
    for each in kinds:
        if each not in unique:
            unique.append(each)
    bare = [each["type"] for each in unique if each.keys() == {"type"}]
    others = [each for each in unique if each.keys() != {"type"}]
    if bare == ["null"] and len(others) == 1 and "type" in others[0]:
        return [{**others[0], "type": [*types_of(others[0]), "null"]}]
    return [{"type": bare if len(bare) > 1 else bare[0]}, *others] if bare else others


def or_alias(schema: Schema) -> Schema:
    """Return the schema of a list or a mapping, or of an alias to one; each type has own rules."""
    return {**schema, "type": [*types_of(schema), "string"], "pattern": ALIAS_PATTERN}


def bounds_of(hint: Any) -> dict[str, Any]:
    """Return what the ``Meta`` of a type demands, by msgspec's names."""
    names = (*NUMBERS, "min_length", "max_length", "pattern")
    return {
        name: bound
        for extra in getattr(hint, "__metadata__", ())
        if isinstance(extra, Meta)
        for name in names
        if (bound := getattr(extra, name)) is not None
    }


def types_of(schema: Schema) -> list[str]:
    """Return the types that a schema names."""
    kinds = schema.get("type", [])
    return [kinds] if isinstance(kinds, str) else kinds


def bounded(schema: Schema, bounds: Mapping[str, Any]) -> Schema:
    """Return a schema with the bounds that concern its types."""
    kinds = types_of(schema)
    for name, bound in bounds.items():
        if name in NUMBERS and {"integer", "number"} & {*kinds}:
            schema[NUMBERS[name]] = bound
        elif name == "pattern" and "string" in kinds:
            schema["pattern"] = bound
        elif name.endswith("_length"):
            prefix = name.removesuffix("_length")
            schema |= {f"{prefix}{LENGTHS[kind]}": bound for kind in kinds if kind in LENGTHS}
    return schema


def with_words(schema: Schema, told: Mapping[str, Any]) -> Schema:
    """Return a schema with a description or a default; beside a reference both would be lost."""
    if not told:
        return schema
    return {**told, "allOf": [schema]} if "$ref" in schema else {**told, **schema}


def told_of(spec: Spec) -> Schema:
    """Return what a component says of itself in words."""
    prose = prose_of(spec.component)
    told: Schema = {"description": "\n\n".join([prose.summary, *prose.paragraphs])}
    if spec.deprecated:
        told |= {"deprecated": True, "deprecationMessage": spec.deprecated}
    if examples := list(examples_of(spec, prose.example)):
        told["examples"] = examples
    return told


def examples_of(spec: Spec, text: str) -> Iterable[Any]:
    """Yield the parameters in the example of a component."""
    node, problems = parse(text.partition("\nin:")[0])
    example = plain(node)
    given = example.get(spec.name) if isinstance(example, dict) and not problems else None
    if given:
        yield given
