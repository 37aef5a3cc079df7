"""Opens the two sides of a pool on the transport that its document names."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import structlog

from piped.errors import Unavailable
from piped.spec import Dependency
from piped.workers.crossing import Crossing
from piped.workers.front import Front
from piped.workers.local import LocalLink
from piped.workers.pool import Pool
from piped.workers.worker import Elsewhere, Worker

if TYPE_CHECKING:
    from piped.workers.store import JobStore
    from piped.workers.zmq import DealerLink

CLOSED: Final = "the pool is closed"

log = structlog.get_logger("piped.workers")


def open_front(pool: Pool, connection: Dependency[Any] | None) -> AbstractAsyncContextManager[Any]:
    """Return the front of a pool, to be entered."""
    if pool.carrier == "zmq":
        return _open_router(pool)
    if pool.carrier == "nats":
        from piped.workers.nats import open_nats_front

        assert connection is not None
        return open_nats_front(pool, connection)
    return open_local(pool)


def open_worker(
    pool: Pool, connection: Dependency[Any] | None
) -> AbstractAsyncContextManager[None]:
    """Return a worker of a pool, to be entered; it works until it is left, and then drains."""
    if pool.carrier == "nats":
        from piped.workers.nats import open_nats_worker

        assert connection is not None
        return open_nats_worker(pool, connection)
    return _open_dealer(pool)


@asynccontextmanager
async def open_jobs(
    pool: Pool, front: Front, service: Dependency[Any], connection: Dependency[Any] | None
) -> AsyncIterator[None]:
    """Have the jobs of a pool run, and what is set aside kept for those who look for it."""
    if pool.role != "front":
        yield
        return
    from piped.workers.jobs import Jobs

    async def call(pipeline: str, baton: Any) -> Any:
        return await service.value.call(pipeline, baton)

    async with _open_store(pool, connection) as store:
        jobs = Jobs(
            *(front, store, call),
            attempts=pool.attempts,
            concurrency=pool.slots,
            format=pool.format,
            drain_s=pool.drain_s,
        )
        async with jobs.run():
            front.take_jobs(jobs)
            yield


@asynccontextmanager
async def _open_store(pool: Pool, connection: Dependency[Any] | None) -> AsyncIterator[JobStore]:
    if connection is None:
        from piped.workers.store import FileStore, path_of

        yield FileStore(path_of(pool))
        return
    from piped.workers.nats.jobs import open_store

    async with open_store(pool, connection.value) as store:
        yield store


@asynccontextmanager
async def open_local(pool: Pool) -> AsyncIterator[Front]:
    """Be the front and the one worker of a pool."""
    link = LocalLink()
    front = Front(pool, link)
    try:
        async with asyncio.TaskGroup() as group, elsewhere(pool) as runner:
            worker = worker_of(pool, link.answer, lambda: None, group, runner)
            link.open(front.ledger, worker)
            worker.start()
            try:
                yield front
            finally:
                front.ledger.close(Unavailable(CLOSED))
                worker.close()
    finally:
        front.ledger.close(Unavailable(CLOSED))


@asynccontextmanager
async def _open_router(pool: Pool) -> AsyncIterator[Front]:
    import zmq

    from piped.workers.zmq import RouterLink

    context = zmq.Context()
    link = RouterLink(context)
    front = Front(pool, link)
    try:
        link.open(pool.listen, front.ledger)
        log.info("pool opened", pool=pool.name, address=link.address)
        yield front
    finally:
        front.ledger.close(Unavailable(CLOSED))
        link.close()
        await asyncio.to_thread(context.destroy, 0)


@asynccontextmanager
async def _open_dealer(pool: Pool) -> AsyncIterator[None]:
    import zmq

    from piped.workers.zmq import DealerLink

    context = zmq.Context()
    link = DealerLink(context, pool.name, pool.known_as)
    try:
        async with asyncio.TaskGroup() as group, elsewhere(pool) as runner:
            worker = worker_of(pool, link.send, link.flush, group, runner)
            joining = group.create_task(_join(pool, link, worker))
            try:
                yield
                joining.cancel()
                await _drain(link, worker, pool.drain_s)
            finally:
                joining.cancel()
                worker.close()
    finally:
        link.close()
        await asyncio.to_thread(context.destroy, 1000)


async def _join(pool: Pool, link: DealerLink, worker: Worker) -> None:
    """Say Hello once all pipelines are there; one that uses this very pool waits for it first."""
    for each in pool.pipelines:
        await each.wait()
    link.open(pool.listen, worker)
    worker.start()


async def _drain(link: DealerLink, worker: Worker, drain_s: float) -> None:
    """End the acquaintance with the front, then the parts that are here."""
    try:
        async with asyncio.timeout(drain_s):
            await link.drained(1.0)
            await worker.finished()
    except TimeoutError:
        log.warning("parts given up", pool=worker.pool, parts=worker.held, after_s=drain_s)


def worker_of(
    pool: Pool, send: Any, flush: Any, group: asyncio.TaskGroup, runner: Elsewhere | None
) -> Worker:
    """Return a worker for the pipelines of a pool."""
    crossing = Crossing(pool.format)
    worker = Worker(pool.name, pool.served, crossing, pool.slots, send, flush, group, runner)
    worker.lease_s = pool.lease
    pool.worker = worker
    return worker


@asynccontextmanager
async def elsewhere(pool: Pool) -> AsyncIterator[Elsewhere | None]:
    """Yield what runs the parts of a blocking pool; None where they run in the loop."""
    if not pool.blocking:
        yield None
        return
    from piped.workers.blocking import Children, Threads

    runner: Children | Threads
    if pool.blocking == "process":
        runner = Children(*pool.document, pool.name, pool.slots, pool.format)
    else:
        runner = Threads(pool.slots, pool.format)
    try:
        yield runner
    finally:
        await runner.close()
