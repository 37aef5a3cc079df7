"""From definitions to graphs: chains, branches, joins, inlined and inherited pipelines, names."""

from __future__ import annotations

import pytest

from piped.batons import Baton
from piped.engine import Pipeline
from piped.engine.definition import MAX_TURNS
from piped.errors import suggest
from piped.spec import PipelineName, Processor, dependencies_of, processor
from tests.engine.conftest import OTHERS, QUICK, Build, Problems, Way, compiled, specs


def test_a_chain_gives_each_step_what_the_one_before_returned(way: Way) -> None:
    assert way("p: [{note: {name: a}}, {note: {name: b}}, {note: {name: c}}]") == ["a", "b", "c"]


def test_consumers_on_top_are_sources_one_after_the_other(way: Way) -> None:
    text = """
        p: {consumers: [{note: {name: a}, consumers: [{note: {name: a1}}]}, {note: {name: b}}]}
    """

    assert way(text) == ["a", "a1", "b"]


def test_chained_consumers_are_the_first_sources(way: Way) -> None:
    text = """
        p:
          consumers: [{note: {name: c}}]
          chained_consumers: [{note: {name: a}}, {note: {name: b}}]
    """

    assert way(text) == ["a", "b", "c"]


def test_chained_consumers_inside_a_step_go_first_and_the_chain_around_it_last(way: Way) -> None:
    text = """
        p:
          - note: {name: a}
            consumers: [{note: {name: c}}, {note: {name: d}}]
            chained_consumers: [{note: {name: b1}}, {note: {name: b2}}]
          - note: {name: e}
    """

    assert way(text) == ["a", "b1", "b2", "c", "d", "e"]


def test_a_subtree_is_finished_before_the_next_sibling_begins(way: Way) -> None:
    text = """
        p:
          - note: {name: a}
            consumers:
              - {note: {name: b}, consumers: [{note: {name: b1}}, {note: {name: b2}}]}
              - {note: {name: c}}
    """

    assert way(text) == ["a", "b", "b1", "b2", "c"]


def test_a_join_runs_once_for_each_edge_that_leads_to_it(way: Way) -> None:
    text = """
        p:
          - note: {name: a}
            consumers:
              - {note: {name: b}, consumers: [{existing: e}]}
              - {note: {name: c}, consumers: [{existing: e}]}
          - note: {name: e, id: e}
    """

    assert way(text) == ["a", "b", "e", "c", "e", "e"]


def test_an_existing_step_may_stand_in_a_chain_and_before_its_definition(way: Way) -> None:
    text = """
        p:
          consumers:
            - chained_consumers: [{existing: x}, {note: {name: after}}]
              note: {name: a}
            - note: {name: x, id: x}
    """

    assert way(text) == ["a", "x", "after", "x", "after"]


def test_an_inlined_pipeline_is_a_copy_in_place(build: Build) -> None:
    text = """
        a: [{note: {name: a}}]
        p: [{inline-pipeline: a}, {inline-pipeline: a}]
    """
    pipelines = build(text)

    nodes = [*pipelines["a"].processors(), *pipelines["p"].processors()]

    assert len(set(map(id, nodes))) == 3


def test_what_follows_an_inlined_pipeline_is_attached_to_all_its_sinks(way: Way) -> None:
    text = """
        two: {consumers: [{note: {name: a}}, {note: {name: b}}]}
        p: [{inline-pipeline: two}, {note: {name: c}}]
    """

    assert way(text) == ["a", "c", "b", "c"]


def test_consumers_beside_an_inlined_pipeline_go_before_the_chain(way: Way) -> None:
    text = """
        a: [{note: {name: a}}]
        p: [{inline-pipeline: a, consumers: [{note: {name: b}}]}, {note: {name: c}}]
    """

    assert way(text) == ["a", "b", "c"]


def test_error_consumers_beside_an_inlined_pipeline_are_attached_to_its_sources(way: Way) -> None:
    text = """
        a: [{note: {name: a}}, fail]
        p: [{inline-pipeline: a, error_consumers: [{note: {name: error}}]}]
    """

    assert way(text) == ["a", "error"]


ONE_WITH_ERRORS = """
    one:
      chained_consumers: [fail]
      error_consumers: [{note: {name: error}}]
    p: [{inline-pipeline: one}, {note: {name: next}}]
"""


def test_a_single_inlined_step_with_error_consumers_goes_on_with_what_follows(way: Way) -> None:
    assert way(ONE_WITH_ERRORS, failures=0) == ["next"]


