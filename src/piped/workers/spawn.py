"""Workers that a front starts itself: processes of `piped work`, looked after one by one."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections import deque
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, Self

import structlog

from piped.errors import Misconfigured, Unavailable
from piped.providers.processes.child import Child, end_of, told
from piped.spec import Dependency, Meta, Provider, part
from piped.workers.logs import retell

MOST: Final = 64
FROZEN_S: Final = 5.0
"""How long a worker may be silent that was heard before."""
POLL_S: Final = 1.0
JOIN_S: Final = 10.0
"""How long a worker may take to join, before the next one is replaced nevertheless."""
LISTEN_S: Final = 0.05
ENDS: Final = 5
WITHIN_S: Final = 60.0
GRACE_S: Final = 5.0
"""How long a worker may take to end, beside its drain; the supervisor waits longer for us."""
PYTHON: Final = (sys.executable, "-P", "-m")

log = structlog.get_logger("piped.workers")


@dataclass(frozen=True, slots=True)
class Order:
    """So many workers of a pool."""

    pool: str
    count: int = 1

    @classmethod
    def read(cls, text: str) -> Self:
        """Return the order that a text such as ``math:2``, or ``math`` for one, stands for.

        Raises:
            ValueError: It stands for none.
        """
        pool, _, number = text.rpartition(":") if ":" in text else (text, "", "1")
        is_number = number.isascii() and number.isdigit() and len(number) < 4
        if not pool or not is_number or int(number) > MOST:
            raise ValueError(f"expected POOL or POOL:N with N from 0 to {MOST}, got {text!r}")
        return cls(pool, int(number))


def orders_of(texts: Iterable[str]) -> list[Order]:
    """Return the orders that some texts stand for.

    Raises:
        ValueError: One stands for none, or two are of the same pool.
    """
    orders = {}
    for order in map(Order.read, texts):
        if order.pool in orders:
            raise ValueError(f"pool '{order.pool}' is named twice")
        orders[order.pool] = order
    return [*orders.values()]


def spawned(
    order: Order, arguments: Iterable[str], drain_s: float, pipelines: Iterable[str] = ()
) -> list[Spawn]:
    """Return the units that start and keep the workers of a pool.

    Args:
        order: Which pool, and how many.
        arguments: What follows on ``piped work``, but the name of the worker and its lifeline.
        drain_s: How long a worker may drain.
        pipelines: The names of the resources that the workers build for themselves.
    """
    leaving = asyncio.Event()
    copied = (f"workers.{order.pool}", *pipelines)
    made = []
    for number in range(1, order.count + 1):
        front: Dependency[Any] = Dependency(f"workers.{order.pool}")
        name = f"{order.pool}-{number}"
        own = ("--name", name, "--lifeline", "0")
        unit = Spawn(front=front, command=[*PYTHON, "piped", "work", *own, *arguments])
        unit.named(name, leaving)
        unit.drain_s, unit._copied = drain_s, copied
        made.append(unit)
    return made


@part
class Spawn(Provider):
    """Run one worker of a pool as a process of its own, and another when it has ended.

    It is started again with longer and longer pauses; five ends in a minute, and it has failed for
    good. One that is frozen is killed. When the first worker of a pool is left, all of the pool
    are told to end, so that they drain at the same time. At a reload they are replaced one after
    the other, each when the new one before it works.

    The worker leads a session of its own: the keys of a terminal do not interrupt it. Its standard
    input is its lifeline: it ends by itself when nobody holds the other end any more. What it
    writes goes to our log.
    """

    front: Annotated[Dependency[Any], Meta(description="The pool that it works for.")]
    command: Annotated[list[str], Meta(description="The program and its arguments.")]
    _name: str = field(default="", init=False)
    _leaving: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    _ends: deque[float] = field(default_factory=lambda: deque(maxlen=ENDS), init=False)
    _copied: tuple[str, ...] = field(default=(), init=False)
    _is_successor: bool = field(default=False, init=False)
    _is_replaced: bool = field(default=False, init=False)

    def named(self, name: str, leaving: asyncio.Event) -> None:
        """Tell it the name of its worker, and what is set when all of the pool are to end."""
        self._name, self._leaving = name, leaving
        self.label = f"spawn.{name}"

    def feeds(self) -> bool:
        return True

    def copies(self) -> Iterable[str]:
        return self._copied

    def take_over(self, old: Self) -> bool:
        old._is_replaced, self._is_replaced = True, False
        self._is_successor = True
        return False

    @property
    def _is_leaving(self) -> bool:
        """Whether the worker is to end, with all of its pool or to be replaced."""
        return self._is_replaced or self._leaving.is_set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[dict[str, Any]]:
        """Run a worker until it ends or is left; then let it drain, and kill it if it does not.

        Raises:
            Misconfigured: It has ended too often.
            Unavailable: It has ended, and is to be started again.
        """
        if self._leaving.is_set():  # a new one would have to end at once
            yield {}
            return
        child = Child(self._name)
        try:
            await self._start(child)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._follow(child), name=self.label)
                if self._is_successor:
                    await self._joined(child)
                yield {}
                if not self._is_replaced:
                    self._leaving.set()
                else:
                    ending = group.create_task(self._ask_to_end(child), name=self.label)
                    await child.exited.wait()
                    ending.cancel()
        finally:
            await child.close()

    async def _start(self, child: Child) -> None:
        environment = {**os.environ, "PYTHONUNBUFFERED": "1"}  # one that is killed has printed all
        await child.start(self.command, cwd=None, env=environment, has_input=True, stderr=None)
        log.info("worker started", worker=self._name, pid=child.pid)

    async def _joined(self, child: Child) -> None:
        """Wait until the front knows a worker, before the next one is replaced."""
        ear = Ear(child.pid)
        with suppress(TimeoutError):
            async with asyncio.timeout(JOIN_S):
                while not ear.has_heard(self.front):  # noqa: ASYNC110 - a front tells nobody
                    await asyncio.sleep(LISTEN_S)

    async def _follow(self, child: Child) -> None:
        """Look after a worker until it has ended and all that it has written is in the log."""
        async with asyncio.TaskGroup() as group:
            for stream, output in child.outputs.items():
                group.create_task(retell(output.read, self._name), name=f"{self.label}.{stream}")
            rest = [group.create_task(each) for each in (self._end(child), self._watch(child))]
            await child.exited.wait()
            for each in rest:
                each.cancel()
        if not self._is_leaving:
            raise self._failure(child.code)
        log.info("worker ended", worker=self._name, **end_of(child.code))

    def _failure(self, code: int | None) -> Exception:
        now = asyncio.get_running_loop().time()
        self._ends.append(now)
        what = f"'{self._name}' {told(code)}"
        if len(self._ends) == ENDS and now - self._ends[0] <= WITHIN_S:
            return Misconfigured(f"{what}, and has ended {ENDS} times in a minute")
        return Unavailable(what)

    async def _end(self, child: Child) -> None:
        """Ask a worker to end when all are to end."""
        await self._leaving.wait()
        await self._ask_to_end(child)

    async def _ask_to_end(self, child: Child) -> None:
        """Ask a worker to end, and kill it when it takes too long."""
        with suppress(ProcessLookupError):
            os.kill(child.pid, signal.SIGTERM)  # its group may be at work for it
        after_s = self.drain_s + GRACE_S
        await asyncio.sleep(after_s)
        log.warning("worker killed", worker=self._name, pid=child.pid, after_s=after_s)
        child.send_signal(signal.SIGKILL)

    async def _watch(self, child: Child) -> None:
        """Kill a worker of which nothing is heard any more, unless it is to end.

        Only twice in a row counts: it may have been us who did not listen for a while.
        """
        ear = Ear(child.pid)
        times = 0
        while times < 2:
            await asyncio.sleep(POLL_S)
            if self._is_leaving:  # it says nothing while it closes what it had
                return
            times = times + 1 if ear.silence_s(self.front) > FROZEN_S else 0
        silent_s = round(ear.silence_s(self.front), 1)
        log.error("worker frozen, killing it", worker=self._name, pid=child.pid, silent_s=silent_s)
        child.send_signal(signal.SIGKILL)


class Ear:
    """Knows how long nothing was heard of a process, which the front of its pool has heard once."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._host = socket.gethostname()
        self._now = asyncio.get_running_loop().time
        self._heard: float | None = None

    def has_heard(self, front: Dependency[Any]) -> bool:
        """Tell whether the front has ever heard of the process."""
        self.silence_s(front)
        return self._heard is not None

    def silence_s(self, front: Dependency[Any]) -> float:
        """Return the seconds of silence; none where it was never heard, or nobody can hear."""
        if not front.is_ready:  # it is to be heard again, when the front is back
            self._heard = None
            return 0.0
        now = self._now()
        for each in front.value.workers():  # who is not among them may have been given up
            if (each.pid, each.host) == (self._pid, self._host):
                self._heard = now - each.last_heard_s
        return 0.0 if self._heard is None else now - self._heard
