"""What is written by mistake instead of a pipeline or of its name."""

from __future__ import annotations

import pytest

from piped.document import Mapping, parse
from piped.engine import DefinitionReader

NAME = "    hint: a pipeline has a name, and 'chained_consumers', 'consumers' or 'inherits'"

WRONG = {
    "p: {error_consumers: [log]}": f"""
test.yaml:1:5: error[not-a-pipeline]: 'error_consumers' is a key of pipelines and cannot be \
the name of one
    at: pipelines.p.error_consumers
{NAME}""",
    "chained_consumers: [log]": f"""
test.yaml:1:1: error[not-a-pipeline]: 'chained_consumers' is a key of pipelines and cannot be \
the name of one
    at: pipelines.chained_consumers
{NAME}""",
    "p: {consumer: [log], error_consumers: [log]}": """
test.yaml:1:5: error[unknown-parameter]: a pipeline has no key 'consumer'
    at: pipelines.p.consumer
    hint: did you mean 'consumers'?""",
    "p: {chained_consumer: [log]}": """
test.yaml:1:5: error[unknown-parameter]: a pipeline has no key 'chained_consumer'
    at: pipelines.p.chained_consumer
    hint: did you mean 'chained_consumers'?""",
    "p: {set-value: {path: a, value: 1}}": """
test.yaml:1:5: error[not-a-pipeline]: expected a list of steps, got the step 'set-value'
    at: pipelines.p
    hint: write '- set-value: ...'""",
    "p: {log: null, set-value: {}}": """
test.yaml:1:5: error[not-a-pipeline]: expected a list of steps, got the step 'log'
    at: pipelines.p
    hint: write '- log: ...'""",
    "'': [log]": """
test.yaml:1:1: error[wrong-value]: expected the name of a pipeline or of a namespace, got ''
    at: pipelines.""",
    "a..b: [log]": """
test.yaml:1:1: error[wrong-value]: expected the name of a pipeline or of a namespace, got 'a..b'
    at: pipelines.a..b""",
    "ns: {.c: [log]}": """
test.yaml:1:6: error[wrong-value]: expected the name of a pipeline or of a namespace, got '.c'
    at: pipelines.ns..c""",
}


def read(text: str) -> DefinitionReader:
    node, problems = parse(text, "test.yaml")
    assert problems == []
    assert isinstance(node, Mapping)
    reader = DefinitionReader({"set-value": None, "log": None})
    reader.read(node)
    return reader


@pytest.mark.parametrize("text", WRONG)
def test_what_is_meant_as_a_pipeline_is_told(text: str) -> None:
    reader = read(text)

    assert "\n".join(map(str, reader.problems)) == WRONG[text].strip()
    assert reader.definitions == {}


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("consumer: [log]", ["consumer"]),
        ("queue: {consumer: [log], producer: [log]}", ["queue.consumer", "queue.producer"]),
        ("p: {log: [set-value]}", ["p.log"]),
        ("p: {log: {consumers: [set-value]}}", ["p.log"]),
        ("p: {}", []),
        ("404: [log]", ["404"]),
    ],
)
def test_names_that_only_look_like_keys_are_names(text: str, names: list[str]) -> None:
    reader = read(text)

    assert (reader.problems, list(reader.definitions)) == ([], names)