def test_the_error_branch_of_an_inlined_pipeline_goes_on_with_what_follows(way: Way) -> None:
    assert way(ONE_WITH_ERRORS) == ["error", "next"]


def test_an_inlined_pipeline_whose_source_is_joined_keeps_one_error_scope(way: Way) -> None:
    text = """
        twice: {consumers: [{fail: {id: x}}, {existing: x}]}
        p: [{inline-pipeline: twice, error_consumers: [{note: {name: error}}]}]
    """

    assert way(text) == ["error", "error"]


def test_inlined_pipelines_may_inline_others(way: Way) -> None:
    text = """
        ns:
          a: [{note: {name: a}}]
          b: [{inline-pipeline: .a}, {note: {name: b}}]
        p: [{inline-pipeline: ns.b}, {note: {name: c}}]
    """

    assert way(text) == ["a", "b", "c"]


def test_an_heir_is_the_parent_with_some_options_replaced(way: Way) -> None:
    text = """
        base:
          chained_consumers:
            - {note: {name: a}, consumers: [{note: {name: a1}}]}
            - {note: {name: b}}
            - fail
          error_consumers: [{note: {name: error}}]
        p:
          inherits: base
          overrides: [{__processor__: note, name: x}, {note: {name: y}}]
    """

    assert way(text) == ["x", "a1", "y", "error"]


def test_options_that_an_override_does_not_repeat_are_dropped(build: Build) -> None:
    text = """
        base: [{fail: {text: other, node_name: first}}]
        p: {inherits: base, overrides: [{fail: {text: new}}]}
    """

    [made] = build(text)["p"].processors()

    assert (made.node_name, getattr(made, "text", None)) == (None, "new")


def test_an_heir_keeps_ids_and_joins(way: Way) -> None:
    text = """
        base:
          consumers:
            - {note: {name: a}, consumers: [{existing: c}]}
            - {note: {name: b}, consumers: [{note: {name: c, id: c}}]}
        p: {inherits: base, overrides: [{note: {name: x}}]}
    """

    assert way(text) == ["x", "c", "b", "c"]


@pytest.mark.parametrize(
    ("own", "expected"), [("", 7), (", max_turns: 3", 3)], ids=["not given", "given"]
)
def test_an_heir_has_the_turns_of_its_parent_unless_it_says_otherwise(
    build: Build, own: str, expected: int
) -> None:
    text = f"base: {{consumers: [passthrough], max_turns: 7}}\np: {{inherits: base{own}}}"

    assert build(text)["p"].graph.max_turns == expected


def test_a_loop_may_turn_a_million_times_unless_the_pipeline_says_otherwise(build: Build) -> None:
    assert build("p: [passthrough]")["p"].graph.max_turns == MAX_TURNS == 1_000_000


@processor("many-names")
class ManyNames(Processor):
    """Names pipelines in every way there is."""

    one: PipelineName | None = None
    many: list[PipelineName] | None = None
    by_key: dict[str, PipelineName] | None = None

    def process(self, baton: Baton) -> Baton:
        return baton


def named(pipeline: Pipeline) -> list[str]:
    """Return the names of the pipelines that the processors of a pipeline depend on."""
    return [each.name for node in pipeline.processors() for each in dependencies_of(node)]


NAMESPACE = """
    chain: [passthrough]
    ns:
      one: [passthrough]
      two: [passthrough]
      a: {one: [STEP], other: [passthrough]}
      b: {three: [passthrough]}
"""


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("chain", "chain"),
        ("ns.one", "ns.one"),
        ("pipeline.ns.one", "ns.one"),
        (".other", "ns.a.other"),
        ("..two", "ns.two"),
        ("..b.three", "ns.b.three"),
        ("...chain", "chain"),
    ],
)
@pytest.mark.parametrize(
    "step",
    [
        "many-names: {one: NAME}",
        "many-names: {many: [NAME]}",
        "many-names: {by_key: {a: NAME}}",
        "many-names: {one: {provider: NAME}}",
        "run-pipeline: {pipeline: NAME}",
        "run-pipeline-if: {pipeline: NAME}",
    ],
)
def test_each_leading_dot_strips_one_part_of_the_name_of_the_pipeline(
    step: str, name: str, expected: str
) -> None:
    text = NAMESPACE.replace("STEP", f"{{{step}}}").replace("NAME", name)

    pipelines, problems = compiled(text, specs(ManyNames, *OTHERS, *QUICK))

    assert problems == []
    assert named(pipelines["ns.a.one"]) == [f"pipeline.{expected}"]


