"""`piped work`: a worker of a pool, for a front that runs elsewhere."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

import click

from piped.app import Service, blueprint_of
from piped.cli._serving import allow_many_sockets, serve
from piped.cli._stdin import STDIN, taken
from piped.cli.options import (
    EXIT_CANNOT_START,
    FILE,
    new_runner,
    overrides,
    set_up_logs,
    show_problems,
)
from piped.document import Mapping
from piped.errors import ConfigError, Problem
from piped.spec import Provider

if TYPE_CHECKING:
    from piped.blueprint import Blueprint
    from piped.workers import Pool


@click.command("work")
@click.argument("pool")
@click.argument("file", type=FILE)
@click.option(
    "-l", "--logging", "logging_file", metavar="FILE", type=FILE, help="A logging.config YAML file."
)
@click.option("-D", "--debug", is_flag=True, help="Run as one that is debugged.")
@click.option("-v", "--verbose", is_flag=True, help="Log at level DEBUG.")
@click.option("--name", metavar="NAME", help="What the front calls it; POOL-PID if not given.")
@click.option(
    "--admin",
    "listen",
    metavar="ADDRESS",
    help="Tell there how the worker is, as the section 'admin' does of a front.",
)
@click.option("--lifeline", type=int, hidden=True)  # a pipe: its other end has who started us
@overrides
def command(
    pool: str,
    file: str,
    logging_file: str | None,
    debug: bool,
    verbose: bool,
    name: str | None,
    listen: str | None,
    lifeline: int | None,
    override: tuple[str, ...],
) -> None:
    """Run the pipelines of a pool for the front that 'piped run FILE' is, until SIGTERM or SIGINT.

    Only they and what they need is built: no site listens, nothing ticks, and problems elsewhere
    in the document do not matter. At a signal it takes no more parts, and ends when those it has
    are done. At SIGHUP it reads the document again. Exit codes: 0 good; 2 it cannot be started; 3
    what it cannot do without has failed for good.
    """
    began = time.monotonic()
    set_up_logs(logging_file, verbose)
    draw = partial(drawn, pool, file, override, name or "")
    try:
        blueprint = draw()
    except ConfigError as error:
        show_problems(error.problems)
        raise SystemExit(EXIT_CANNOT_START) from error
    allow_many_sockets()
    with new_runner() as runner:
        beside = [] if listen is None else [admin_at(listen)]
        service = Service(blueprint, work=pool, beside=beside, is_debug=debug)
        raise SystemExit(runner.run(serve(service, began, None, moved(lifeline), draw)))


def drawn(pool: str, file: str, override: tuple[str, ...], name: str) -> Blueprint:
    """Return the blueprint of a worker that has a name for its front.

    Raises:
        ConfigError: It has errors that keep the worker from running.
    """
    blueprint = blueprint_of(file, override)
    unit = found(blueprint, pool)
    if errors := errors_of(blueprint, pool, unit):
        raise ConfigError(errors)
    assert unit is not None
    fail_if_local(unit)
    unit.worker_name = name
    return blueprint


def admin_at(listen: str) -> Provider:
    """Return an admin listener; who writes out an address means it, whoever can reach it."""
    from piped.observe.admin import Admin

    admin = Admin(listen=listen, allow_remote=True)
    admin.label = "admin"
    for problem in admin.check():
        raise click.UsageError(f"--admin: {problem.what}")
    return admin


def found(blueprint: Blueprint, name: str) -> Pool | None:
    """Return a pool by its name; None where it may be written and was not understood."""
    from piped.workers.pool import UnknownPool, pool_of

    try:
        return pool_of(blueprint.units, name)
    except UnknownPool as error:
        pools = blueprint.document.root.get("workers")
        is_written = isinstance(pools, Mapping) and name in pools.entries
        if blueprint.errors and (is_written or not blueprint.document.is_complete):
            return None
        raise click.UsageError(str(error)) from error


def errors_of(blueprint: Blueprint, name: str, pool: Pool | None) -> list[Problem]:
    """Return the errors that keep a worker from starting, in the pool or in its pipelines."""
    if pool is None and not blueprint.document.is_complete:
        return blueprint.errors
    at = f"workers.{name}"
    own = [each for each in blueprint.errors if each.at == at or each.at.startswith(f"{at}.")]
    names = [each for each in pool.served if each in blueprint.pipeline_names] if pool else []
    return list(dict.fromkeys([*own, *blueprint.errors_of(names)]))


def fail_if_local(pool: Pool) -> None:
    """Refuse to be a worker where the front does the work itself."""
    if pool.transport == "local":
        what = f"pool '{pool.name}' works inside its own process (transport local): say"
        hint = f"-O workers.{pool.name}.transport:zmq, or use --spawn"
        raise click.UsageError(f"{what} {hint}")


def moved(lifeline: int | None) -> int | None:
    """Move a lifeline away from standard input, which programs that we start would read."""
    return taken() if lifeline == STDIN else lifeline
