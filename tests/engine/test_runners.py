"""How batons travel: results, errors and their scopes, decisions, stops and loops."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from piped.batons import Baton
from piped.engine import Results
from piped.errors import PipelineError, TooManyTurns, UndeclaredAwait
from piped.processors.code import EvalLambda, ExecCode
from piped.spec import DecidingProcessor, Processor, processor
from tests.engine.conftest import (
    OTHERS,
    QUICK,
    SLOW,
    Build,
    Way,
    compiled,
    failure_of,
    send,
    specs,
)

ResultsOf = Callable[..., Results]


def values(results: Results) -> list[Any]:
    """Return what is in the results beside the ways."""
    return [each.get("value") for each in results]


def contexts(error: BaseException) -> Iterator[BaseException]:
    """Yield the exceptions during which an exception was raised, the nearest first."""
    while error.__context__ is not None:
        error = error.__context__
        yield error


def test_a_chain_has_one_result(results_of: ResultsOf) -> None:
    assert values(results_of("p: [{note: {name: a}}, {replace: {value: 1}}]")) == [1]


def test_each_source_gets_the_original_baton_and_each_sink_gives_a_result(
    results_of: ResultsOf,
) -> None:
    results = results_of("p: {consumers: [{note: {name: a}}, {replace: {value: 2}}, passthrough]}")

    assert values(results) == [None, 2, None]
    assert results[0] is results[2]


def test_branches_that_join_give_a_result_for_each_time(results_of: ResultsOf) -> None:
    text = """
        p:
          - note: {name: a}
            consumers:
              - {note: {name: b}, consumers: [{existing: e}]}
              - {note: {name: c}, consumers: [{existing: e}]}
          - replace: {value: 5, id: e}
    """

    assert values(results_of(text)) == [5, 5, 5]


def test_a_stop_is_a_sink_and_is_counted(results_of: ResultsOf) -> None:
    results = results_of("p: [{stop: {decider: 'baton: True'}}, {replace: {value: 1}}]")

    assert (values(results), results.stopped) == ([None], 1)


def test_a_baton_that_is_not_stopped_goes_on(results_of: ResultsOf) -> None:
    results = results_of("p: [{stop: {decider: 'baton: False'}}, {replace: {value: 1}}]")

    assert (values(results), results.stopped) == ([1], 0)


@pytest.mark.parametrize(("decision", "stopped"), [("True", 1), ("False", 0)])
def test_a_stop_at_the_very_end_decides_about_the_end(
    results_of: ResultsOf, decision: str, stopped: int
) -> None:
    results = results_of(f"p: [passthrough, {{stop: {{decider: 'baton: {decision}'}}}}]")

    assert (values(results), results.stopped) == ([None], stopped)


def test_stops_of_several_branches_are_counted_each(results_of: ResultsOf) -> None:
    stop = "{stop: {decider: 'baton: True'}}"

    results = results_of(f"p: {{consumers: [{stop}, passthrough, {stop}]}}")

    assert (len(results), results.stopped) == (3, 2)


def test_a_decider_chooses_consumers_in_its_own_order(way: Way) -> None:
    text = """
        p:
          - choose: {indexes: [-1, 0, 0]}
            consumers: [{note: {name: a}}, {note: {name: b}}]
          - note: {name: next}
    """

    assert way(text) == ["next", "a", "a"]


def test_a_decider_that_chooses_nothing_ends_the_way(results_of: ResultsOf) -> None:
    results = results_of("p: [{choose: {indexes: []}}, {note: {name: a}}]")

    assert (results, results.stopped) == ([{"way": []}], 1)


def test_a_choice_that_does_not_exist_is_told(build: Build) -> None:
    pipeline = build("p: [{choose: {indexes: [1]}}, passthrough]")["p"]

    error = failure_of(pipeline, {})

    assert repr(error) == repr(PipelineError("chose a consumer that does not exist: there are 1"))
    assert error.__notes__ == ["in pipelines.p[0].choose (test.yaml:1:6)"]


@processor("decide-badly")
class DecideBadly(DecidingProcessor):
    """Fail to decide, in the way that is asked for."""

    kind: str

    def process(self, baton: Baton) -> Baton:
        return {**baton, "seen": True}

    def choose(self, baton: Baton, consumers: int) -> Sequence[int]:
        assert baton["seen"]
        if self.kind == "await":
            return asyncio.sleep(0)  # type: ignore[return-value] # that is the mistake
        return [[][5]]


@pytest.mark.parametrize("components", [QUICK, SLOW])
def test_an_error_of_a_decider_is_not_taken_for_a_wrong_choice(components: Any) -> None:
    text = "p: [{note: {name: a}}, {decide-badly: {kind: raise}}, passthrough]"
    pipelines, _ = compiled(text, specs(DecideBadly, *OTHERS, *components))

    error = failure_of(pipelines["p"], {"way": []})

    assert repr(error) == repr(IndexError("list index out of range"))
    assert error.__notes__ == ["in pipelines.p[1].decide-badly (test.yaml:1:25)"]


UNDECLARED = (
    "a step that is not async returned an awaitable (coroutine):"
    " declare it by 'await: true' or 'async def'"
)


@pytest.mark.parametrize("components", [QUICK, SLOW])
def test_a_decider_that_must_be_awaited_is_told(components: Any) -> None:
    text = "p: [{note: {name: a}}, {decide-badly: {kind: await}}, passthrough]"
    pipelines, _ = compiled(text, specs(DecideBadly, *OTHERS, *components))

    error = failure_of(pipelines["p"], {"way": []})

    assert repr(error) == repr(UndeclaredAwait(UNDECLARED))


@processor("promise")
class Promise(Processor):
    """Return an awaitable, and do not say so."""

    def process(self, baton: Baton) -> Any:
        return asyncio.sleep(0, baton)


@pytest.mark.parametrize("components", [QUICK, SLOW])
@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("p: [promise, {replace: {value: 1}}]", "p[0].promise (test.yaml:1:5)"),
        ("p: [promise, {note: {name: a}}]", "p[0].promise (test.yaml:1:5)"),
        ("p: [{note: {name: a}}, promise, passthrough]", "p[1].promise (test.yaml:1:24)"),
        ("p: {consumers: [promise, passthrough]}", "p.consumers[0].promise (test.yaml:1:17)"),
        (
            "p: [{fail: {}, error_consumers: [promise, {note: {name: a}}]}]",
            "p[0].fail.error_consumers[0].promise (test.yaml:1:34)",
        ),
    ],
)
def test_an_awaitable_that_nobody_declared_is_an_error_of_the_step_that_returned_it(
    components: Any, text: str, place: str
) -> None:
    pipelines, problems = compiled(text, specs(Promise, *OTHERS, *components))
    assert problems == []

    error = failure_of(pipelines["p"], {"way": []})

    assert repr(error) == repr(UndeclaredAwait(UNDECLARED))
    assert error.__notes__ == [f"in pipelines.{place}"]


def test_an_error_leaves_the_pipeline_and_later_sources_are_not_run(build: Build) -> None:
    pipeline = build("p: {consumers: [{note: {name: a}}, fail, {note: {name: b}}]}")["p"]
    baton: dict[str, Any] = {"way": []}

    error = failure_of(pipeline, baton)

    assert repr(error) == repr(ValueError("no"))
    assert baton["way"] == ["a"]


def test_an_error_notes_where_it_was_raised_and_who_called(build: Build) -> None:
    text = """
        inner: [passthrough, fail]
        p:
          - {note: {name: a}}
          - run-pipeline: {pipeline: inner}
    """

    error = failure_of(build(text)["p"], {"way": []})

    assert repr(error) == repr(ValueError("no"))
    assert error.__notes__ == [
        "in pipelines.inner[1].fail (test.yaml:2:30)",
        "in pipelines.p[1].run-pipeline (test.yaml:5:13)",
    ]
    assert traceback.extract_tb(error.__traceback__)[-1].name == "process"


def test_an_error_is_noted_in_a_branching_graph_too(build: Build) -> None:
    pipeline = build("p: [{passthrough: {}, consumers: [passthrough, fail]}]")["p"]

    error = failure_of(pipeline, {})

    assert repr(error) == repr(ValueError("no"))
    assert error.__notes__ == ["in pipelines.p[0].passthrough.consumers[1].fail (test.yaml:1:48)"]


def test_error_consumers_get_the_input_of_their_processor(results_of: ResultsOf) -> None:
    text = """
        p:
          - replace: {value: 1}
          - {replace: {value: 2}, error_consumers: [passthrough]}
          - replace: {value: 3}
          - fail
    """

    assert values(results_of(text)) == [1]


def test_error_consumers_of_a_pipeline_get_the_original_baton_as_it_is_now(
    results_of: ResultsOf,
) -> None:
    text = """
        p:
          chained_consumers: [{note: {name: a}}, {replace: {value: 1}}, fail]
          error_consumers: [passthrough]
    """

    assert results_of(text) == [{"way": ["a"]}]


def test_after_error_consumers_the_rest_of_the_chain_does_not_run(way: Way) -> None:
    text = """
        p:
          - {fail: {}, error_consumers: [{note: {name: error 1}}, {note: {name: error 2}}]}
          - note: {name: next}
    """

    assert way(text) == ["error 1", "error 2"]


def test_after_a_handled_error_the_next_siblings_run(way: Way) -> None:
    text = """
        p:
          - passthrough: {}
            consumers:
              - {fail: {}, error_consumers: [{note: {name: error}}]}
              - {note: {name: sibling}}
          - note: {name: next}
    """

    assert way(text) == ["error", "sibling", "next"]


def test_an_error_climbs_to_the_nearest_scope(way: Way) -> None:
    text = """
        p:
          chained_consumers:
            - {note: {name: a}, error_consumers: [{note: {name: near}}]}
            - {note: {name: b}}
            - fail
          error_consumers: [{note: {name: far}}]
    """

    assert way(text) == ["a", "b", "near", "far"]


def test_a_scope_ends_with_the_subtree_of_its_processor(build: Build) -> None:
    text = """
        p:
          consumers:
            - {note: {name: a}, error_consumers: [{note: {name: error}}]}
            - fail
    """
    baton: dict[str, Any] = {"way": []}

    error = failure_of(build(text)["p"], baton)

    assert repr(error) == repr(ValueError("no"))
    assert baton["way"] == ["a"]


def test_chained_error_consumers_come_before_the_others(way: Way) -> None:
    text = """
        p:
          - fail: {}
            error_consumers: [{note: {name: c}}]
            chained_error_consumers: [{note: {name: a}}, {note: {name: b}}]
    """

    assert way(text) == ["a", "b", "c"]


FURTHER = """
    p:
      - note: {name: a}
        error_consumers: [{note: {name: outer}}, {note: {name: outer 2}}]
      - fail: {text: first}
        error_consumers:
          - {fail: {text: second}}
          - {note: {name: never}}
