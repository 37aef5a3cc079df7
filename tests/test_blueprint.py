"""A document, understood and checked: nothing is opened and nothing runs."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from piped.blueprint import OWN_KEYS, Blueprint
from piped.document import load
from piped.drawing import draw
from piped.errors import Level, suggest
from piped.shipped import PROVIDERS
from piped.spec import Dependency

Draw: TypeAlias = Callable[[str], Blueprint]


@pytest.fixture
def drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Draw:
    """Draw the blueprint of a YAML text, in `service.yaml`."""
    monkeypatch.chdir(tmp_path)

    def drawn(text: str) -> Blueprint:
        Path("service.yaml").write_text(text)
        return draw(load("service.yaml"))

    return drawn


def told(blueprint: Blueprint) -> list[str]:
    return [str(each) for each in blueprint.problems]


GOOD = """
drain: 3s
contexts: {pending: {}}
ticks: {interval: {often: {interval: 1s, processor: pipeline.tick}}}
pipelines:
  tick: [{fetch-context: {context: pending}}, {run-pipeline: {pipeline: .work}}]
  work: [passthrough]
"""


def test_a_good_document_has_providers_units_and_pipelines(drawn: Draw) -> None:
    blueprint = drawn(GOOD)

    assert told(blueprint) == []
    assert list(blueprint.providers) == ["contexts", "ticks"]
    assert list(blueprint.pipelines) == ["tick", "work"] == list(blueprint.pipeline_names)
    assert all(unit.label and unit.drain_s == 3.0 for unit in blueprint.units)
    assert set(blueprint.offers()) == {"context.pending", "ticks.interval.often"}


def test_what_is_needed_is_found_through_pipelines(drawn: Draw) -> None:
    blueprint = drawn(GOOD)

    assert blueprint.needed_by([Dependency("pipeline.tick")]) == {
        "pipeline.tick",
        "pipeline.work",
        "context.pending",
    }
    assert blueprint.needed_by([Dependency("pipeline.work")]) == {"pipeline.work"}
    assert blueprint.needed_by([Dependency("pipelines")]) == {
        "pipelines",
        "pipeline.work",
        "context.pending",
    }


def test_an_empty_document_is_good(drawn: Draw) -> None:
    assert told(drawn("")) == []


def test_all_that_is_wrong_is_told_in_the_order_of_the_file(drawn: Draw) -> None:
    blueprint = drawn("""
drain: soon
pipelines:
  p: [passthru]
  q: [{fetch-context: {context: nobody}}]
contexts: {pending: {}}
contxts: {}
""")

    assert told(blueprint) == [
        "service.yaml:2:8: error[wrong-value]: expected a duration such as 2s or 250ms,"
        " got 'soon'\n"
        "    at: drain",
        "service.yaml:4:7: error[unknown-processor]: there is no processor 'passthru'\n"
        "    at: pipelines.p[0].passthru\n"
        f"    hint: {suggest('passthru', blueprint.catalog.processors)}",
        "service.yaml:5:8: error[unknown-resource]: nobody provides 'context.nobody'\n"
        "    at: pipelines.q[0].fetch-context\n"
        "    hint: known: context.pending",
        "service.yaml:7:1: warning[unread-key]: nothing reads the key 'contxts'\n"
        "    at: contxts\n"
        f"    hint: {suggest('contxts', [*PROVIDERS, *OWN_KEYS])}",
    ]
    assert len(blueprint.errors) == 3
    assert (blueprint.drain_s, list(blueprint.pipelines)) == (25.0, ["q"])


def test_the_pipelines_must_be_a_mapping(drawn: Draw) -> None:
    assert told(drawn("pipelines: [passthrough]")) == [
        "service.yaml:1:12: error[not-a-pipeline]: expected pipelines by their names,"
        " got ['passthrough']\n"
        "    at: pipelines"
    ]
    assert told(drawn("pipelines: null")) == []


def test_a_pipeline_that_nothing_can_run_is_a_hint(drawn: Draw) -> None:
    blueprint = drawn(GOOD + "  idle: [passthrough]\n")

    assert told(blueprint) == [
        "service.yaml:8:9: hint[unused-pipeline]: nothing uses pipeline 'idle'\n"
        "    at: pipelines.idle"
    ]
    assert blueprint.errors == []


def test_nothing_is_unused_where_batons_name_the_pipelines(drawn: Draw) -> None:
    text = GOOD.replace("pipeline: .work", "pipeline_path: name")

    assert told(drawn(text)) == []


def test_nothing_is_unused_in_a_document_of_parts(drawn: Draw) -> None:
    assert told(drawn("pipelines: {p: [passthrough]}")) == []


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("tick", "did you mean 'pipeline.tick'?"),
        ("pipeline.tock", "did you mean 'pipeline.tick'? known: pipeline.tick, pipeline.work"),
        (
            ".tick",
            "relative names work inside pipelines only: write 'pipeline.' and the whole name",
        ),
    ],
)
def test_a_provider_that_names_no_resource_is_told_what_it_may_mean(
    drawn: Draw, name: str, hint: str
) -> None:
    text = GOOD.replace("pipeline.tick", name)

    [problem] = drawn(text).errors

    assert (problem.what, problem.hint) == (f"nobody provides '{name}'", hint)
    assert problem.place is not None
    assert (problem.place.line, problem.at) == (4, "ticks.interval.often.processor")


BROKEN = """
pipelines:
  good: [passthrough]
  bad: [passthrough, 5]
  calls-bad: [{run-pipeline: {pipeline: bad}}]
  inlines-bad: [{inline-pipeline: bad}]
  needs: [{fetch-context: {context: nobody}}]
  lost: [{run-pipeline: {pipeline: nowhere}}]
