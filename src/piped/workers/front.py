"""The front of a pool: what processors send their parts to."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from piped.errors import Unavailable
from piped.workers.crossing import Crossing
from piped.workers.dispatcher import Dispatcher
from piped.workers.errors import NotServed, PartSetAside
from piped.workers.failures import error_in
from piped.workers.frames import Answer
from piped.workers.ledger import Ledger
from piped.workers.parts import Counters, Gathered, Part, WorkerState
from piped.workers.pool import Pool

if TYPE_CHECKING:
    from piped.workers.jobs import Jobs


class Front:
    """A pool whose workers are known one by one: over memory, or over ZeroMQ."""

    def __init__(self, pool: Pool, link: Any, kind: type[Ledger] = Dispatcher) -> None:
        self.name = pool.name
        self.fallback = pool.fallback
        self._deadline_s: float = pool.deadline
        self._crossing = Crossing(pool.format)
        self._served = pool.served
        self._loop = asyncio.get_running_loop()
        self.ledger = kind(pool.name, pool, link, self._results, self._set_aside)
        self._jobs: Jobs | None = None

    def __repr__(self) -> str:
        return f"<Front of {self.name}: {self.ledger.pending} parts>"

    @property
    def counters(self) -> Counters:
        """What has become of the parts so far."""
        return self.ledger.counters

    @property
    def depth(self) -> int:
        """How many parts wait for a worker."""
        return self.ledger.depth

    @property
    def in_flight(self) -> int:
        """How many parts are with workers."""
        return self.ledger.in_flight

    @property
    def bytes_pending(self) -> int:
        """How many bytes the parts that are not ended have together."""
        return self.ledger.pending_bytes

    @property
    def is_served(self) -> bool:
        """Whether there is a worker that is alive, as far as is known."""
        return self.ledger.is_served

    @property
    def jobs(self) -> Jobs | None:
        """The jobs of the pool; None inside of a worker."""
        return self._jobs

    def workers(self) -> list[WorkerState]:
        """Return the workers that are known."""
        now = self._loop.time()
        return [
            WorkerState(
                peer.name,
                peer.pid,
                peer.host,
                peer.capacity,
                len(peer.holding),
                peer.is_suspect,
                peer.answered,
                peer.failed,
                now - peer.heard,
            )
            for peer in self.ledger.peers.values()
        ]

    def call(
        self, pipeline: str, value: Any, deadline_s: float | None = None, *, key: str = ""
    ) -> asyncio.Future[list[Any]]:
        """Send a part to the workers; the future gives its results, and cancels it.

        Args:
            pipeline: One of those that the pool serves.
            value: Its baton.
            deadline_s: How long it may take; as the pool says if not given.
            key: Its idempotency key; a random one if not given.

        Raises:
            CannotCross: The baton has something that cannot cross to a worker.
            NoWorkers: There is no worker, and the pool fails when it is empty.
            QueueFull: The pool has as many parts as it may have.
            NotServed: The pool does not serve that pipeline.
        """
        if pipeline not in self._served:
            raise NotServed(f"pool '{self.name}' does not serve '{pipeline}'")
        payload = self._crossing.encode(value)
        if deadline_s is None:
            deadline_s = self._deadline_s
        return self.ledger.submit(pipeline, payload, deadline_s, key)

    def call_all(
        self, calls: Iterable[tuple[str, Any]], deadline_s: float | None = None
    ) -> Gathered:
        """Send parts to the workers, all or none; one future gives the results of all of them.

        It fails with the first that does; who waits for it cancels what is left.

        Args:
            calls: Pipelines that the pool serves, and their batons; at least one.
            deadline_s: How long they may take; as the pool says if not given.

        Raises:
            CannotCross, NoWorkers, QueueFull, NotServed: As with ``call``.
        """
        encoded: list[tuple[str, bytes]] = []
        last: Any = encoded  # which is nobody's baton
        payload = b""
        for pipeline, value in calls:
            if pipeline not in self._served:
                raise NotServed(f"pool '{self.name}' does not serve '{pipeline}'")
            if value is not last:  # often all get the same
                payload, last = self._crossing.encode(value), value
            encoded.append((pipeline, payload))
        return self.ledger.submit_all(
            encoded, self._deadline_s if deadline_s is None else deadline_s
        )

    async def submit(self, pipeline: str, value: Any, *, key: str = "", then: str = "") -> str:
        """Queue a job, and return its key once it is on the disk; the same key twice is one job.

        Args:
            pipeline: One of those that the pool serves.
            value: Its baton.
            key: The idempotency key; a random one if not given.
            then: The pipeline of this process that gets ``{key, pipeline, result}``.

        Raises:
            Unavailable: The pool takes no jobs here, or the disk refuses.
            BatonError, QueueFull, NotServed: As with ``call``.
        """
        if pipeline not in self._served:
            raise NotServed(f"pool '{self.name}' does not serve '{pipeline}'")
        if self._jobs is None:
            raise Unavailable(f"pool '{self.name}' takes no jobs inside of a worker")
        return await self._jobs.submit(pipeline, value, key=key, then=then)

    def take_jobs(self, jobs: Jobs) -> None:
        """Be told what keeps the jobs, and the parts that are set aside."""
        self._jobs = jobs

    def _set_aside(self, part: Part, error: PartSetAside) -> None:
        if self._jobs is not None:
            self._jobs.set_aside(part, error)

    def _results(self, answer: Answer, worker: str) -> list[Any]:
        if not answer.is_good:
            raise error_in(answer.payload, worker)
        results: list[Any] = self._crossing.decode(answer.payload)
        return results
