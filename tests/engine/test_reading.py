"""What a document may say of its pipelines, and what is told where it says something else."""

from __future__ import annotations

import pytest

from piped.document import parse
from piped.engine import DefinitionReader
from tests.engine.conftest import Build, Problems, Way


def names(text: str) -> list[str]:
    """Return the names of the pipelines that a YAML text defines."""
    reader = DefinitionReader()
    reader.read(parse(text)[0])
    assert reader.problems == []
    return list(reader.definitions)


def test_a_list_is_a_pipeline_and_a_mapping_of_pipelines_is_a_namespace() -> None:
    text = """
        one: [passthrough]
        web:
          compute: [passthrough]
          deep: {er: [passthrough]}
    """

    assert names(text) == ["one", "web.compute", "web.deep.er"]


@pytest.mark.parametrize("form", ["chained_consumers: [passthrough]", "consumers: [passthrough]"])
def test_a_mapping_with_consumers_is_a_pipeline(form: str) -> None:
    assert names(f"a: {{{form}}}") == ["a"]


def test_a_name_may_contain_dots_and_a_namespace_may_be_empty() -> None:
    assert names("{my.pipeline: {inner: [passthrough]}, nothing: null}") == ["my.pipeline.inner"]


@pytest.mark.parametrize(
    "step",
    [
        "see-error",
        "{see-error: {}}",
        "{__processor__: see-error}",
        "{see-error: {}, id: x, consumers: []}",
        "{see-error: {id: x, consumers: null}}",
        "{__processor__: see-error, id: x}",
    ],
)
def test_a_step_may_be_written_in_many_forms(way: Way, step: str) -> None:
    assert way(f"p: [{step}]") == ["None"]


@pytest.mark.parametrize(
    "step",
    [
        "{note: {name: a}, consumers: [{note: {name: b}}]}",
        "{note: {name: a, consumers: [{note: {name: b}}]}}",
        "{__processor__: note, name: a, consumers: [{note: {name: b}}]}",
    ],
)
def test_consumers_may_stand_beside_the_options_or_inside_them(way: Way, step: str) -> None:
    assert way(f"p: [{step}]") == ["a", "b"]


def test_every_step_below_a_pipeline_is_found_however_deep(build: Build) -> None:
    text = """
        p:
          - {note: {name: a}, consumers: [{note: {name: b}, error_consumers: [passthrough]}]}
    """
    reader = DefinitionReader()
    reader.read(parse(text)[0])

    steps = [step.name for step in reader.definitions["p"].branches.steps()]

    assert steps == ["note", "note", "passthrough"]
    assert [node.name for node in build(text)["p"].graph.nodes()] == ["note", "note", "passthrough"]


HINT = "a step is 'name', '{name: {options}}', '{inline-pipeline: name}' or '{existing: id}'"

