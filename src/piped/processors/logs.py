"""Telling people what goes on: log lines and prints."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import field
from pprint import pprint
from typing import Annotated, Final, Literal

from piped.batons import Baton, BatonPath, getter
from piped.errors import Problem
from piped.processors._alternatives import not_one_of
from piped.spec import Lambda, Meta, Namespace, Processor, Step, processor

LEVELS: Final = {
    "critical": logging.CRITICAL,
    "error": logging.ERROR,
    "warning": logging.WARNING,
    "warn": logging.WARNING,
    "info": logging.INFO,
    "debug": logging.DEBUG,
}


@processor("log")
class Log(Processor):
    """Log a message: a fixed one, or one from the baton.

    Nothing is logged where the message is empty or missing. The baton stays as it is.

    Example:
        log: {message_path: note, level: debug}
        in:  {note: half of it is done}
        out: {note: half of it is done}
    """

    message: Annotated[str | None, Meta(description="The message.")] = None
    message_path: Annotated[
        BatonPath | None, Meta(description="Where in the baton the message is.")
    ] = None
    logger_name: Annotated[
        str | None, Meta(description="The name of the logger; by default it is the root logger.")
    ] = None
    level: Annotated[
        Literal["critical", "error", "warning", "warn", "info", "debug"],
        Meta(description="How much the message weighs."),
    ] = "info"

    def check(self) -> Iterable[Problem]:
        if wrong := not_one_of("message", self.message, "message_path", self.message_path):
            yield wrong

    def step(self) -> Step:
        log, level = logging.getLogger(self.logger_name), LEVELS[self.level]
        given = self.message
        get = getter(self.message_path or "", None)

        def step(baton: Baton) -> Baton:
            message = get(baton) if given is None else given
            if message is not None and (text := str(message)):
                log.log(level, "%s", text)
            return baton

        return step


@processor("pretty-print")
class PrettyPrint(Processor):
    """Print a value of the baton to stdout, neatly; the baton stays as it is.

    Example:
        pretty-print: {path: answer, formatter: "answer: sorted(answer)"}
        in:  {answer: {square: 36, sum: 14}}
        out: {answer: {square: 36, sum: 14}}
    """

    path: Annotated[BatonPath, Meta(description="Where the value is; '' is the whole baton.")] = (
        BatonPath("")
    )
    formatter: Annotated[
        Lambda, Meta(description="A lambda that makes of the value what is printed.")
    ] = field(default_factory=lambda: Lambda("baton: baton"))
    namespace: Annotated[Namespace, Meta(description="Names for the formatter.")] = field(
        default_factory=Namespace
    )

    def check(self) -> Iterable[Problem]:
        yield from self.formatter.check(self.namespace)

    def step(self) -> Step:
        get, form = getter(self.path, None), self.formatter.compile(self.namespace, self)

        def step(baton: Baton) -> Baton:
            pprint(form(get(baton)))
            return baton

        return step
