from __future__ import annotations

import asyncio
import copy
import inspect
from typing import Any

import pytest
import yaml

from tests.processors.conftest import SPECS, Make, Run, decoded
from tests.processors.http_fakes import FakeAnswer, FakeClient
from tests.processors.nats_fakes import Bucket, Connection
from tests.processors.pool_fakes import FakeFront, Parts
from tests.processors.thread_fakes import Inline

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
    "map",
    "call-named-any",
    "call-dependency",
    "merge-with-dict",
    "flatten-list-of-dictionaries",
    "encode-string",
    "decode-string",
    "prefix-string",
    "parse-datetime",
    "format-date",
    "append-to-file",
    "determine-ip",
    "set-http-expires",
    "fetch-persisted-context",
    "start-tick-interval",
    "stop-tick-interval",
    "collect-batons",
]


class Quiet:
    """Stands for the service and for any queue."""

    def stop(self, exit_code: int | None = None) -> None:
        pass

    async def stopped(self) -> int:
        return 0

    def send(self, message: bytes) -> None:
        pass


class Sockets:
    """Stands for the open sessions of a site."""

    def broadcast(self, message: str | bytes, group: str | None = None) -> int:
        return 0


class Background:
    """Does its work beside a step that waits; else before that goes on."""

    def start(self, work: Any, _name: str) -> None:
        try:
            self.task = asyncio.get_running_loop().create_task(work())
        except RuntimeError:
            asyncio.run(work())

    def on_end(self, asked: Any, act: Any) -> None:
        pass


RESOURCES: dict[str, Any] = {
    "background": Background(),
    "http_client": FakeClient(FakeAnswer(b'{"name": "Ada"}')),
    "pipeline.math.double": lambda n: n * 2,
    "pipeline.math.doubles": lambda numbers: [n * 2 for n in numbers],
    "pipeline.math.square": lambda n: n * n,
    "context.pending": {},
    "context.seen": [],
    "nats.kv.users": Bucket(ada={"name": "Ada"}),
    "nats.main": Connection(b"42"),
    "persisted_context.visits": {},
    "service": Quiet(),
    "threads": Inline(),
    "workers": Parts("6f2d"),
    "workers.math": FakeFront(),
    "websockets.chat": Sockets(),
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
