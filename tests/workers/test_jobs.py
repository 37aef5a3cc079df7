"""Jobs: run at least once, begun at most so often, and never lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from piped.engine.journey import journey
from piped.errors import BatonError, QueueFull
from piped.workers.errors import AttemptsUsed, NeverRan, NoWorkers, PartSetAside, RemoteError
from piped.workers.job_file import JobFile
from piped.workers.jobs import Jobs
from piped.workers.parts import Part
from piped.workers.store import FileStore, Job, Limits, NotStored
from tests.conftest import Clock

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend(movable_loop: tuple[str, dict[str, Any]]) -> tuple[str, dict[str, Any]]:
    return movable_loop


class Front:
    """Gives the answers it was told to, one a call; the last one goes for all that follow."""

    name = "math"
    is_served = True

    def __init__(self) -> None:
        self.answers: list[Any] = [[7]]
        self.calls: list[tuple[str, Any, str, int]] = []
        self.futures: list[asyncio.Future[list[Any]]] = []
        self.came: asyncio.Queue[str] = asyncio.Queue()

    def call(self, pipeline: str, value: Any, *, key: str) -> asyncio.Future[list[Any]]:
        self.calls.append((pipeline, value, key, journey.get()))
        self.came.put_nowait(key)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, NoWorkers | QueueFull):
            raise answer
        future: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
        self.futures.append(future)
        if isinstance(answer, Exception):
            future.set_exception(answer)
        elif answer is not None:
            future.set_result(answer)
        return future


def part(key: str) -> Part:
    caller: Any = None
    made = Part(b"", "sum", b"1", 2.0, caller, 0.0)
    made.key = key
    return made


class Pipelines:
    """Keeps what ``then`` pipelines get."""

    def __init__(self) -> None:
        self.batons: list[tuple[str, Any]] = []
        self.errors: list[Exception] = []

    async def __call__(self, name: str, baton: Any) -> None:
        if self.errors:
            raise self.errors.pop(0)
        self.batons.append((name, baton))


class Pool:
    """A pool with its front, its pipelines and the file of its jobs."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "jobs" / "math.sqlite"
        self.front = Front()
        self.pipelines = Pipelines()

    @asynccontextmanager
    async def jobs(self, limits: Limits | None = None, **more: Any) -> AsyncIterator[Jobs]:
        store = FileStore(self.path, limits)
        given = {"jitter": lambda _low, high: high, "drain_s": 0.0, **more}
        jobs = Jobs(self.front, store, self.pipelines, **given)
        async with jobs.run():
            yield jobs

    async def letters(self) -> list[tuple[str, int, str]]:
        store = FileStore(self.path)
        found = await store.dead()
        await store.close()
        return [
            (each.job.key, each.job.attempts, f"{each.failure.type_name}: {each.failure.message}")
            for each in found
        ]


@pytest.fixture
def pool(tmp_path: Path) -> Pool:
    return Pool(tmp_path)


async def until(is_so: Callable[[], bool]) -> None:
    """Turn the loop until something is so: the disk has a thread, and time of its own."""
    async with asyncio.timeout(10_000):
        while not is_so():
            await asyncio.to_thread(lambda: None)


async def passing(clock: Clock, is_so: Callable[[], bool]) -> None:
    """Move the clock, a poll at a time, until something is so."""
    async with asyncio.timeout(10_000):
        while not is_so():
            await clock.advance(1.1)
            await asyncio.to_thread(lambda: None)


async def test_a_job_is_run_under_its_key_and_in_its_journey(pool: Pool) -> None:
    journey.set(77)

    async with pool.jobs() as jobs:
        key = await jobs.submit("sum", [3, 4])
        await until(lambda: jobs.counters.done == 1)

    assert pool.front.calls == [("sum", [3, 4], key, 77)]
    assert len(key) == 32
    assert pool.pipelines.batons == []
    assert await pool.letters() == []


async def test_what_came_of_it_goes_to_another_pipeline(pool: Pool) -> None:
    async with pool.jobs(format="msgpack") as jobs:
        await jobs.submit("sum", b"34", key="order-1", then="web.done")
        await until(lambda: jobs.counters.done == 1)

    answer = {"key": "order-1", "pipeline": "sum", "result": 7}
    assert pool.front.calls[0][:3] == ("sum", b"34", "order-1")
    assert pool.pipelines.batons == [("web.done", answer)]


async def test_the_same_key_twice_is_one_job(pool: Pool) -> None:
    async with pool.jobs() as jobs:
        keys = [await jobs.submit("sum", 1, key="a") for _ in range(2)]
        await until(lambda: jobs.counters.done == 1)
        keys.append(await jobs.submit("sum", 1, key="a"))

    assert keys == ["a", "a", "a"]
    assert (jobs.counters.submitted, jobs.counters.known, len(pool.front.calls)) == (1, 2, 1)


