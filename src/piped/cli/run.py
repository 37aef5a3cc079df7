"""`piped run`: a document becomes a process."""

from __future__ import annotations

import asyncio
import contextvars
import itertools
import os
import resource
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Final

import click
import structlog

from piped.app import EXIT_FAILED_FOR_GOOD, Service, blueprint_of
from piped.cli.options import (
    EXIT_CANNOT_START,
    FILE,
    new_runner,
    overrides,
    reason,
    set_up_logs,
    show_problems,
)
from piped.errors import Level
from piped.resources import EssentialFailed

if TYPE_CHECKING:
    from piped.blueprint import Blueprint

log = structlog.get_logger("piped")

FOLDER: Final = click.Path(file_okay=False)  # a shell completes it
MANY_FILES: Final = 65_536


@click.command("run")
@click.argument("file", required=False, type=FILE)
@click.option(
    "-c", "--conf", metavar="FILE", type=FILE, help="The document; the same as the argument."
)
@click.option("-n", "--nodaemon", is_flag=True, help="Stay in the foreground, as always.")
@click.option(
    "-d",
    "--rundir",
    metavar="DIR",
    shell_complete=FOLDER.shell_complete,
    help="Change to this folder first.",
)
@click.option(
    "-l", "--logging", "logging_file", metavar="FILE", type=FILE, help="A logging.config YAML file."
)
@click.option(
    "-p", "--pidfile", metavar="FILE", type=FILE, help="Write the process number to this file."
)
@click.option("-D", "--debug", is_flag=True, help="Show tracebacks where 'debug.allow' permits it.")
@click.option("-v", "--verbose", is_flag=True, help="Log at level DEBUG, and show hints.")
@click.option(
    "--watch",
    "is_watched",
    is_flag=True,
    help="Start anew when a file of the document or a module of its bundles has changed.",
)
@click.option(
    "--spawn",
    metavar="POOL[:N]",
    multiple=True,
    help="Start N workers of a pool, one if not given, and keep them alive; repeatable.",
)
@click.option("--lifeline", type=int, hidden=True)  # a pipe: its other end has who started us
@overrides
def command(
    file: str | None,
    conf: str | None,
    nodaemon: bool,  # noqa: ARG001 - accepted from the ancestor's users
    rundir: str | None,
    logging_file: str | None,
    pidfile: str | None,
    debug: bool,
    verbose: bool,
    is_watched: bool,
    spawn: tuple[str, ...],
    lifeline: int | None,
    override: tuple[str, ...],
) -> None:
    """Run a document until it ends, or until SIGTERM or SIGINT.

    Exit codes: 0 good; 1 status tests failed; 2 the document cannot be started; 3 a provider that
    the service cannot do without has failed for good.
    """
    began = time.monotonic()
    document = conf or file
    if document is None or (conf and file):
        raise click.UsageError("name one document: 'piped run FILE' or 'piped -nc FILE'")
    if rundir is not None:
        try:
            os.chdir(rundir)
        except OSError as error:
            raise click.UsageError(f"cannot change to '{rundir}': {reason(error)}") from error
    flags = [name for name, on in {"-D": debug, "-v": verbose}.items() if on]
    if is_watched:
        given = {"--logging": logging_file, "--pidfile": pidfile}
        options = [f"{name}={value}" for name, value in given.items() if value is not None]
        options += flags
        options += [f"--spawn={each}" for each in spawn]
        raise SystemExit(watch(document, override, options, logging_file))
    set_up_logs(logging_file, verbose)
    with ExitStack() as stack:
        blueprint = blueprint_of(document, override)
        if spawn:
            blueprint = with_workers(blueprint, document, override, spawn, flags, stack)
        shown = Level.HINT if verbose else Level.WARNING
        show_problems(blueprint.problems, down_to=shown)
        if blueprint.errors:
            raise SystemExit(EXIT_CANNOT_START)
        allow_many_sockets()
        runner = stack.enter_context(new_runner())
        service = Service(blueprint, is_debug=debug)
        raise SystemExit(runner.run(serve(service, began, pidfile, lifeline)))


def with_workers(
    blueprint: Blueprint,
    document: str,
    override: tuple[str, ...],
    wanted: tuple[str, ...],
    flags: list[str],
    stack: ExitStack,
) -> Blueprint:
    """Return the blueprint of a front that starts workers, and itself does nothing for their pools.

    A pool that is local otherwise becomes one over a socket in a folder of its own, which is gone
    when the stack is left.
    """
    from piped.workers.pool import UnknownPool, pool_of
    from piped.workers.spawn import orders_of, private_room, spawned

    try:
        orders = orders_of(wanted)
        if blueprint.errors:
            return blueprint
        pools = [pool_of(blueprint.units, order.pool) for order in orders]
    except (UnknownPool, ValueError) as error:
        raise click.UsageError(str(error)) from error
    local = [each.name for each in pools if each.transport == "local"]
    rooms = [text for name in local for text in stack.enter_context(private_room(name))]
    if rooms:
        override = (*override, *rooms)
        blueprint = blueprint_of(document, override)
    options = [*flags, *(f"--override={each}" for each in override)]
    for order in orders:
        arguments = (*options, "--", order.pool, document)
        blueprint.units[:0] = spawned(order, arguments, blueprint.drain_s)  # closed late
    return blueprint


def watch(document: str, override: tuple[str, ...], options: list[str], logs: str | None) -> int:
    """Run a document in a process of its own, and again when it has changed."""
    from piped.spec.imports import NotInstalled, import_shipped

    try:
        watching = import_shipped("piped.cli.watch")
    except NotInstalled as error:
        raise click.UsageError(f"cannot watch: {error}: {error.hint}") from error
    exit_code: int = watching.watch(document, override, options, also=[logs] if logs else [])
    return exit_code


async def serve(service: Service, began: float, pidfile: str | None, lifeline: int | None) -> int:
    """Run a service until it is asked to end, and return the exit code.

    The first signal lets it drain, the second ends it at its next await, the third at once. The
    end of who holds the other end of the lifeline is like a signal.
    """
    task = asyncio.current_task()
    loop = asyncio.get_running_loop()
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
    watch_signals(lambda name: loop.call_soon_threadsafe(on_signal, name, context=outside))
    if lifeline is not None:
        watch_lifeline(lifeline, lambda: on_signal("SIGHUP"))
    try:
        with written(pidfile):
            async with service:
                is_started = True
                name = service.blueprint.service_name
                named = {"service_name": name} if name else {}
                ready_s = round(time.monotonic() - began, 3)
                log.info("started", **named, ready_s=ready_s, pid=os.getpid())
                await service.stopped()
    except EssentialFailed as error:
        log.error("cannot start", reason=str(error))
        return EXIT_FAILED_FOR_GOOD
    except asyncio.CancelledError:
        log.warning("stopped at once")
    log.info("stopped", exit_code=service.exit_code)
    return service.exit_code


def watch_signals(on_signal: Callable[[str], object]) -> None:
    """Have a function called at each signal to end; a third one needs no event loop to end all."""
    count = itertools.count(1)

    def on_any(number: int, _frame: FrameType | None) -> None:
        if next(count) > 2:
            os._exit(128 + number)
        on_signal(signal.Signals(number).name)

    for each in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(each, on_any)


def watch_lifeline(pipe: int, on_end: Callable[[], object]) -> None:
    """Have a function called when nobody holds the other end of a pipe any more."""
    loop = asyncio.get_running_loop()

    def on_any() -> None:
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
