"""A worker of a pool over NATS: it pulls what it has room for, and tells the front of each part."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Set
from functools import partial
from typing import Any, Final

import structlog
from nats.aio.msg import Msg
from nats.errors import Error

from piped.errors import BatonError, PipedError
from piped.providers.nats import Connection
from piped.providers.nats.errors import NoResponders
from piped.workers.failures import failure_bytes
from piped.workers.frames import (
    Answer,
    BadFrame,
    Beat,
    Cancel,
    Drain,
    Go,
    Hello,
    Ping,
    Started,
    ToFront,
    Who,
    Work,
    encoded,
    read_by_worker,
)
from piped.workers.nats.answers import Answers, Sent
from piped.workers.nats.outbox import Outbox
from piped.workers.nats.subjects import subject_of
from piped.workers.nats.taken import Former, Taken
from piped.workers.worker import HEARTBEAT_S, Worker

UNHEARD_S: Final = 0.1
"""When an answer is sent again that nobody has heard."""

log = structlog.get_logger("piped.workers")

Key = tuple[bytes, int]


class WorkerLink:
    """Carries frames between a worker and the fronts whose parts it has."""

    def __init__(
        self, connection: Connection, pool: str, name: str, attempts: int, group: asyncio.TaskGroup
    ) -> None:
        self._connection, self._pool, self._name = connection, pool, name
        self._attempts, self._group = attempts, group
        self._loop = asyncio.get_running_loop()
        self._inbox = connection.client.new_inbox()
        self._worker: Worker | None = None
        self._taken: dict[Key, Taken] = {}
        self._answers = Answers(self._inbox)
        self._undo: Callable[[], None] = lambda: None
        self._former = Former()
        self._outbox = Outbox()
        self._greeted: dict[str, float] = {}  # the fronts that know who we are, and since when
        self._looking: asyncio.Task[None] | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._subscriptions: list[Any] = []
        self.is_ending = False

    async def open(self, worker: Worker) -> None:
        """Listen to fronts, and say Hello to all of them every second."""
        self._worker = worker
        client = self._connection.client
        for subject, act in (
            (self._inbox, self._on_message),
            (f"{self._inbox}.*", self._on_unheard),
            (subject_of(self._pool, "who"), self._on_who),
        ):
            self._subscriptions.append(await client.subscribe(subject, cb=act))
        self._undo = self._connection.on_reconnect(self._on_reconnect)
        self._tasks = [
            self._group.create_task(self._outbox.run(), name=f"send {self._name}"),
            self._group.create_task(self._greet(), name=f"greet {self._name}"),
        ]

    async def close(self) -> None:
        """Listen no more."""
        self._undo()
        for task in (*self._tasks, self._looking):
            if task is not None:
                task.cancel()
        if not self._connection.client.is_closed:
            for each in self._subscriptions:
                await each.unsubscribe()

    def leave(self) -> None:
        """Take no more, and say so."""
        self.is_ending = True
        self._say(Drain())

    async def finish(self, limit_s: float) -> None:
        """Wait for the parts that are here, and until all is sent that they have led to."""
        assert self._worker is not None
        try:
            async with asyncio.timeout(limit_s):
                await self._worker.finished()
                await self._outbox.is_empty.wait()
                await self._connection.client.flush()
        except (TimeoutError, Error):
            log.warning("parts given up", pool=self._pool, parts=self._worker.held)

    async def room(self) -> int:
        """Wait until there is room, and return for how many parts."""
        assert self._worker is not None
        while not (room := self._worker.room):
            self._worker.has_room.clear()
            await self._worker.has_room.wait()
        return room

    async def take(self, message: Msg) -> None:
        """Take a part out of the work queue."""
        assert self._worker is not None
        try:
            [work] = read_by_worker(message.data)
        except (BadFrame, ValueError) as error:
            log.warning("bad part dropped", pool=self._pool, reason=str(error))
            self._outbox.add(message.term)
            return
        left_s = work.until - time.time() if isinstance(work, Work) else 0.0
        if not isinstance(work, Work) or left_s <= 0:
            self._outbox.add(message.ack)
            return
        attempt = work.attempt + message.metadata.num_delivered - 1
        if self.is_ending or not self._worker.room or self._former.leaves(work.id, attempt):
            self._outbox.add(message.nak)
            return
        work.attempt, work.left_s = attempt, left_s
        work.must_ask = self._attempts == 1 or attempt > 1
        until = self._loop.time() + left_s
        self._taken[work.id, attempt] = Taken(message, work.reply, until, work.must_ask)
        self._worker.receive(work)

    def send(self, frame: ToFront) -> None:
        """Tell the fronts, and JetStream, what the worker says."""
        if isinstance(frame, Beat):
            for key in frame.parts:
                if found := self._taken.get(key):
                    self._outbox.add(found.message.in_progress)
        elif isinstance(frame, Started):
            self._tell_started(frame)
        elif not isinstance(frame, Hello | Drain):
            taken = self._taken.pop((frame.id, frame.attempt), None)
            if taken is not None:
                self._outbox.add(partial(self._end, taken, frame))

    def _tell_started(self, frame: Started) -> None:
        fronts: dict[str, list[Key]] = {}
        for key in frame.parts:
            if found := self._taken.get(key):
                found.was_sent = True
                fronts.setdefault(found.front, []).append(key)
        for front, keys in fronts.items():
            self._outbox.add(partial(self._tell, front, Started(tuple(keys))))

    async def _end(self, taken: Taken, frame: ToFront) -> None:
        """Say what has become of a part; it stays in the work queue if that cannot be said."""
        if isinstance(frame, Answer):
            await self._answer(Sent(taken.front, frame, taken.until))
        else:
            await self._tell(taken.front, frame)
        if taken.is_cancelled or isinstance(frame, Answer):
            await taken.message.ack()
        else:
            assert self._worker is not None
            await taken.message.nak(self._worker.lease_s if taken.is_orphan else None)

    async def _answer(self, sent: Sent) -> None:
        is_connected = self._connection.is_connected
        reply = self._answers.note(sent, self._loop.time(), is_connected=is_connected)
        answer = sent.answer
        try:
            await self._tell(sent.front, answer, reply)
        except BatonError as error:
            answer.is_good, answer.payload = False, failure_bytes(BatonError(_too_large(error)))
            await self._tell(sent.front, answer, reply)

    async def _on_unheard(self, message: Msg) -> None:
        """Send an answer again, soon, that nobody has heard: the front may be about to return."""
        if (sent := self._answers.unheard(message.subject, self._loop.time())) is not None:
            self._greeted.pop(sent.front, None)
            self._loop.call_later(UNHEARD_S, self._outbox.add, partial(self._answer, sent))

    def _on_reconnect(self) -> None:
        self._answers.since = self._loop.time()
        self._greeted.clear()
        self._ask_again({each.front for each in self._taken.values()})

    async def _tell(self, front: str, frame: ToFront, reply: str = "") -> None:
        said: list[ToFront] = [frame]
        now = self._loop.time()
        if now - self._greeted.get(front, -HEARTBEAT_S) >= HEARTBEAT_S:
            said = [self._hello(), frame]
        await self._connection.publish(front, encoded(said), reply=reply or self._inbox)
        if len(said) > 1:
            self._greeted = {k: v for k, v in self._greeted.items() if now - v < HEARTBEAT_S}
            self._greeted[front] = now

    def _hello(self) -> Hello:
        assert self._worker is not None
        return self._worker.hello(self._name)

    async def _greet(self) -> None:
        while True:
            if not self.is_ending:
                self._say(self._hello())
            await asyncio.sleep(HEARTBEAT_S)

    def _say(self, frame: Hello | Drain) -> None:
        """Say something to all fronts."""
        data, subject = encoded([frame]), subject_of(self._pool, "hello")
        self._outbox.add(lambda: self._connection.publish(subject, data, reply=self._inbox))

    async def _on_who(self, _message: Msg) -> None:
        if not self.is_ending:
            self._say(self._hello())

    async def _on_message(self, message: Msg) -> None:
        if not message.data:
            self._look_for_fronts()
            return
        try:
            said = read_by_worker(message.data)
        except BadFrame as error:
            log.warning("bad frame dropped", pool=self._pool, reason=str(error))
            return
        for frame in said:
            if isinstance(frame, Ping):
                self._outbox.add(lambda: self._connection.publish(message.reply, b""))
            elif isinstance(frame, Who):
                self._greeted.pop(message.reply, None)
            elif isinstance(frame, Cancel | Go):
                self._on_word(frame)

    def _on_word(self, frame: Cancel | Go) -> None:
        """Act on what a front says of a part."""
        assert self._worker is not None
        if (taken := self._taken.get((frame.id, frame.attempt))) is not None:
            taken.has_asked = False
            taken.is_cancelled |= isinstance(frame, Cancel)
            self._worker.receive(frame)

    def _look_for_fronts(self) -> None:
        """Find out which front has not heard us, soon; none is waited for that is not there."""
        is_looking = self._looking is not None and not self._looking.done()
        if not is_looking and any(each.has_asked for each in self._taken.values()):
            self._looking = self._group.create_task(self._give_back(), name=f"look {self._name}")

    async def _give_back(self) -> None:
        """Give back what waits for the word of a front that is not there: it may come back."""
        assert self._worker is not None
        for front in {each.front for each in self._taken.values() if each.has_asked}:
            if not await self._is_gone(front):
                self._ask_again({front})
                continue
            for key, taken in list(self._taken.items()):
                if taken.front == front and taken.has_asked:
                    taken.is_orphan = True
                    self._worker.receive(Cancel(*key))

    def _ask_again(self, fronts: Set[str]) -> None:
        """Ask fronts again for what they have not answered: one of the two may have been lost."""
        for key, taken in self._taken.items():
            if taken.front in fronts and taken.has_asked and taken.was_sent:
                self._tell_started(Started((key,)))

    async def _is_gone(self, front: str) -> bool:
        assert self._worker is not None
        try:
            wait_s = self._worker.lease_s / 4
            await self._connection.request(front, encoded([]), timeout_s=wait_s)
        except NoResponders:
            return True
        except PipedError:
            pass  # it has nothing to say to this, so it is there
        return False


def _too_large(error: BatonError) -> str:
    """Return what is wrong with results, without the inbox they were for."""
    return f"the results do not fit into a message: {str(error).partition(' for ')[0]}"
