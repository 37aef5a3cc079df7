"""`piped dead-letters`: jobs that came to no end, looked at, queued again, dropped."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias

import click

from piped.app import blueprint_of
from piped.cli.call import jsonable
from piped.cli.list import aligned
from piped.cli.options import EXIT_FAILED, FILE, overrides, set_up_logs, show_problems
from piped.engine.journey import journey_text
from piped.errors import BatonError, Level, PipedError, suggest, visible
from piped.spec import Provider
from piped.workers.crossing import Crossing
from piped.workers.errors import Garbled
from piped.workers.failures import Failure
from piped.workers.store import JobStore, Letter, open_dead_letters

ACTIONS: Final = ("list", "show", "requeue", "drop")
DOCUMENT: Final = "service.yaml"
PREFIX: Final = "workers."

Keys: TypeAlias = Sequence[str] | None
"""The keys of letters; None stands for all of them."""


class Refused(PipedError):
    """Raised when a command cannot be obeyed."""


@click.command("dead-letters")
@click.argument("pool")
@click.argument("action", default="list", type=click.Choice(ACTIONS))
@click.argument("keys", nargs=-1, metavar="[KEY]...")
@click.option(
    "-c",
    "--conf",
    "file",
    metavar="FILE",
    type=FILE,
    default=DOCUMENT,
    show_default=True,
    help="The document that has the pool.",
)
@click.option("--all", "is_all", is_flag=True, help="Requeue or drop every dead letter.")
@click.option(
    "--format", "form", type=click.Choice(["text", "json"]), default="text", help="How to print."
)
@overrides
def command(
    pool: str,
    action: str,
    keys: tuple[str, ...],
    file: str,
    is_all: bool,
    form: str,
    override: tuple[str, ...],
) -> None:
    """List, show, requeue or drop the dead letters of a pool.

    They are jobs that failed as often as they may, and parts that killed their workers. One that is
    requeued is a job again, as if it were new; one that is dropped is gone for good. It does not
    matter whether the service runs: it notices within a second.

    Letters hold the batons as they were submitted: what is personal in them is shown.
    """
    if is_all and keys:
        raise click.UsageError("name keys or --all, not both")
    chosen = None if is_all else keys
    fail_if_misused(action, chosen)
    set_up_logs()
    try:
        found = pool_of(file, override, pool)
        click.echo(asyncio.run(done(*found, action, chosen, form == "json")))
    except PipedError as error:
        click.echo(f"error: {visible(str(error))}", err=True)
        raise SystemExit(EXIT_FAILED) from error


def fail_if_misused(action: str, keys: Keys) -> None:
    """Fail where the keys do not fit what is to be done."""
    if action in ("requeue", "drop"):
        if keys is not None and not keys:
            raise click.UsageError(f"name what to {action}: keys, or --all")
    elif keys is None:
        raise click.UsageError(f"'{action}' takes no --all")
    elif action == "show" and len(keys) != 1:
        raise click.UsageError(f"expected one key to show, got {len(keys)}")
    elif action == "list" and keys:
        raise click.UsageError("'list' takes no keys: 'show' does")


def pool_of(file: str, override: Sequence[str], name: str) -> tuple[Any, Provider | None]:
    """Return a pool of a document, and its connection to NATS if that carries it.

    What else is wrong in the document does not matter.

    Raises:
        Refused: It has no such pool, or not its connection.
    """
    blueprint = blueprint_of(file, override, may_import=False)
    offers = blueprint.offers()
    pools: dict[str, Any] = {
        key.removeprefix(PREFIX): unit for key, unit in offers.items() if key.startswith(PREFIX)
    }
    if name not in pools:
        show_problems(blueprint.errors, down_to=Level.ERROR)
        raise Refused(f"'{file}' has no pool '{name}' ({suggest(name, pools)})")
    pool = pools[name]
    if pool.carrier != "nats":
        return pool, None
    if (connection := offers.get(f"nats.{pool.connection}")) is None:
        show_problems(blueprint.errors, down_to=Level.ERROR)
        raise Refused(f"'{file}' has no connection '{pool.connection}', which pool '{name}' needs")
    return pool, connection


CHANGES: Final[dict[str, tuple[str, Callable[[JobStore, Keys], Awaitable[int]]]]] = {
    "requeue": ("requeued", lambda letters, keys: letters.requeue(keys)),
    "drop": ("dropped", lambda letters, keys: letters.drop(keys)),
}


async def done(
    pool: Any, connection: Provider | None, action: str, keys: Keys, is_json: bool
) -> str:
    """Do what is asked, and return what to print."""
    async with open_dead_letters(pool, connection) as letters:
        if action == "list":
            found = await letters.dead()
            return as_json([summary(each) for each in found]) if is_json else table(found)
        if action == "show":
            letter = await letters.show((keys or [""])[0])
            return as_json(whole(letter)) if is_json else page(letter)
        what, change = CHANGES[action]
        count = await change(letters, keys)
    if is_json:
        return as_json({what: count})
    return f"{count} dead letter{'' if count == 1 else 's'} {what}"


def table(letters: Sequence[Letter]) -> str:
    """Return a line for each letter."""
    lines: list[tuple[str, ...]] = [
        (each.job.key, each.job.pipeline, times(each), when(each.died_at), said(each.failure))
        for each in letters
    ]
    return "\n".join(aligned(lines)) if lines else "no dead letters"


def page(letter: Letter) -> str:
    """Return all that is known of a letter."""
    job = letter.job
    facts = {
        "key": job.key,
        "pipeline": job.pipeline,
        "kind": "a job" if letter.kind == "job" else "a part of a request, set aside",
        "submitted": when(letter.submitted_at),
        "died": when(letter.died_at),
        "attempts": str(job.attempts),
        "then": job.then,
        "origin": journey_text(job.journey) if job.journey else "",
    }
    lines = [f"{name}: {visible(text)}" for name, text in facts.items() if text]
    payload = json.dumps(jsonable(value_of(letter)), indent=2)
    return "\n".join([*lines, *causes(letter.failure), f"payload: {payload}"])


def causes(failure: Failure) -> Iterator[str]:
    """Yield the lines that tell of a failure, of where it was, and of what led to it."""
    lead, ahead = "error", failure
    while True:
        yield f"{lead}: {said(ahead)}"
        yield from (f"    {visible(note)}" for note in ahead.notes)
        if ahead.cause is None:
            return
        lead, ahead = "because of", ahead.cause


def summary(letter: Letter) -> dict[str, Any]:
    """Return what a list says of a letter, as JSON can."""
    job = letter.job
    return {
        "key": job.key,
        "pipeline": job.pipeline,
        "kind": letter.kind,
        "submitted": when(letter.submitted_at),
        "died": when(letter.died_at),
        "attempts": job.attempts,
        "then": job.then or None,
        "origin": journey_text(job.journey) if job.journey else None,
        "error": told(letter.failure),
    }


def whole(letter: Letter) -> dict[str, Any]:
    """Return all that is known of a letter, as JSON can."""
    return summary(letter) | {"payload": jsonable(value_of(letter))}


def told(failure: Failure | None) -> dict[str, Any] | None:
    """Return a failure in the form of the letters that ``dead-letter`` writes."""
    if failure is None:
        return None
    what = {"type": failure.type_name, "message": failure.message, "at": failure.place}
    return what | {"cause": told(failure.cause)}


def value_of(letter: Letter) -> Any:
    """Return the baton of a letter; of one that cannot be read, its bytes."""
    try:
        return Crossing(letter.job.format).decode(letter.job.payload)
    except (BatonError, Garbled, KeyError):
        return letter.job.payload


def as_json(value: Any) -> str:
    return json.dumps(value)


def times(letter: Letter) -> str:
    if letter.kind == "part":
        return "set aside"
    return "1 attempt" if letter.job.attempts == 1 else f"{letter.job.attempts} attempts"


def when(seconds: float) -> str:
    """Return a time in UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def said(failure: Failure) -> str:
    """Return a failure on one line."""
    return visible(str(failure))
