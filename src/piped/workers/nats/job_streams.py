"""The streams of JetStream that keep the jobs of a pool, and how they are read and written.

All are on disk. ``jobs`` is a work queue: one message a job, until it is acknowledged. ``tried``
has how often a job was begun, ``done`` the keys of those that were done, ``dead`` the dead letters.
Each has at most one message of a key, whose subject ends with the key's hash.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any, Final, Literal, TypeAlias

import msgspec
from nats.aio.msg import Msg
from nats.errors import Error
from nats.js.api import AckPolicy, ConsumerConfig, RawStreamMsg, StreamState
from nats.js.errors import APIError, NotFoundError

from piped.errors import BatonError, PipedError, QueueFull
from piped.providers.nats import Connection
from piped.providers.nats.ends import heed_cancellation
from piped.providers.nats.errors import reason_of
from piped.providers.nats.streams import make_stream
from piped.workers.store import REMEMBERED, REMEMBERED_S, Limits, NotStored

LEASE_S: Final = 10.0
"""How long a front may be silent about a job before another one gets it."""

CONSUMER: Final = "fronts"
WRONG_SEQUENCE: Final = 10071
NO_SUCH_MESSAGE: Final = (10037, 10057)
ANSWER_S: Final = 5.0

FIRST_NS: Final = 500_000_000
"""How long a pull waits for its first job: what was just stored is offered a little later."""

Kind: TypeAlias = Literal["jobs", "tried", "done", "dead"]
KINDS: Final[tuple[Kind, ...]] = ("jobs", "tried", "done", "dead")


class Overtaken(PipedError):
    """Raised when another front has written of a job meanwhile: it is with that one now."""


def stream_of(pool: str, kind: Kind) -> str:
    """Return the name of a stream; no pool can be named so that its parts have the same one."""
    return f"PIPED-{kind.upper()}-{pool}"


class JobStreams:
    """The streams of a pool. They are made when something is to be written into them first.

    Everything may raise NotStored, where JetStream refuses, is away, or does not answer.
    """

    def __init__(self, connection: Connection, pool: str, replicas: int, limits: Limits) -> None:
        self._connection, self._pool = connection, pool
        self._replicas, self.limits = replicas, limits
        self._next = f"$JS.API.CONSUMER.MSG.NEXT.{stream_of(pool, 'jobs')}.{CONSUMER}"

    # The streams.

    async def exist(self) -> bool:
        """Tell whether there have been jobs, or dead letters."""
        return await self.state("dead") is not None

    async def make(self) -> None:
        """Make the streams, or bring them up to date; warn where a power cut may take jobs."""
        jobs = stream_of(self._pool, "jobs")
        with told():
            for kind in KINDS:
                name = stream_of(self._pool, kind)
                await make_stream(self._connection, name, self._wanted(kind))
            await self._connection.jetstream.add_consumer(jobs, self._consumer())
        await self._connection.warn_if_lazy()

    def _wanted(self, kind: Kind) -> dict[str, Any]:
        limits = self.limits
        most = {"jobs": limits.jobs, "done": REMEMBERED, "tried": 2 * limits.jobs}.get(kind, -1)
        return {
            "subjects": [f"piped.{self._pool}.{kind}.>"],
            "storage": "file",
            "retention": "workqueue" if kind == "jobs" else "limits",
            "num_replicas": self._replicas,
            "max_msgs": most,
            "max_msgs_per_subject": 1,
            "max_bytes": limits.size_bytes if kind == "jobs" else -1,
            "max_age": REMEMBERED_S if kind == "done" else 0,
            "discard": "new" if kind == "jobs" else "old",
            "discard_new_per_subject": kind == "jobs",
        }

    def _consumer(self) -> ConsumerConfig:
        return ConsumerConfig(
            durable_name=CONSUMER,
            ack_policy=AckPolicy.EXPLICIT,
            ack_wait=LEASE_S,
            max_deliver=-1,  # the attempts are counted in the stream 'tried'
            max_ack_pending=2 * self.limits.jobs,  # those that wait for their next attempt count
        )

    async def state(self, kind: Kind) -> StreamState | None:
        """Return how much there is in a stream; None where it is not there."""
        try:
            with told():
                name = stream_of(self._pool, kind)
                return (await self._connection.jetstream.stream_info(name)).state
        except NotFoundError:
            return None

    # What is in them.

    def subject(self, kind: Kind, key: str, among: str = "") -> str:
        """Return the subject of a key; ``among`` is 'job' or 'part' for letters, '*' for both."""
        token = hashlib.blake2b(key.encode(), digest_size=16).hexdigest()
        return ".".join(filter(None, ("piped", self._pool, kind, among, token)))

    async def find(self, kind: Kind, key: str) -> RawStreamMsg | None:
        """Return what is kept of a key."""
        subject = self.subject(kind, key, "*" if kind == "dead" else "")
        return await self._found(stream_of(self._pool, kind), subject=subject)

    async def each(self, kind: Kind) -> AsyncIterator[RawStreamMsg]:
        """Yield all that is in a stream, the oldest first."""
        name, number = stream_of(self._pool, kind), 1
        subject = f"piped.{self._pool}.{kind}.>"
        while (found := await self._found(name, number, subject, next=True)) is not None:
            yield found
            number = place_of(found) + 1

    async def _found(self, name: str, *place: Any, **more: Any) -> RawStreamMsg | None:
        try:
            with told():
                return await self._connection.jetstream.get_msg(name, *place, **more)
        except NotFoundError:
            return None

    async def store(self, subject: str, data: bytes, *, after: int | None = None) -> int:
        """Store something, and return its place in its stream.

        Args:
            after: The place of what is the last of that subject; 0 if there must be none.

        Raises:
            Overtaken: It is another one.
            QueueFull: There is no room.
            BatonError: It is too large.
        """
        header = "Nats-Expected-Last-Subject-Sequence"
        headers = None if after is None else {header: f"{after}"}
        with told():
            try:
                stored = await self._connection.store(subject, data, headers=headers)
            except (QueueFull, BatonError):
                raise
            except PipedError as error:
                if getattr(error.__cause__, "err_code", 0) == WRONG_SEQUENCE:
                    raise Overtaken(str(error)) from error
                raise NotStored(str(error)) from error
        return stored.seq

    async def delete(self, kind: Kind, place: int) -> None:
        """Take something out of a stream, if it is there."""
        try:
            with told():
                await self._connection.jetstream.delete_msg(stream_of(self._pool, kind), place)
        except NotFoundError:
            pass

    async def drop_parts(self) -> int:
        """Keep only the last parts that were set aside; return how many others there were."""
        name, subject = stream_of(self._pool, "dead"), f"piped.{self._pool}.dead.part.*"
        asked = msgspec.json.encode({"filter": subject, "keep": self.limits.parts})
        with told():
            client = self._connection.client
            answer = await client.request(f"$JS.API.STREAM.PURGE.{name}", asked, timeout=ANSWER_S)
        purged: int = msgspec.json.decode(answer.data).get("purged", 0)
        return purged

    async def pull(self, count: int) -> list[Msg] | None:
        """Return so many jobs at most that are due now; None where there is no such stream."""
        if not self._connection.is_connected:
            raise NotStored(f"'{self._connection.name}' is away ({self._connection.reason})")
        client, found = self._connection.client, list[Msg]()
        inbox = client.new_inbox()
        asked = msgspec.json.encode({"batch": count, "no_wait": True, "expires": FIRST_NS})
        with told():
            subscription = await client.subscribe(inbox)
            try:
                await client.publish(self._next, asked, inbox)
                while len(found) < count:
                    message = await subscription.next_msg(timeout=ANSWER_S)
                    if not message.reply:
                        status = (message.headers or {}).get("Status", "")
                        return None if status == "503" and not found else found
                    found.append(message)
            except TimeoutError:
                pass  # what is still on its way comes again
            finally:
                await subscription.unsubscribe()
        return found


def place_of(found: RawStreamMsg) -> int:
    """Return where in its stream a message is."""
    assert found.seq is not None
    return found.seq


@contextmanager
def told() -> Iterator[None]:
    """Raise NotStored for what goes wrong with NATS, but NotFoundError where it is not there."""
    try:
        yield
    except NotFoundError:
        raise
    except APIError as error:
        if error.err_code in NO_SUCH_MESSAGE:
            raise NotFoundError(code=404) from error
        raise NotStored(f"JetStream refuses: {reason_of(error)}") from error
    except (Error, TimeoutError) as error:
        raise NotStored(f"JetStream does not answer: {reason_of(error)}") from error
    heed_cancellation()
