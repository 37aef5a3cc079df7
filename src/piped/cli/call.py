"""`piped call`: one pipeline, once, its results as JSON on standard output."""

from __future__ import annotations

import contextlib
import json
import math
import sys
from typing import Any

import click
import msgspec

from piped.app import Service
from piped.cli._words import pipelines_of_the_file
from piped.cli.options import EXIT_FAILED, FILE, new_runner, overrides, set_up_logs, show_problems
from piped.engine import journey, new_journey
from piped.errors import ConfigError, unwrapped


@click.command("call", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("file", type=FILE)
@click.argument("pipeline", shell_complete=pipelines_of_the_file)
@click.argument("baton", default="{}")
@click.option("-v", "--verbose", is_flag=True, help="Log at level DEBUG.")
@overrides
def command(file: str, pipeline: str, baton: str, verbose: bool, override: tuple[str, ...]) -> None:
    """Run one pipeline once with a baton (JSON, or '-' for standard input).

    Prints the JSON list of its sinks' results; what JSON cannot say is {"$repr": ...}. Only the
    pipeline and what it needs is built: problems elsewhere in the document do not matter.
    """
    set_up_logs(verbose=verbose)
    given = read_baton(baton)
    name = pipeline.removeprefix("pipeline.")
    output = sys.stdout
    with contextlib.redirect_stdout(sys.stderr), new_runner() as runner:
        try:
            service = Service.load(file, override, only=[name])
            results = runner.run(call(service, name, given))
        except ConfigError as error:
            show_problems(error.problems)
            raise SystemExit(EXIT_FAILED) from error
        except Exception as error:  # told to the user, whatever it is
            tell(error)
            raise SystemExit(EXIT_FAILED) from error
    click.echo(json.dumps(jsonable(results)), file=output)
    raise SystemExit(service.exit_code)


async def call(service: Service, name: str, baton: Any) -> list[Any]:
    """Start what the pipeline needs, run it, and close all again."""
    async with service:
        journey.set(new_journey())
        return await service.call(name, baton)


def read_baton(text: str) -> Any:
    """Return the baton that the command line gives."""
    try:
        given = sys.stdin.buffer.read() if text == "-" else text.encode()
        return msgspec.json.decode(given)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise click.UsageError(f"the baton is no JSON: {error}") from error


def tell(error: BaseException) -> None:
    """Print an error, its causes and where in the document they were raised."""
    seen: set[int] = set()
    ahead = [("error", error)]
    while ahead:
        lead, each = ahead.pop()
        each = unwrapped(each)
        if id(each) in seen:
            continue
        seen.add(id(each))
        click.echo(f"{lead}: {type(each).__name__}: {each}", err=True)
        for note in getattr(each, "__notes__", ()):
            click.echo(f"    {note}", err=True)
        ahead += [("because of", cause) for cause in reversed(causes(each))]


def causes(error: BaseException) -> list[BaseException]:
    """Return the errors in a group, and the one that led to an error."""
    found = list(error.exceptions) if isinstance(error, BaseExceptionGroup) else []
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return [*found, cause] if cause is not None else found


def jsonable(value: Any, inside: frozenset[int] = frozenset()) -> Any:
    """Return what JSON can say of a value; the rest as ``{"$repr": ...}``."""
    if value is None or value.__class__ in (bool, str):
        return value
    if value.__class__ is int and value.bit_length() < 14_000:  # Python prints 4300 digits
        return value
    if value.__class__ is float and math.isfinite(value):
        return value
    if id(value) not in inside and len(inside) < 100:
        inside = inside | {id(value)}
        if isinstance(value, dict):
            return {key_text(key): jsonable(each, inside) for key, each in value.items()}
        if isinstance(value, list | tuple):
            return [jsonable(each, inside) for each in value]
        if isinstance(value, str):
            return str(value)
    return {"$repr": shown(value)}


def key_text(key: Any) -> str:
    """Return the text that stands for a key, since JSON knows no others."""
    if isinstance(key, str):
        return str(key)
    return json.dumps(key) if key is None or isinstance(key, bool) else shown(key)


def shown(value: Any) -> str:
    """Return the ``repr`` of anything, even of what has a broken one."""
    try:
        return repr(value)
    except Exception as error:
        return f"<{type(value).__name__}: {type(error).__name__} in its repr>"