"""


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("good", []),
        ("bad", ["4 not-a-step"]),
        ("calls-bad", ["4 not-a-step"]),
        ("needs", ["7 unknown-resource"]),
        ("lost", ["8 unknown-pipeline"]),
        ("godo", ["2 unknown-pipeline"]),
    ],
)
def test_only_the_errors_of_some_pipelines_may_be_asked_for(
    drawn: Draw, name: str, expected: list[str]
) -> None:
    found = drawn(BROKEN).errors_of([name])

    assert [f"{each.place.line} {each.code}" for each in found if each.place] == expected


def test_a_pipeline_that_inlines_a_broken_one_is_broken(drawn: Draw) -> None:
    blueprint = drawn(BROKEN)

    assert "inlines-bad" not in blueprint.pipelines
    assert "not-a-step" in [each.code for each in blueprint.errors_of(["inlines-bad"])]


def test_a_name_that_no_pipeline_has_is_told_with_the_nearest(drawn: Draw) -> None:
    assert [str(each) for each in drawn(BROKEN).errors_of(["godo"])] == [
        "service.yaml:2:1: error[unknown-pipeline]: there is no pipeline 'godo'\n"
        "    hint: did you mean 'good'? known: bad, calls-bad, good, inlines-bad, lost, needs"
    ]


def test_endless_calls_are_errors_of_the_document(drawn: Draw) -> None:
    blueprint = drawn("pipelines: {p: [{run-pipeline: {pipeline: p}}]}")

    assert [(each.code, each.level) for each in blueprint.problems] == [
        ("endless-calls", Level.ERROR)
    ]


def test_what_pipelines_need_is_found_for_all_at_once(drawn: Draw) -> None:
    blueprint = drawn(
        GOOD
        + """\
  loop: [{run-pipeline-if: {pipeline: back}}, stop]
  back: [{run-pipeline-if: {pipeline: loop}}, {run-pipeline: {pipeline: tick}}]
  any: [{run-pipeline: {pipeline_path: name}}]
"""
    )

    assert blueprint.needs_of_pipelines() == {
        "tick": {"context.pending"},
        "work": set(),
        "loop": {"context.pending"},
        "back": {"context.pending"},
        "any": {"pipelines", "context.pending"},
    }


def test_a_service_may_have_a_name(drawn: Draw) -> None:
    assert drawn("service_name: shop").service_name == "shop"
    assert told(drawn("service_name: [a]")) == [
        "service.yaml:1:15: error[wrong-value]: expected str, got ['a']\n    at: service_name"
    ]


def test_sections_of_the_ancestor_are_told(drawn: Draw) -> None:
    assert told(drawn("runmodes: {}")) == [
        "service.yaml:1:1: warning[unread-key]: nothing reads the key 'runmodes'\n"
        "    at: runmodes\n"
        "    hint: Piped 0.x had 'runmodes': see docs/differences.md"
    ]


def test_what_may_stand_in_a_text_that_was_not_read_is_not_missed(drawn: Draw) -> None:
    blueprint = drawn("""
