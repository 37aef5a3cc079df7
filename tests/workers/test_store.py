"""Where jobs and dead letters are kept, and that the event loop does not wait for the disk."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from piped.errors import BatonError
from piped.workers.failures import Failure
from piped.workers.store import Job, JobStore, fail_if_unfit, open_dead_letters, path_of

pytestmark = pytest.mark.anyio

BOOM = Failure("ValueError", "boom")


@dataclass
class Pool:
    folder: str
    name: str = "math"


async def test_what_is_stored_is_found_by_whoever_looks_meanwhile(tmp_path: Path) -> None:
    pool = Pool(str(tmp_path))
    store = JobStore(path_of(pool))
    await store.submit(Job("a", "sum", payload=b"[1]"))
    [job] = await store.take(1)
    await store.bury(job, BOOM)

    async with open_dead_letters(pool) as letters:
        [letter] = await letters.dead()
        shown = await letters.show("a")
        requeued = await letters.requeue(["a"])

    assert (letter.job.key, letter.failure) == ("a", BOOM)
    assert (shown.job.payload, requeued) == (b"[1]", 1)
    assert [(each.key, each.attempts) for each in await store.take(1)] == [("a", 1)]
    await store.close()


async def test_times_are_of_the_clock_of_the_loop(tmp_path: Path) -> None:
    store = JobStore(tmp_path / "jobs.sqlite")
    for key in ("a", "b"):
        await store.submit(Job(key, "sum"))
    await store.take(2)

    await store.failed("a", BOOM, -0.001)
    await store.later("b", 1000.0)

    assert [each.key for each in await store.take(2)] == ["a"]
    await store.done("a")
    assert not await store.submit(Job("a", "sum"))
    await store.close()


async def test_parts_are_kept_and_dropped(tmp_path: Path) -> None:
    store = JobStore(tmp_path / "jobs.sqlite")

    await store.set_aside(Job("a", "sum"), BOOM)

    assert [each.kind for each in await store.dead()] == ["part"]
    assert (await store.show("a")).kind == "part"
    assert await store.drop(None) == 1
    await store.close()


async def test_the_loop_turns_while_another_process_keeps_the_file(tmp_path: Path) -> None:
    store = JobStore(tmp_path / "jobs.sqlite")
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
