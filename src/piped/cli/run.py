"""`piped run`: a document becomes a process."""

from __future__ import annotations

import os
import time
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Final

import click

from piped.app import Service, blueprint_of
from piped.cli._serving import allow_many_sockets, serve
from piped.cli.options import (
    EXIT_CANNOT_START,
    FILE,
    new_runner,
    overrides,
    reason,
    set_up_logs,
    show_problems,
)
from piped.engine.guard import LoopGuard
from piped.errors import ConfigError, Level

if TYPE_CHECKING:
    from piped.blueprint import Blueprint
    from piped.cli._reloading import Draw

FOLDER: Final = click.Path(file_okay=False)  # a shell completes it


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
    help="Reload when a file of the document has changed, start anew when a module of yours has.",
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

    At SIGHUP the document is read again, and what has changed in it is replaced while the rest
    goes on.

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
        draw: Draw = partial(blueprint_of, document, override)
        if spawn:
            draw = with_workers(document, override, spawn, flags, stack)
        blueprint = draw()
        shown = Level.HINT if verbose else Level.WARNING
        show_problems(blueprint.problems, down_to=shown)
        if blueprint.errors:
            raise SystemExit(EXIT_CANNOT_START)
        allow_many_sockets()
        runner = stack.enter_context(new_runner())
        service = Service(blueprint, is_debug=debug)
        read = partial(sound, draw)
        raise SystemExit(runner.run(serve(service, began, pidfile, lifeline, read, LoopGuard())))


def sound(draw: Draw) -> Blueprint:
    """Return a blueprint without errors.

    Raises:
        ConfigError: There are some.
    """
    blueprint = draw()
    if blueprint.errors:
        raise ConfigError(blueprint.problems)
    return blueprint


def with_workers(
    document: str,
    override: tuple[str, ...],
    wanted: tuple[str, ...],
    flags: list[str],
    stack: ExitStack,
) -> Draw:
    """Return what draws a front that starts workers, and itself does nothing for their pools.

    A pool that is local otherwise becomes one over a socket in a folder of its own, which is gone
    when the stack is left.
    """
    from piped.workers.pool import UnknownPool, pool_of
    from piped.workers.rooms import private_room
    from piped.workers.spawn import orders_of, spawned

    try:
        orders = orders_of(wanted)
    except ValueError as error:
        raise click.UsageError(str(error)) from error

    def draw() -> Blueprint:
        nonlocal override
        blueprint = blueprint_of(document, override)
        if blueprint.errors:
            return blueprint
        try:
            pools = [pool_of(blueprint.units, order.pool) for order in orders]
        except UnknownPool as error:
            raise click.UsageError(str(error)) from error
        if local := [each.name for each in pools if each.transport == "local"]:
            rooms = [text for name in local for text in stack.enter_context(private_room(name))]
            override = (*override, *rooms)
            return draw()
        options = [*flags, *(f"--override={each}" for each in override)]
        for order, pool in zip(orders, pools, strict=True):
            arguments = (*options, "--", order.pool, document)
            built = [f"pipeline.{name}" for name in pool.served]
            units = spawned(order, arguments, blueprint.drain_s, built)
            blueprint.units[:0] = units  # closed late
        return blueprint

    return draw


def watch(document: str, override: tuple[str, ...], options: list[str], logs: str | None) -> int:
    """Run a document in a process of its own, and again when it has changed."""
    from piped.spec.imports import NotInstalled, import_shipped

    try:
        watching = import_shipped("piped.cli.watch")
    except NotInstalled as error:
        raise click.UsageError(f"cannot watch: {error}: {error.hint}") from error
    exit_code: int = watching.watch(document, override, options, also=[logs] if logs else [])
    return exit_code
