from __future__ import annotations

from typing import Any

import pytest

from piped.errors import BatonError, PipelineError
from piped.processors import failures
from piped.spec.error_types import BUILTINS
from tests.processors.conftest import Make, Problems, Run

MORE = len(BUILTINS) - 12  # each Python has some of its own


@pytest.mark.parametrize(
    ("options", "kind", "args"),
    [
        ("", Exception, ()),
        ("type: ValueError, args: why", ValueError, ("why",)),
        ("type: exceptions.KeyError, args: [a, 1]", KeyError, ("a", 1)),
        ("type: piped.errors.BatonError, args: null", BatonError, (None,)),
        ("type: ImportError, args: [why], kwargs: {name: what}", ImportError, ("why",)),
    ],
)
def test_raise_exception_raises(
    run: Run, options: str, kind: type[Exception], args: tuple[Any, ...]
) -> None:
    with pytest.raises(kind) as raised:
        run(f"raise-exception: {{{options}}}", {})

    assert type(raised.value) is kind
    assert raised.value.args == args


def test_raise_exception_looks_its_class_up_once(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = make("raise-exception: {type: ValueError}").step()
    monkeypatch.setattr(failures, "exception_named", None)

    with pytest.raises(ValueError, match=r"^$"):
        step({})


def test_raise_exception_gives_each_exception_its_own_arguments(make: Make) -> None:
    step = make("raise-exception: {args: [{tries: []}]}").step()

    with pytest.raises(Exception, match="tries") as first:
        step({})
    first.value.args[0]["tries"].append(1)

    with pytest.raises(Exception, match="tries") as second:
        step({})

    assert second.value.args == ({"tries": []},)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "ValueErro",
            "'ValueErro' is no exception: no module 'ValueErro' (did you mean 'ValueError'?)",
        ),
        (
            "exceptions.KeyErr",
            "'exceptions.KeyErr' is no exception: 'builtins' has no 'KeyErr'"
            " (did you mean 'KeyError'?)",
        ),
        (
            "json.dumps",
            "'json.dumps' is no exception: expected the name of an exception, got 'json.dumps'",
        ),
        (
            "builtins.SystemExit",
            "'builtins.SystemExit' is no exception:"
            " expected the name of an exception, got 'builtins.SystemExit'",
        ),
    ],
)
def test_exceptions_that_do_not_exist_are_found_before_anything_runs(
    problems: Problems, name: str, message: str
) -> None:
    assert problems(f"raise-exception: {{type: {name}}}") == [message]
    assert problems(f"trap-failure: {{error_types: [{name}]}}") == [message]


def run_handling(run: Run, error: Exception, text: str, baton: Any) -> Any:
    try:
        raise error
    except Exception:
        return run(text, baton)


@pytest.mark.parametrize("types", ["KeyError", "[ValueError, exceptions.LookupError]"])
def test_trap_failure_lets_pass_what_it_names(run: Run, types: str) -> None:
    baton = {"n": 1}

    result = run_handling(run, KeyError("a"), f"trap-failure: {{error_types: {types}}}", baton)

    assert result is baton
    assert baton == {"n": 1}


def test_trap_failure_stores_the_exception(run: Run) -> None:
    error = KeyError("a")
    text = "trap-failure: {error_types: KeyError, output_path: %s}"

    assert run_handling(run, error, text % "error", {}) == {"error": error}
    assert run_handling(run, error, text % "''", {}) is error


def test_trap_failure_raises_the_others_again(run: Run) -> None:
    error = ValueError("a")

    with pytest.raises(ValueError, match="a") as raised:
        run_handling(run, error, "trap-failure: {error_types: KeyError}", {})

    assert raised.value is error
    assert error.__context__ is None


def test_trap_failure_needs_a_failure(run: Run) -> None:
    with pytest.raises(PipelineError) as raised:
        run("trap-failure: {error_types: KeyError}", {})

    assert str(raised.value) == "there is no failure to trap: use it among error consumers"


def test_print_failure_traceback_prints_causes_and_notes(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    error = ValueError("late")
    error.__cause__ = KeyError("early")
    error.add_note("in pipelines.pay[0].mask-digits (site.yaml:3:7)")
    baton = {"n": 1}

    result = run_handling(run, error, "print-failure-traceback: {}", baton)

    printed = capsys.readouterr().err
    assert result is baton
    assert printed.startswith("KeyError: 'early'\n")
    assert printed.endswith("late\nin pipelines.pay[0].mask-digits (site.yaml:3:7)\n")


def test_print_failure_traceback_says_when_there_is_none(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    run("print-failure-traceback: {}", {})

    assert capsys.readouterr().err == "no failure is being treated\n"
