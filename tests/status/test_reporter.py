from __future__ import annotations

import io

import pytest

from piped.status import Reporter, StatusTestCase
from piped.status.outcomes import Outcome, Status

pytestmark = pytest.mark.anyio


class First(StatusTestCase):
    def statustest_a(self) -> None: ...

    def statustest_b(self) -> None: ...

    def statustest_with_a_name_that_is_longer_than_any_line_of_a_report_ought_to_be(
        self,
    ) -> None: ...


class Second(StatusTestCase):
    def statustest_a(self) -> None: ...


RULE = "-" * 79
BAR = "=" * 79


async def test_the_name_comes_when_a_test_begins_and_the_mark_when_it_ends() -> None:
    stream = io.StringIO()
    reporter, test = Reporter(stream), First("statustest_a")

    reporter.begin(test)
    begun = stream.getvalue()
    await reporter.end(test, Outcome(Status.SUCCESS))

    assert begun == "tests.status.test_reporter\n  First\n    statustest_a ..."
    assert stream.getvalue() == f"{begun}{'[OK]':>59}\n"


async def test_modules_and_classes_are_told_when_they_change() -> None:
    stream = io.StringIO()
    reporter = Reporter(stream)

    for test in (First("statustest_a"), First("statustest_b"), Second("statustest_a")):
        reporter.begin(test)
        await reporter.end(test, Outcome(Status.SUCCESS))

    assert [line.split()[0] for line in stream.getvalue().splitlines()] == [
        "tests.status.test_reporter",
        "First",
        "statustest_a",
        "statustest_b",
        "Second",
        "statustest_a",
    ]


async def test_a_long_name_keeps_a_blank_before_its_mark() -> None:
    stream = io.StringIO()
    name = "statustest_with_a_name_that_is_longer_than_any_line_of_a_report_ought_to_be"
    reporter, test = Reporter(stream), First(name)

    reporter.begin(test)
    await reporter.end(test, Outcome(Status.SUCCESS))

    assert stream.getvalue().endswith(f"    {name} ... [OK]\n")


async def test_the_summary_groups_equal_reasons_and_counts_each_status() -> None:
    stream = io.StringIO()
    reporter = Reporter(stream)
    outcomes = [
        Outcome(Status.SKIPPED, "later", seconds=0.25),
        Outcome(Status.SKIPPED, "later"),
        Outcome(Status.FAILURE, errors=(AssertionError("no"),)),
        Outcome(Status.ERROR, errors=(ValueError("no"), KeyError("x"))),
        Outcome(Status.EXPECTED_FAILURE, "some day", (ValueError("no"),)),
        Outcome(Status.TODONE, "some day"),
        Outcome(Status.SUCCESS, seconds=1.0),
    ]

    for outcome in outcomes:
        await reporter.end(First("statustest_a"), outcome)
    stream.seek(stream.truncate(0))
    reporter.summary()

    name = "tests.status.test_reporter.First.statustest_a"
    assert stream.getvalue() == (
        f"\n{BAR}\n[SKIPPED]\nlater\n{name}\n{name}\n"
        f"\n{BAR}\n[FAIL]\nAssertionError: no\n\n{name}\n"
        f"\n{BAR}\n[ERROR]\nValueError: no\n\nKeyError: 'x'\n\n{name}\n"
        f"\n{BAR}\n[TODO]\nsome day\nValueError: no\n\n{name}\n"
        f"\n{BAR}\n[SUCCESS!?!]\nsome day\n{name}\n"
        f"\n{RULE}\nRan 7 tests in 1.250s\n\n"
        "FAILED (skips=2, expectedFailures=1, failures=1, errors=1, unexpectedSuccesses=1,"
        " successes=1)\n"
    )
    assert reporter.has_failed


async def test_each_summary_tells_of_what_came_since_the_last() -> None:
    stream = io.StringIO()
    reporter = Reporter(stream)

    await reporter.end(First("statustest_a"), Outcome(Status.ERROR, errors=(ValueError("no"),)))
    reporter.summary()
    stream.seek(stream.truncate(0))
    reporter.summary()

    assert stream.getvalue() == (
        f"\n{RULE}\nRan 0 tests in 0.000s\n\nPASSED (successes=0): no test was run\n"
    )
    assert reporter.has_failed


async def test_the_report_goes_to_stdout_by_itself(capsys: pytest.CaptureFixture[str]) -> None:
    reporter = Reporter()

    reporter.begin(First("statustest_a"))

    assert capsys.readouterr().out.endswith("    statustest_a ...")
