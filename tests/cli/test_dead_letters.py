"""`piped dead-letters`: jobs that came to no end, looked at, queued again, dropped."""

from __future__ import annotations

import asyncio
import json
import re
import secrets
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from piped.workers.failures import Failure
from piped.workers.job_file import Job, JobFile
from piped.workers.nats.jobs import StreamStore
from piped.workers.store import Limits
from tests.cli.conftest import Invoke, Write
from tests.providers.nats.conftest import Server, connected, shared
from tests.stories.processes import free_ports

__all__ = ["shared"]

SERVICE = """\
workers:
    math: {pipelines: [sum]}
    far: {pipelines: [sum], transport: nats, connection: main}
nats: {connections: {main: {servers: "nats://127.0.0.1:4222"}}}
pipelines:
    sum: [passthrough]
"""

BOOM = Failure(
    "ValueError",
    "expected numbers\x1b[2J",
    notes=("in pipelines.sum[0].eval-lambda (service.yaml:4:7)",),
    cause=Failure("KeyError", "n"),
)
FIRST_AT, LAST_AT = 1_790_000_000.0, 1_790_003_600.0  # 2026-09-21, 14:13:20 and 15:13:20


@pytest.fixture
def file(write: Write, folder: Path) -> str:
    """The path of the jobs of a pool, in the folder of its document."""
    write(SERVICE)
    return str(folder / ".piped" / "jobs" / "math.sqlite")


@pytest.fixture
def letters(file: str) -> str:
    """A job that is dead, and a part that was set aside."""
    with closing(JobFile(Path(file))) as jobs:
        jobs.submit(Job("order-1", "sum", then="mail", journey=12345, payload=b'{"n":["1",2]}'))
        [job] = jobs.take(1, 0.0)
        jobs.bury(Job("order-1", "sum", attempts=3), BOOM)
        jobs.set_aside(Job("order-2", "sum", attempts=1, payload=b"[1]"), Failure("PartSetAside"))
        assert job.key == "order-1"
    with closing(sqlite3.connect(file)) as connection:
        times = (FIRST_AT, LAST_AT)
        connection.execute("UPDATE jobs SET submitted_at = ?, updated_at = ?", times)
        connection.commit()
    return file


def keys(file: str) -> list[str]:
    with closing(JobFile(Path(file))) as jobs:
        return [each.job.key for each in jobs.dead()]


def queued(file: str) -> list[str]:
    with closing(JobFile(Path(file))) as jobs:
        return [each.key for each in jobs.take(9, 0.0)]


@pytest.mark.usefixtures("file")
def test_without_letters_there_are_none_and_nothing_is_made(invoke: Invoke, folder: Path) -> None:
    results = [invoke("dead-letters", "math", *more) for more in ([], ["list"])]

    for result in results:
        assert (result.stdout, result.stderr, result.exit_code) == ("no dead letters\n", "", 0)
    assert [each.name for each in folder.iterdir()] == ["service.yaml"]


@pytest.mark.usefixtures("letters")
def test_a_list_has_a_line_for_each_letter(invoke: Invoke) -> None:
    result = invoke("dead-letters", "math", "list")

    assert (result.stderr, result.exit_code) == ("", 0)
    assert result.stdout == (
        "order-1  sum  3 attempts  2026-09-21T15:13:20Z  ValueError: expected numbers\\x1b[2J\n"
        "order-2  sum  set aside   2026-09-21T15:13:20Z  PartSetAside\n"
    )


@pytest.mark.usefixtures("letters")
def test_a_letter_is_shown_with_its_cause_and_its_baton(invoke: Invoke) -> None:
    result = invoke("dead-letters", "math", "show", "order-1")

    assert (result.stderr, result.exit_code) == ("", 0)
    assert result.stdout == (
        "key: order-1\n"
        "pipeline: sum\n"
        "kind: a job\n"
        "submitted: 2026-09-21T14:13:20Z\n"
        "died: 2026-09-21T15:13:20Z\n"
        "attempts: 3\n"
        "then: mail\n"
        "origin: 9ix\n"
        "error: ValueError: expected numbers\\x1b[2J\n"
        "    in pipelines.sum[0].eval-lambda (service.yaml:4:7)\n"
        "because of: KeyError: n\n"
        "payload: {\n"
        '  "n": [\n'
        '    "1",\n'
        "    2\n"
        "  ]\n"
        "}\n"
    )


