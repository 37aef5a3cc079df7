# ruff: noqa: PT009, UP005 - status test cases have the assertions of unittest
from __future__ import annotations

import asyncio
import unittest
from typing import Any

import pytest

from piped.status import StatusTestCase
from piped.status.cases import instances_of, run_test
from piped.status.outcomes import Outcome, Status

pytestmark = pytest.mark.anyio


async def run(case: type[StatusTestCase], **resources: Any) -> Outcome:
    """Run the only test of a case."""
    [test] = instances_of(case)
    return await run_test(test, resources)


def texts(outcome: Outcome) -> list[str]:
    return [f"{type(each).__name__}: {each}" for each in outcome.errors]


class Recorded(StatusTestCase):
    """Keeps what was called, in the order of the calls."""

    calls: list[str]

    def setUp(self, calls: list[str]) -> None:  # type: ignore[override] # gets its resources
        self.calls = calls
        self.calls.append("setUp")
        self.addCleanup(self.calls.append, "cleanup")

    async def tearDown(self) -> None:  # type: ignore[override] # may be async here
        self.calls.append("tearDown")


async def test_tests_run_in_the_order_of_names_each_on_its_own_instance() -> None:
    class Two(StatusTestCase):
        statustest_no_method = None

        def statustest_b(self) -> None: ...

        async def statustest_a(self) -> None: ...

        def test_ignored(self) -> None: ...

    first, second = instances_of(Two)

    assert [each.id().rpartition(".")[2] for each in (first, second)] == [
        "statustest_a",
        "statustest_b",
    ]
    assert first is not second


async def test_set_up_gets_the_resources_and_tear_down_and_cleanups_follow() -> None:
    class Case(Recorded):
        async def statustest_it(self) -> None:
            await asyncio.sleep(0)
            self.calls.append("test")

    calls: list[str] = []
    outcome = await run(Case, calls=calls)

    assert outcome.status is Status.SUCCESS
    assert calls == ["setUp", "test", "tearDown", "cleanup"]


async def test_tear_down_runs_after_a_failing_test() -> None:
    class Case(Recorded):
        def statustest_it(self) -> None:
            self.assertEquals(1, 2)

    calls: list[str] = []
    outcome = await run(Case, calls=calls)

    assert outcome.status is Status.FAILURE
    assert texts(outcome) == ["AssertionError: 1 != 2"]
    assert calls == ["setUp", "tearDown", "cleanup"]


async def test_neither_test_nor_tear_down_run_where_set_up_fails() -> None:
    class Case(Recorded):
        def setUp(self, calls: list[str]) -> None:  # type: ignore[override] # gets its resources
            Recorded.setUp(self, calls)
            raise ValueError("no")

        def statustest_it(self) -> None:
            self.calls.append("test")

    calls: list[str] = []
    outcome = await run(Case, calls=calls)

    assert outcome.status is Status.ERROR
    assert texts(outcome) == ["ValueError: no"]
    assert calls == ["setUp", "cleanup"]


async def test_set_up_says_which_keywords_do_not_fit() -> None:
    class Case(Recorded):
        def statustest_it(self) -> None: ...

    outcome = await run(Case, poller=1)

    assert outcome.status is Status.ERROR
    assert texts(outcome) == [
        "TypeError: setUp of 'Case' cannot take 'poller': missing a required argument: 'calls'"
    ]


async def test_a_case_without_set_up_takes_any_resources() -> None:
    class Case(StatusTestCase):
        def statustest_it(self) -> None: ...

    outcome = await run(Case, poller=1)

    assert outcome.status is Status.SUCCESS


async def test_what_fails_after_the_test_is_told_too() -> None:
    class Case(StatusTestCase):
        def statustest_it(self) -> None:
            self.addCleanup(self.clean)
            self.fail("first")

        async def clean(self) -> None:
            raise ValueError("third")

        def tearDown(self) -> None:
            raise KeyError("second")

    outcome = await run(Case)

    assert outcome.status is Status.FAILURE
    assert texts(outcome) == ["AssertionError: first", "KeyError: 'second'", "ValueError: third"]