@pytest.mark.parametrize("name", ["...chain", "..two", ".other"])
@pytest.mark.parametrize("step", ["inline-pipeline: NAME", "needs: {resource: NAME}"])
def test_relative_names_work_for_inlined_pipelines_and_other_resources(
    build: Build, step: str, name: str
) -> None:
    text = NAMESPACE.replace("STEP", f"{{{step}}}").replace("NAME", name)

    assert "ns.a.one" in build(text)


@pytest.mark.parametrize("name", ["....chain", ".....chain"])
def test_a_name_that_leads_out_of_the_pipelines_is_told(problems: Problems, name: str) -> None:
    text = NAMESPACE.replace("STEP", f"{{run-pipeline: {{pipeline: {name}}}}}")

    assert problems(text) == [
        "test.yaml:6:43: error[unknown-pipeline]:"
        f" '{name}' leads out of the pipelines: 'ns.a.one' has 3 parts\n"
        "    at: pipelines.ns.a.one[0].run-pipeline.pipeline"
    ]


HOMES = """
    lib:
      target: [{{note: {{name: lib}}}}]
      call: [{{run-pipeline: {{pipeline: .target}}}}]
    app:
      target: [{{note: {{name: app}}}}]
      main: {main}
    p: [{{run-pipeline: {{pipeline: app.main}}}}]
"""


def test_a_relative_name_keeps_its_meaning_where_it_is_inlined(way: Way) -> None:
    assert way(HOMES.format(main="[{inline-pipeline: lib.call}]")) == ["lib"]


def test_a_relative_name_keeps_its_meaning_where_it_is_inherited(way: Way) -> None:
    assert way(HOMES.format(main="{inherits: ..lib.call}")) == ["lib"]


def test_a_relative_name_in_an_override_is_relative_to_the_heir(way: Way) -> None:
    override = "{run-pipeline: {pipeline: .target}}"

    main = f"{{inherits: lib.call, overrides: [{override}]}}"

    assert way(HOMES.format(main=main)) == ["app"]


def test_a_processor_is_told_its_home(build: Build) -> None:
    pipelines = build("{ns: {p: [passthrough, {inline-pipeline: .q}], q: [passthrough]}}")

    assert [each.home for each in pipelines["ns.p"].processors()] == ["ns.p", "ns.q"]


WRONG = {
    "p: [passthru]": f"""
test.yaml:1:5: error[unknown-processor]: there is no processor 'passthru'
    at: pipelines.p[0].passthru
    hint: {suggest("passthru", specs(*OTHERS, *QUICK))}""",
    "p: [{note: {nam: x}}]": """
test.yaml:1:13: error[unknown-parameter]: note has no parameter 'nam'
    at: pipelines.p[0].note.nam
    hint: did you mean 'name'? known: name, node_name
test.yaml:1:12: error[missing-parameter]: note needs the parameter 'name'
    at: pipelines.p[0].note
    hint: add name: str""",
    "{web: {compute: [passthrough]}, p: [{run-pipeline: {pipeline: web.compte}}]}": """
test.yaml:1:63: error[unknown-pipeline]: there is no pipeline 'web.compte'
    at: pipelines.p[0].run-pipeline.pipeline
    hint: did you mean 'web.compute'? known: p, web.compute""",
    "{a: [passthrough], p: [{inline-pipeline: b1}]}": """
test.yaml:1:25: error[unknown-pipeline]: there is no pipeline 'b1'
    at: pipelines.p[0].inline-pipeline
    hint: known: a, p""",
    "p: [{passthrough: {}, id: x}, {note: {name: a}, id: x}]": """
test.yaml:1:32: error[duplicate-id]: two steps have the id 'x', the other one at test.yaml:1:6
    at: pipelines.p[1].note""",
    "p: [{passthrough: {}, id: first}, {existing: frist}]": """
test.yaml:1:36: error[unknown-id]: no step has the id 'frist'
    at: pipelines.p[1].existing
    hint: did you mean 'first'?""",
    "p: [{passthrough: {}, consumers: [{existing: x}]}, {note: {name: a}, id: x}]": """
test.yaml:1:53: error[duplicate-consumer]: 'note' is a consumer of 'passthrough' already
    at: pipelines.p[1].note""",
    "p: [{fail: {}, error_consumers: [{existing: s}, {existing: s}]}, {stop: {}, id: s}]": """
test.yaml:1:6: error[duplicate-consumer]: 'stop' is an error consumer of 'fail' already
    at: pipelines.p[0].fail""",
    "p: {consumers: [{stop: {}, id: s}], error_consumers: [{existing: s}, {existing: s}]}": """
test.yaml:1:4: error[duplicate-consumer]: 'stop' is an error consumer of 'stop' already
    at: pipelines.p""",
    "{loop: [{passthrough: {id: l}}, {existing: l}], p: [{inline-pipeline: loop}, stop]}": """
test.yaml:1:78: warning[unreachable-step]: no baton reaches 'stop': what it follows has no end
    at: pipelines.p[1].stop
    hint: let a processor in the inlined pipeline decide, so that its last step is reached""",
    "{l: [{stop: {id: l}}, {existing: l}], p: [{inline-pipeline: l, consumers: [stop]}]}": """
test.yaml:1:76: warning[unreachable-step]: no baton reaches 'stop': what it follows has no end
    at: pipelines.p[0].inline-pipeline.consumers[0].stop
    hint: let a processor in the inlined pipeline decide, so that its last step is reached""",
    "p: [{inline-pipeline: p}]": """
test.yaml:1:4: error[inline-cycle]: pipeline 'p' contains itself: p -> p
    at: pipelines.p""",
    "p: {inherits: nobody}": """
test.yaml:1:15: error[unknown-pipeline]: there is no pipeline 'nobody'
    at: pipelines.p.inherits
    hint: known: p""",
    "{a: [passthrough], b: {inherits: a}, p: {inherits: b}}": """
test.yaml:1:52: error[inherits-twice]: 'p' inherits 'b', which inherits by itself
    at: pipelines.p.inherits
    hint: inherit 'a' directly""",
    "{a: [passthrough], p: {inherits: a, overrides: [passthrough, passthrough, fail]}}": """
test.yaml:1:62: error[unused-override]: 'a' has no (further) processor 'passthrough' to override
    at: pipelines.p.overrides[1].passthrough
test.yaml:1:75: error[unused-override]: 'a' has no (further) processor 'fail' to override
    at: pipelines.p.overrides[2].fail""",
}


