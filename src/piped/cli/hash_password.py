"""`piped hash-password`: what a document says in place of a password."""

from __future__ import annotations

import sys

import click


@click.command("hash-password")
def command() -> None:
    """Ask for a password, and print its hash for 'basic' of a route's 'auth'.

    The password is never shown. Where no terminal is, it is the first line of what comes in.
    """
    from piped.providers.web.passwords import LONGEST, hashed

    if sys.stdin.isatty():
        password = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    else:
        password = sys.stdin.readline().removesuffix("\n").removesuffix("\r")
    if not password:
        raise click.UsageError("expected a password, got nothing")
    if len(password) > LONGEST:
        raise click.UsageError(f"expected at most {LONGEST} signs, got {len(password)}")
    click.echo(hashed(password))
