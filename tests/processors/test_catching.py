from __future__ import annotations

import asyncio
import sys
from typing import Any

import pytest
from structlog.testing import capture_logs

from piped.errors import AllPipelinesFailed, BatonError, DeadlineExceeded, TooDeep
from tests.processors.conftest import Make, Problems, Run, decoded

PLACE = "in pipelines.pay[0].mask (site.yaml:3:7)"


def failing(error: BaseException) -> Any:
    """Return a pipeline that changes its baton and then fails."""

    def fail(baton: Any) -> Any:
        if isinstance(baton, dict):
            baton["half"] = "done"
        raise error

    return fail


def soon(pipeline: Any) -> Any:
    """Return the same pipeline as one that must be awaited."""

    async def later(baton: Any) -> Any:
        await asyncio.sleep(0)
        return pipeline(baton)

    return later


def at_once(pipeline: Any) -> Any:
    return lambda baton: pipeline(baton)


def seen(baton: Any) -> Any:
    """Return the baton and the failure that is being treated."""
    return baton, sys.exc_info()[1]


every_way = pytest.mark.parametrize("as_", [at_once, soon], ids=["sync", "async"])

TRY = "try: {pipeline: a, catch: [{errors: KeyError, then: b}, {errors: LookupError, then: c}]}"
TIDY = "try: {pipeline: a, finally: b}"


@every_way
def test_try_gives_what_the_pipeline_gives(run: Run, as_: Any) -> None:
    resources = {"pipeline.a": as_(lambda n: n + 1), "pipeline.b": seen, "pipeline.c": seen}

    assert run(TRY, 1, **resources) == 2


@every_way
@pytest.mark.parametrize(
    ("error", "caught"), [(KeyError("x"), "b"), (IndexError("x"), "c"), (LookupError(), "c")]
)
def test_try_takes_the_first_clause_that_matches(
    run: Run, as_: Any, error: Exception, caught: str
) -> None:
    resources = {
        "pipeline.a": as_(failing(error)),
        "pipeline.b": as_(lambda baton: ("b", baton, sys.exc_info()[1])),
        "pipeline.c": as_(lambda baton: ("c", baton, sys.exc_info()[1])),
    }

    assert run(TRY, {"n": 1}, **resources) == (caught, {"n": 1}, error)


@every_way
def test_try_lets_other_errors_pass(run: Run, as_: Any) -> None:
    error = ValueError("no")
    resources = {"pipeline.a": as_(failing(error)), "pipeline.b": seen, "pipeline.c": seen}

    with pytest.raises(ValueError, match="no") as raised:
        run(TRY, {}, **resources)

    assert raised.value is error


@every_way
def test_try_catches_every_error_by_default(run: Run, as_: Any) -> None:
    text = "try: {pipeline: a, catch: [{then: b}]}"
    resources = {"pipeline.a": as_(failing(ZeroDivisionError())), "pipeline.b": as_(lambda _: "b")}

    assert run(text, {}, **resources) == "b"


@every_way
def test_try_does_not_show_a_half_done_attempt(run: Run, as_: Any) -> None:
    baton = {"n": 1}
    resources = {
        "pipeline.a": as_(failing(KeyError())),
        "pipeline.b": as_(dict),
        "pipeline.c": as_(dict),
    }

    result = run(TRY, baton, **resources)

    assert result == {"n": 1}
    assert baton == {"n": 1}


@pytest.mark.parametrize("value", [7, "text", None, (1, 2)])
def test_try_takes_any_input(run: Run, value: Any) -> None:
    text = "try: {pipeline: a, catch: [{then: b}]}"
    resources = {"pipeline.a": failing(KeyError()), "pipeline.b": lambda baton: [baton]}

    assert run(text, value, **resources) == [value]