async def test_a_job_that_fails_is_tried_again_later_and_then_dead(
    pool: Pool, clock: Clock
) -> None:
    pool.front.answers = [ValueError("boom")]

    async with pool.jobs(attempts=3) as jobs:
        await jobs.submit("sum", 1, key="a")
        await until(lambda: jobs.counters.failed == 1 and not jobs.running)
        await clock.advance(0.2)
        assert len(pool.front.calls) == 1
        await passing(clock, lambda: jobs.counters.failed == 2)
        await passing(clock, lambda: jobs.counters.buried == 1 and not jobs.running)

    assert len(pool.front.calls) == 3
    assert await pool.letters() == [("a", 3, "ValueError: boom")]


async def test_a_pipeline_that_fails_with_the_result_is_a_failure_of_the_job(
    pool: Pool, clock: Clock
) -> None:
    pool.pipelines.errors = [OSError("no mail")]

    async with pool.jobs() as jobs:
        await jobs.submit("sum", 1, then="mail")
        await until(lambda: jobs.counters.failed == 1 and not jobs.running)
        await passing(clock, lambda: jobs.counters.done == 1)

    assert (len(pool.front.calls), len(pool.pipelines.batons)) == (2, 1)


@pytest.mark.parametrize("error", [NoWorkers("none"), QueueFull("full"), NeverRan("none")])
async def test_what_no_worker_has_begun_does_not_count(
    pool: Pool, clock: Clock, error: Exception
) -> None:
    pool.front.answers = [error, error, [7]]

    async with pool.jobs(attempts=1) as jobs:
        await jobs.submit("sum", 1)
        await passing(clock, lambda: jobs.counters.done == 1)

    assert jobs.counters.delayed == 2
    assert (jobs.counters.failed, jobs.counters.buried) == (0, 0)


async def test_the_same_errors_of_a_pipeline_do_count(pool: Pool) -> None:
    error = QueueFull("full")
    error.__cause__ = RemoteError("piped.errors.QueueFull", "full")
    pool.front.answers = [error]

    async with pool.jobs(attempts=1) as jobs:
        await jobs.submit("sum", 1, key="a")
        await until(lambda: jobs.counters.buried == 1 and not jobs.running)

    assert await pool.letters() == [("a", 1, "piped.errors.QueueFull: full")]


@pytest.mark.parametrize("error", [PartSetAside("2 workers died"), AttemptsUsed("3 times")])
async def test_what_the_pool_has_given_up_is_dead_at_once(pool: Pool, error: Exception) -> None:
    pool.front.answers = [error]

    async with pool.jobs() as jobs:
        await jobs.submit("sum", 1, key="a")
        await until(lambda: jobs.counters.buried == 1 and not jobs.running)

    [(key, attempts, told)] = await pool.letters()
    assert (key, attempts, told.partition(": ")[2]) == ("a", 1, str(error))


async def test_without_a_worker_jobs_wait_in_their_file(pool: Pool, clock: Clock) -> None:
    pool.front.is_served = False

    async with pool.jobs() as jobs:
        await jobs.submit("sum", 1)
        await clock.advance(5.0)
        assert pool.front.calls == []
        pool.front.is_served = True
        await passing(clock, lambda: jobs.counters.done == 1)


async def test_only_so_many_jobs_run_at_once_the_oldest_first(pool: Pool) -> None:
    pool.front.answers = [None]

    async with pool.jobs(concurrency=2) as jobs:
        for key in ("a", "b", "c"):
            await jobs.submit("sum", 1, key=key)
        assert [await pool.front.came.get() for _ in range(2)] == ["a", "b"]
        await until(lambda: jobs.running == 2)
        assert pool.front.came.empty()
        pool.front.futures[1].set_result([7])
        assert await pool.front.came.get() == "c"


async def test_a_job_that_was_under_way_is_begun_again_by_the_next_life(pool: Pool) -> None:
    pool.front.answers = [None]
    async with pool.jobs() as jobs:
        await jobs.submit("sum", [1], key="a", then="done")
        await pool.front.came.get()
    pool.front.answers = [[7]]

    async with pool.jobs() as jobs:
        await until(lambda: jobs.counters.done == 1)

    assert pool.front.futures[0].cancelled()
    assert [call[:3] for call in pool.front.calls] == [("sum", [1], "a")] * 2
    assert pool.pipelines.batons == [("done", {"key": "a", "pipeline": "sum", "result": 7})]


@pytest.mark.parametrize(("attempts", "told"), [(1, "once"), (2, "2 times")])
async def test_a_job_that_takes_its_process_along_is_dead_after_its_attempts(
    pool: Pool, attempts: int, told: str
) -> None:
    pool.front.answers = [None]
    for _ in range(attempts):
        async with pool.jobs(attempts=attempts) as jobs:
            await jobs.submit("sum", 1, key="a")
            await pool.front.came.get()

    async with pool.jobs(attempts=attempts) as jobs:
        await until(lambda: jobs.counters.buried == 1 and not jobs.running)

    what = f"piped.workers.errors.AttemptsUsed: begun {told}, and never came to its end"
    assert await pool.letters() == [("a", attempts, what)]
    assert len(pool.front.calls) == attempts


