"""Logging: which levels are logged, and of whom."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import field
from typing import Annotated, Any, ClassVar, Final, Literal, TypeAlias

from piped.spec import Meta, Provider, provider

Level: TypeAlias = Literal["debug", "info", "warning", "error", "critical", "off"]

LEVELS: Final[Mapping[Level, int]] = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "critical": logging.CRITICAL,
    "off": logging.CRITICAL + 1,
}


@provider("logging")
class Logging(Provider):
    """Choose from which level on lines are logged, for the whole process and for single loggers.

    The name of a logger stands for all below it: ``shop`` for ``shop.orders`` too, unless that has
    a level of its own. The levels hold while the service runs. ``-v`` on the command line
    shows all that is not named in ``loggers``, whatever ``level`` says.
    """

    is_first: ClassVar[bool] = True

    level: Annotated[
        Level | None,
        Meta(description="From which level on the process logs; null leaves it as it is."),
    ] = None
    loggers: Annotated[
        dict[str, Level],
        Meta(description="The levels of single loggers, by their names."),
    ] = field(default_factory=dict)

    def feeds(self) -> bool:
        return True

    @asynccontextmanager
    async def running(self) -> AsyncIterator[dict[str, Any]]:
        """Set the levels, and at the end set them back."""
        levels = {name: LEVELS[level] for name, level in self.loggers.items()}
        if self.level is not None and not _is_verbose():
            levels.setdefault("", LEVELS[self.level])
        with _levels(levels):
            yield {}


def _is_verbose() -> bool:
    """Tell whether somebody wants to see all: ``-v`` sets the level of the root."""
    return logging.getLogger().level == logging.DEBUG


@contextmanager
def _levels(levels: Mapping[str, int]) -> Iterator[None]:
    """Give loggers other levels for a while; '' is the root."""
    before = {name: logging.getLogger(name).level for name in levels}
    try:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
        yield
    finally:
        for name, level in before.items():
            logging.getLogger(name).setLevel(level)