@every_way
def test_try_tells_the_error_in_the_baton(run: Run, as_: Any) -> None:
    text = "try: {pipeline: a, catch: [{then: b, error_path: why.it}]}"
    error = BatonError("expected text, got int")
    error.add_note("something else")
    error.add_note(PLACE)
    error.add_note("in pipelines.web[2].run-pipeline (site.yaml:9:7)")
    baton = {"n": 1}

    result = run(text, baton, **{"pipeline.a": as_(failing(error)), "pipeline.b": as_(dict)})

    assert result == {
        "n": 1,
        "why": {
            "it": {
                "type": "BatonError",
                "message": "expected text, got int",
                "at": "pipelines.pay[0].mask (site.yaml:3:7)",
            }
        },
    }
    assert baton == {"n": 1}


def test_try_gives_nothing_but_the_error_where_its_path_is_empty(run: Run) -> None:
    text = "try: {pipeline: a, catch: [{then: b, error_path: ''}]}"
    resources = {"pipeline.a": failing(KeyError("x")), "pipeline.b": lambda baton: baton}

    assert run(text, 7, **resources) == {"type": "KeyError", "message": "'x'", "at": ""}


def test_try_cannot_tell_the_error_in_a_number(run: Run) -> None:
    text = "try: {pipeline: a, catch: [{then: b, error_path: error}]}"
    error = KeyError("x")

    with pytest.raises(BatonError) as raised:
        run(text, 7, **{"pipeline.a": failing(error), "pipeline.b": seen})

    assert str(raised.value) == "cannot set 'error': int has no place for 'error'"
    assert raised.value.__context__ is error


@every_way
def test_an_error_in_a_clause_chains(run: Run, as_: Any) -> None:
    first = KeyError("first")
    resources = {
        "pipeline.a": as_(failing(first)),
        "pipeline.b": as_(lambda _: int("x")),
        "pipeline.c": seen,
    }

    with pytest.raises(ValueError, match="invalid literal") as raised:
        run(TRY, {}, **resources)

    assert raised.value.__context__ is first


@every_way
def test_a_clause_may_raise_the_error_again(run: Run, as_: Any) -> None:
    def again(_: Any) -> None:
        raise

    error = KeyError("first")
    resources = {"pipeline.a": as_(failing(error)), "pipeline.b": as_(again), "pipeline.c": seen}

    with pytest.raises(KeyError) as raised:
        run(TRY, {}, **resources)

    assert raised.value is error
    assert error.__context__ is None


@every_way
@pytest.mark.parametrize("text", [TRY, TIDY, "try: {pipeline: a, catch: [{then: b}], finally: b}"])
def test_try_never_takes_an_endless_call_for_a_failure(run: Run, as_: Any, text: str) -> None:
    calls: list[Any] = []
    resources = {
        "pipeline.a": as_(failing(TooDeep("pipelines call one another too deep at 'a'"))),
        "pipeline.b": as_(calls.append),
        "pipeline.c": as_(calls.append),
    }

    with pytest.raises(TooDeep):
        run(text, {}, **resources)

    assert calls == []


@every_way
def test_finally_gets_the_input_after_a_success(run: Run, as_: Any) -> None:
    ended: list[Any] = []
    resources = {"pipeline.a": as_(lambda b: b | {"m": 2}), "pipeline.b": as_(ended.append)}

    assert run(TIDY, {"n": 1}, **resources) == {"n": 1, "m": 2}
    assert ended == [{"n": 1}]


@every_way
def test_finally_gets_the_input_and_the_error_after_a_failure(run: Run, as_: Any) -> None:
    ended: list[Any] = []
    error = KeyError("x")
    resources = {
        "pipeline.a": as_(failing(error)),
        "pipeline.b": as_(lambda baton: ended.append(seen(baton))),
    }

    with pytest.raises(KeyError):
        run(TIDY, {"n": 1}, **resources)

    assert ended == [({"n": 1}, error)]


@every_way
def test_finally_comes_after_a_clause(run: Run, as_: Any) -> None:
    text = "try: {pipeline: a, catch: [{then: b}], finally: c}"
    way: list[str] = []
    resources = {
        "pipeline.a": as_(failing(KeyError())),
        "pipeline.b": as_(lambda _: way.append("catch")),
        "pipeline.c": as_(lambda _: way.append("finally")),
    }

    run(text, {}, **resources)

    assert way == ["catch", "finally"]


