"""The log of a worker, told again in the log of who has started it."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec
import structlog

LONGEST: Final = 1 << 20
"""How many bytes of a line are kept; a longer one is told in pieces."""

OWN_KEYS: Final = ("timestamp", "level", "logger", "event")
RESERVED: Final = {"exc_info", "positional_args", "self", "stack_info"}
"""What a line cannot say to the library of logs without meaning something else."""

LEVELS: Final = {name.lower(): number for name, number in logging.getLevelNamesMapping().items()}

log = structlog.get_logger("piped.workers")


class Lines:
    """Cuts what comes bit by bit into lines; ``rest`` is what no line feed has ended yet."""

    def __init__(self) -> None:
        self.rest = b""

    def cut(self, chunk: bytes) -> list[bytes]:
        """Return the lines that end in a chunk."""
        *lines, self.rest = (self.rest + chunk).split(b"\n")
        if len(self.rest) > LONGEST:
            lines.append(self.rest)
            self.rest = b""
        return lines


async def retell(read: Callable[[], Awaitable[bytes]], worker: str) -> None:
    """Log each line that a worker writes, with its name, until ``read`` gives nothing more.

    Lines of our own form keep their logger, level and keys; others are told as text.
    """
    lines = Lines()
    while chunk := await read():
        for each in lines.cut(chunk):
            tell(each, worker)
    tell(lines.rest, worker)


def tell(line: bytes, worker: str) -> None:
    """Log one line; nothing where it is empty."""
    said = said_by(line)
    if said is not None:
        _, level, name, event = (said.pop(key) for key in OWN_KEYS)
        own = structlog.get_logger(name)
        own.log(LEVELS[level], event, **{**said, "worker": worker})
    elif text := line.decode("utf-8", "replace").rstrip():
        log.info(text, worker=worker)


def said_by(line: bytes) -> dict[str, Any] | None:
    """Return what a line of a log in JSON says; None where it is no such line."""
    if not line.startswith(b"{"):
        return None
    try:
        said = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    is_ours = all(isinstance(said.get(key), str) for key in OWN_KEYS)
    is_ours = is_ours and said["level"] in LEVELS and RESERVED.isdisjoint(said)
    return said if is_ours else None
