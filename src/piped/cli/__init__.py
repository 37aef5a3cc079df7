"""The command line: one file per command, imported only when it is asked for."""

from __future__ import annotations

import atexit
import errno
import gc
import importlib
import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

OWN_OPTIONS: Final = ("-h", "--help", "-v", "--version")
STDOUT: Final = 1
STDERR: Final = 2  # the highest of the standard descriptors
FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)

COMMANDS: Final = {
    "call": "Run one pipeline of a document once and print its results.",
    "check": "Print all problems of documents.",
    "completion": "Print the script that makes a shell complete the words of this command.",
    "dead-letters": "List, show, requeue or drop the dead letters of a pool of workers.",
    "demo": "Start a distributed service with its workers, ask it, freeze a worker, stop it.",
    "describe": "Tell what a processor, a provider or a type of values is and takes.",
    "graph": "Print the pipelines of a document as a graph.",
    "hash-password": "Print the hash of a password, for the users of a site.",
    "list": "List processors, providers, pipelines or resources.",
    "new": "Make a folder with a service that runs, to be changed into yours.",
    "render": "Print a document in one piece: merged, with all values looked up.",
    "run": "Run a document.",
    "schema": "Print the JSON Schema of documents, for editors.",
    "work": "Run the pipelines of a pool of workers for a front that runs elsewhere.",
}


class LazyGroup(click.Group):
    """A group whose commands live in modules of their own names.

    Options without a command belong to `run`.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*COMMANDS]  # not `list`: that is a module here, once `piped list` is imported

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command = importlib.import_module(f"piped.cli.{cmd_name.replace('-', '_')}").command
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            if not (meant := meant_by(args[0])):
                raise
            what = f"{error.message} Did you mean '{meant}'?"
            raise click.UsageError(what, ctx) from error

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0].startswith("-") and args[0] not in OWN_OPTIONS:
            args = ["run", *args]
        return super().parse_args(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem[str]]:
        from click.shell_completion import CompletionItem

        names = [each for each in COMMANDS if each.startswith(incomplete)]
        options = click.Command.shell_complete(self, ctx, incomplete)
        return [*(CompletionItem(each, help=COMMANDS[each]) for each in names), *options]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([*COMMANDS.items()])


def meant_by(word: str) -> str:
    """Return the command that somebody may have meant by a word that is none."""
    from difflib import get_close_matches

    if os.path.exists(word):
        return f"piped run {word}"
    return next(iter(get_close_matches(word, COMMANDS, n=1)), "")


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
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:  # Python found it closed
            setattr(sys, name, os.fdopen(descriptor, "w" if descriptor else "r", closefd=False))


def main(arguments: list[str] | None = None) -> None:
    """Run the command line."""
    open_standard_streams()
    gc.set_threshold(50_000, 20, 50)  # a document is many objects and no cycles
    atexit.register(gc.freeze)  # nor is anything to be found when all ends
    try:
        piped(arguments, prog_name="piped")
    except OSError as error:
        if error.errno not in FULL:
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), STDOUT)  # Python still wants to print the rest
        with suppress(OSError):
            click.echo(f"error: cannot print: {os.strerror(error.errno).lower()}", err=True)
        raise SystemExit(1) from error
