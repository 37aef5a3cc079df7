"""What is wrong with a document as a whole, though each of its parts is sound."""

from __future__ import annotations

from pathlib import Path

import pytest

from piped.document import load
from piped.drawing import draw
from tests.conftest import Told

SITE = "  {name}: {{{listen}, routing: {{__config__: {{processor: pipeline.answer}}}}}}"


@pytest.mark.parametrize(
    ("one", "two", "address"),
    [
        ("port: 8081", "port: 8081", "127.0.0.1:8081"),
        ("listen: '0.0.0.0:8081'", "port: 8081", "127.0.0.1:8081"),
        ("port: 8081", "listen: '[::]:8081'", "[::]:8081"),
        ("listen: ['127.0.0.1:1', '127.0.0.1:2']", "listen: 'localhost:2'", "127.0.0.1:2"),
    ],
)
def test_two_sites_at_one_address_are_told(told: Told, one: str, two: str, address: str) -> None:
    found = told(
        "pipelines: {answer: [write-web-response]}",
        "web:",
        SITE.format(name="a", listen=one),
        SITE.format(name="b", listen=two),
    )

    assert found[0] == (
        f"service.yaml:4:3: error[address-twice]: 'web.b' listens on {address}, as 'web.a' does"
        " already\n"
        "    at: web.b\n"
        "    why: 'web.a' is at service.yaml:3:3"
    )


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("port: 8081", "port: 8082"),
        ("port: 0", "port: 0"),
        ("listen: '127.0.0.1:8081'", "listen: '127.0.0.2:8081'"),
        ("listen: '127.0.0.1:8081'", "listen: '[::]:8081'"),
        ("port: 8081", "port: 8081, enabled: false"),
    ],
)
def test_sites_at_different_addresses_are_fine(told: Told, one: str, two: str) -> None:
    found = told(
        "pipelines: {answer: [write-web-response]}",
        "web:",
        SITE.format(name="a", listen=one),
        SITE.format(name="b", listen=two),
    )

    assert found == []


def test_a_queue_at_the_address_of_a_site_is_told_if_it_is_bound(told: Told) -> None:
    lines = [
        "web:",
        SITE.format(name="a", listen="port: 8081"),
        "zmq: {queues: {jobs: {type: PUSH, binds: ['tcp://*:8081']}}}",
    ]

    send = "send-zmq-message: {queue_name: jobs}"
    bound = told(*lines, f"pipelines: {{answer: [{send}, write-web-response]}}")
    unused = told(*lines, "pipelines: {answer: [write-web-response]}")

    assert bound == [
        "service.yaml:3:16: error[address-twice]: 'zmq.queues.jobs' listens on *:8081, as 'web.a'"
        " does already\n"
        "    at: zmq.queues.jobs\n"
        "    why: 'web.a' is at service.yaml:2:3"
    ]
    assert [each.splitlines()[0] for each in unused] == [
        "service.yaml:3:16: hint[unused-resource]: nothing uses 'zmq.queues.jobs'"
    ]


def test_what_an_included_file_has_for_others_is_no_problem(told: Told) -> None:
    found = told(
        "includes: [queues.yaml]",
        "web:",
        SITE.format(name="a", listen="port: 8081"),
        "pipelines: {answer: [write-web-response]}",
        queues="zmq: {queues: {jobs: {type: PUSH, connects: ['tcp://127.0.0.1:1']}}}",
    )

    assert found == []


def test_a_persisted_context_that_nobody_fetches_is_a_hint(told: Told) -> None:
    found = told(
        "persisted_contexts: {used: {file: used.json}, idle: {file: idle.json}}",
        "web:",
        SITE.format(name="a", listen="port: 8081"),
        "pipelines: {answer: [{fetch-persisted-context: {context: used}}, write-web-response]}",
    )

    assert found == [
        "service.yaml:1:47: hint[unused-resource]: nothing uses 'persisted_contexts.idle'\n"
        "    at: persisted_contexts.idle"
    ]


def test_what_nobody_uses_is_told_wherever_the_document_is(
    told: Told, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told(
        "contexts: {idle: {}}",
        "web:",
        SITE.format(name="a", listen="port: 8081"),
        "pipelines: {answer: [write-web-response]}",
    )
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)

    found = draw(load("../service.yaml")).problems

    assert [each.what for each in found] == ["nothing uses 'contexts.idle'"]


