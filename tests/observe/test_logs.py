from __future__ import annotations

import io
import json
import logging
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog

from piped.document.nodes import Secret
from piped.engine.journey import journey, journey_text
from piped.observe import logs

log = structlog.get_logger("piped.web")


@pytest.fixture(autouse=True)
def untouched_logging(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Undo what `configure` does to the process."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    monkeypatch.setattr(logging, "raiseExceptions", logging.raiseExceptions)
    monkeypatch.setenv("NO_COLOR", "1")
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    for name in logs.TALKATIVE:
        logging.getLogger(name).setLevel(logging.NOTSET)
    structlog.reset_defaults()


def as_json(say: Callable[[], object], **settings: Any) -> dict[str, Any]:
    """Return the only line that is logged, as what its JSON means."""
    [line] = lines_of(say, is_terminal=False, **settings)
    found: dict[str, Any] = json.loads(line)
    return found


def lines_of(say: Callable[[], object], **settings: Any) -> list[str]:
    stream = io.StringIO()
    logs.configure(stream=stream, **settings)
    say()
    return stream.getvalue().splitlines()


def test_a_line_for_machines_is_one_json_object() -> None:
    line = as_json(lambda: log.info("listening", url="http://127.0.0.1:8080", tries=3))

    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", line.pop("timestamp"))
    assert line == {
        "level": "info",
        "logger": "piped.web",
        "event": "listening",
        "url": "http://127.0.0.1:8080",
        "tries": 3,
    }


def test_a_line_for_people_is_short() -> None:
    [line] = lines_of(
        lambda: log.info("listening", url="http://127.0.0.1:8080", why="of a test", tries=3),
        is_terminal=True,
    )

    assert re.fullmatch(
        r"\d\d:\d\d:\d\d\.\d{3} \[info     \] piped\.web: listening"
        r" url=http://127\.0\.0\.1:8080 why='of a test' tries=3",
        line,
    )


def test_text_that_no_encoding_has_does_not_cost_the_line() -> None:
    # Not logged: pytest would keep the line for its report, which xdist cannot send then.
    given = {"caf\udce9": ["caf\udce9.yaml:3:5"]}

    assert logs.printable(given) == {r"caf\udce9": [r"caf\udce9.yaml:3:5"]}


def test_a_stream_that_is_no_terminal_gets_json() -> None:
    [line] = lines_of(lambda: log.info("hello"))

    assert json.loads(line)["event"] == "hello"


def test_lines_of_the_standard_library_take_the_same_form() -> None:
    line = as_json(lambda: logging.getLogger("my.service").warning("%d items", 3))

    assert {key: line[key] for key in ("level", "logger", "event")} == {
        "level": "warning",
        "logger": "my.service",
        "event": "3 items",
    }


def test_every_line_inside_a_journey_bears_it() -> None:
    token = journey.set(36**4 + 35)
    try:
        lines = [
            as_json(lambda: log.info("ours")),
            as_json(lambda: logging.getLogger("my").info("theirs")),
        ]
    finally:
        journey.reset(token)

    assert [line["journey"] for line in lines] == ["1000z", "1000z"]
    assert "journey" not in as_json(lambda: log.info("outside"))


def test_a_journey_is_shown_in_base_36() -> None:
    assert [journey_text(each) for each in (0, 35, 36, 2**63)] == ["0", "z", "10", "1y2p0ij32e8e8"]


def test_exceptions_are_text_with_their_notes() -> None:
    def say() -> None:
        try:
            try:
                raise ValueError("no")
            except ValueError as error:
                error.add_note("in pipelines.pay[0]")
                raise
        except ValueError:
            log.exception("tick failed", tick="reaper")

    line = as_json(say)
    first, *rest = lines_of(say, is_terminal=True)

    assert line["exception"].startswith("Traceback (most recent call last):\n")
    assert line["exception"].endswith("\nValueError: no\nin pipelines.pay[0]")
    assert first.endswith(" tick failed tick=reaper")
    assert rest[0] == "    Traceback (most recent call last):"
    assert rest[-2:] == ["    ValueError: no", "    in pipelines.pay[0]"]


def test_secrets_are_never_shown() -> None:
    secret = Secret("hunter2")

    def say() -> None:
        log.info("login %s", secret, password=secret, deep={"list": [secret], secret: 1})
        logging.getLogger("my").info("login %s", secret)
        logging.getLogger("my").info("login %(password)s", {"password": secret})

    for is_terminal in (True, False):
        text = "\n".join(lines_of(say, is_terminal=is_terminal))

        assert "hunter2" not in text
        assert text.count("login ***") == 3


@pytest.mark.parametrize("sign", ["\r", "\n", "\x1b[31m", "\x9b", "\u2028", "\u202e", "\x00"])
def test_no_text_begins_a_line_or_speaks_to_the_terminal(sign: str) -> None:
    def say() -> None:
        log.info(f"a{sign}b", key=f"c{sign}d", many=[f"e{sign}f"], **{f"g{sign}h": 1})
        logging.getLogger("my").info("a%sb", sign)

    for is_terminal in (True, False):
        stream = io.StringIO()
        logs.configure(stream=stream, is_terminal=is_terminal)
        say()

        assert stream.getvalue().count("\n") == 2
        assert sign[0] not in stream.getvalue().replace("\n", "")
    assert json.loads(stream.getvalue().split("\n")[0])["key"] == f"c{sign}d"


def test_a_forged_line_in_an_exception_is_indented() -> None:
    def say() -> None:
        try:
            raise ValueError("x\n00:00:00.000 [info     ] paid \x1b[31m")
        except ValueError:
            log.exception("failed")

    lines = lines_of(say, is_terminal=True)

    assert lines[-1] == "    00:00:00.000 [info     ] paid \\x1b[31m"


def test_values_that_contain_themselves_and_strange_ones_are_shown() -> None:
    class Broken:
        def __repr__(self) -> str:
            raise ValueError("no")

    itself: dict[str, Any] = {}
    itself["me"] = itself

    line = as_json(
        lambda: log.info("x", itself=itself, big=10**30, raw=b"\xff", kind={1}, broken=Broken())
    )

    assert line["itself"] == {"me": {"me": {"me": {"me": {"me": {"me": "..."}}}}}}
    assert line["big"] == 10**30
    assert line["raw"] == "b'\\xff'"
    assert line["kind"] == "{1}"
    assert line["broken"] == "<Broken: ValueError in its repr>"


def test_debug_is_shown_only_where_it_is_asked_for() -> None:
    def say() -> None:
        log.debug("d")
        log.info("i")
        logging.getLogger("httpx").info("GET https://user:password@example.org")

    assert len(lines_of(say)) == 1
    assert len(lines_of(say, verbose=True)) == 3


def test_a_second_configuration_replaces_the_first() -> None:
    first = io.StringIO()
    logs.configure(stream=first)

    lines = lines_of(lambda: log.info("hello"))

    assert first.getvalue() == ""
    assert len(lines) == 1


class Full(io.StringIO):
    def write(self, text: str, /) -> int:
        raise OSError(28, "No space left on device")


def test_a_line_that_cannot_be_written_harms_nobody(capsys: pytest.CaptureFixture[str]) -> None:
    closed = io.StringIO()
    closed.close()

    for stream in (Full(), closed):
        logs.configure(stream=stream)
        log.info("lost")
        logging.getLogger("my").info("lost")

    assert capsys.readouterr().err == ""


def test_a_line_that_cannot_be_formatted_is_shown_as_what_it_was() -> None:
    line = as_json(lambda: logging.getLogger("my").info("%d items", "three"))

    assert line["event"] == (
        "'%d items' cannot be logged with ('three',):"
        " TypeError('%d format: a real number is required, not str')"
    )


def test_the_file_of_the_user_decides_where_lines_go(tmp_path: Any) -> None:
    existing = logging.getLogger("existing")
    target = tmp_path / "service.log"
    settings = {
        "version": 1,
        "formatters": {"plain": {"format": "%(levelname)s %(message)s"}},
        "handlers": {
            "file": {"class": "logging.FileHandler", "filename": target, "formatter": "plain"}
        },
        "root": {"level": "WARNING", "handlers": ["file"]},
    }

    def say() -> None:
        log.info("no")
        log.warning("full", queue="a b", n=1)
        existing.error("there")

    lines = lines_of(say, file=settings)
    root = logging.getLogger()
    [handler] = [each for each in root.handlers if isinstance(each, logging.FileHandler)]
    handler.close()

    assert lines == []
    assert target.read_text() == "WARNING full queue='a b' n=1\nERROR there\n"


def test_a_file_that_says_nothing_of_the_root_leaves_our_lines() -> None:
    settings = {"loggers": {"piped.web": {"level": "ERROR"}}}

    lines = lines_of(lambda: [log.info("no"), log.error("yes")], file=settings)
    logging.getLogger("piped.web").setLevel(logging.NOTSET)

    assert [json.loads(line)["event"] for line in lines] == ["yes"]


def test_our_formatters_can_be_named_in_the_file_of_the_user(
    capsys: pytest.CaptureFixture[str],
) -> None:
    settings = {
        "formatters": {"json": {"()": "piped.observe.logs.json_lines"}},
        "handlers": {
            "out": {
                "class": "logging.StreamHandler",
                "stream": "ext://sys.stdout",
                "formatter": "json",
            }
        },
        "root": {"level": "INFO", "handlers": ["out"]},
    }

    lines_of(lambda: log.info("hello", n=1), file=settings)

    assert json.loads(capsys.readouterr().out)["n"] == 1