"""


def test_an_error_in_an_error_consumer_goes_further_up(way: Way) -> None:
    assert way(FURTHER) == ["a", "outer", "outer 2"]


def test_an_error_in_an_error_consumer_has_the_first_one_as_its_context(build: Build) -> None:
    pipeline = build("p: [{fail: {text: 1st}, error_consumers: [{fail: {text: 2nd}}]}]")["p"]

    error = failure_of(pipeline, {})

    assert repr(error) == repr(ValueError("2nd"))
    assert [str(each) for each in contexts(error)] == ["1st"]


def test_error_consumers_may_have_error_consumers(way: Way) -> None:
    text = """
        p:
          - fail: {text: first}
            error_consumers:
              - {fail: {text: second}, error_consumers: [see-error]}
    """

    assert way(text) == ["ValueError('second')"]


def test_error_consumers_see_the_current_exception_and_those_behind_them_too(way: Way) -> None:
    text = """
        p:
          - fail: {}
            error_consumers:
              - {see-error: {}, consumers: [see-error, see-error]}
    """

    assert way(text) == ["ValueError('no')"] * 3


def test_a_step_that_is_joined_from_an_error_consumer_sees_the_exception(way: Way) -> None:
    text = """
        p:
          - {fail: {}, error_consumers: [{existing: x}]}
          - see-error: {id: x}
    """

    assert way(text) == ["ValueError('no')"]
    assert way(text, failures=0) == ["None"]


def test_after_the_error_consumers_there_is_no_current_exception(way: Way) -> None:
    text = "p: {consumers: [{fail: {}, error_consumers: [see-error]}, see-error]}"

    assert way(text) == ["ValueError('no')", "None"]


def test_an_exception_that_is_raised_again_keeps_its_first_place_only(build: Build) -> None:
    text = "p: [{fail: {}, error_consumers: [passthrough, raise-again]}]"

    error = failure_of(build(text)["p"], {})

    assert repr(error) == repr(ValueError("no"))
    assert error.__notes__ == ["in pipelines.p[0].fail (test.yaml:1:6)"]
    assert error.__context__ is None


def test_an_exception_that_is_raised_again_keeps_its_own_context(build: Build) -> None:
    text = """
        inner: [{fail: {text: 1st}, error_consumers: [{fail: {text: 2nd}}]}]
        p:
          - fail: {text: outer}
            error_consumers:
              - {run-pipeline: {pipeline: inner}, error_consumers: [raise-again]}
    """

    error = failure_of(build(text)["p"], {})

    assert repr(error) == repr(ValueError("2nd"))
    assert [str(each) for each in contexts(error)] == ["1st", "outer"]


@processor("leave")
class Leave(Processor):
    """Raise what is no error but an order to end."""

    kind: str

    def process(self, baton: Baton) -> Baton:
        raise asyncio.CancelledError if self.kind == "cancel" else SystemExit(3)


@pytest.mark.parametrize(
    ("kind", "expected"), [("cancel", asyncio.CancelledError), ("exit", SystemExit)]
)
@pytest.mark.parametrize("components", [QUICK, SLOW])
def test_orders_to_end_pass_error_consumers_untouched(
    components: Any, kind: str, expected: type[BaseException]
) -> None:
    text = f"""
        p:
          chained_consumers: [{{note: {{name: a}}}}, {{leave: {{kind: {kind}}}}}]
          error_consumers: [{{note: {{name: error}}}}]
    """
    pipelines, _ = compiled(text, specs(Leave, *OTHERS, *components))
    baton: dict[str, Any] = {"way": []}

    with pytest.raises(expected) as caught:
        send(pipelines["p"], baton)

    assert baton["way"] == ["a"]
    assert not hasattr(caught.value, "__notes__")


@pytest.mark.anyio
async def test_a_pipeline_that_waits_can_be_cancelled() -> None:
    text = "p: {chained_consumers: [hang], error_consumers: [{note: {name: error}}]}"
    pipelines, _ = compiled(text, specs(Hang, *OTHERS, *QUICK))
    baton: dict[str, Any] = {"way": []}

    async with asyncio.TaskGroup() as group:
        task = group.create_task(pipelines["p"](baton))
        await asyncio.sleep(0)
        task.cancel()

    assert (task.cancelled(), baton["way"]) == (True, [])


@processor("hang")
class Hang(Processor):
    """Wait for ever."""

    async def process(self, baton: Baton) -> Baton:
        await asyncio.Event().wait()
        return baton


LOOP = """
    p:
      - note: {name: turn, id: begin}
      - {again: {}, consumers: [{existing: begin}]}
      - note: {name: end}