@pytest.mark.usefixtures("letters")
def test_json_has_the_same(invoke: Invoke) -> None:
    every = json.loads(invoke("dead-letters", "math", "--format", "json").stdout)
    one = json.loads(invoke("dead-letters", "math", "show", "order-1", "--format=json").stdout)

    assert one == every[0] | {"payload": {"n": ["1", 2]}}
    assert every[0] == {
        "key": "order-1",
        "pipeline": "sum",
        "kind": "job",
        "submitted": "2026-09-21T14:13:20Z",
        "died": "2026-09-21T15:13:20Z",
        "attempts": 3,
        "then": "mail",
        "origin": "9ix",
        "error": {
            "type": "ValueError",
            "message": "expected numbers\x1b[2J",
            "at": "pipelines.sum[0].eval-lambda (service.yaml:4:7)",
            "cause": {"type": "KeyError", "message": "n", "at": "", "cause": None},
        },
    }
    assert [every[1]["kind"], every[1]["then"], every[1]["origin"]] == ["part", None, None]


def test_a_baton_that_cannot_be_read_is_shown_as_bytes(invoke: Invoke, file: str) -> None:
    with closing(JobFile(Path(file))) as jobs:
        jobs.set_aside(Job("a", "sum", payload=b"{"), Failure("PartSetAside"))

    result = invoke("dead-letters", "math", "show", "a", "--format", "json")

    assert json.loads(result.stdout)["payload"] == {"$repr": "b'{'"}


def test_letters_are_requeued_by_key(invoke: Invoke, letters: str) -> None:
    result = invoke("dead-letters", "math", "requeue", "order-1")

    assert (result.stdout, result.exit_code) == ("1 dead letter requeued\n", 0)
    assert (keys(letters), queued(letters)) == (["order-2"], ["order-1"])


def test_all_letters_are_requeued(invoke: Invoke, letters: str) -> None:
    result = invoke("dead-letters", "math", "requeue", "--all", "--format", "json")

    assert (result.stdout, result.exit_code) == ('{"requeued": 2}\n', 0)
    assert (keys(letters), queued(letters)) == ([], ["order-1", "order-2"])


@pytest.mark.parametrize("which", [["order-1", "order-2"], ["--all"]])
def test_letters_are_dropped(invoke: Invoke, letters: str, which: list[str]) -> None:
    result = invoke("dead-letters", "math", "drop", *which)

    assert (result.stdout, result.exit_code) == ("2 dead letters dropped\n", 0)
    assert (keys(letters), queued(letters)) == ([], [])


@pytest.mark.parametrize("action", ["show", "requeue", "drop"])
def test_an_unknown_key_changes_nothing(invoke: Invoke, letters: str, action: str) -> None:
    result = invoke("dead-letters", "math", action, "order-3")

    assert (result.stdout, result.exit_code) == ("", 1)
    assert result.stderr == (
        "error: there is no dead letter 'order-3' "
        "(did you mean 'order-2'? known: order-1, order-2)\n"
    )
    assert keys(letters) == ["order-1", "order-2"]


@pytest.mark.usefixtures("letters")
def test_another_document_may_be_named(invoke: Invoke, write: Write, folder: Path) -> None:
    write(SERVICE, "other/shop.yaml")

    result = invoke("dead-letters", "math", "list", "-c", "other/shop.yaml")

    assert (result.stdout, result.exit_code) == ("no dead letters\n", 0)


@pytest.mark.usefixtures("file")
def test_an_unknown_pool_is_told(invoke: Invoke) -> None:
    result = invoke("dead-letters", "mth", "list")

    assert (result.stdout, result.exit_code) == ("", 1)
    assert result.stderr == (
        "error: 'service.yaml' has no pool 'mth' (did you mean 'math'? known: far, math)\n"
    )


@pytest.mark.usefixtures("folder")
def test_a_document_that_is_away_is_told(invoke: Invoke) -> None:
    result = invoke("dead-letters", "math")

    assert (result.stdout, result.exit_code) == ("", 1)
    assert "error[missing-file]" in result.stderr
    assert result.stderr.endswith("error: 'service.yaml' has no pool 'math' (known: none)\n")


@pytest.mark.usefixtures("letters")
def test_what_else_is_wrong_in_the_document_does_not_matter(invoke: Invoke, write: Write) -> None:
    write(f"{SERVICE}    broken: [pasthrough]\n")

    result = invoke("dead-letters", "math", "show", "order-2")

    assert (result.stderr, result.exit_code) == ("", 0)
    assert "kind: a part of a request, set aside\n" in result.stdout