WRONG = {
    "p: 5": """
test.yaml:1:4: error[not-a-pipeline]: expected a pipeline or a namespace of pipelines, got 5
    at: pipelines.p
    hint: a pipeline is a list of steps, or a mapping with 'chained_consumers'""",
    "[passthrough]": """
test.yaml:1:1: error[not-a-pipeline]: a pipeline needs a name
    at: pipelines""",
    "p: []": """
test.yaml:1:4: error[empty-pipeline]: pipeline 'p' has no steps
    at: pipelines.p
    hint: write '- passthrough' into it""",
    "p: {consumers: [], error_consumers: [passthrough]}": """
test.yaml:1:4: error[empty-pipeline]: pipeline 'p' has no steps
    at: pipelines.p
    hint: write '- passthrough' into it""",
    "{a.b: [passthrough], a: {b: [passthrough]}}": """
test.yaml:1:29: error[duplicate-pipeline]: two pipelines are named 'a.b', the other one at \
test.yaml:1:7
    at: pipelines.a.b""",
    "p: {consumers: [passthrough], error_consumer: []}": """
test.yaml:1:31: error[unknown-parameter]: a pipeline has no key 'error_consumer'
    at: pipelines.p.error_consumer
    hint: did you mean 'error_consumers'? known: chained_consumers, chained_error_consumers, \
consumers, error_consumers, inherits, max_turns, overrides""",
    "p: {consumers: passthrough}": """
test.yaml:1:16: error[not-a-list-of-steps]: expected a list of steps, got 'passthrough'
    at: pipelines.p.consumers""",
    "p: [passthrough, 5]": f"""
test.yaml:1:18: error[not-a-step]: expected a step, got 5
    at: pipelines.p[1]
    hint: {HINT}""",
    "p: [[passthrough]]": f"""
test.yaml:1:5: error[not-a-step]: expected a step, got ['passthrough']
    at: pipelines.p[0]
    hint: {HINT}""",
    "p: [{note: {}, passthrough: {}}]": f"""
test.yaml:1:5: error[not-a-step]: a step names one processor, this one names 'note', 'passthrough'
    at: pipelines.p[0]
    hint: {HINT}""",
    "p: [{id: x}]": f"""
test.yaml:1:5: error[not-a-step]: a step names one processor, this one names none
    at: pipelines.p[0]
    hint: {HINT}""",
    "p: [passthrough, {passthrough: null}]": """
test.yaml:1:19: error[not-a-step]: expected a mapping of options after \
'passthrough:', got nothing
    at: pipelines.p[1].passthrough
    hint: write '- passthrough' or '- passthrough: {}' for a step without options""",
    "p: [{passthrough: {}, id: 5}]": """
test.yaml:1:27: error[wrong-value]: expected a name, got 5
    at: pipelines.p[0].passthrough.id""",
    "p: [{passthrough: {id: x}, id: y}]": """
test.yaml:1:24: error[duplicate-key]: 'passthrough' has two ids, beside its options and among them
    at: pipelines.p[0].passthrough.id
    hint: remove one of them""",
    "p: [{passthrough: {__processor__: fail}}]": """
test.yaml:1:20: error[unknown-parameter]: passthrough has no parameter '__processor__'
    at: pipelines.p[0].passthrough.__processor__
    hint: known: node_name""",
    "p: [{__processor__: [a]}]": """
test.yaml:1:21: error[wrong-value]: expected a name, got ['a']
    at: pipelines.p[0].__processor__""",
    "p: [{existing: x, consumers: [passthrough]}]": """
test.yaml:1:19: error[unknown-parameter]: 'existing' has no key 'consumers'
    at: pipelines.p[0].consumers
    hint: known: existing
test.yaml:1:6: error[unknown-id]: no step has the id 'x'
    at: pipelines.p[0].existing
    hint: known: none""",
    "{a: [passthrough], p: [{inline-pipeline: a, conumers: []}]}": """
test.yaml:1:45: error[unknown-parameter]: 'inline-pipeline' has no key 'conumers'
    at: pipelines.p[0].conumers
    hint: did you mean 'consumers'? known: chained_consumers, chained_error_consumers, consumers, \
error_consumers, inline-pipeline""",
    "p: [{inline-pipeline: null}]": """
test.yaml:1:23: error[wrong-value]: expected a name, got None
    at: pipelines.p[0].inline-pipeline""",
    "p: {consumers: [passthrough], max_turns: 0}": """
test.yaml:1:42: error[wrong-value]: expected int >= 1, got 0
    at: pipelines.p.max_turns""",
    "p: {consumers: [passthrough], overrides: []}": """
test.yaml:1:31: error[overrides-without-inherits]: pipeline 'p' has 'overrides' and inherits nothing
    at: pipelines.p.overrides""",
    "{a: [passthrough], p: {inherits: a, consumers: [passthrough]}}": """
test.yaml:1:23: error[inherits-with-consumers]: pipeline 'p' inherits 'a' and has own consumers
    at: pipelines.p
    hint: leave the consumers to the parent, or inline it with 'inline-pipeline'""",
    "{a: [passthrough], p: {inherits: a, overrides: [{passthrough: {}, consumers: [note]}]}}": """
test.yaml:1:50: error[wrong-override]: an override names a processor and its options, nothing else
    at: pipelines.p.overrides[0].passthrough
    hint: the ids and consumers of the parent are kept""",
    "p: [{passthrough: {existing: x}}]": """
test.yaml:1:20: error[unknown-parameter]: passthrough has no parameter 'existing'
    at: pipelines.p[0].passthrough.existing
    hint: known: node_name""",
}


@pytest.mark.parametrize("text", WRONG)
def test_a_wrong_definition_is_told_with_its_place_and_a_hint(
    problems: Problems, text: str
) -> None:
    assert "\n".join(problems(text)) == WRONG[text].strip()


def test_all_that_is_wrong_is_told_at_once(problems: Problems) -> None:
    found = problems("{a: 5, b: [5, {x: 1}], c: {consumers: 7}, d: []}")

    assert [each.partition(": error")[0] for each in found] == [
        "test.yaml:1:5",
        "test.yaml:1:12",
        "test.yaml:1:16",
        "test.yaml:1:39",
        "test.yaml:1:46",
    ]
