"""Reloads a running service when it is asked to, and tells what has become of it."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, TypeAlias

import click
import structlog

from piped.app import Service
from piped.cli._notify import Notifier
from piped.cli.options import show_problems
from piped.errors import ConfigError, Level, PipedError

if TYPE_CHECKING:
    from piped.blueprint import Blueprint

Draw: TypeAlias = "Callable[[], Blueprint]"
"""Reads the document; raises ConfigError where it cannot be run."""

log = structlog.get_logger("piped")


class Reloader:
    """Has a service take its document anew, once for all that was asked meanwhile."""

    def __init__(self, service: Service, draw: Draw, notifier: Notifier) -> None:
        self._service, self._draw, self._notifier = service, draw, notifier
        self._asked = asyncio.Event()
        self._began = time.time()
        self._imported: dict[str, float] = {}  # by later reloads, and how old the file was

    def ask(self) -> None:
        """Ask for a reload; it is done by ``run``."""
        self._asked.set()

    async def run(self) -> None:
        """Reload whenever it is asked for."""
        while True:
            await self._asked.wait()
            self._asked.clear()
            log.info("reloading")
            self._notifier.reloading()
            status = await self._reload()
            self._notifier.ready(status)

    async def _reload(self) -> str:
        """Reload, and return in words what became of it; whatever it is, the service goes on."""
        before = {*sys.modules}
        try:
            blueprint = await asyncio.to_thread(self._draw)
            show_problems(blueprint.problems, down_to=Level.WARNING)
            difference = await self._service.reload(blueprint)
        except ConfigError as error:
            show_problems(error.problems, down_to=Level.WARNING)
            return self._failed("the document has errors")
        except (PipedError, click.ClickException) as error:
            return self._failed(str(error))
        except Exception as error:
            log.exception("reload failed")
            return self._failed(f"{type(error).__name__}: {error}")
        with suppress(OSError):
            click.echo("\n".join(difference.lines()), err=True)
        self._tell_of_code(before)
        return "running; reloaded"

    def _failed(self, reason: str) -> str:
        log.error("not reloaded, the service goes on as it was", reason=reason)
        return f"running; not reloaded: {reason}"

    def _tell_of_code(self, before: set[str]) -> None:
        """Warn of modules that have changed since they were imported: they stay as they were."""
        stale = []
        for name, changed in _own_modules():
            if name not in before:
                self._imported[name] = changed
            elif changed > self._imported.get(name, self._began):
                stale.append(name)
        if stale:
            log.warning("code has changed: it is used after a restart only", modules=sorted(stale))


def _own_modules() -> Iterator[tuple[str, float]]:
    """Yield each module of the user that is imported, and when its file was changed."""
    from piped.cli._look import own_modules

    files = {name: getattr(module, "__file__", None) for name, module in sys.modules.items()}
    own = {*own_modules(each for each in files.values() if each)}
    for name, file in files.items():
        if file in own:
            with suppress(OSError):
                yield name, os.stat(file).st_mtime