async def test_skips_are_honoured_wherever_they_are_said() -> None:
    class Attribute(StatusTestCase):
        def statustest_it(self) -> None: ...

        statustest_it.skip = "attribute"  # type: ignore[attr-defined] # as in the original

    class Whole(StatusTestCase):
        skip = "class"

        def statustest_it(self) -> None: ...

    class Decorated(StatusTestCase):
        @unittest.skip("decorator")
        async def statustest_it(self) -> None: ...

    class Called(StatusTestCase):
        async def statustest_it(self) -> None:
            self.skipTest("call")

    class InSetUp(StatusTestCase):
        def setUp(self) -> None:  # type: ignore[override] # takes no resources
            raise unittest.SkipTest("setUp")

        def statustest_it(self) -> None: ...

    outcomes = [await run(case) for case in (Attribute, Whole, Decorated, Called, InSetUp)]

    assert {each.status for each in outcomes} == {Status.SKIPPED}
    assert [each.reason for each in outcomes] == [
        "attribute",
        "class",
        "decorator",
        "call",
        "setUp",
    ]


async def test_expected_failures_are_none_and_unexpected_successes_are_told() -> None:
    class Todo(StatusTestCase):
        todo = "later"

        def statustest_it(self) -> None:
            self.fail("no")

    class Decorated(StatusTestCase):
        @unittest.expectedFailure
        async def statustest_it(self) -> None:
            raise ValueError("no")

    class Works(StatusTestCase):
        todo = True

        def statustest_it(self) -> None: ...

    class BrokenTearDown(StatusTestCase):
        todo = "later"

        def statustest_it(self) -> None: ...

        def tearDown(self) -> None:
            raise ValueError("no")

    outcomes = [await run(case) for case in (Todo, Decorated, Works, BrokenTearDown)]

    assert [(each.status, each.reason) for each in outcomes] == [
        (Status.EXPECTED_FAILURE, "later"),
        (Status.EXPECTED_FAILURE, "todo"),
        (Status.TODONE, "todo"),
        (Status.ERROR, ""),
    ]


async def test_a_test_that_hangs_is_an_error_and_is_tidied_up() -> None:
    class Case(Recorded):
        async def statustest_it(self) -> None:
            await asyncio.Event().wait()

        statustest_it.timeout = 0.001  # type: ignore[attr-defined] # as in the original

    calls: list[str] = []
    outcome = await run(Case, calls=calls)

    assert outcome.status is Status.ERROR
    assert texts(outcome) == ["TimeoutError: statustest_it still running after 0.001 s"]
    assert calls == ["setUp", "tearDown", "cleanup"]


async def test_a_timeout_of_the_test_itself_is_an_error_like_any_other() -> None:
    class Case(StatusTestCase):
        def statustest_it(self) -> None:
            raise TimeoutError("mine")

    outcome = await run(Case)

    assert texts(outcome) == ["TimeoutError: mine"]


async def test_a_test_can_end_neither_the_task_nor_the_process() -> None:
    class Cancelled(StatusTestCase):
        async def statustest_it(self) -> None:
            raise asyncio.CancelledError("mine")

    class Exits(StatusTestCase):
        def statustest_it(self) -> None:
            raise SystemExit(3)

    outcomes = [await run(Cancelled), await run(Exits)]

    assert [texts(each) for each in outcomes] == [["CancelledError: mine"], ["SystemExit: 3"]]


async def test_a_run_that_is_cancelled_stops() -> None:
    class Case(StatusTestCase):
        async def statustest_it(self) -> None:
            await asyncio.Event().wait()

    task = asyncio.create_task(run(Case))
    await asyncio.sleep(0)
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task


async def test_assert_failure_awaits_the_expected_error() -> None:
    class Case(StatusTestCase):
        async def statustest_it(self) -> None:
            error = await self.assertFailure(fail(), ValueError)
            self.assertEqual(str(error), "no")
            await self.assertFailure(asyncio.sleep(0, "fine"), ValueError, KeyError)

    async def fail() -> None:
        raise ValueError("no")

    outcome = await run(Case)

    assert texts(outcome) == ["AssertionError: expected ValueError or KeyError, got 'fine'"]


async def test_resources_that_are_broken_make_each_test_an_error_unless_it_is_skipped() -> None:
    class Case(StatusTestCase):
        def statustest_a(self) -> None: ...

        @unittest.skip("later")
        def statustest_b(self) -> None: ...

    broken = ValueError("no")
    outcomes = [await run_test(each, {}, broken) for each in instances_of(Case)]

    assert [each.status for each in outcomes] == [Status.ERROR, Status.SKIPPED]
    assert outcomes[0].errors == (broken,)
