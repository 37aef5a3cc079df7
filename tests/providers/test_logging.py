from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from piped.app import Service
from piped.document.nodes import Entry, Mapping, Scalar
from piped.errors import Place
from piped.observe import logs
from piped.providers.logging import Logging
from piped.spec import Decoder, spec_of

HERE = Place("service.yaml", 3, 5)

pytestmark = pytest.mark.anyio

root = logging.getLogger()


@pytest.fixture(autouse=True)
def untouched_logging() -> Iterator[None]:
    handlers, level, raises = root.handlers[:], root.level, logging.raiseExceptions
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.raiseExceptions = raises
    for name in logs.TALKATIVE:
        logging.getLogger(name).setLevel(logging.NOTSET)
    structlog.reset_defaults()


@pytest.fixture
def written() -> io.StringIO:
    stream = io.StringIO()
    logs.configure(stream=stream, is_terminal=False)
    return stream


def events(written: io.StringIO) -> list[str]:
    return [line.partition('"event":"')[2].partition('"')[0] for line in written.getvalue().split()]


def say(name: str) -> None:
    for log in (structlog.get_logger(name), logging.getLogger(name)):
        for level in ("debug", "info", "warning", "error", "critical"):
            getattr(log, level)(level)


async def test_the_levels_hold_for_both_kinds_of_loggers(written: io.StringIO) -> None:
    async with Logging(level="warning").running() as resources:
        say("piped.web")

    assert events(written) == ["warning", "error", "critical"] * 2
    assert resources == {}


async def test_a_logger_has_a_level_of_its_own_and_so_have_those_below(
    written: io.StringIO,
) -> None:
    loggers: dict[str, Any] = {"piped.web": "debug", "piped.web.site": "off"}

    async with Logging(level="error", loggers=loggers).running():
        say("piped.zmq")
        say("piped.web")
        say("piped.web.other")
        say("piped.web.site")

    all_ = ["debug", "info", "warning", "error", "critical"]
    assert events(written) == ["error", "critical"] * 2 + all_ * 4


async def test_at_the_end_all_is_as_it_was(written: io.StringIO) -> None:
    web = logging.getLogger("piped.web")
    web.setLevel(logging.CRITICAL)

    async with Logging(level="off", loggers={"piped.web": "debug"}).running():
        during = (root.level, web.level)

    assert during == (logging.CRITICAL + 1, logging.DEBUG)
    assert (root.level, web.level) == (logging.INFO, logging.CRITICAL)
    web.setLevel(logging.NOTSET)


async def test_levels_are_set_back_where_the_service_fails(written: io.StringIO) -> None:
    with pytest.raises(ValueError, match="no"):
        async with Logging(level="error").running():
            raise ValueError("no")

    assert root.level == logging.INFO


async def test_who_asks_for_all_sees_all_but_what_is_named(written: io.StringIO) -> None:
    logs.configure(stream=written, is_terminal=False, verbose=True)

    async with Logging(level="error", loggers={"piped.web": "critical"}).running():
        say("piped.zmq")
        say("piped.web")

    assert events(written) == ["debug", "info", "warning", "error", "critical"] * 2 + [
        "critical",
        "critical",
    ]


async def test_without_a_level_the_process_logs_as_before(written: io.StringIO) -> None:
    async with Logging(loggers={"piped.web": "error"}).running():
        level = root.level

    assert level == logging.INFO


async def test_a_document_chooses_what_its_service_logs(
    written: io.StringIO, tmp_path: Path
) -> None:
    document = tmp_path / "service.yaml"
    document.write_text("logging: {level: error, loggers: {shop: debug}}\n")

    async with Service.load(document):
        say("piped")
        say("shop")
    after = root.level

    assert events(written).count("info") == 2
    assert events(written).count("error") == 4
    assert after == logging.INFO


async def test_the_levels_hold_before_any_other_provider_starts(
    written: io.StringIO, tmp_path: Path
) -> None:
    document = tmp_path / "service.yaml"
    document.write_text(
        "processes: {idle: {command: cat, stdin: true}}\n"
        "logging: {level: warning, loggers: {piped.processes: warning}}\n"
    )

    async with Service.load(document):
        pass

    assert events(written) == []


@pytest.mark.parametrize(
    ("section", "at", "what"),
    [
        (
            {"level": "loud"},
            "level",
            "expected 'debug', 'info', 'warning', 'error', 'critical', 'off' or null, got 'loud'",
        ),
        (
            {"loggers": {"piped": "INFO"}},
            "loggers.piped",
            "expected 'debug', 'info', 'warning', 'error', 'critical' or 'off', got 'INFO'",
        ),
    ],
)
async def test_a_level_that_nobody_knows_is_a_problem(
    section: dict[str, Any], at: str, what: str
) -> None:
    spec = spec_of(Logging)
    assert spec is not None
    decoder = Decoder()

    decoder.section(spec, node_of(section), "logging")

    assert [str(each) for each in decoder.problems] == [
        f"service.yaml:3:5: error[wrong-value]: {what}\n    at: logging.{at}"
    ]


def node_of(value: Any) -> Any:
    if isinstance(value, dict):
        return Mapping(HERE, {key: Entry(HERE, node_of(each)) for key, each in value.items()})
    return Scalar(HERE, value)