def test_a_context_that_nobody_fetches_is_a_hint(told: Told) -> None:
    found = told(
        "contexts: {used: {}, idle: {}}",
        "web:",
        SITE.format(name="a", listen="port: 8081"),
        "pipelines: {answer: [{fetch-context: {context: used}}, write-web-response]}",
    )

    assert found == [
        "service.yaml:1:22: hint[unused-resource]: nothing uses 'contexts.idle'\n"
        "    at: contexts.idle"
    ]


def test_a_request_that_no_step_can_answer_is_a_warning(told: Told) -> None:
    found = told(
        "web:",
        SITE.format(name="a", listen="port: 8081"),
        "pipelines:",
        "  answer: [set-value: {path: content, value: 1}, run-pipeline: {pipeline: q}]",
        "  q: [passthrough]",
    )

    assert found == [
        "service.yaml:2:53: warning[unanswered-request]: no step that is reached from pipeline"
        " 'answer' can answer a request\n"
        "    at: web.a.routing.__config__.processor\n"
        "    hint: end it with 'write-web-response', or requests wait for their deadline"
    ]


@pytest.mark.parametrize(
    "steps",
    [
        "{run-pipeline: {pipeline: [{run-pipeline: {pipeline: [write-web-response]}}]}}",
        "{passthrough: {}, error_consumers: [write-web-response]}",
        "{eval-lambda: {input_path: request, lambda: 'request: request.finish()'}}",
        "{exec-code: {code: 'return baton'}}",
        "{map: {lambda: 'baton: baton'}}",
        "{run-pipeline: {pipeline_path: name}}",
        "{fetch-context: {context: pending}}",
        "{raise-exception: {type: ValueError}}",
    ],
)
def test_a_request_that_some_step_may_answer_is_fine(told: Told, steps: str) -> None:
    found = told(
        "contexts: {pending: {}}",
        "web:",
        SITE.format(name="a", listen="port: 8081"),
        f"pipelines: {{answer: [{steps}]}}",
    )

    assert [each for each in found if "unused-resource" not in each] == []


def test_a_step_after_one_that_always_fails_is_never_reached(told: Told) -> None:
    found = told(
        "pipelines:",
        "  p:",
        "    - raise-exception: {type: ValueError}",
        "    - passthrough",
    )

    assert found == [
        "service.yaml:4:7: warning[unreachable-step]: no baton reaches 'passthrough':"
        " 'raise-exception' always fails\n"
        "    at: pipelines.p[1].passthrough"
    ]


def test_a_document_for_callers_and_workers_alone_may_have_what_it_likes(told: Told) -> None:
    found = told(
        "workers: {math: {pipelines: [sum]}, idle: {pipelines: [sum]}}",
        "pipelines: {sum: [passthrough], a: [run-pipeline: {workers: math, pipeline: sum}]}",
    )

    assert found == []


def test_a_pool_that_no_step_sends_to_is_a_hint(told: Told) -> None:
    found = told(
        "workers: {math: {pipelines: [sum]}, idle: {pipelines: [sum]}}",
        "web:",
        SITE.format(name="a", listen="port: 8081"),
        "pipelines:",
        "  sum: [passthrough]",
        "  answer: [run-pipeline: {workers: math, pipeline: sum}, write-web-response]",
    )

    assert found == [
        "service.yaml:1:37: hint[unused-resource]: nothing uses 'workers.idle'\n"
        "    at: workers.idle"
    ]


@pytest.mark.parametrize(
    "section",
    [
        "admin: {listen: '127.0.0.1:0'}",
        "nats: {connections: {main: {}}, streams: {jobs: {subjects: [jobs]}}}",
        "nats: {connections: {main: {}}, kv: {seen: {}}}",
    ],
)
def test_what_brings_no_batons_makes_no_pipeline_unused(told: Told, section: str) -> None:
    found = told("pipelines: {a: [passthrough], b: [passthrough]}", section)

    assert found == []


def test_pipelines_are_unused_beside_a_subject_that_feeds_others(told: Told) -> None:
    found = told(
        "pipelines: {a: [passthrough], b: [passthrough]}",
        "nats:",
        "  connections: {main: {}}",
        "  subjects: {jobs: {subject: jobs, processor: pipeline.a}}",
        "admin: {listen: '127.0.0.1:0'}",
    )

    assert found == [
        "service.yaml:1:34: hint[unused-pipeline]: nothing uses pipeline 'b'\n    at: pipelines.b"
    ]
