"""The process of a service: its signals, its lifeline, its number in a file, and its exit code."""

from __future__ import annotations

import asyncio
import contextvars
import itertools
import os
import resource
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Final

import click
import structlog

from piped.app import EXIT_FAILED_FOR_GOOD, Service
from piped.cli._notify import Notifier
from piped.cli._reloading import Draw, Reloader
from piped.cli.options import reason
from piped.engine.guard import LoopGuard
from piped.resources import EssentialFailed

log = structlog.get_logger("piped")

MANY_FILES: Final = 65_536
PIECE: Final = 64


async def serve(
    service: Service,
    began: float,
    pidfile: str | None,
    lifeline: int | None,
    draw: Draw,
    guard: LoopGuard | None = None,
) -> int:
    """Run a service until it is asked to end, and return the exit code.

    The first signal lets it drain, the second ends it at its next await, the third at once. The
    end of who holds the other end of the lifeline is like a signal. SIGHUP, and whatever comes
    over the lifeline, have it read the document anew. The guard begins when all has started.
    """
    task = asyncio.current_task()
    loop = asyncio.get_running_loop()
    notifier = Notifier()
    reloader = Reloader(service, draw, notifier)
    is_started = False
    assert task is not None

    def on_signal(name: str) -> None:
        is_first = not service.is_stopping
        log.info("stopping" if is_first else "stopping now", signal=name)
        service.stop()
        if not (is_first and is_started):
            # Not before the task has left its wait for the first signal, or it would drain.
            loop.call_soon(task.cancel)

    outside = contextvars.copy_context()  # a signal comes in the midst of any request
    watch_signals(
        lambda name: loop.call_soon_threadsafe(on_signal, name, context=outside),
        lambda: loop.call_soon_threadsafe(reloader.ask, context=outside),
    )
    if lifeline is not None:
        watch_lifeline(lifeline, reloader.ask, lambda: on_signal("SIGHUP"))
    try:
        with written(pidfile):
            # The service is the first to end, so that a second signal finds it draining.
            async with asyncio.TaskGroup() as tasks:
                try:
                    async with service:
                        is_started = True
                        tell_started(service, began)
                        notifier.ready("running")
                        notifier.keep_alive()
                        if guard is not None:
                            guard.start()
                        reloading = tasks.create_task(reloader.run(), name="reload")
                        await service.stopped()
                        notifier.stopping()
                        reloading.cancel()
                except EssentialFailed as error:
                    log.error("cannot start", reason=str(error))
                    return EXIT_FAILED_FOR_GOOD
    except asyncio.CancelledError:
        log.warning("stopped at once")
    finally:
        if guard is not None:
            guard.stop()
    log.info("stopped", exit_code=service.exit_code)
    return service.exit_code


def tell_started(service: Service, began: float) -> None:
    """Log that a service has started, and how long that took."""
    name = service.blueprint.service_name
    named = {"service_name": name} if name else {}
    log.info("started", **named, ready_s=round(time.monotonic() - began, 3), pid=os.getpid())


def watch_signals(on_end: Callable[[str], object], on_reload: Callable[[], object]) -> None:
    """Have functions called at signals; a third one to end needs no event loop to end all.

    A process on a terminal gets SIGHUP too when that is closed: then it is a signal to end.
    """
    count = itertools.count(1)
    is_ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN  # nohup
    is_on_terminal = not is_ignored and has_terminal()

    def on_any(number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGHUP and not (is_on_terminal and not has_terminal()):
            on_reload()
            return
        if next(count) > 2:
            os._exit(128 + number)
        on_end(signal.Signals(number).name)

    for each in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(each, on_any)


def has_terminal() -> bool:
    """Tell whether the process belongs to a terminal that is there."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True


def watch_lifeline(pipe: int, on_word: Callable[[], object], on_end: Callable[[], object]) -> None:
    """Have functions called when something comes over a pipe, and when nobody holds its other end.

    Who starts workers gives them a lifeline without words.
    """
    loop = asyncio.get_running_loop()

    def on_any() -> None:
        if os.read(pipe, PIECE):
            on_word()
            return
        loop.remove_reader(pipe)
        on_end()

    loop.add_reader(pipe, on_any)


def allow_many_sockets() -> None:
    """Raise the limit of open files as far as the system lets us without asking anybody."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MANY_FILES if hard == resource.RLIM_INFINITY else min(hard, MANY_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


@contextmanager
def written(pidfile: str | None) -> Iterator[None]:
    """Keep the process number in a file; refuse where the file names a process that lives."""
    if not pidfile:
        yield
        return
    path = Path(pidfile).expanduser()
    try:
        fail_if_alive(path)
        path.write_text(f"{os.getpid()}\n")
    except OSError as error:
        raise click.UsageError(f"cannot write '{path}': {reason(error)}") from error
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def fail_if_alive(path: Path) -> None:
    """Refuse to go on where a file holds the number of a process that lives."""
    try:
        number = int(path.read_text())
        if number <= 0 or number == os.getpid():  # our own: each container begins to count at 1
            return
        os.kill(number, 0)
    except (FileNotFoundError, ValueError, OverflowError, ProcessLookupError):
        return
    except PermissionError:
        pass
    what = f"'{path}' holds {number}, a process that runs: is the service started already?"
    raise click.UsageError(what)
