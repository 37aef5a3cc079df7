from __future__ import annotations

import asyncio
import copy
import inspect
from typing import Any

import pytest
import yaml

from tests.processors.conftest import SPECS, Make, Run, decoded

NAMES_OF_ISSUE = [
    "eval-lambda",
    "exec-code",
    "passthrough",
    "lambda-decider",
    "stop",
    "wait",
    "run-pipeline",
    "run-pipeline-if",
    "for-each",
    "scatter-gather",
    "raise-exception",
    "trap-failure",
    "print-failure-traceback",
    "shutdown",
    "set-value",
    "set-values",
    "remap",
    "clean-baton",
    "increment-counter",
    "flatten-nested-lists",
    "group-by-value",
    "format-string",
    "encode-json",
    "decode-json",
    "pretty-print",
    "log",
    "fetch-context",
    "write-web-response",
    "set-http-headers",
    "extract-web-request-arguments",
    "send-zmq-message",
]


class Quiet:
    """Stands for the service and for any queue."""

    def stop(self, exit_code: int | None = None) -> None:
        pass

    def send(self, message: bytes) -> None:
        pass


RESOURCES: dict[str, Any] = {
    "pipeline.math.double": lambda n: n * 2,
    "pipeline.math.square": lambda n: n * n,
    "context.pending": {},
    "service": Quiet(),
    "zmq.queue.jobs": Quiet(),
}


def example_of(name: str) -> dict[str, Any]:
    """Return the example in a processor's docstring: the component, `in` and `out`."""
    lines = (inspect.getdoc(SPECS[name].component) or "").split("Example:\n", 1)[1].splitlines()
    block = []
    for line in lines:
        if line and not line.startswith(" "):
            break
        block.append(line)
    example = yaml.safe_load(inspect.cleandoc("\n" + "\n".join(block)))
    assert isinstance(example, dict)
    return example


def test_every_processor_of_the_ancestors_core_is_there() -> None:
    assert set(NAMES_OF_ISSUE) <= set(SPECS)


@pytest.mark.parametrize("name", sorted(SPECS))
def test_every_processor_has_an_example_that_is_right(name: str) -> None:
    example = example_of(name)

    _, problems = decoded(yaml.safe_dump({name: example[name]}))

    assert problems == []


@pytest.mark.parametrize("name", sorted(name for name in SPECS if "in" in example_of(name)))
def test_every_example_with_in_and_out_does_what_it_says(name: str, run: Run) -> None:
    example = example_of(name)
    resources = {key: copy.copy(value) for key, value in RESOURCES.items()}

    baton = run(yaml.safe_dump({name: example[name]}), example["in"], **resources)

    assert baton == example["out"]


@pytest.mark.parametrize("name", sorted(name for name in SPECS if "in" in example_of(name)))
def test_every_processor_can_be_called_by_python_too(name: str, make: Make) -> None:
    example = example_of(name)
    resources = {key: copy.copy(value) for key, value in RESOURCES.items()}
    made = make(yaml.safe_dump({name: example[name]}), **resources)

    baton = made.process(example["in"])

    if inspect.isawaitable(baton):
        baton = asyncio.run(_awaited(baton))
    assert baton == example["out"]


async def _awaited(baton: Any) -> Any:
    return await baton


@pytest.mark.parametrize("name", sorted(SPECS))
def test_every_parameter_is_documented(name: str) -> None:
    undocumented = [each.key for each in SPECS[name].parameters.values() if not each.description]

    assert undocumented == []
