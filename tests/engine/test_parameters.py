"""Pipelines that are written in place of a name, as parameters of steps."""

from __future__ import annotations

from tests.engine.conftest import Build, Problems, failure_of, send


def test_a_list_of_steps_stands_for_the_name_of_a_pipeline(build: Build) -> None:
    pipelines = build(
        "p: [{run-pipeline: {pipeline: [{note: {name: a}}, {note: {name: b}}]}}, {note: {name: c}}]"
    )

    assert send(pipelines["p"], {"way": []}) == [{"way": ["a", "b", "c"]}]


def test_a_mapping_with_consumers_stands_for_it_too(build: Build) -> None:
    pipelines = build(
        """
        p:
          - run-pipeline:
              pipeline:
                chained_consumers: [fail]
                error_consumers: [{note: {name: mended}}]
        """
    )

    [baton] = send(pipelines["p"], {"way": []})

    assert baton["way"] == ["mended"]


def test_its_name_is_its_path_in_the_document(build: Build) -> None:
    pipelines = build("web: {p: [{run-pipeline: {pipeline: [fail]}}]}")

    failure = failure_of(pipelines["web.p"], {})

    assert failure.__notes__ == [
        "in pipelines.web.p[0].run-pipeline.pipeline[0].fail (test.yaml:1:38)",
        "in pipelines.web.p[0].run-pipeline (test.yaml:1:12)",
    ]


def test_relative_names_in_it_begin_where_it_is_written(build: Build) -> None:
    pipelines = build(
        """
        web:
          p: [run-pipeline: {pipeline: [run-pipeline: {pipeline: [run-pipeline: {pipeline: .q}]}]}]
          q: [{note: {name: q}}]
        """
    )

    assert send(pipelines["web.p"], {"way": []}) == [{"way": ["q"]}]


def test_it_goes_with_the_steps_of_an_inlined_pipeline(build: Build) -> None:
    pipelines = build(
        """
        a: {p: [{run-pipeline: {pipeline: [{inline-pipeline: .q}]}}], q: [{note: {name: q}}]}
        b: [{inline-pipeline: a.p}, {inline-pipeline: a.p}]
        """
    )

    assert send(pipelines["b"], {"way": []}) == [{"way": ["q", "q"]}]


def test_an_heir_has_it_too_and_may_override_it(build: Build) -> None:
    pipelines = build(
        """
        p: [{run-pipeline: {pipeline: [{note: {name: mine}}]}}]
        q: {inherits: p}
        r: {inherits: p, overrides: [{run-pipeline: {pipeline: [{note: {name: other}}]}}]}
        """
    )

    assert send(pipelines["q"], {"way": []}) == [{"way": ["mine"]}]
    assert send(pipelines["r"], {"way": []}) == [{"way": ["other"]}]


def test_what_is_wrong_in_it_has_its_own_place(problems: Problems) -> None:
    found = problems("p: [{run-pipeline: {pipeline: [{run-pipeline: {pipeline: [nott]}}]}}]")

    assert [each.splitlines()[:2] for each in found] == [
        [
            "test.yaml:1:59: error[unknown-processor]: there is no processor 'nott'",
            "    at: pipelines.p[0].run-pipeline.pipeline[0].run-pipeline.pipeline[0].nott",
        ]
    ]


def test_an_empty_list_is_no_pipeline(problems: Problems) -> None:
    assert problems("p: [{run-pipeline: {pipeline: []}}]") == [
        "test.yaml:1:31: error[empty-pipeline]: pipeline 'p[0].run-pipeline.pipeline' "
        "has no steps\n"
        "    at: pipelines.p[0].run-pipeline.pipeline\n"
        "    hint: write '- passthrough' into it"
    ]


def test_a_mapping_without_consumers_is_no_pipeline(problems: Problems) -> None:
    assert problems("p: [{run-pipeline: {pipeline: {note: {name: a}}}}]") == [
        "test.yaml:1:31: error[not-a-pipeline]: expected the name of a pipeline, or a list of "
        "steps, got {'note': {'name': 'a'}}\n"
        "    at: pipelines.p[0].run-pipeline.pipeline"
    ]


def test_one_that_calls_the_pipeline_around_it_without_end_is_told(problems: Problems) -> None:
    [found] = problems("p: [{run-pipeline: {pipeline: [{run-pipeline: {pipeline: p}}]}}]")

    assert found.splitlines()[0] == (
        "test.yaml:1:6: error[endless-calls]: these pipelines call one another without end: "
        "p -> p[0].run-pipeline.pipeline -> p"
    )


def test_one_that_inlines_the_pipeline_around_it_ends(problems: Problems) -> None:
    [found] = problems("p: [{run-pipeline: {pipeline: [{inline-pipeline: p}]}}]")

    assert found.splitlines()[0] == (
        "test.yaml:1:6: error[endless-calls]: these pipelines call one another without end: "
        "p[0].run-pipeline.pipeline -> p[0].run-pipeline.pipeline"
    )


def test_hints_name_no_pipeline_that_has_no_name(problems: Problems) -> None:
    [found] = problems(
        "p: [{run-pipeline: {pipeline: [passthrough]}}, {run-pipeline: {pipeline: q}}]"
    )

    assert found.splitlines()[-1] == "    hint: known: p"
