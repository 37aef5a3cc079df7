from __future__ import annotations

from typing import Any

import pytest

from piped.document.nodes import Entry, Mapping, Node, Scalar, Sequence
from piped.errors import Place
from piped.providers.zmq import Queue, Zmq
from piped.spec import Decoder, spec_of
from piped.spec.components import Spec

HERE = Place("queues.yaml", 1, 1)


def node(value: Any) -> Node:
    if isinstance(value, dict):
        return Mapping(HERE, {key: Entry(HERE, node(each)) for key, each in value.items()})
    if isinstance(value, list):
        return Sequence(HERE, [node(each) for each in value])
    return Scalar(HERE, value)


def decoded(queue: dict[str, Any]) -> tuple[Any, list[str]]:
    """Return the queue of a document, and what is wrong with it."""
    decoder = Decoder()
    spec = spec_of(Zmq)
    assert isinstance(spec, Spec)
    section = decoder.section(spec, node({"queues": {"jobs": queue}}), "zmq")
    made = section.queues["jobs"] if isinstance(section, Zmq) else None
    return made, [str(each) for each in decoder.problems]


def problem(code: str, what: str, hint: str = "", level: str = "error") -> str:
    lines = [f"queues.yaml:1:1: {level}[{code}]: {what}", "    at: zmq.queues.jobs"]
    return "\n".join([*lines, f"    hint: {hint}"] if hint else lines)


def test_a_queue_of_the_tutorial_is_read() -> None:
    queue, problems = decoded(
        {
            "type": "SUB",
            "binds": ["tcp://0.0.0.0:5001"],
            "sockopts": [{"key": "SUBSCRIBE", "value": ""}, {"key": "HWM", "value": 100}],
            "processor": "pipeline.zmq.partial_response",
        }
    )

    assert problems == []
    assert isinstance(queue, Queue)
    assert list(queue.given_options()) == [("SUBSCRIBE", ""), ("HWM", 100)]
    assert (queue.max_backlog, queue.max_backlog_bytes, queue.max_age) == (1000, 16 << 20, 30.0)


def test_options_may_be_a_mapping() -> None:
    queue, problems = decoded(
        {"type": "SUB", "connects": ["tcp://a:1"], "sockopts": {"zmq_subscribe": ["a", "b"]}}
    )

    assert problems == []
    assert list(queue.given_options()) == [("zmq_subscribe", ["a", "b"])]


def test_the_ancestors_parameters_are_accepted() -> None:
    decoder = Decoder()
    spec = spec_of(Zmq)
    assert isinstance(spec, Spec)
    section = {"maximum_batch_size": 10, "poll_timeout": 100, "queues": {}}

    made = decoder.section(spec, node(section), "zmq")

    assert decoder.problems == []
    assert (made.maximum_batch_size, made.essential) == (10, True)


def test_bounds_are_read_with_their_units() -> None:
    queue, problems = decoded(
        {
            "type": "PUSH",
            "connects": ["tcp://a:1"],
            "concurrency": 4,
            "max_backlog_bytes": "1MiB",
            "max_age": "5s",
        }
    )

    assert problems == []
    assert (queue.max_backlog_bytes, queue.max_age, queue.concurrency) == (1 << 20, 5.0, 4)


def test_an_unknown_type_is_told_with_those_that_there_are() -> None:
    _, problems = decoded({"type": "FOO", "binds": ["tcp://127.0.0.1:1"]})

    assert problems == [
        "queues.yaml:1:1: error[wrong-value]: expected 'PUSH', 'PULL', 'PUB', 'SUB', 'REQ',"
        " 'REP', 'PAIR', 'ROUTER', 'DEALER', 'XREP', 'XREQ', 'XPUB' or 'XSUB',"
        " got 'FOO'\n    at: zmq.queues.jobs.type"
    ]


def test_a_queue_without_a_type_lacks_a_parameter() -> None:
    _, problems = decoded({"processor": "pipeline.a"})

    assert len(problems) == 1
    assert problems[0].startswith(
        "queues.yaml:1:1: error[missing-parameter]: queue needs the parameter 'type'"
    )


@pytest.mark.parametrize(
    ("queue", "expected"),
    [
        (
            {"type": "PUSH"},
            problem(
                "queue-without-address",
                "a queue needs 'binds' or 'connects'",
                "add binds: [tcp://127.0.0.1:5000] or connects: [tcp://host:5000]",
            ),
        ),
        (
            {"type": "PUSH", "binds": ["tcp://127.0.0.1:1"], "processor": "pipeline.a"},
            problem(
                "processor-on-send-only-queue",
                "a PUSH queue receives nothing for its 'processor'",
                "remove 'processor'",
            ),
        ),
        (
            {"type": "PUSH", "binds": ["localhost:1"]},
            problem(
                "wrong-endpoint",
                "expected tcp://host:port, ipc://path or inproc://name, got 'localhost:1'",
            ),
        ),
        (
            {"type": "PUSH", "binds": ["tcp://127.0.0.1:1"], "sockopts": {"LINGR": 1}},
            problem(
                "wrong-socket-option",
                "there is no socket option 'LINGR'",
                "did you mean 'LINGER'?",
            ),
        ),
        (
            {"type": "PULL", "binds": ["tcp://127.0.0.1:1"], "sockopts": {"SUBSCRIBE": ""}},
            problem("wrong-socket-option", "only a SUB queue can SUBSCRIBE, this is a PULL"),
        ),
        (
            {"type": "SUB", "binds": ["tcp://127.0.0.1:1"]},
            problem(
                "queue-without-subscription",
                "a SUB queue without SUBSCRIBE receives nothing",
                "add sockopts: {SUBSCRIBE: ''}",
                "warning",
            ),
        ),
    ],
)
def test_what_is_wrong_with_a_queue_is_told(queue: dict[str, Any], expected: str) -> None:
    _, problems = decoded(queue)

    assert problems == [expected]