@every_way
def test_an_error_in_finally_goes_on_and_chains(run: Run, as_: Any) -> None:
    first, second = KeyError("first"), ValueError("second")
    resources = {"pipeline.a": as_(failing(first)), "pipeline.b": as_(failing(second))}

    with pytest.raises(ValueError, match="second") as raised:
        run(TIDY, {}, **resources)

    assert raised.value is second
    assert second.__context__ is first


async def ever(_: Any) -> None:
    await asyncio.Event().wait()


async def cancelled(step: Any, baton: Any) -> None:
    task = asyncio.get_running_loop().create_task(step(baton))
    await asyncio.sleep(0)
    task.cancel()
    await task


def test_try_runs_finally_and_no_clause_when_it_is_cancelled(make: Make) -> None:
    text = "try: {pipeline: a, catch: [{then: b}], finally: c}"
    caught: list[Any] = []
    ended: list[Any] = []
    resources = {
        "pipeline.a": ever,
        "pipeline.b": at_once(caught.append),
        "pipeline.c": soon(ended.append),
    }
    step = make(text, **resources).step()

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(cancelled(step, {"n": 1}))

    assert caught == []
    assert ended == [{"n": 1}]


def test_a_failing_finally_does_not_hide_a_cancellation(make: Make) -> None:
    step = make(TIDY, **{"pipeline.a": ever, "pipeline.b": failing(ValueError())}).step()

    with capture_logs() as lines, pytest.raises(asyncio.CancelledError):
        asyncio.run(cancelled(step, {}))

    assert lines == [
        {
            "event": "finally failed after a cancellation",
            "pipeline": "b",
            "exc_info": True,
            "log_level": "error",
        }
    ]


def test_try_needs_something_to_do_about_failures(problems: Problems) -> None:
    what = "try needs 'catch' or 'finally', or both"

    assert problems("try: {pipeline: a}") == [what]
    assert problems("try: {pipeline: a, catch: []}") == [what]
    assert problems(TIDY) == []


@pytest.mark.parametrize(
    ("first", "second", "names"),
    [
        ("LookupError", "KeyError", "KeyError"),
        ("Exception", "[KeyError, OSError]", "KeyError and OSError"),
        ("[LookupError, OSError]", "[TimeoutError, KeyError]", "TimeoutError and KeyError"),
        ("KeyError", "KeyError", "KeyError"),
        ("TimeoutError", "piped.errors.DeadlineExceeded", "DeadlineExceeded"),
    ],
)
def test_try_warns_of_a_clause_that_no_error_reaches(first: str, second: str, names: str) -> None:
    text = f"""
        try:
          pipeline: a
          catch:
            - {{errors: {first}, then: b}}
            - {{errors: {second}, then: c}}
    """

    [problem] = decoded(text)[1]

    assert str(problem) == (
        f"test.yaml:6:15: warning[unreachable-catch]: no error reaches this clause: those before"
        f" it take {names}\n    at: try.catch[1]\n    hint: put it before them"
    )


@pytest.mark.parametrize(
    ("first", "second"),
    [("KeyError", "LookupError"), ("KeyError", "[KeyError, OSError]"), ("OSError", "ValueError")],
)
def test_try_does_not_warn_of_a_clause_that_some_error_reaches(
    problems: Problems, first: str, second: str
) -> None:
    clauses = f"{{errors: {first}, then: b}}, {{errors: {second}, then: b}}"
    text = f"try: {{pipeline: a, catch: [{clauses}]}}"

    assert problems(text) == []


def test_try_names_errors_that_nobody_knows(problems: Problems) -> None:
    found = problems("try: {pipeline: a, catch: [{errors: KeyEror, then: b}]}")

    assert len(found) == 1
    assert found[0].startswith("'KeyEror' is no exception: no module 'KeyEror' (did you mean 'KeyE")


def test_try_is_async_if_any_of_its_pipelines_is(make: Make) -> None:
    text = "try: {pipeline: a, catch: [{then: b}], finally: c}"
    names = ["pipeline.a", "pipeline.b", "pipeline.c"]

    assert not make(text, **dict.fromkeys(names, seen)).is_async
    for name in names:
        assert make(text, **{**dict.fromkeys(names, seen), name: soon(seen)}).is_async


