from __future__ import annotations

import datetime
from typing import Any

import pytest

from piped.errors import BatonError
from tests.processors.conftest import Problems, Run, decoded

UTC = datetime.UTC
NOON = datetime.datetime(2026, 1, 31, 12, 30)


@pytest.mark.parametrize(
    ("form", "text", "expected"),
    [
        ("%Y-%m-%d %H:%M", "2026-01-31 12:30", NOON),
        ("%Y-%m-%d %H:%M%z", "2026-01-31 12:30Z", NOON.replace(tzinfo=UTC)),
        ("%Y-%m-%d %H:%M %z", "2026-01-31 12:30 +00:00", NOON.replace(tzinfo=UTC)),
        ("%d %b %Y %H:%M", "31 Jan 2026 12:30", NOON),
        ("%G-W%V-%u", "2026-W05-6", datetime.datetime(2026, 1, 31)),
    ],
)
def test_parse_datetime_reads_text(run: Run, form: str, text: str, expected: Any) -> None:
    parsed = run(f"parse-datetime: {{format_string: '{form}'}}", text)

    assert parsed == expected
    assert parsed.tzinfo == expected.tzinfo


def test_parse_datetime_keeps_the_offset(run: Run) -> None:
    parsed = run("parse-datetime: {format_string: '%Y-%m-%dT%H:%M%z'}", "2026-01-31T12:30+0530")

    assert parsed.utcoffset() == datetime.timedelta(hours=5, minutes=30)


@pytest.mark.parametrize("text", ["2026-01-31 23:30+0000", "2026-01-31 00:30+1400"])
def test_parse_datetime_gives_the_date_where_it_was_written(run: Run, text: str) -> None:
    options = "format_string: '%Y-%m-%d %H:%M%z', as_date: true"

    parsed = run(f"parse-datetime: {{{options}}}", text)

    assert parsed == datetime.date(2026, 1, 31)
    assert type(parsed) is datetime.date


@pytest.mark.parametrize("text", ["31.01.2026", "2026-02-30", "2026-01-31 12:30", "", "today"])
def test_parse_datetime_names_the_form_that_it_expects(run: Run, text: str) -> None:
    with pytest.raises(BatonError) as raised:
        run("parse-datetime: {format_string: '%Y-%m-%d'}", text)

    assert str(raised.value) == f"expected text of the form '%Y-%m-%d', got {text!r}"


@pytest.mark.parametrize(
    ("value", "kind"), [(20260131, "int"), (b"2026-01-31", "bytes"), (None, "NoneType")]
)
def test_parse_datetime_takes_text_only(run: Run, value: Any, kind: str) -> None:
    with pytest.raises(BatonError) as raised:
        run("parse-datetime: {format_string: '%Y-%m-%d'}", value)

    assert str(raised.value) == f"expected text of the form '%Y-%m-%d', got {kind}"


def test_parse_datetime_leaves_out_what_is_missing(run: Run) -> None:
    assert run("parse-datetime: {format_string: '%Y', input_path: due}", {}) == {}


@pytest.mark.parametrize(
    ("form", "why"),
    [
        ("%Q", "'Q' is a bad directive in format '%Q'"),
        ("%Y %", "stray % in format '%Y %'"),
        ("%Y %Y", "redefinition of group name 'Y'"),
    ],
)
def test_parse_datetime_checks_its_format(form: str, why: str) -> None:
    _, [problem] = decoded(f"parse-datetime: {{format_string: '{form}'}}")

    assert problem.what == f"expected a format such as '%Y-%m-%d', got '{form}'"
    assert problem.at == "parse-datetime.format_string"
    assert problem.why.startswith(why)


def test_parse_datetime_needs_a_format(problems: Problems) -> None:
    assert problems("parse-datetime: {format_string: ''}") == [
        "expected str of length >= 1, got ''"
    ]


@pytest.mark.parametrize(
    ("form", "value", "expected"),
    [
        ("%d.%m.%Y", datetime.date(2026, 1, 31), "31.01.2026"),
        ("%Y-%m-%dT%H:%M%z", NOON, "2026-01-31T12:30"),
        ("%Y-%m-%dT%H:%M%z", NOON.replace(tzinfo=UTC), "2026-01-31T12:30+0000"),
        (
            "%H:%M %z",
            NOON.replace(tzinfo=datetime.timezone(datetime.timedelta(hours=-3, minutes=-30))),
            "12:30 -0330",
        ),
        ("%H:%M", datetime.time(7, 5), "07:05"),
        ("", NOON, ""),
    ],
)
def test_format_date_writes_dates_and_times(run: Run, form: str, value: Any, expected: str) -> None:
    assert run(f"format-date: {{format_string: '{form}'}}", value) == expected


def test_format_date_and_parse_datetime_undo_each_other(run: Run) -> None:
    form = "format_string: '%Y-%m-%d %H:%M:%S.%f %z'"
    moment = datetime.datetime(2026, 1, 31, 12, 30, 15, 7, tzinfo=UTC)

    text = run(f"format-date: {{{form}}}", moment)

    assert run(f"parse-datetime: {{{form}}}", text) == moment


@pytest.mark.parametrize(
    ("value", "got"),
    [
        ("2026-01-31", "str (parse-datetime reads one from text)"),
        (1769862600, "int"),
        (None, "NoneType"),
    ],
)
def test_format_date_takes_dates_only(run: Run, value: Any, got: str) -> None:
    with pytest.raises(BatonError) as raised:
        run("format-date: {format_string: '%Y'}", value)

    assert str(raised.value) == f"expected a date to write as '%Y', got {got}"


class Forbidding(datetime.date):
    """A date that cannot be written, as some years cannot on some systems."""

    def strftime(self, _form: str, /) -> str:
        raise ValueError("year out of range")


def test_format_date_tells_what_cannot_be_written(run: Run) -> None:
    with pytest.raises(BatonError) as raised:
        run("format-date: {format_string: '%Y'}", Forbidding(1, 1, 1))

    assert str(raised.value) == "cannot write 0001-01-01 as '%Y': year out of range"
