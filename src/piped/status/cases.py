"""Status test cases: unittest's assertions in tests that run inside the live process."""

from __future__ import annotations

import asyncio
import inspect
import unittest
from collections.abc import Awaitable, Callable, Iterator, Mapping
from functools import partial
from types import TracebackType
from typing import Any, ClassVar, Final

from piped.status.outcomes import Outcome, Status

PREFIX: Final = "statustest"
TIMEOUT_S: Final = 120.0

__unittest = True  # unittest's own mark of modules whose frames no report shows


class StatusTestCase(unittest.TestCase):
    """A group of tests that a ``StatusTestProcessor`` runs in the live process.

    Methods whose names begin with ``statustest`` are the tests; they, ``setUp`` and ``tearDown``
    are ``def`` or ``async def``. Each test gets an instance of its own. ``setUp`` gets the
    resources that the processor names, as keywords. What is given to ``addCleanup`` may be async.

    ``skip``, ``todo`` (a reason, or True) and ``timeout`` (seconds) may be set on a method or on
    the class; the decorators of unittest work too.
    """

    __test__: ClassVar[bool] = False  # neither pytest nor unittest runs these
    skip: str | bool = False
    todo: str | bool = False
    timeout: float = TIMEOUT_S
    _cleanups: list[tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]]

    assertEquals = unittest.TestCase.assertEqual  # noqa: N815 - unittest's own name until 3.12
    assertNotEquals = unittest.TestCase.assertNotEqual  # noqa: N815

    def setUp(self, **resources: Any) -> Any:
        """Prepare a test; gets the resources that the processor names."""

    def tearDown(self) -> Any:
        """Tidy up after a test, failed or not, unless ``setUp`` failed."""

    async def assertFailure(  # noqa: N802 - the name is that of the original's cases
        self, awaitable: Awaitable[Any], *expected: type[BaseException]
    ) -> BaseException:
        """Await, and return the expected error; fail where there is none."""
        try:
            result = await awaitable
        except expected as error:
            return error
        names = " or ".join(each.__name__ for each in expected)
        raise self.failureException(f"expected {names}, got {result!r}")


def instances_of(case: type[StatusTestCase]) -> Iterator[StatusTestCase]:
    """Yield a fresh instance for each test of a case, in the order of their names."""
    for name in dir(case):
        if name.startswith(PREFIX) and callable(getattr(case, name)):
            yield case(name)


async def run_test(
    test: StatusTestCase, resources: Mapping[str, Any], broken: BaseException | None = None
) -> Outcome:
    """Run one test with its ``setUp``, ``tearDown`` and cleanups.

    Args:
        test: The instance, which knows its method.
        resources: The keywords of ``setUp``.
        broken: Why the resources are not there; then the test is an error, unless it is skipped.
    """
    now = asyncio.get_running_loop().time
    begun = now()
    if reason := _setting(test, "skip", "__unittest_skip__", "__unittest_skip_why__"):
        return Outcome(Status.SKIPPED, reason=reason)
    if broken is not None:
        return Outcome(Status.ERROR, errors=(broken,))
    outcome = await _run(test, resources)
    return outcome.lasting(now() - begun)


async def _run(test: StatusTestCase, resources: Mapping[str, Any]) -> Outcome:
    name, method = test._testMethodName, _method(test)
    todo = _setting(test, "todo", "__unittest_expecting_failure__", "")
    around = [await attempt(lambda: _set_up(test, resources), test.timeout, "setUp")]
    failed = None
    if around == [None]:
        failed = await attempt(method, getattr(method, "timeout", test.timeout), name)
        around.append(await attempt(test.tearDown, test.timeout, "tearDown"))
    while test._cleanups:
        function, args, kwargs = test._cleanups.pop()
        around.append(await attempt(partial(function, *args, **kwargs), test.timeout, "a cleanup"))
    return _judge(failed, [each for each in (failed, *around) if each is not None], todo)


def _judge(failed: BaseException | None, errors: list[BaseException], todo: str) -> Outcome:
    """Return the outcome of a test: ``failed`` is what its method raised, one of ``errors``."""
    problems = tuple(each for each in errors if not isinstance(each, unittest.SkipTest))
    if problems and todo and problems == (failed,):
        return Outcome(Status.EXPECTED_FAILURE, todo, problems)
    if problems:
        is_failure = isinstance(problems[0], AssertionError)
        return Outcome(Status.FAILURE if is_failure else Status.ERROR, errors=problems)
    if errors:
        return Outcome(Status.SKIPPED, str(errors[0]))
    return Outcome(Status.TODONE, todo) if todo else Outcome(Status.SUCCESS)


async def attempt(call: Callable[[], Any], seconds: float, what: str) -> BaseException | None:
    """Call, await what is returned, but not for ever; return the exception where there is one."""
    try:
        async with asyncio.timeout(seconds) as limit:
            result = call()
            if inspect.isawaitable(result):
                await result
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task and task.cancelling():
            raise
        return _trimmed(error)
    except (KeyboardInterrupt, GeneratorExit):
        raise
    except BaseException as error:  # SystemExit too: a test does not end the service
        if isinstance(error, TimeoutError) and limit.expired():
            late = TimeoutError(f"{what} still running after {seconds:g} s")
            late.__cause__ = _trimmed(error.__cause__ or error)
            return late
        return _trimmed(error)
    return None


def _trimmed(error: BaseException) -> BaseException:
    """Leave out the frames of unittest and of this module: they say nothing about the test."""
    frames = []
    trace = error.__traceback__
    while trace:
        if "__unittest" not in trace.tb_frame.f_globals:
            frames.append(trace)
        trace = trace.tb_next
    kept: TracebackType | None = None
    for each in reversed(frames):
        kept = TracebackType(kept, each.tb_frame, each.tb_lasti, each.tb_lineno)
    return error.with_traceback(kept)


def _set_up(test: StatusTestCase, resources: Mapping[str, Any]) -> Any:
    try:
        inspect.signature(test.setUp).bind(**resources)
    except TypeError as error:
        kind, names = type(test).__name__, ", ".join(map(repr, resources)) or "nothing"
        raise TypeError(f"setUp of '{kind}' cannot take {names}: {error}") from None
    return test.setUp(**resources)


def _method(test: StatusTestCase) -> Callable[[], Any]:
    method: Callable[[], Any] = getattr(test, test._testMethodName)
    return method


def _setting(test: StatusTestCase, name: str, flag: str, why: str) -> str:
    """Return the reason that the method or the class gives, or '' where it is not set."""
    for where in (_method(test), test):
        value = getattr(where, name, None)
        if value:
            return value if isinstance(value, str) else name
        if getattr(where, flag, False):
            return str(getattr(where, why, "")) or name
    return ""
