"""`piped completion`: a script by which a shell completes what is typed behind `piped`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import click
from click.shell_completion import get_completion_class

SHELLS: Final = ("bash", "zsh", "fish")
VARIABLE: Final = "_PIPED_COMPLETE"  # by which the script asks


@click.command("completion")
@click.argument("shell", required=False, type=click.Choice(SHELLS))
@click.pass_context
def command(context: click.Context, shell: str | None) -> None:
    """Print the script that completes commands, options, files, pipelines and components.

    Without a name: for the shell in $SHELL. Write it once into a file that your shell reads, and
    open a new one. That file is, for bash, ~/.local/share/bash-completion/completions/piped; for
    zsh, _piped in a folder of its fpath; for fish, ~/.config/fish/completions/piped.fish.
    """
    name = shell or Path(os.environ.get("SHELL", "")).name
    found = get_completion_class(name) if name in SHELLS else None
    if found is None:
        what = f"no script for {name!r}" if name else "the variable SHELL is not set"
        raise click.UsageError(f"{what}: name one of {', '.join(SHELLS)}")
    click.echo(found(context.find_root().command, {}, "piped", VARIABLE).source(), nl=False)