async def test_what_runs_has_the_drain_to_end(pool: Pool) -> None:
    pool.front.answers = [None]

    async with pool.jobs(drain_s=100.0) as jobs:
        await jobs.submit("sum", 1)
        await pool.front.came.get()
        asyncio.get_running_loop().call_later(0.01, pool.front.futures[0].set_result, [7])

    assert jobs.counters.done == 1


async def test_what_another_process_queues_is_noticed_within_a_second(
    pool: Pool, clock: Clock
) -> None:
    pool.front.answers = [ValueError("boom"), [7]]
    async with pool.jobs(attempts=1) as jobs:
        await jobs.submit("sum", 1, key="a")
        await until(lambda: jobs.counters.buried == 1 and not jobs.running)

        other = FileStore(pool.path)
        await other.requeue(["a"])
        await other.close()
        await passing(clock, lambda: jobs.counters.done == 1)

    assert await pool.letters() == []


async def test_a_part_that_killed_its_workers_is_kept(pool: Pool) -> None:
    async with pool.jobs() as jobs:
        jobs.set_aside(part("k"), PartSetAside("2 workers died"))
        await until(lambda: jobs.counters.kept == 1)
    jobs.set_aside(part("late"), PartSetAside("2 workers died"))

    assert await pool.letters() == [
        ("k", 1, "piped.workers.errors.PartSetAside: 2 workers died"),
    ]
    assert jobs.counters.dropped == 1


async def test_a_job_of_which_workers_die_is_one_letter(pool: Pool) -> None:
    pool.front.answers = [None]

    async with pool.jobs() as jobs:
        await jobs.submit("sum", 1, key="a", then="done")
        await pool.front.came.get()
        error = PartSetAside("2 workers died")
        jobs.set_aside(part("a"), error)
        pool.front.futures[0].set_exception(error)
        await until(lambda: jobs.counters.buried == 1 and not jobs.running)

    assert [key for key, *_ in await pool.letters()] == ["a"]
    assert jobs.counters.kept == 0


async def test_what_cannot_be_kept_is_refused(pool: Pool) -> None:
    pool.front.is_served = False

    async with pool.jobs(Limits(jobs=1)) as jobs:
        with pytest.raises(BatonError, match="cannot cross to a worker: a: expected plain data"):
            await jobs.submit("sum", {"a": object()})
        with pytest.raises(BatonError, match="expected a key of at most 256 signs, got 300"):
            await jobs.submit("sum", 1, key="k" * 300)
        await jobs.submit("sum", 1)
        with pytest.raises(QueueFull, match="1 jobs are queued already"):
            await jobs.submit("sum", 1)

    assert (jobs.counters.submitted, jobs.counters.refused) == (1, 1)


async def test_where_the_disk_refuses_it_is_told_and_tried_again(
    pool: Pool, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_full = True

    def refusing(real: Callable[..., Any]) -> Callable[..., Any]:
        def act(*arguments: Any) -> Any:
            if is_full:
                raise NotStored("no space")
            return real(*arguments)

        return act

    for name in ("done", "set_aside"):
        monkeypatch.setattr(JobFile, name, refusing(getattr(JobFile, name)))

    async with pool.jobs() as jobs:
        await jobs.submit("sum", 1, key="a")
        jobs.set_aside(part("k"), PartSetAside("2 workers died"))
        await until(lambda: jobs.counters.dropped == 1)
        await until(lambda: len(pool.front.calls) == 1)
        assert (jobs.counters.done, jobs.running) == (0, 1)
        is_full = False
        for _ in range(10):
            await passing(clock, lambda: jobs.counters.done == 1)

    assert len(pool.front.calls) == 1


async def test_where_the_disk_does_not_give_jobs_they_are_read_later(
    pool: Pool, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, refused = JobFile.take, asyncio.Event()
    loop = asyncio.get_running_loop()

    def take(file: JobFile, count: int, now: float) -> list[Job]:
        if not refused.is_set():
            loop.call_soon_threadsafe(refused.set)
            raise NotStored("no space")
        return real(file, count, now)

    monkeypatch.setattr(JobFile, "take", take)

    async with pool.jobs() as jobs:
        await refused.wait()
        await jobs.submit("sum", 1)
        await passing(clock, lambda: jobs.counters.done == 1)


async def test_a_pool_that_fails_lets_the_file_go(pool: Pool) -> None:
    async def fail() -> None:
        async with pool.jobs() as jobs:
            pool.front.is_served = False
            await jobs.submit("sum", 1)
            raise RuntimeError("the pool is gone")

    with pytest.raises(ExceptionGroup):
        await fail()
    pool.front.is_served = True

    async with pool.jobs() as jobs:
        await until(lambda: jobs.counters.done == 1)
