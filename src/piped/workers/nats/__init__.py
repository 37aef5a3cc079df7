"""Pools over NATS: many machines, with JetStream between them.

The parts of a pool are messages of a work queue: JetStream gives each to one worker, which says
every quarter of the lease that it has it, and gives it to another one where that stays out. All
else, answers above all, goes straight from workers to fronts and back, over core NATS.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import structlog
from nats.errors import Error
from nats.js.api import AckPolicy, ConsumerConfig

from piped.errors import Unavailable
from piped.providers.nats import Connection
from piped.providers.nats.ends import until_closed
from piped.providers.nats.errors import at_start
from piped.providers.nats.pulls import Puller
from piped.providers.nats.streams import NatsStream
from piped.spec import Dependency, Duration, Size
from piped.workers.front import Front
from piped.workers.nats.front import FrontLink
from piped.workers.nats.ledger import AGAIN_S, NatsLedger
from piped.workers.nats.subjects import stream_of, subject_of
from piped.workers.nats.worker import WorkerLink
from piped.workers.opening import CLOSED, elsewhere, worker_of
from piped.workers.pool import Pool

SHORTEST_KEPT_S: Final = 60.0
"""How long JetStream keeps a part at least; those past their deadline are dropped by workers."""

CONSUMER: Final = "workers"

log = structlog.get_logger("piped.workers")


async def prepare(pool: Pool, connection: Connection) -> Any:
    """Make the stream and the consumer of a pool, or bring them up to what is written.

    Returns:
        When the stream was made, by the clock of the server.

    Raises:
        Misconfigured: The server does not make them so.
        Unavailable: The server, or its JetStream, is away.
    """
    stream = NatsStream(
        subjects=[subject_of(pool.name, "work")],
        storage="file" if pool.durable else "memory",
        retention="workqueue",
        replicas=pool.replicas,
        max_age=Duration(max(SHORTEST_KEPT_S, 10 * pool.deadline)),
        max_bytes=Size(pool.max_pending_bytes),
        max_messages=pool.max_pending,
        duplicate_window=Duration(SHORTEST_KEPT_S),
    )
    name = stream_of(pool.name)
    stream.named(name)
    consumer = ConsumerConfig(
        durable_name=CONSUMER,
        ack_policy=AckPolicy.EXPLICIT,
        ack_wait=pool.lease,
        max_deliver=-1,  # the front counts the attempts: it knows which had begun
        max_ack_pending=max(1000, pool.max_pending),
    )
    try:
        # An acknowledgement bears the number of its message: one for a stream that is lost, which
        # arrives after it was made again, would take another part out of it.
        await stream.make(connection, first_seq=time.time_ns() // 1000)
        await connection.jetstream.add_consumer(name, consumer)
        created = (await connection.jetstream.stream_info(name)).created
    except (Error, TimeoutError) as error:
        raise at_start(error, f"pool '{pool.name}'") from error
    if pool.durable:
        await connection.warn_if_lazy()
    return created


@asynccontextmanager
async def open_nats_front(pool: Pool, dependency: Dependency[Any]) -> AsyncIterator[Front]:
    """Be a front of a pool; there may be many."""
    connection: Connection = await dependency.wait()
    stream = await prepare(pool, connection)
    async with asyncio.TaskGroup() as group:
        link = FrontLink(connection, pool.name, group, stream, lambda: prepare(pool, connection))
        front = Front(pool, link, NatsLedger)
        assert isinstance(front.ledger, NatsLedger)
        try:
            await link.open(front.ledger)
            watch = group.create_task(until_closed(connection), name=f"watch {pool.label}")
            log.info("pool opened", pool=pool.name, connection=connection.name)
            yield front
            watch.cancel()
        finally:
            front.ledger.close(Unavailable(CLOSED))
            await link.close()


@asynccontextmanager
async def open_nats_worker(pool: Pool, dependency: Dependency[Any]) -> AsyncIterator[None]:
    """Be a worker of a pool until it is left; then end what is begun, and give back the rest."""
    connection: Connection = await dependency.wait()
    for each in pool.pipelines:
        await each.wait()
    await prepare(pool, connection)
    async with asyncio.TaskGroup() as group:
        link = WorkerLink(connection, pool.name, pool.known_as, pool.attempts, group)
        async with elsewhere(pool) as runner:
            worker = worker_of(pool, link.send, lambda: None, group, runner)
            await link.open(worker)
            worker.start()
            pulling = group.create_task(_pull(pool, connection, link), name=pool.label)
            watch = group.create_task(until_closed(connection), name=f"watch {pool.label}")
            log.info("joined", pool=pool.name, worker=pool.known_as)
            try:
                yield
                link.leave()
                pulling.cancel()
                await asyncio.wait([pulling])
                await link.finish(pool.drain_s)
                watch.cancel()
            finally:
                pulling.cancel()
                worker.close()
                await link.close()


async def _pull(pool: Pool, connection: Connection, link: WorkerLink) -> None:
    """Pull parts until it is cancelled; what is lost with the server is made again."""
    while True:
        puller = Puller(
            *(connection, stream_of(pool.name), CONSUMER),
            room=link.room,
            take=link.take,
            expires_s=max(pool.lease, 0.5),
        )
        try:
            await puller.run()
        except Unavailable as error:
            log.warning("pulling again", pool=pool.name, reason=str(error))
        finally:
            await puller.stop()
        while True:
            if connection.closed.is_set():
                await until_closed(connection)
            try:
                await prepare(pool, connection)
                break
            except Unavailable:
                await asyncio.sleep(AGAIN_S)