def test_a_file_that_is_broken_is_told(invoke: Invoke, file: str) -> None:
    Path(file).parent.mkdir(parents=True)
    Path(file).write_text("no database " * 100)

    result = invoke("dead-letters", "math")

    assert (result.stdout, result.exit_code) == ("", 1)
    assert re.fullmatch(
        "error: '.*/math.sqlite' cannot be read: file is not a database: "
        "move it away, or restore it\n",
        result.stderr,
    )


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["show"], "expected one key to show, got 0"),
        (["show", "a", "b"], "expected one key to show, got 2"),
        (["show", "--all"], "'show' takes no --all"),
        (["list", "a"], "'list' takes no keys: 'show' does"),
        (["list", "--all"], "'list' takes no --all"),
        (["requeue"], "name what to requeue: keys, or --all"),
        (["drop"], "name what to drop: keys, or --all"),
        (["drop", "a", "--all"], "name keys or --all, not both"),
        (["lst"], "Invalid value for '[list|show|requeue|drop]': 'lst' is not one of 'list', "),
    ],
)
def test_wrong_usage_is_told(invoke: Invoke, arguments: list[str], told: str) -> None:
    result = invoke("dead-letters", "math", *arguments)

    assert (result.stdout, result.exit_code) == ("", 2)
    assert f"Error: {told}" in result.stderr


@pytest.fixture
def over_nats(write: Write, shared: Server) -> str:
    """A pool over NATS, with a job that is dead and a part that was set aside."""
    name = f"test-{secrets.token_hex(6)}"
    write(f"""\
workers: {{{name}: {{pipelines: [sum], transport: nats}}}}
nats: {{connections: {{main: {{servers: "{shared.url}"}}}}}}
pipelines:
    sum: [passthrough]
""")

    async def bury() -> None:
        async with connected(shared) as connection:
            store = StreamStore(connection, name, 1, Limits(size_bytes=1 << 20))
            await store.submit(Job("order-1", "sum", then="mail", journey=12345, payload=b"[1]"))
            [job] = await store.take(1)
            await store.bury(replace(job, attempts=3), BOOM)
            await store.set_aside(Job("order-2", "sum", attempts=1), Failure("PartSetAside"))

    asyncio.run(bury())
    return name


def errors(text: str) -> list[str]:
    """Return the lines of errors, without those of the log, which has a thread of its own."""
    return [line for line in text.splitlines() if line.startswith("error: ")]


def test_over_nats_the_letters_are_those_of_the_server(
    invoke: Invoke, over_nats: str, folder: Path
) -> None:
    def said(*arguments: str) -> str:
        result = invoke("dead-letters", over_nats, *arguments)
        assert result.exit_code == 0, result.stderr
        return result.stdout

    assert [line.split()[:3] for line in said("list").splitlines()] == [
        ["order-1", "sum", "3"],
        ["order-2", "sum", "set"],
    ]
    assert json.loads(said("show", "order-1", "--format=json"))["payload"] == [1]
    assert said("requeue", "order-1") == "1 dead letter requeued\n"
    assert said("drop", "--all") == "1 dead letter dropped\n"
    assert said() == "no dead letters\n"
    assert [each.name for each in folder.iterdir()] == ["service.yaml"]


def test_over_nats_an_unknown_letter_and_a_server_that_is_away_are_told(
    invoke: Invoke, over_nats: str
) -> None:
    [port] = free_ports(1)
    away = f"nats.connections.main.servers:nats://127.0.0.1:{port}"

    unknown = invoke("dead-letters", over_nats, "drop", "order-3")
    refused = invoke("dead-letters", over_nats, "-O", away)

    [told] = errors(unknown.stderr)
    assert told == (
        "error: there is no dead letter 'order-3' (did you mean 'order-2'? known: order-1, order-2)"
    )
    assert errors(refused.stderr)[0].startswith("error: 'nats.main' cannot connect: ")
    assert (unknown.exit_code, refused.exit_code) == (1, 1)


def test_a_pool_whose_connection_is_not_there_is_told(invoke: Invoke, write: Write) -> None:
    write("""\
workers: {far: {pipelines: [sum], transport: nats, connection: moon}}
pipelines:
    sum: [passthrough]
""")

    result = invoke("dead-letters", "far")

    assert errors(result.stderr)[-1] == (
        "error: 'service.yaml' has no connection 'moon', which pool 'far' needs"
    )
    assert result.exit_code == 1