def test_what_is_certain_to_be_called(make: Make) -> None:
    resources = dict.fromkeys(["pipeline.a", "pipeline.b", "pipeline.c"], seen)

    assert make(TIDY, **resources).certain_calls == ("a", "b")
    assert make(TRY, **resources).certain_calls == ("a",)
    assert make(FALLBACK, **resources).certain_calls == ("a",)
    assert make("try: {pipeline: a, finally: b, input_path: n}", **resources).certain_calls == ()


FALLBACK = "fallback: {pipelines: [a, b, c]}"


@every_way
def test_fallback_gives_the_first_success(run: Run, as_: Any) -> None:
    called: list[str] = []
    resources = {
        "pipeline.a": as_(failing(KeyError())),
        "pipeline.b": as_(lambda baton: baton | {"by": "b"}),
        "pipeline.c": as_(called.append),
    }

    assert run(FALLBACK, {"n": 1}, **resources) == {"n": 1, "by": "b"}
    assert called == []


@every_way
def test_fallback_goes_from_path_to_path(run: Run, as_: Any) -> None:
    text = "fallback: {pipelines: [a, b], input_path: n, output_path: m}"
    resources = {"pipeline.a": as_(failing(KeyError())), "pipeline.b": as_(lambda n: n * 2)}

    assert run(text, {"n": [1]}, **resources) == {"n": [1], "m": [1, 1]}


@every_way
def test_fallback_tells_of_all_failures(run: Run, as_: Any) -> None:
    first, second, third = KeyError("x"), DeadlineExceeded("late"), ValueError("no")
    first.add_note(PLACE)
    third.add_note("in pipelines.c[1].d (site.yaml:8:7), line 9")
    baton = {"n": 1}
    resources = {
        "pipeline.a": as_(failing(first)),
        "pipeline.b": as_(failing(second)),
        "pipeline.c": as_(failing(third)),
    }

    with pytest.raises(AllPipelinesFailed) as raised:
        run(FALLBACK, baton, **resources)

    assert str(raised.value) == (
        "all 3 pipelines failed (KeyError: 'x', DeadlineExceeded: late, ValueError: no)"
    )
    assert raised.value.failures == (first, second, third)
    assert raised.value.__notes__ == [
        "KeyError in pipelines.pay[0].mask (site.yaml:3:7)",
        "ValueError in pipelines.c[1].d (site.yaml:8:7), line 9",
    ]
    assert baton == {"n": 1}


@every_way
def test_fallback_goes_on_after_the_named_errors_only(run: Run, as_: Any) -> None:
    text = "fallback: {pipelines: [a, b, c], errors: [KeyError, TimeoutError]}"
    error = ValueError("no")
    called: list[Any] = []
    resources = {
        "pipeline.a": as_(failing(DeadlineExceeded("late"))),
        "pipeline.b": as_(failing(error)),
        "pipeline.c": as_(called.append),
    }

    with pytest.raises(ValueError, match="no") as raised:
        run(text, {}, **resources)

    assert raised.value is error
    assert called == []


@every_way
def test_fallback_never_takes_an_endless_call_for_a_failure(run: Run, as_: Any) -> None:
    called: list[Any] = []
    resources = {
        "pipeline.a": as_(failing(TooDeep("too deep"))),
        "pipeline.b": as_(called.append),
        "pipeline.c": as_(called.append),
    }

    with pytest.raises(TooDeep):
        run(FALLBACK, {}, **resources)

    assert called == []


def test_fallback_begins_nothing_more_when_it_is_cancelled(make: Make) -> None:
    called: list[Any] = []
    resources = {
        "pipeline.a": ever,
        "pipeline.b": at_once(called.append),
        "pipeline.c": at_once(called.append),
    }
    step = make(FALLBACK, **resources).step()

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(cancelled(step, {}))

    assert called == []


def test_fallback_needs_a_pipeline(problems: Problems) -> None:
    assert problems("fallback: {pipelines: []}") == ["expected one pipeline at least, got none"]
