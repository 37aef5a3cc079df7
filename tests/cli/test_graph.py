from __future__ import annotations

from tests.cli.conftest import Invoke, Write

SERVICE = """\
contexts: {seen: {}}
web:
    site:
        routing:
            __config__: {processor: pipeline.web.answer}
pipelines:
    web:
        answer:
            chained_consumers:
                - fetch-context: {context: seen}
                - stop:
                    node_name: is "new"
                    consumers: [{run-pipeline: {pipeline: [{wait: {delay: 1s}}]}}]
                - write-web-response
            error_consumers: [print-failure-traceback]
    other: [{run-pipeline: {pipeline: web.answer}}]
"""

TEXT = """\
web.site.routing
    brings batons to: web.answer

web.answer
  1 fetch-context
      on error: 3 print-failure-traceback
      uses: context.seen
  2 is "new"
      then: 4 run-pipeline, 5 write-web-response
  3 print-failure-traceback
  4 run-pipeline
      calls: web.answer.chained_consumers[1].stop.consumers[0].run-pipeline.pipeline
  5 write-web-response

other
  run-pipeline
      calls: web.answer

web.answer.chained_consumers[1].stop.consumers[0].run-pipeline.pipeline
  wait
"""


def test_graph_prints_branches_errors_calls_and_resources(invoke: Invoke, write: Write) -> None:
    write(SERVICE)

    result = invoke("graph", "service.yaml")

    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == TEXT


def test_graph_prints_one_pipeline_with_what_it_calls(invoke: Invoke, write: Write) -> None:
    write(SERVICE)

    result = invoke("graph", "service.yaml", "pipeline.other")

    assert result.stdout == "other\n  run-pipeline\n      calls: web.answer\n"


def test_graph_draws_no_source_where_a_provider_brings_no_batons(
    invoke: Invoke, write: Write
) -> None:
    write("admin: {}\npipelines: {a: [passthrough]}\n")

    result = invoke("graph", "service.yaml")

    assert result.stdout == "a\n  passthrough\n"


def test_graph_prints_mermaid(invoke: Invoke, write: Write) -> None:
    write(SERVICE)

    result = invoke("graph", "--format", "mermaid", "service.yaml", "web.answer")

    assert (
        result.stdout
        == """\
flowchart TD
  subgraph p0["web.answer"]
    n0["fetch-context"]
    n1["is #34;new#34;"]
    n2["print-failure-traceback"]
    n3["run-pipeline"]
    n4["write-web-response"]
  end
  subgraph p1["web.answer.chained_consumers[1].stop.consumers[0].run-pipeline.pipeline"]
    n5["wait"]
  end
  n6[("context.seen")]
  n0 --> n1
  n0 -. error .-> n2
  n0 -.-> n6
  n1 --> n3
  n1 --> n4
  n3 -- calls --> n5
"""
    )


def test_graph_prints_dot(invoke: Invoke, write: Write) -> None:
    write(SERVICE)

    result = invoke("graph", "--format", "dot", "service.yaml", "other")

    assert (
        result.stdout
        == """\
digraph piped {
  node [fontname="sans-serif"]
  subgraph cluster_0 {
    label="other"
    n0 [label="run-pipeline", shape=box]
  }
  n1 [label="web.answer", shape=component]
  n0 -> n1 [label="calls"]
}
"""
    )


def test_graph_escapes_what_dot_would_read(invoke: Invoke, write: Write) -> None:
    write(SERVICE)

    result = invoke("graph", "--format", "dot", "service.yaml", "web.answer")

    assert 'n1 [label="is \\"new\\"", shape=box]' in result.stdout


def test_graph_of_an_unknown_pipeline_names_the_known_ones(invoke: Invoke, write: Write) -> None:
    write(SERVICE)

    result = invoke("graph", "service.yaml", "othr")

    assert result.exit_code == 2
    assert result.stderr == (
        "error: there is no pipeline 'othr'\n"
        "    hint: did you mean 'other'? known: other, web.answer\n"
    )


def test_graph_leaves_out_what_is_broken(invoke: Invoke, write: Write) -> None:
    write("pipelines: {p: [passthrough], q: [passthru: {}]}")

    result = invoke("graph", "service.yaml")

    assert result.exit_code == 1
    assert result.stdout == "p\n  passthrough\n"
    assert "error[unknown-processor]" in result.stderr
