"""What keeps jobs and dead letters, one behaviour over a file and over JetStream."""

from __future__ import annotations

import asyncio
import secrets
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from piped.errors import BatonError, QueueFull
from piped.workers.failures import Failure
from piped.workers.nats.jobs import StreamStore
from piped.workers.store import (
    FileStore,
    Job,
    JobStore,
    Letter,
    Limits,
    UnknownLetter,
    fail_if_unfit,
    open_dead_letters,
    path_of,
)
from tests.providers.nats.conftest import Server, connected, shared
from tests.workers.conftest import until_taken

__all__ = ["shared"]

pytestmark = pytest.mark.anyio

BOOM = Failure("ValueError", "boom", cause=Failure("OSError", "no disk"))

Open: TypeAlias = Callable[..., Awaitable[JobStore]]


@dataclass
class Pool:
    folder: str
    name: str = "math"


def job(key: str, **more: Any) -> Job:
    return Job(key, "sum", **{"payload": b"[1]", **more})


def keys(found: list[Job] | list[Letter]) -> list[str]:
    return [each.key if isinstance(each, Job) else each.job.key for each in found]


@pytest.fixture(params=["file", "nats"])
async def opened(
    request: pytest.FixtureRequest, tmp_path: Path, anyio_backend: Any
) -> AsyncIterator[Open]:
    """Open what keeps the jobs of one pool, as often as one likes: once for each process."""
    name, stack = f"test-{secrets.token_hex(6)}", AsyncExitStack()
    made: list[JobStore] = []

    async def opened(**limits: int) -> JobStore:
        if request.param == "file":
            store: JobStore = FileStore(tmp_path / "jobs.sqlite", Limits(**limits))
        else:
            server: Server = request.getfixturevalue("shared")
            connection = await stack.enter_async_context(connected(server))
            store = StreamStore(connection, name, 1, Limits(**{"size_bytes": 1 << 20, **limits}))
        made.append(store)
        return store

    async with stack:
        yield opened
        for each in made:
            with suppress(RuntimeError):  # it is closed already
                await each.close()


async def coming(store: JobStore, count: int) -> list[tuple[str, int]]:
    """Take jobs until there are so many, and return their keys and attempts, and no others."""
    found = await until_taken(store, count)
    return sorted((each.key, each.attempts) for each in [*found, *await store.take(9)])


async def dead(store: JobStore, *keys: str) -> None:
    """Make dead letters."""
    for key in keys:
        await store.submit(job(key))
        [taken] = await store.take(1)
        await store.bury(taken, BOOM)


async def test_the_oldest_jobs_are_begun_first(opened: Open) -> None:
    store = await opened()
    for key in ("c", "a", "b"):
        await store.submit(job(key, format="msgpack", then="web.done", journey=2**62))

    found = await store.take(2)

    assert sorted(found, key=lambda each: each.key) == [
        Job(key, "sum", "msgpack", "web.done", 2**62, attempts=1, payload=b"[1]")
        for key in ("a", "c")
    ]
    assert keys(await store.take(2)) == ["b"]
    assert await store.take(2) == []


async def test_the_same_key_is_one_job_while_it_is_known(opened: Open) -> None:
    store = await opened(jobs=1)

    assert await store.submit(job("a/é *.>"))
    assert not await store.submit(job("a/é *.>"))
    await store.take(1)
    assert not await store.submit(job("a/é *.>"))
    await store.done("a/é *.>")
    assert not await store.submit(job("a/é *.>"))


async def test_a_job_that_has_failed_waits_and_counts(opened: Open) -> None:
    store = await opened()
    for key in ("a", "b"):
        await store.submit(job(key))
    await store.take(2)

    await store.failed("a", BOOM, 0.0)
    await store.failed("b", BOOM, 3600.0)

    assert await coming(store, 1) == [("a", 2)]


async def test_a_job_that_nobody_has_begun_does_not_count(opened: Open) -> None:
    store = await opened()
    for key in ("a", "b"):
        await store.submit(job(key))
    await store.take(2)

    await store.later("a", 0.0)
    await store.later("b", 3600.0)

    assert await coming(store, 1) == [("a", 1)]


async def test_a_buried_job_is_a_letter(opened: Open) -> None:
    store = await opened()
    await dead(store, "a", "b")

    found = await store.dead()
    letter = await store.show("a")

    assert keys(found) == ["a", "b"]
    assert found[0].job.payload == b""
    assert (letter.kind, letter.failure, letter.job.payload) == ("job", BOOM, b"[1]")
    assert letter.job.attempts == 1
    assert letter.submitted_at <= letter.died_at
    assert not await store.submit(job("a"))
    assert await store.take(9) == []


async def test_a_requeued_letter_is_like_a_new_job(opened: Open) -> None:
    store, people = await opened(), await opened()
    await dead(store, "a", "b", "c")

    assert await people.requeue(["a", "c", "a"]) == 2
    found = await store.take(9)

    assert sorted((each.key, each.attempts) for each in found) == [("a", 1), ("c", 1)]
    assert await people.requeue(None) == 1
    assert await people.dead() == []
    await store.done("a")
    assert not await store.submit(job("a"))