includes: [nowhere.yaml]
mine: {}
ticks: {interval: {often: {interval: 1s, processor: pipeline.there}}}
pipelines: {p: [mine, {run-pipeline: {pipeline: there}}, {wait: {dealy: 1}}]}
""")

    assert [each.code for each in blueprint.problems] == [
        "missing-include",
        "missing-parameter",
        "unknown-parameter",
    ]


def test_nobody_reads_more_than_200_problems(drawn: Draw) -> None:
    names = "\n".join(
        f"  p{n}: [unknown{n}, {{run-pipeline: {{pipeline: q{n}}}}}]" for n in range(300)
    )

    problems = drawn(f"pipelines:\n{names}\n").problems

    assert len(problems) == 201
    assert problems[-1].what == "more than 200 problems; the rest of them is not shown"


INCOMPLETE = {
    "a text that is not read to its end": "p: [passthrough]\n  q: [stop\n",
    "an include that is not there": "p: [passthrough]\nincludes: [nowhere.yaml]\n",
    "a second document": "p: [passthrough]\n---\n{}\n",
}


@pytest.mark.parametrize("text", INCOMPLETE.values(), ids=INCOMPLETE)
def test_of_a_text_that_was_not_read_nothing_runs(drawn: Draw, text: str) -> None:
    blueprint = drawn(f"pipelines:\n  {text}")

    found = blueprint.errors_of(["p"])

    assert found
    assert set(found) <= set(blueprint.document.problems)


CONCERNS = """
web: {site: {prot: 1, routing: {}}}
contexts: {a: {}, a: {}}
data: {x: !alias nowhere}
pipelines:
  p: [passthrough]
  context: [{fetch-context: {context: a}}]
  namespace:
    q: [passthrough]
    q: [stop]
    r: [passthrough]
  mistaken: {error_consumers: [passthrough]}
  copied: [{set-value: {path: a, value: 1}}]
"""


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("p", []),
        ("context", ["3 duplicate-key"]),
        ("namespace.q", ["10 duplicate-key"]),
        ("namespace.r", []),
        ("mistaken", ["12 not-a-pipeline"]),
    ],
)
def test_errors_concern_what_stands_above_and_below_them(
    drawn: Draw, name: str, expected: list[str]
) -> None:
    found = drawn(CONCERNS).errors_of([name])

    assert [f"{each.place.line} {each.code}" for each in found if each.place] == expected


def test_errors_of_what_is_copied_concern_all_who_may_have_copied_it(drawn: Draw) -> None:
    blueprint = drawn("""
data: {x: {y: !alias nowhere}}
pipelines: {p: [{set-value: {path: a, value: !alias data.x}}]}
""")

    assert [each.code for each in blueprint.errors_of(["p"])] == ["missing-alias-target"]


def test_an_alias_into_the_pipelines_does_not_make_their_errors_those_of_all(drawn: Draw) -> None:
    blueprint = drawn(
        "pipelines:\n"
        "  p: [{run-pipeline: {pipeline: !alias pipelines.copied}}]\n"
        "  copied: [passthrough]\n"
        "  bad: [nonsense]\n"
    )

    assert [each.code for each in blueprint.errors] == ["unknown-processor"]
    assert blueprint.errors_of(["p"]) == []


@pytest.mark.parametrize("given", [{"overrides": ["contexts"]}, {"environment": "nonsense"}])
def test_overrides_that_were_not_understood_concern_every_pipeline(
    drawn: Draw, given: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn("pipelines: {p: [passthrough]}")
    monkeypatch.setenv("PIPED_CONFIGURATION_OVERRIDES", given.get("environment", ""))

    blueprint = draw(load("service.yaml", given.get("overrides", ())))

    assert [each.code for each in blueprint.errors_of(["p"])] == ["bad-override"]


def test_a_provider_that_needs_no_section_is_there_when_somebody_needs_it(drawn: Draw) -> None:
    blueprint = drawn(
        """
        pipelines:
          p:
            - eval-lambda:
                dependencies: {tasks: background}
                lambda: "baton: self.dependencies.tasks"
        """
    )

    assert told(blueprint) == []
    assert [unit.label for unit in blueprint.units] == ["background"]


def test_a_component_whose_library_is_missing_names_what_brings_it(
    drawn: Draw, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    monkeypatch.delitem(sys.modules, "piped.processors.templates", raising=False)

    blueprint = drawn("pipelines: {p: [{render-template: {template: a}}]}")

    assert told(blueprint) == [
        "service.yaml:1:18: error[not-installed]: 'render-template' cannot be used: the library"
        " 'jinja2' is not installed\n"
        "    at: pipelines.p[0].render-template\n"
        "    hint: install piped-server[templates]"
    ]
