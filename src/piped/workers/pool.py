"""A pool as a document declares it, and its two lives: that of the front and that of a worker."""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator, Iterable, Iterator, Set
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import field
from typing import Annotated, Any, Final, Literal

from piped.batons import MISSING
from piped.errors import PipedError, Problem, suggest
from piped.spec import Dependency, Duration, Meta, PipelineName, Provider, Size, part

Role = Literal["front", "worker", "inner"]

SLOTS: Final = 64
LOOPBACK: Final = re.compile(r"tcp://(127\.\d+\.\d+\.\d+|localhost|\[::1\]):(\d+|\*)|ipc://.+")


class UnknownPool(PipedError, LookupError):
    """Raised when a document has no pool of a name that is asked for."""


@part
class Pool(Provider):
    """Workers that run some pipelines for whoever sends them parts, wherever they are.

    Each caller gets exactly one answer, within the deadline. A part is run at least once while its
    deadline lasts, by one worker after another where one dies: work that must not be done twice,
    such as an e-mail, has ``attempts: 1`` or heeds the idempotency key that each part carries.

    Batons cross as JSON or MessagePack, also where transport is local.
    """

    transport: Annotated[
        Literal["local", "zmq", "nats"],
        Meta(description="Where the workers are: this process, this machine, or anywhere."),
    ] = "local"
    pipelines: Annotated[
        list[PipelineName], Meta(description="The pipelines that the workers run.")
    ]
    deadline: Annotated[
        Duration, Meta(description="How long a part may take, its waiting included.")
    ] = Duration(2.0)
    lease: Annotated[
        Duration,
        Meta(description="How long a worker may be silent about a part before another gets it."),
    ] = Duration(0.5)
    attempts: Annotated[
        int, Meta(ge=1, le=100, description="How often workers may begin with a part.")
    ] = 3
    concurrency: Annotated[
        Annotated[int, Meta(ge=1, le=10_000)] | None,
        Meta(description="How many parts a worker has at once: 64, or of blocking ones one a CPU."),
    ] = None
    blocking: Annotated[
        Literal["process"] | bool,
        Meta(description="Run parts in threads, or in child processes: what keeps Python busy."),
    ] = False
    when_empty: Annotated[
        Literal["wait", "fail"],
        Meta(description="Without any worker: wait for one within the deadline, or fail at once."),
    ] = "wait"
    max_pending: Annotated[
        int, Meta(ge=1, description="How many parts may be under way; more are refused, with 503.")
    ] = 10_000
    max_pending_bytes: Annotated[
        Size, Meta(ge=1, description="How many bytes they may have together.")
    ] = Size(64 << 20)
    fallback: Annotated[
        Any,
        Meta(description="The output of steps with 'on_failure: fallback' and none of its own."),
    ] = MISSING
    format: Annotated[
        Literal["json", "msgpack"], Meta(description="How batons cross to workers and back.")
    ] = "json"
    listen: Annotated[
        str, Meta(description="Over zmq: where the front listens, on this machine only.")
    ] = "tcp://127.0.0.1:7050"
    connection: Annotated[str, Meta(description="Over nats: a name under nats.connections.")] = (
        "main"
    )
    replicas: Annotated[
        int, Meta(ge=1, le=5, description="Over nats: how many servers keep each part.")
    ] = 1
    durable: Annotated[bool, Meta(description="Over nats: keep parts on disk, not in memory.")] = (
        False
    )
    essential: Annotated[
        bool, Meta(description="Whether the process fails when this has failed for good.")
    ] = True

    name: str = field(default="", init=False)
    role: Role = field(default="front", init=False)
    worker_name: str = field(default="", init=False)
    worker: Any = field(default=None, init=False)  # the Worker of this process, if it has begun
    _nats: Dependency[Any] | None = field(default=None, init=False)
    _service: Dependency[Any] = field(default_factory=lambda: Dependency("service"), init=False)

    def named(self, name: str) -> None:
        """Tell the pool its name in the document."""
        self.name = name
        self.label = f"workers.{name}"
        if self.transport == "nats":
            self._nats = Dependency(f"nats.{self.connection}")

    @property
    def runs_here(self) -> bool:
        """Whether this process runs the pipelines."""
        return self.role == "worker" or self.carrier == "local"

    @property
    def carrier(self) -> str:
        """What carries the parts: inside a worker, those of other ZeroMQ pools stay in it."""
        return "local" if self.role == "inner" and self.transport == "zmq" else self.transport

    @property
    def known_as(self) -> str:
        """What fronts call this process where it is a worker."""
        return self.worker_name or f"{self.name}-{os.getpid()}"

    @property
    def slots(self) -> int:
        """How many parts a worker has at the same time."""
        return self.concurrency or (os.cpu_count() or 1 if self.blocking else SLOTS)

    @property
    def served(self) -> dict[str, PipelineName]:
        """The pipelines by the names that callers use."""
        return {each.name.removeprefix("pipeline."): each for each in self.pipelines}

    @property
    def folder(self) -> str:
        """The folder of the document."""
        return os.path.dirname(os.path.abspath(self.place.file)) if self.place else os.getcwd()

    def offers(self) -> Iterable[str]:
        return (self.label,)

    def requires(self) -> Iterable[Dependency[Any]]:
        if self.role == "front":
            yield self._service  # which runs what takes up jobs that are done
        if self.runs_here:
            yield from self.pipelines
        if self._nats is not None and self.carrier == "nats":
            yield self._nats

    def copies(self) -> Iterable[str]:
        if self.blocking == "process" and self.runs_here:
            yield from (f"pipeline.{name}" for name in self.served)

    def listens(self, needed: Set[str]) -> Iterator[tuple[str, str]]:
        if self.transport == "zmq" and self.label in needed and not self.listen.endswith(":*"):
            yield self.listen.removeprefix("tcp://"), ""

    def unused(self, needed: Set[str]) -> Iterator[str]:
        if self.label not in needed:
            yield ""

    def check(self) -> Iterator[Problem]:
        if not self.pipelines:
            yield Problem("wrong-value", "expected the names of pipelines, got []", at="pipelines")
        if self.transport == "zmq" and not LOOPBACK.fullmatch(self.listen):
            what = f"expected an address of this machine only, got '{self.listen}'"
            hint = "write ipc://path or tcp://127.0.0.1:port; across machines, use nats"
            yield Problem("wrong-endpoint", what, at="listen", hint=hint)
        if self.lease < 0.02:
            what = f"expected a lease of 20 ms or more, got {self.lease * 1000:g} ms"
            yield Problem("wrong-value", what, at="lease")

    def running(self) -> AbstractAsyncContextManager[dict[str, Any]]:
        """Be the front of the pool, or one of its workers."""
        return self._worker() if self.role == "worker" else self._front()

    @asynccontextmanager
    async def _front(self) -> AsyncIterator[dict[str, Any]]:
        from piped.workers.opening import open_front, open_jobs

        async with (
            open_front(self, self._nats) as front,
            open_jobs(self, front, self._service, self._nats),
        ):
            yield {self.label: front}

    @asynccontextmanager
    async def _worker(self) -> AsyncIterator[dict[str, Any]]:
        """Work for the front; what these pipelines send to their own pool stays in this process."""
        from piped.engine.guard import LoopGuard
        from piped.workers.opening import open_local, open_worker

        async with (
            LoopGuard(self.lease / 4),
            open_local(self) as front,
            open_worker(self, self._nats),
        ):
            yield {self.label: front}


def pool_of(units: Iterable[Provider], name: str) -> Pool:
    """Return the pool of a name.

    Raises:
        UnknownPool: There is none.
    """
    pools = {each.name: each for each in units if isinstance(each, Pool)}
    if name not in pools:
        raise UnknownPool(f"there is no pool '{name}' ({suggest(name, pools)})")
    return pools[name]
