"""Logs: one line an event, readable on a terminal, JSON elsewhere; structlog and stdlib alike.

The lines of ``structlog.get_logger`` and of ``logging.getLogger`` take the same way: to the root
logger of the stdlib, whose handler gives them their form. Every line inside a journey bears it as
``journey``, in the form of ``journey_text``. Writing a line never raises: a full disk or a closed
terminal costs the line, not the service.
"""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Callable, Mapping
from typing import Any, Final, TextIO

import msgspec
import structlog
from structlog.dev import Column, ConsoleRenderer, KeyValueColumnFormatter, LogLevelColumnFormatter
from structlog.processors import ExceptionRenderer, TimeStamper
from structlog.stdlib import (
    PositionalArgumentsFormatter,
    ProcessorFormatter,
    add_log_level,
    add_logger_name,
)
from structlog.typing import EventDict, WrappedLogger

from piped.document.nodes import Secret
from piped.engine.journey import journey, journey_text

MAX_DEPTH: Final = 6  # of what is shown of a value; a baton may contain itself
MAX_ITEMS: Final = 100

# C0 but the tab, DEL, C1, line separators, and the signs that turn the direction of writing.
UNSAFE: Final = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")

TALKATIVE: Final = ("httpx", "httpcore")  # they write whole URLs, with what is secret in them


def configure(
    *,
    file: Mapping[str, Any] | None = None,
    verbose: bool = False,
    stream: TextIO | None = None,
    is_terminal: bool | None = None,
) -> None:
    """Set up all logging of the process; a second call replaces the first.

    Args:
        file: The content of the user's file for ``logging.config.dictConfig``. What it says of
            handlers and levels stands; plain formatters show events as ``event key=value``, and
            ``'()': piped.observe.logs.json_lines`` or ``...terminal_lines`` are ours.
        verbose: Show the level DEBUG too.
        stream: Where the lines go; stderr if not given.
        is_terminal: Write for people; found out if not given.
    """
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, add_journey, _as_record],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
    )
    logging.raiseExceptions = False  # a handler that cannot write stays silent
    target = sys.stderr if stream is None else stream
    handler = LineHandler(target)
    handler.setFormatter(terminal_lines() if _is_terminal(target, is_terminal) else json_lines())
    root = logging.getLogger()
    root.handlers[:] = [each for each in root.handlers if not isinstance(each, LineHandler)]
    root.addHandler(handler)
    root.setLevel(logging.DEBUG if verbose else logging.INFO)
    for name in TALKATIVE:
        logging.getLogger(name).setLevel(logging.NOTSET if verbose else logging.WARNING)
    if file is not None:
        _apply(file, handler)


def _apply(file: Mapping[str, Any], ours: logging.Handler) -> None:
    import logging.config  # 10 ms that only its users pay

    root = logging.getLogger()
    logging.config.dictConfig({"version": 1, "disable_existing_loggers": False, **file})
    if "root" not in file and "" not in file.get("loggers", {}) and ours not in root.handlers:
        root.addHandler(ours)


def _is_terminal(stream: TextIO, told: bool | None) -> bool:
    if told is not None:
        return told
    try:
        return stream.isatty()
    except (AttributeError, ValueError):  # a thing with write() only, or closed
        return False


class LineHandler(logging.StreamHandler[TextIO]):
    """Writes lines to a stream, and shows those that cannot be formatted as what they were."""

    def format(self, record: logging.LogRecord) -> str:
        record.args = _hidden(record.args)
        try:
            return super().format(record)
        except Exception as error:
            what = f"{record.msg!r} cannot be logged with {record.args!r}: {error!r}"
            return super().format(
                logging.makeLogRecord({**record.__dict__, "msg": what, "args": None})
            )


def _hidden(args: Any) -> Any:
    if isinstance(args, dict):
        return {key: "***" if isinstance(each, Secret) else each for key, each in args.items()}
    return tuple("***" if isinstance(each, Secret) else each for each in args or ())


def _hide_arguments(_logger: WrappedLogger, _name: str, event_dict: EventDict) -> EventDict:
    if "positional_args" in event_dict:
        event_dict["positional_args"] = _hidden(event_dict["positional_args"])
    return event_dict


class _Event(dict[str, Any]):
    """What an event says; as text, for formatters that know nothing of events, it is one line."""

    def __str__(self) -> str:
        rest = {key: value for key, value in self.items() if key not in ("event", "exc_info")}
        pairs = [f"{key}={_quoted(printable(value))}" for key, value in rest.items()]
        return " ".join([escape(str(self.get("event", ""))), *pairs])


