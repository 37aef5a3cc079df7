"""The JSON Schema of a whole document, by which editors complete, explain and check.

It is draft 7: the newest that every YAML support reads. The language server behind VS Code, Neovim
and others knew no later draft for most of its life, and JetBrains reads 4, 6 and 7 in all versions.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from piped.spec.components import Spec
from piped.spec.types import Duration
from piped.spec.values_schema import ALIAS, TAGGED, Schema, Values, or_alias, told_of, types_of

DRAFT: Final = "http://json-schema.org/draft-07/schema#"

FLOW: Final = {
    "chained_consumers": "Steps that get the baton one after the other.",
    "consumers": "Steps that get the same baton, each by itself.",
    "chained_error_consumers": "Steps that treat a failure one after the other.",
    "error_consumers": "Steps that treat a failure, each by itself.",
}
BESIDE: Final = ("id", *FLOW)
"""What a step may say beside its processor, or among the processor's parameters."""

MAKES_A_PIPELINE: Final = ("chained_consumers", "consumers", "inherits")

NAME: Final[Schema] = {"type": "string", "minLength": 1}
TEXTS: Final[Schema] = {"type": "array", "items": {"type": "string"}}


def document_schema(processors: Iterable[Spec], providers: Iterable[Spec]) -> Schema:
    """Return the schema of documents that may use some components.

    Whatever the order of the components, the same ones give the same schema.
    """
    steps = sorted(processors, key=lambda each: each.name)
    sections = sorted(providers, key=lambda each: each.name)
    values = Values({**TAGGED, **PIPELINES})
    values.is_whole = True
    values.definitions |= {f"processor.{each.name}": options(each, values) for each in steps}
    values.definitions |= steps_of(steps, values)
    values.is_whole = False
    own = own_sections(values)
    given = {each.name: section(each, values) for each in sections}
    return {
        "$schema": DRAFT,
        "title": "A document of Piped",
        "description": "Providers and pipelines. Other keys are for !alias to point to.",
        "type": ["object", "null"],
        "properties": dict(sorted({**own, **given}.items())),
        "definitions": dict(sorted(values.definitions.items())),
    }


def own_sections(values: Values) -> Schema:
    """Return the schemas of the sections that belong to no provider."""
    file = {"type": ["string", "object"], "minLength": 1, "additionalProperties": NAME}
    return {
        "includes": {
            "description": "Other documents to read first; {prefix.path: file} mounts one there.",
            "anyOf": [file, {"type": "array", "items": file}, {"type": "null"}],
        },
        "pipelines": {
            "description": "The pipelines, by name; mappings inside are namespaces.",
            **NAMESPACE,
            "type": ["object", "null"],
        },
        "plugins": {
            "description": "Components of your own.",
            "type": ["object", "null"],
            "properties": {
                "bundles": {
                    "description": "Lists of Python packages, by names of your own.",
                    "type": ["object", "null"],
                    "additionalProperties": TEXTS,
                },
                "disabled": {
                    "description": "Regular expressions of packages that are not imported.",
                    **TEXTS,
                    "type": ["array", "null"],
                },
            },
            "additionalProperties": False,
        },
        "drain": {
            "description": "How long what is open may take to end when the process is stopped.",
            "default": "25s",
            **values.value(Duration),
        },
        "service_name": {
            "description": "The name of the service in its log.",
            **values.value(str),
        },
    }


def section(spec: Spec, values: Values) -> Schema:
    """Return the schema of a provider's section."""
    if spec.entries is None:
        return values.parameters(spec)
    entries = values.value(spec.parameters[spec.entries].hint)
    return {**told_of(spec), **entries, "type": [*types_of(entries), "null"]}


def options(spec: Spec, values: Values) -> Schema:
    """Return the schema of a processor's options, with what every step may say among them."""
    made = values.parameters(spec)
    made["type"] = "object"
    made["properties"] |= {key: {"$ref": f"#/definitions/{key}"} for key in BESIDE}
    return or_alias(made)