@pytest.mark.parametrize("text", WRONG)
def test_a_wrong_graph_is_told_with_its_place_and_a_hint(problems: Problems, text: str) -> None:
    assert "\n".join(problems(text)) == WRONG[text].strip()


def test_pipelines_that_inline_one_another_are_told_with_their_chain(problems: Problems) -> None:
    found = problems("{a: [{inline-pipeline: b}], b: [{inline-pipeline: a}]}")

    assert found == [
        "test.yaml:1:5: error[inline-cycle]: pipeline 'a' contains itself: a -> b -> a\n"
        "    at: pipelines.a",
        "test.yaml:1:32: error[inline-cycle]: pipeline 'b' contains itself: b -> a -> b\n"
        "    at: pipelines.b",
    ]


def test_a_problem_in_an_inlined_pipeline_is_told_once(problems: Problems) -> None:
    found = problems(
        "{a: [passthru], b: [{inline-pipeline: a}, {inline-pipeline: a}], c: {inherits: a}}"
    )

    assert len(found) == 1


@pytest.mark.parametrize(
    "text",
    [
        "p: [passthrough, 5]",
        "p: [passthrough, passthru]",
        "p: [{note: {}}]",
        "{a: [passthrough, 5], p: [{inline-pipeline: a}]}",
        "{a: [passthrough, 5], p: {inherits: a}}",
        "p: {consumers: [passthrough], max_turns: x}",
    ],
)
def test_a_pipeline_with_a_problem_is_not_built(text: str) -> None:
    pipelines, problems = compiled(text, specs(*OTHERS, *QUICK))

    assert len(problems) >= 1
    assert "p" not in pipelines


def test_a_step_behind_an_existing_one_is_reached(problems: Problems) -> None:
    assert problems("p: [{choose: {indexes: [1]}, id: c}, {existing: c}, passthrough]") == []


def test_what_follows_a_broken_pipeline_is_not_told_of(problems: Problems) -> None:
    [found] = problems("{broken: [passthru], p: [{inline-pipeline: broken}, stop]}")

    assert "error[unknown-processor]" in found


@pytest.mark.parametrize("reference", ["{inline-pipeline: pipeline.a.b}", "{inline-pipeline: a.b}"])
def test_a_pipeline_is_inlined_by_its_name_with_or_without_its_kind(
    way: Way, reference: str
) -> None:
    assert way(f"{{a.b: [{{note: {{name: x}}}}], p: [{reference}]}}") == ["x"]
    assert way("{a.b: [{note: {name: x}}], p: {inherits: pipeline.a.b}}") == ["x"]