"""


def test_a_loop_is_a_way_back_that_a_decider_chooses(way: Way) -> None:
    assert way(LOOP, n=3) == ["turn", "turn", "turn", "end"]


QUIET_LOOP = (
    "p: [{passthrough: {id: begin}}, {again: {consumers: [{existing: begin}]}}, passthrough]"
)


def test_a_loop_of_many_turns_is_no_recursion(build: Build) -> None:
    baton = {"n": 100_000}

    results = send(build(QUIET_LOOP)["p"], baton)

    assert results == [{"n": 0}]


RETRY = """
    p:
      - {fail: {id: begin}, error_consumers: [{existing: begin}]}
      - see-error
"""


def test_a_retry_of_many_turns_is_no_recursion_and_forgets_its_errors(way: Way) -> None:
    assert way(RETRY, failures=100_000) == ["None"]


def test_errors_of_a_retry_do_not_pile_up(build: Build) -> None:
    text = """
        p:
          - fail: {id: begin}
            error_consumers: [{again: {}, consumers: [{existing: begin}, raise-again]}]
    """

    error = failure_of(build(text)["p"], {"n": 1000})

    assert repr(error) == repr(ValueError("no"))
    assert error.__context__ is None


def test_a_processor_may_be_its_own_consumer(way: Way) -> None:
    text = "p: [{again: {id: x}, consumers: [{existing: x}]}, {note: {name: end}}]"

    assert way(text, n=5) == ["end"]


def test_a_loop_may_turn_as_often_as_it_is_allowed_to(results_of: ResultsOf) -> None:
    loop = "[{passthrough: {id: b}}, {again: {}, consumers: [{existing: b}]}, passthrough]"

    results = results_of(f"p: {{chained_consumers: {loop}, max_turns: 5}}", n=5)

    assert len(results) == 1


TOO_MANY = "a loop has not ended after 4 turns (see 'max_turns')"


@pytest.mark.parametrize(
    "steps",
    [
        "[{passthrough: {id: b}}, {again: {}, consumers: [{existing: b}]}, passthrough]",
        "[{passthrough: {id: b}, error_consumers: [{note: {name: error}}]}, {existing: b}]",
        "[{passthrough: {id: b}, error_consumers: [{existing: b}]}, fail]",
    ],
    ids=["loop", "loop with a scope", "retry"],
)
def test_a_loop_that_does_not_end_is_an_error_that_no_consumer_of_it_gets(
    build: Build, steps: str
) -> None:
    pipeline = build(f"p: {{chained_consumers: {steps}, max_turns: 4}}")["p"]
    baton: dict[str, Any] = {"way": [], "n": 5}

    error = failure_of(pipeline, baton)

    assert repr(error) == repr(TooManyTurns(TOO_MANY))
    assert baton["way"] == []
    assert error.__notes__ == ["in pipelines.p.chained_consumers[0].passthrough (test.yaml:1:26)"]


def test_who_calls_a_pipeline_that_does_not_end_may_handle_that(way: Way) -> None:
    text = """
        loop: {chained_consumers: [{passthrough: {id: b}}, {existing: b}], max_turns: 4}
        p: [{run-pipeline: {pipeline: loop}, error_consumers: [see-error]}]
    """

    [seen] = way(text)

    assert seen == repr(TooManyTurns(TOO_MANY))


def test_calls_in_flight_do_not_mix_their_results() -> None:
    text = "p: [{note: {name: a}}, {replace: {value: 1}}, {note: {name: b}}]"
    pipelines, _ = compiled(text, specs(*OTHERS, *SLOW))
    batons: list[dict[str, Any]] = [{"way": [number]} for number in range(20)]

    async def all_at_once() -> list[Results]:
        return await asyncio.gather(*map(pipelines["p"], batons))

    found = asyncio.run(all_at_once())

    assert [results[0]["way"] for results in found] == [[n, "a", "b"] for n in range(20)]


CODE = """\
inner: [{eval-lambda: {lambda: "b: b['x']"}}]
p:
  - exec-code:
      code: |
        def half(n):
            return n / baton["zero"]

        half(1)
