"""The command line: one file per command, imported only when it is asked for."""

from __future__ import annotations

import importlib
import os
import sys
from typing import Final

import click

STDERR: Final = 2  # the highest of the standard descriptors

COMMANDS: Final = {
    "call": "Run one pipeline of a document once and print its results.",
    "check": "Print all problems of documents.",
    "demo": "Start a distributed service with its workers, ask it, freeze a worker, stop it.",
    "run": "Run a document.",
}


class LazyGroup(click.Group):
    """A group whose commands live in modules of their own names."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command = importlib.import_module(f"piped.cli.{cmd_name}").command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def print_version(ctx: click.Context, _parameter: click.Parameter, wanted: bool) -> None:
    """Print the versions of what a report of a bug should name."""
    if not wanted or ctx.resilient_parsing:
        return
    from importlib.metadata import version

    python = ".".join(map(str, sys.version_info[:3]))
    names = ("httptools", "msgspec", "pyzmq")
    others = ", ".join(f"{name} {version(name)}" for name in names)
    click.echo(f"piped {version('piped-server')} (Python {python}, {others})")
    ctx.exit()


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "-v",
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=print_version,
    help="Print the versions of Piped and of what it runs on.",
)
def piped() -> None:
    """Run, call and check services that a YAML document describes.

    The ancestor's form works too: piped -nc FILE.
    """


def open_standard_streams() -> None:
    """Open what the caller has closed, lest a socket becomes standard error."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= STDERR:
        pass
    os.close(descriptor)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; options without a command belong to `run`."""
    open_standard_streams()
    given = list(sys.argv[1:] if arguments is None else arguments)
    own = {"-h", "--help", "-v", "--version"}
    if given and given[0].startswith("-") and given[0] not in own:
        given.insert(0, "run")
    piped(given, prog_name="piped")