def steps_of(specs: list[Spec], values: Values) -> Schema:
    """Return the schemas of the forms of a step, for the processors that there are."""
    bare = [each for each in specs if "required" not in values.definitions[_key(each)]]
    return {
        "step-name": {
            "description": "A processor without options.",
            "type": "string",
            "enum": [each.name for each in bare],
            "enumDescriptions": [str(told_of(each)["description"]) for each in bare],
        },
        "step-mapping": {
            "description": "A processor and its options, and where batons go from there.",
            "type": "object",
            "properties": {
                **{each.name: {"$ref": f"#/definitions/{_key(each)}"} for each in specs},
                "inline-pipeline": {"description": "A pipeline to copy into this one.", **NAME},
                "existing": {"description": "The id of a step to go to.", **NAME},
                **{key: {"$ref": f"#/definitions/{key}"} for key in BESIDE},
            },
            "additionalProperties": False,
            "not": {"propertyNames": {"enum": list(BESIDE)}},
            "if": {"propertyNames": {"not": {"enum": list(BESIDE)}}},
            "then": {"maxProperties": 1},
            "dependencies": {
                "existing": {"maxProperties": 1},
                "inline-pipeline": {"propertyNames": {"enum": ["inline-pipeline", *FLOW]}},
            },
        },
        "step-flat": {
            "type": "object",
            "properties": {"__processor__": {"enum": [each.name for each in specs]}},
            "allOf": [_flat(each, values.definitions[_key(each)]) for each in specs],
        },
    }


def _flat(spec: Spec, given: Schema) -> Schema:
    """Return the schema of a step that names its processor among the options."""
    key = _key(spec)
    then: dict[str, Any] = {
        "properties": {
            "__processor__": {},
            **{
                name: {"$ref": f"#/definitions/{key}/properties/{name}"}
                for name in given["properties"]
            },
        },
        "required": given.get("required", []),
        "additionalProperties": False,
    }
    return {"if": {"properties": {"__processor__": {"const": spec.name}}}, "then": then}


def _key(spec: Spec) -> str:
    return f"processor.{spec.name}"


def _ref(name: str) -> Schema:
    return {"$ref": f"#/definitions/{name}"}


_STEPS: Final[Schema] = {"type": "array", "items": _ref("step"), "minItems": 1}
_FEW_STEPS: Final[Schema] = or_alias({"type": ["array", "null"], "items": _ref("step")})

NAMESPACE: Final[Schema] = {
    "propertyNames": {"not": {"enum": [*FLOW, "inherits", "overrides", "max_turns"]}},
    "additionalProperties": _ref("namespace-entry"),
}

PIPELINES: Final[dict[str, Schema]] = {
    "id": {"description": "A name by which {existing: id} goes to this step.", **NAME},
    **{key: {"description": words, **_FEW_STEPS} for key, words in FLOW.items()},
    "namespace-entry": {
        "if": {"type": "object", "anyOf": [{"required": [key]} for key in MAKES_A_PIPELINE]},
        "then": _ref("pipeline-mapping"),
        "else": _ref("steps-or-namespace"),
    },
    "steps-or-namespace": {
        "description": "The steps of a pipeline, or a namespace: pipelines by name.",
        **or_alias({**_STEPS, **NAMESPACE, "type": ["array", "object", "null"]}),
    },
    "pipeline": {
        "description": "The name of a pipeline, or a list of steps in its place.",
        "anyOf": [
            NAME,
            _STEPS,
            _ref("pipeline-mapping"),
            {"type": "object", "properties": {"provider": NAME}, "required": ["provider"]},
        ],
    },
    "pipeline-mapping": {
        "type": "object",
        "properties": {
            **{key: _ref(key) for key in FLOW},
            "inherits": {"description": "The pipeline whose steps this one has.", **NAME},
            "overrides": {
                "description": "Processors with other options, in the order of the steps.",
                **_FEW_STEPS,
            },
            "max_turns": {
                "description": "How many turns the loops of the graph may take.",
                "default": 1_000_000,
                "type": "integer",
                "minimum": 1,
            },
        },
        "additionalProperties": False,
        "anyOf": [{"required": [key]} for key in MAKES_A_PIPELINE],
    },
    "step": {
        "if": {"type": "object", "required": ["__processor__"]},
        "then": _ref("step-flat"),
        "else": {"anyOf": [_ref("step-name"), _ref("step-mapping"), ALIAS]},
    },
}