lambda:
  - eval-lambda:
      lambda: "b:
        1 / b['zero']"
calls:
  - passthrough
  - run-pipeline: {pipeline: inner}
"""


@pytest.mark.parametrize(
    ("name", "notes"),
    [
        ("p", ["in pipelines.p[0].exec-code (test.yaml:3:5), line 6"]),
        ("lambda", ["in pipelines.lambda[0].eval-lambda (test.yaml:10:5), line 11"]),
        (
            "calls",
            [
                "in pipelines.inner[0].eval-lambda (test.yaml:1:10)",
                "in pipelines.calls[1].run-pipeline (test.yaml:15:5)",
            ],
        ),
    ],
)
def test_an_error_in_code_notes_its_line_where_it_is_not_that_of_the_step(
    name: str, notes: list[str]
) -> None:
    pipelines, problems = compiled(CODE, specs(EvalLambda, ExecCode, *OTHERS))
    assert problems == []

    error = failure_of(pipelines[name], {"zero": 0})

    assert error.__notes__ == notes


@dataclass(frozen=True)
class Frozen(Exception):
    """An exception on which nothing can be noted."""

    text: str


@processor("fail-frozen")
class FailFrozen(Processor):
    """Raise an exception that cannot be changed."""

    def process(self, baton: Baton) -> Baton:
        raise Frozen("no")


def test_an_exception_that_takes_no_notes_is_raised_as_it_is() -> None:
    pipelines, problems = compiled("p: [fail-frozen]", specs(FailFrozen))

    failure = failure_of(pipelines["p"], {})

    assert problems == []
    assert isinstance(failure, Frozen)