async def test_a_dropped_letter_is_gone_and_its_key_is_new(opened: Open) -> None:
    store = await opened()
    await dead(store, "a", "b", "c")

    assert (await store.drop(["a"]), await store.drop(None)) == (1, 2)

    assert await store.dead() == []
    assert await store.submit(job("a"))
    assert [(each.key, each.attempts) for each in await store.take(9)] == [("a", 1)]


@pytest.mark.parametrize("act", ["requeue", "drop"])
async def test_an_unknown_key_changes_nothing(opened: Open, act: str) -> None:
    store = await opened()
    await dead(store, "order-1", "order-2")

    with pytest.raises(UnknownLetter) as caught:
        await getattr(store, act)(["order-1", "order-22"])

    assert str(caught.value) == (
        "there is no dead letter 'order-22' (did you mean 'order-2'? known: order-1, order-2)"
    )
    assert keys(await store.dead()) == ["order-1", "order-2"]


async def test_where_there_was_no_job_there_is_nothing(opened: Open) -> None:
    store = await opened()

    assert (await store.dead(), await store.take(1)) == ([], [])
    assert (await store.drop(None), await store.requeue(None)) == (0, 0)
    with pytest.raises(UnknownLetter) as caught:
        await store.show("a")
    assert str(caught.value) == "there is no dead letter 'a' (known: none)"


async def test_parts_that_were_set_aside_are_bounded(opened: Open) -> None:
    store = await opened(parts=2)

    dropped = [await store.set_aside(job(key, attempts=1), BOOM) for key in ("a", "b", "c", "c")]

    assert dropped == [0, 0, 1, 0]
    assert [(each.job.key, each.kind) for each in await store.dead()] == [
        ("b", "part"),
        ("c", "part"),
    ]
    assert await store.requeue(["b"]) == 1
    assert [(each.key, each.attempts) for each in await store.take(9)] == [("b", 1)]


async def test_a_job_is_no_part_besides(opened: Open) -> None:
    store = await opened()
    for key in ("a", "b"):
        await store.submit(job(key))
    [a] = await store.take(1)
    await store.bury(a, BOOM)

    for key in ("a", "b"):
        await store.set_aside(job(key), BOOM)

    assert [(each.job.key, each.kind) for each in await store.dead()] == [("a", "job")]


async def test_beyond_its_limits_a_job_is_refused(opened: Open) -> None:
    store = await opened(jobs=1, dead=1)
    await store.submit(job("a"))

    with pytest.raises(QueueFull) as queued:
        await store.submit(job("b"))
    [taken] = await store.take(1)
    await store.bury(taken, BOOM)
    with pytest.raises(QueueFull) as buried:
        await store.submit(job("b"))

    assert str(queued.value) == "1 jobs are queued already"
    assert str(buried.value) == "1 dead letters are kept already: requeue or drop some"


async def test_what_a_process_has_not_done_another_one_begins_again(opened: Open) -> None:
    first, second = await opened(), await opened()
    for key in ("a", "b", "c"):
        await first.submit(job(key))
    taken = {each.key for each in await first.take(2)}
    await first.close()

    assert taken == {"a", "b"}
    assert await coming(second, 3) == [("a", 2), ("b", 2), ("c", 1)]


async def test_what_is_stored_is_found_by_whoever_looks_meanwhile(tmp_path: Path) -> None:
    pool = Pool(str(tmp_path))
    store = FileStore(path_of(pool))
    await dead(store, "a")

    async with open_dead_letters(pool, None) as letters:
        [letter] = await letters.dead()
        requeued = await letters.requeue(["a"])

    assert (letter.job.key, letter.failure, requeued) == ("a", BOOM, 1)
    assert [(each.key, each.attempts) for each in await store.take(1)] == [("a", 1)]
    await store.close()


async def test_the_loop_turns_while_another_process_keeps_the_file(tmp_path: Path) -> None:
    store = FileStore(tmp_path / "jobs.sqlite")
    await store.submit(Job("a", "sum"))

    with closing(sqlite3.connect(tmp_path / "jobs.sqlite", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        submitting = asyncio.ensure_future(store.submit(Job("b", "sum")))
        done, _ = await asyncio.wait({submitting}, timeout=0.05)
        other.execute("COMMIT")

    assert not done
    assert await submitting
    await store.close()


@pytest.mark.parametrize(
    ("name", "file"), [("math", "math.sqlite"), ("a/b", "a%2Fb.sqlite"), ("..", "...sqlite")]
)
def test_each_pool_has_its_file_beside_the_document(name: str, file: str) -> None:
    assert path_of(Pool("/srv/shop", name)) == Path("/srv/shop/.piped/jobs", file)


@pytest.mark.parametrize(
    ("job", "told"),
    [
        (Job("a", "sum", payload=bytes((4 << 20) + 1)), "payload of at most 4194304 bytes, got "),
        (Job("a" * 257, "sum"), "key of at most 256 signs, got 257"),
        (Job("a\nb", "sum"), "key of printable signs, got 'a\\nb'"),
        (Job("\ud800", "sum"), "key of printable signs, got '\\ud800'"),
    ],
)
def test_what_cannot_be_kept_is_refused(job: Job, told: str) -> None:
    with pytest.raises(BatonError) as caught:
        fail_if_unfit(job)

    assert str(caught.value).startswith(f"expected a {told}")
