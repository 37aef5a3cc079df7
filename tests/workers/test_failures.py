"""Exceptions of workers, told as data and raised again at the caller."""

from __future__ import annotations

import asyncio
import sys
from types import ModuleType
from typing import Any

import msgspec
import pytest

from piped.errors import CircuitOpen, DeadlineExceeded, Throttled, add_note
from piped.workers.errors import Garbled, RemoteError
from piped.workers.failures import Failure, Passed, error_in, error_of, failure_bytes, failure_of


class Outer:
    """Has an exception inside."""

    class Inner(ValueError):
        """Found by its dotted name."""


class Demanding(Exception):
    """Cannot be made without what its constructor wants."""

    def __init__(self, one: int, two: int) -> None:
        self.one, self.two = one, two
        super().__init__(f"{one} and {two}")


class Odd(Exception):
    """Says something else than what it was given."""

    def __str__(self) -> str:
        return f"odd {self.args}"


class Broken(Exception):
    """Can neither be told nor looked at."""

    @property
    def http_status(self) -> int:
        raise RuntimeError

    def __str__(self) -> str:
        raise RuntimeError


class Endless(Exception):
    http_status = float("inf")
    retry_after_s = float("nan")


def crossed(error: BaseException) -> Exception:
    return error_in(failure_bytes(error), "math-1")


@pytest.mark.parametrize(
    "error",
    [
        ValueError("no"),
        ValueError(),
        KeyError("size"),
        OSError("away"),
        TimeoutError("late"),
        Outer.Inner("inner"),
        DeadlineExceeded("too late"),
        Demanding(1, 2),
    ],
    ids=repr,
)
def test_an_exception_that_is_known_here_is_of_its_own_type(error: Exception) -> None:
    found = crossed(error)

    assert type(found) is type(error)
    assert str(found) == str(error)


def test_its_cause_says_which_worker_and_where() -> None:
    error = ValueError("no")
    for note in ("a hint", "in pipelines.sum[0].eval-lambda (service.yaml:3:5)"):
        add_note(error, note)
    error.__cause__ = KeyError("size")

    found = crossed(error)

    assert found.__notes__ == list(reversed(error.__notes__))
    told = found.__cause__
    assert isinstance(told, RemoteError)
    assert str(told) == "worker 'math-1': ValueError: no"
    assert (told.type_name, told.message, told.worker) == ("ValueError", "no", "math-1")
    assert told.place == "pipelines.sum[0].eval-lambda (service.yaml:3:5)"
    assert repr(told.__cause__) == "KeyError('size')"


@pytest.mark.parametrize(
    ("error", "what"),
    [
        (Odd("x"), f"{__name__}.Odd: odd ('x',)"),
        (StopIteration(3), "StopIteration: 3"),
        (StopAsyncIteration(), "StopAsyncIteration"),
        (SystemExit(3), "SystemExit: 3"),
        (KeyboardInterrupt(), "KeyboardInterrupt"),
        (asyncio.CancelledError(), "asyncio.exceptions.CancelledError"),
        (ExceptionGroup("two", [ValueError(), KeyError()]), "ExceptionGroup: two (2 sub-excep"),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"), "UnicodeDecodeError: 'utf-8' codec"),
        (RemoteError("shop.Lost", "gone", worker="b"), "piped.workers.errors.RemoteError: worker"),
    ],
    ids=lambda each: type(each).__name__,
)
def test_others_are_remote_errors(error: BaseException, what: str) -> None:
    found = crossed(error)

    assert type(found) is RemoteError
    assert str(found).startswith(f"worker 'math-1': {what}")
    assert found.http_status == 500


def test_a_future_takes_whatever_a_worker_has_raised() -> None:
    async def main() -> BaseException | None:
        future = asyncio.get_running_loop().create_future()
        future.set_exception(crossed(StopIteration(3)))
        return future.exception()

    assert isinstance(asyncio.run(main()), RemoteError)


def test_the_status_and_when_to_come_again_are_kept() -> None:
    throttled, circuit = crossed(Throttled("slow", 3.5)), crossed(CircuitOpen("open", 2))

    assert isinstance(throttled, Throttled)
    assert (throttled.http_status, throttled.retry_after_s) == (429, 3.5)
    assert isinstance(circuit, CircuitOpen)
    assert (circuit.http_status, circuit.retry_after_s) == (503, 2)


def test_an_unknown_exception_keeps_its_status_too() -> None:
    found = error_of(Failure("shop.TooMany", "12", status=409, retry_after_s=1.5), "w")

    assert type(found) is RemoteError
    assert (found.http_status, vars(found)["retry_after_s"]) == (409, 1.5)


def test_nothing_is_imported_or_asked_for_because_of_a_failure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[str] = []
    lazy: Any = ModuleType("lazy")
    lazy.__getattr__ = asked.append
    monkeypatch.setitem(sys.modules, "lazy", lazy)
    before = set(sys.modules)

    for name in ("lazy.Error", "lazy.a.b.Error", "this.Error", "antigravity.Error", "", "..", "a."):
        assert type(error_of(Failure(name), "w")) is RemoteError

    assert asked == []
    assert set(sys.modules) == before


def test_names_of_what_is_no_exception_make_none() -> None:
    for name in ("os.system", "int", "BaseException", "sys", "builtins.print", "os.environ.x"):
        assert type(error_of(Failure(name, "x"), "w")) is RemoteError


def test_an_exception_that_breaks_when_it_is_looked_at_is_told_all_the_same() -> None:
    broken: Any = Broken()
    broken.__notes__ = [Broken(), "half a sign: \ud800"]
    without: Any = ValueError("\udfff")
    without.__notes__ = None

    told = failure_of(broken)

    assert told.message == "(RuntimeError in its text)"
    assert told.notes == ("(RuntimeError in its text)", r"half a sign: \ud800")
    assert told.status is None
    assert type(crossed(broken)) is RemoteError
    assert str(crossed(without)) == r"\udfff"
    assert failure_of(Endless("x")) == Failure(f"{__name__}.Endless", "x")


def test_an_exception_that_says_too_much_is_cut() -> None:
    error = ValueError("é" * 10_000)
    error.__notes__ = ["x" * 10_000] * 30
    top: BaseException = error
    for _ in range(5):
        top.__cause__ = ValueError()
        top = top.__cause__

    failure = failure_of(error)

    assert len(failure.message.encode()) == 4096
    assert [len(each) for each in failure.notes] == [4096] * 20
    depth = 0
    while failure.cause:
        failure, depth = failure.cause, depth + 1
    assert depth == 3


@pytest.mark.parametrize("data", [b"", b"\xc1", b"\x91\x01", b"\x91\xa1\xff", b"\x91" * 5000])
def test_what_cannot_be_read_is_garbled(data: bytes) -> None:
    found = error_in(data, "w")

    assert type(found) is Garbled
    assert str(found).startswith("worker 'w' has failed, and said of it what cannot be read: ")


def test_what_is_told_already_is_passed_on_as_it_is() -> None:
    failure = Failure("shop.TooMany", "12", ("a note",), 409)

    assert failure_of(Passed(failure)) is failure
    assert str(Passed(failure)) == "shop.TooMany: 12"
    assert msgspec.msgpack.decode(failure_bytes(Passed(failure)), type=Failure) == failure