def _as_record(
    logger: WrappedLogger, name: str, event_dict: EventDict
) -> tuple[tuple[_Event], dict[str, Any]]:
    more: dict[str, Any] = {"extra": {"_logger": logger, "_name": name}}
    if event_dict.get("exc_info"):
        more["exc_info"] = event_dict["exc_info"]
    return (_Event(event_dict),), more


def add_journey(_logger: WrappedLogger, _name: str, event_dict: EventDict) -> EventDict:
    """Add the number of the journey inside which the line is written."""
    if number := journey.get():
        event_dict.setdefault("journey", journey_text(number))
    return event_dict


def escape(text: str) -> str:
    """Return text whose control characters can neither begin a line nor speak to a terminal."""
    return UNSAFE.sub(lambda found: repr(found[0])[1:-1], text)


def printable(value: object, depth: int = 0) -> Any:
    """Return a value as plain JSON types: secrets hidden, deep, long or strange parts as text."""
    match value:
        case Secret():
            return "***"
        case str():
            return value.encode("utf-8", "backslashreplace").decode()  # such as odd file names
        case None | bool() | int() | float():
            return value
        case dict() if depth < MAX_DEPTH:
            pairs = list(value.items())[:MAX_ITEMS]
            return {str(printable(key, depth + 1)): printable(v, depth + 1) for key, v in pairs}
        case list() | tuple() if depth < MAX_DEPTH:
            return [printable(each, depth + 1) for each in value[:MAX_ITEMS]]
        case dict() | list() | tuple():
            return "..."
    try:
        return repr(value)
    except Exception as error:  # a broken __repr__ costs its own text, not the line
        return f"<{type(value).__name__}: {type(error).__name__} in its repr>"


def _printable_values(_logger: WrappedLogger, _name: str, event_dict: EventDict) -> EventDict:
    return {
        key: value if key == "exc_info" else printable(value) for key, value in event_dict.items()
    }


def json_lines() -> ProcessorFormatter:
    """Return the formatter of one JSON object a line, for machines."""
    return _formatter(
        TimeStamper(fmt="iso", utc=True), ExceptionRenderer(), _printable_values, _render_json
    )


def terminal_lines() -> ProcessorFormatter:
    """Return the formatter for people: time, level, event, keys; NO_COLOR is heeded."""
    time = TimeStamper(fmt="%H:%M:%S.%f", utc=False)
    colors = not os.environ.get("NO_COLOR")
    return _formatter(time, ExceptionRenderer(), _printable_values, _terminal_renderer(colors))


def _formatter(*chain: Any) -> ProcessorFormatter:
    return ProcessorFormatter(
        foreign_pre_chain=[add_journey],
        processors=[
            _hide_arguments,
            PositionalArgumentsFormatter(),
            add_log_level,
            add_logger_name,
            ProcessorFormatter.remove_processors_meta,
            *chain,
        ],
    )


def _render_json(_logger: WrappedLogger, _name: str, event_dict: EventDict) -> str:
    first = {key: event_dict.pop(key) for key in ("timestamp", "level", "logger", "event")}
    text = msgspec.json.encode({**first, **event_dict}).decode()
    return UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _terminal_renderer(colors: bool) -> Callable[[WrappedLogger, str, EventDict], str]:
    style = ConsoleRenderer.get_default_column_styles(colors)
    levels = ConsoleRenderer.get_default_level_styles(colors)

    def column(key: str, look: str, show: Callable[[object], str]) -> Column:
        return Column(key, KeyValueColumnFormatter(None, look, style.reset, show))

    pairs = KeyValueColumnFormatter(style.kv_key, style.kv_value, style.reset, _quoted)
    render = ConsoleRenderer(
        sort_keys=False,
        columns=[
            Column("", pairs),
            column("timestamp", style.timestamp, lambda value: str(value)[:-3]),
            Column("level", LogLevelColumnFormatter(levels, style.reset)),
            column("logger", style.logger_name, lambda value: f"{value}:"),
            column("event", style.bright, lambda value: escape(str(value))),
        ],
    )

    def to_lines(logger: WrappedLogger, name: str, event_dict: EventDict) -> str:
        trace = event_dict.pop("exception", "")
        line = render(logger, name, {escape(key): each for key, each in event_dict.items()})
        return "\n    ".join([line, *map(escape, str(trace).split("\n"))]) if trace else line

    return to_lines


def _quoted(value: object) -> str:
    """Return a value so that it can be told where it ends: texts with blanks stand in quotes."""
    text = escape(value if isinstance(value, str) else repr(value))
    is_plain = not isinstance(value, str) or (text and not re.search(r"[\s=\"']", text))
    return text if is_plain else repr(value) if text == value else f"'{text}'"
