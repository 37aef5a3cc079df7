"""The JSON Schema of documents: what is right passes, what is wrong does not."""

from __future__ import annotations

import json
import re
import time
from dataclasses import field
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

import jsonschema
import pytest
import yaml

from piped.batons import Baton, BatonPath
from piped.blueprint import OWN_KEYS
from piped.cli.catalog import everything
from piped.document import load, plain
from piped.engine import keys
from piped.shipped import PROCESSORS, PROVIDERS
from piped.spec import (
    STEP_KEYS,
    Duration,
    ErrorTypes,
    Input,
    Meta,
    PipelineName,
    Processor,
    Provider,
    Size,
    Spec,
    part,
    processor,
    provider,
    spec_of,
)
from piped.spec import schema as schemas
from piped.spec.schema import document_schema
from piped.spec.values_schema import ALIAS_PATTERN

ROOT = Path(__file__).parent.parent.parent
DOCUMENTS = sorted(
    [
        *ROOT.glob("examples/**/*.yaml"),
        *ROOT.glob("src/piped/demo/*.yaml"),
        *ROOT.glob("tests/stories/tutorial/**/*.yaml"),
    ]
)
PAGES = sorted([ROOT / "README.md", *ROOT.glob("docs/**/*.md")])
BLOCK = re.compile(r"^```yaml( part)?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
OF_USERS = re.compile(
    r"^ *processor\(\"([\w-]+)\"|@(?:piped\.)?processor\(\"([\w-]+)\"", re.MULTILINE
)


class Untagged(yaml.SafeLoader):
    """Reads what stands behind tags, as editors do."""

    def behind(self, tag: str, node: yaml.Node) -> Any:
        if tag.startswith("alias:"):  # docs/editors.md says what an editor makes of its defaults
            return tag.removeprefix("alias:")
        if isinstance(node, yaml.MappingNode):
            return self.construct_mapping(node, deep=True)
        return self.construct_scalar(node)  # type: ignore[arg-type] # no tag stands before a list


Untagged.add_multi_constructor("!", Untagged.behind)


@part
class Crumb:
    """A crumb."""

    weight: Annotated[int, Meta(ge=1, description="How heavy it is.")]


@processor("slice-bread", deprecated="buy toast")
class SliceBread(Processor):
    """Slice ``bread``.

    Takes bread.

    Example:
        slice-bread: {thickness: 2}
        in:  bread
        out: slices
    """

    thickness: Annotated[Input[int], Meta(description="How thick.")]
    wait: Annotated[Duration, Meta(gt=0, description="How long.")] = Duration(0.25)
    room: Size | None = None
    kind: Literal["rye", "wheat"] = "rye"
    notes: Annotated[list[str], Meta(max_length=3)] = field(default_factory=list)
    crumbs: list[Crumb] = field(default_factory=list)
    path: BatonPath = BatonPath("a.b")
    then: PipelineName | None = None
    only: ErrorTypes = field(default_factory=lambda: ErrorTypes((ValueError,)))
    anything: Any = None

    def process(self, baton: Baton) -> Baton:
        return baton


@part
class Shelf:
    """A shelf."""

    length: Annotated[int, Meta(description="How long it is.")]


@provider("shelves", entries="shelves")
class Shelves(Provider):
    """Hold bread."""

    shelves: Annotated[dict[str, Shelf], Meta(description="The shelves.")]


def spec(marked: type) -> Spec:
    found = spec_of(marked)
    assert found is not None
    return found


@cache
def whole() -> dict[str, Any]:
    known = everything()
    specs = [*known.specs()]
    return document_schema(
        [each for each in specs if each.kind == "processor"],
        [each for each in specs if each.kind == "provider"],
    )


@cache
def small() -> dict[str, Any]:
    return document_schema([spec(SliceBread)], [spec(Shelves)])


def errors(schema: dict[str, Any], document: Any) -> list[str]:
    """Return what is wrong, where, and in the words of the validator."""
    validator = jsonschema.Draft7Validator(schema)
    return [f"{each.json_path}: {each.message}" for each in validator.iter_errors(document)]


def with_own(names: set[str]) -> dict[str, Any]:
    """Return the schema of documents that have processors of their users' own."""
    schema: dict[str, Any] = json.loads(json.dumps(whole()))
    definitions = schema["definitions"]
    definitions["step-name"]["enum"] += sorted(names)
    definitions["step-mapping"]["properties"] |= {name: {} for name in sorted(names)}
    return schema


def bundled(text: str) -> set[str]:
    """Return the names of processors that a text of Python declares."""
    return {name for found in OF_USERS.findall(text) for name in found if name}


USERS_OWN = {
    name
    for folder in ("examples", "tests/stories/tutorial")
    for file in ROOT.glob(f"{folder}/**/*.py")
    for name in bundled(file.read_text(encoding="utf-8"))
}


def test_the_schema_is_one_of_draft_7() -> None:
    jsonschema.Draft7Validator.check_schema(whole())

    assert whole()["$schema"] == "http://json-schema.org/draft-07/schema#"


def test_all_references_lead_somewhere() -> None:
    text = json.dumps(whole())

    broken = []
    for reference in sorted(set(re.findall(r'"\$ref": "#/([^"]+)"', text))):
        place: Any = whole()
        for name in reference.split("/"):
            place = place.get(name)
            if place is None:
                broken.append(reference)
                break

    assert broken == []


def test_every_section_and_every_processor_is_there() -> None:
    assert {*OWN_KEYS, *PROVIDERS} == set(whole()["properties"])
    assert set(PROCESSORS) <= set(whole()["definitions"]["step-mapping"]["properties"])


def test_the_words_of_pipelines_are_those_of_the_engine() -> None:
    assert set(schemas.FLOW) == set(keys.FLOW)
    assert schemas.MAKES_A_PIPELINE == keys.MAKES_A_PIPELINE
    assert {*schemas.BESIDE, "existing"} == STEP_KEYS
    mapping = whole()["definitions"]["pipeline-mapping"]["properties"]
    assert set(mapping) == set(keys.PIPELINE_KEYS)


def test_it_is_the_same_whatever_the_order_of_the_components() -> None:
    specs = [*everything().specs()]
    processors = [each for each in specs if each.kind == "processor"]
    providers = [each for each in specs if each.kind == "provider"]

    one = document_schema(processors, providers)
    other = document_schema(reversed(processors), reversed(providers))

    assert json.dumps(one) == json.dumps(other) == json.dumps(whole())


def test_it_is_made_in_less_than_a_second() -> None:
    specs = [*everything().specs()]

    began = time.process_time()
    document_schema([each for each in specs if each.kind == "processor"], [])

    assert time.process_time() - began < 1


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_document_of_the_project_passes(path: Path) -> None:
    document = plain(load(path, environment={}).root)

    assert errors(with_own(USERS_OWN), document) == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_document_passes_as_an_editor_sees_it(path: Path) -> None:
    document = yaml.load(path.read_text(encoding="utf-8"), Loader=Untagged)

    assert errors(with_own(USERS_OWN), document) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_document_of_a_page_passes(page: Path, tmp_path: Path) -> None:
    text = page.read_text(encoding="utf-8")
    schema = with_own(bundled(text))

    def looked_up(document: str) -> Any:
        path = tmp_path / "page.yaml"
        path.write_text(document, encoding="utf-8")
        return plain(load(path, environment={}).root)

    found = [errors(schema, looked_up(block[1])) for block in BLOCK.findall(text)]

    assert [each for each in found if each] == []


@pytest.mark.parametrize("name", sorted(PROCESSORS))
def test_every_example_passes_in_each_form_of_a_step(name: str) -> None:
    [given] = whole()["definitions"][f"processor.{name}"].get("examples", [{}])

    steps = [{name: given}, {"__processor__": name, **given}]

    assert errors(whole(), {"pipelines": {"p": steps}}) == []


RIGHT = {
    "nothing": None,
    "data of one's own": {"colours": ["red"], "anything": {"a": 1}},
    "a list of steps": {"pipelines": {"p": ["passthrough"]}},
    "namespaces": {"pipelines": {"a": {"b": {"c": ["passthrough"]}, "d": None}}},
    "an id and consumers beside the options": {
        "pipelines": {
            "p": [
                {
                    "set-value": {"path": "a", "value": 1},
                    "id": "here",
                    "consumers": ["passthrough", {"existing": "here"}],
                }
            ]
        }
    },
    "an id and consumers among the options": {
        "pipelines": {
            "p": [{"set-value": {"path": "a", "value": 1, "id": "x", "error_consumers": ["stop"]}}]
        }
    },
    "a processor named among its options": {
        "pipelines": {"p": [{"__processor__": "set-value", "path": "a", "value": 1, "id": "x"}]}
    },
    "a pipeline that is inlined": {
        "pipelines": {
            "p": {"consumers": [{"inline-pipeline": ".q", "chained_consumers": ["stop"]}]}
        }
    },
    "a pipeline that inherits": {
        "pipelines": {"p": {"inherits": "q", "overrides": [{"stop": {}}], "max_turns": 3}}
    },
    "a pipeline in place of its name": {
        "pipelines": {"p": [{"run-pipeline": {"pipeline": ["passthrough", {"stop": {}}]}}]}
    },
    "options that stand elsewhere": {
        "settings": {"short": {"delay": "1s"}},
        "pipelines": {"p": [{"wait": "settings.short"}]},
    },
    "includes": {"includes": ["a.yaml", {"web.site": "b.yaml"}]},
    "plugins": {"plugins": {"bundles": {"shop": ["shop"]}, "disabled": ["x"]}},
    "half a section, the other half of which is included": {"web": {"site": {"port": 1}}},
    "variables in place of numbers": {"web": {"site": {"port": "PORT", "deadline": "DEADLINE"}}},
    "a variable with a default": {"web": {"site": {"port": {"name": "PORT", "default": 80}}}},
    "a tree of paths": {
        "web": {"s": {"routing": {"a": {"b": {"__config__": {"processor": "pipeline.p"}}}}}}
    },
}


@pytest.mark.parametrize("document", RIGHT.values(), ids=RIGHT)
def test_what_is_right_passes(document: Any) -> None:
    assert errors(whole(), document) == []


P = "$.pipelines.p"
WRONG: dict[str, tuple[Any, str]] = {
    "the root is a list": ([], "$: [] is not of type 'object', 'null'"),
    "an unknown parameter of a section": (
        {"web": {"site": {"prot": 80}}},
        "$.web.site: Additional properties are not allowed ('prot' was unexpected)",
    ),
    "a port out of range": (
        {"web": {"site": {"port": 70_000}}},
        "$.web.site.port: 70000 is not valid under any of the given schemas",
    ),
    "text in place of a number": (
        {"web": {"site": {"port": "8080"}}},
        "$.web.site.port: '8080' is not valid under any of the given schemas",
    ),
    "no duration": (
        {"drain": "soon"},
        "$.drain: 'soon' is not valid under any of the given schemas",
    ),
    "an unknown key of plugins": (
        {"plugins": {"bundels": {}}},
        "$.plugins: Additional properties are not allowed ('bundels' was unexpected)",
    ),
    "a pipeline that is a name": (
        {"pipelines": {"p": "passthrough"}},
        f"{P}: 'passthrough' does not match {ALIAS_PATTERN!r}",
    ),
    "an unknown key of a pipeline": (
        {"pipelines": {"p": {"consumers": ["stop"], "max_turn": 1}}},
        f"{P}: Additional properties are not allowed ('max_turn' was unexpected)",
    ),
    "an unknown parameter among a processor's own": (
        {"pipelines": {"p": [{"__processor__": "wait", "delay": 1, "dela": 2}]}},
        f"{P}[0]: Additional properties are not allowed ('dela' was unexpected)",
    ),
}


@pytest.mark.parametrize(("document", "message"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_does_not_pass(document: Any, message: str) -> None:
    assert errors(whole(), document) == [message]


STEPS: dict[str, Any] = {
    "an unknown processor": "pasthrough",
    "a processor that needs options, without them": "set-value",
    "an unknown parameter": {"set-value": {"path": "a", "value": 1, "paht": "b"}},
    "a missing parameter": {"set-value": {"path": "a"}},
    "no options at all": {"passthrough": None},
    "a wrong type": {"wait": {"delay": [1]}},
    "a negative duration": {"wait": {"delay": -1}},
    "text that is no truth": {"encode-json": {"skip_if_nonexistent": "yes"}},
    "a path with an empty part": {"set-value": {"path": "a..b", "value": 1}},
    "one of no choice": {"log": {"level": "loud", "message": "x"}},
    "two processors": {"passthrough": {}, "stop": {}},
    "no processor": {"id": "x"},
    "nothing": {},
    "existing with more": {"existing": "x", "consumers": []},
    "an inlined pipeline with an id": {"inline-pipeline": "q", "id": "x"},
    "a number": 3,
    "a wrong step in a consumer": {"passthrough": {}, "consumers": ["pasthrough"]},
    "a wrong step in a pipeline in place": {"run-pipeline": {"pipeline": ["pasthrough"]}},
    "an unknown processor among its options": {"__processor__": "pasthrough"},
    "a missing parameter among its options": {"__processor__": "set-value", "path": "a"},
}


@pytest.mark.parametrize("step", STEPS.values(), ids=STEPS)
def test_a_wrong_step_does_not_pass(step: Any) -> None:
    assert errors(whole(), {"pipelines": {"p": ["passthrough"]}}) == []
    assert errors(whole(), {"pipelines": {"p": ["passthrough", step]}}) != []


def test_a_processor_is_described_by_its_declaration() -> None:
    made = small()["definitions"]["processor.slice-bread"]

    assert made["description"] == "Slice `bread`.\n\nTakes bread."
    assert (made["deprecated"], made["deprecationMessage"]) == (True, "buy toast")
    assert made["examples"] == [{"thickness": 2}]
    assert made["required"] == ["thickness"]
    assert made["additionalProperties"] is False


def test_parameters_have_their_types_bounds_defaults_and_meanings() -> None:
    found = small()["definitions"]["processor.slice-bread"]["properties"]
    own = {key: found[key] for key in sorted(found) if key not in schemas.BESIDE}

    path = r"^([^.]+(\.[^.]+)*)?$"
    outside, env = ref("outside"), ref("env")
    assert own == {
        "anything": {"default": None},
        "crumbs": {
            "default": [],
            "type": ["array", "string"],
            "items": ref("crumb"),
            "pattern": ALIAS_PATTERN,
        },
        "kind": {"default": "rye", "anyOf": [{"enum": ["rye", "wheat"]}, env]},
        "node_name": {
            "description": "A label for graphs and traces instead of the name.",
            "default": None,
            "anyOf": [{"type": ["string", "null"]}, env],
        },
        "notes": {
            "default": [],
            "type": ["array", "string"],
            "items": {"anyOf": [{"type": "string"}, env]},
            "maxItems": 3,
            "pattern": ALIAS_PATTERN,
        },
        "only": {
            "default": ["ValueError"],
            "type": ["string", "array"],
            "minLength": 1,
            "minItems": 1,
            "items": {"type": "string"},
        },
        "path": {"default": "a.b", "type": "string", "pattern": path},
        "room": {
            "default": None,
            "anyOf": [
                {
                    "type": ["integer", "string", "null"],
                    "minimum": 0,
                    "pattern": r"^\s*\d+(\.\d+)?\s*(B|KiB|MiB|GiB|kB|KB|MB|GB)?\s*$",
                },
                outside,
            ],
        },
        "then": {"default": None, "anyOf": [{"type": "null"}, ref("pipeline")]},
        "thickness": {
            "description": "How thick.",
            "anyOf": [
                {"type": "integer"},
                {"type": "string", "pattern": path, "description": "A path, behind !path."},
                outside,
            ],
        },
        "wait": {
            "description": "How long.",
            "default": "250ms",
            "anyOf": [
                {
                    "type": ["number", "string"],
                    "minimum": 0,
                    "exclusiveMinimum": 0,
                    "pattern": r"^\s*\d+(\.\d+)?\s*(us|ms|s|m|h|d)?\s*$",
                },
                outside,
            ],
        },
    }


def ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/definitions/{name}"}


def test_what_stands_in_a_list_is_whole_and_what_is_merged_is_not() -> None:
    definitions = small()["definitions"]

    assert definitions["crumb"]["required"] == ["weight"]
    assert "required" not in definitions["shelf"]
    assert definitions["shelf"]["type"] == ["object", "null", "string"]


@pytest.mark.parametrize("text", ["2s", "1.5 h", " 3 ", "250ms", 0, 1.5])
def test_durations_are_what_the_decoder_takes(text: Any) -> None:
    assert errors(whole(), {"drain": text}) == []


@pytest.mark.parametrize("text", ["2 seconds", "-1s", "s", "", -1, True, [2]])
def test_what_is_no_duration_is_refused(text: Any) -> None:
    assert errors(whole(), {"drain": text}) != []
