"""`piped demo`: the first experience, a distributed service that loses workers and says so."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import click

from piped.cli._demo import pool, queues
from piped.cli._demo.stage import Child, NotAsSaid, say
from piped.cli.options import EXIT_FAILED, new_runner

DOCUMENTS: Final = Path(__file__).parent.parent / "demo"
PATIENCE_S: Final = 14.5


@click.command("demo", context_settings={"help_option_names": ["-h", "--help"]})
def command() -> None:
    """Start services with their workers, ask them, freeze and kill workers, stop all.

    Exit code 0 when all was as it should be.
    """
    children: list[Child] = []
    reasons: list[str] = []
    with new_runner() as runner:
        try:
            runner.run(show(children))
        except* (NotAsSaid, OSError) as group:
            reasons += [str(each) or "it took too long" for each in leaves(group)]
    if reasons:
        click.echo(f"\nnot as said: {reasons[0]}", err=True)
        for child in children:
            click.echo(f"the log of {child.name}:", err=True)
            click.echo("\n".join(f"    {line}" for line in child.lines), err=True)
        click.echo("DEMO FAILED", err=True)
        raise SystemExit(EXIT_FAILED)
    click.echo()
    say("documents", str(DOCUMENTS))
    click.echo("DEMO PASSED")


async def show(children: list[Child]) -> None:
    """Do all of it, in the time that a person is patient."""
    async with asyncio.timeout(PATIENCE_S):
        title = "a service, and two workers that compute for it"
        click.echo(f"Piped {version('piped-server')}: {title}")
        await act(queues.play, children)
        for each in pool.ACTS:
            click.echo(f"\n{each.title}")
            if missing := each.why_not():
                click.echo(f"left out: {missing}")
            else:
                await act(partial(pool.play, each), children)


async def act(
    play: Callable[[Path, list[Child], asyncio.TaskGroup], Awaitable[None]], children: list[Child]
) -> None:
    """Play one act, whose processes none outlives; they are kept if something was not as said."""
    children.clear()
    click.echo()
    async with asyncio.TaskGroup() as group:
        try:
            await play(DOCUMENTS, children, group)
        finally:
            for child in children:
                await child.end()


def leaves(group: BaseExceptionGroup[Any]) -> Iterator[BaseException]:
    """Yield the errors in a group and in the groups inside it."""
    for each in group.exceptions:
        if isinstance(each, BaseExceptionGroup):
            yield from leaves(each)
        else:
            yield each
