"""Streams of JetStream, as they shall be: ``nats.streams.<name>``."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Annotated, Any, ClassVar, Final, Literal

import structlog
from nats.errors import Error
from nats.js.api import DiscardPolicy, RetentionPolicy, StorageType, StreamConfig
from nats.js.errors import BadRequestError, NotFoundError

from piped.errors import Problem
from piped.providers.nats.connected import Connected
from piped.providers.nats.connection import Connection
from piped.providers.nats.content import wrong_subject
from piped.providers.nats.ends import while_open
from piped.providers.nats.errors import at_start
from piped.spec import Dependency, Duration, Meta, Size, part

NAME_IN_USE: Final = 10058
"""What JetStream says where a stream of that name is there, and is another one."""

log = structlog.get_logger("piped.nats")


@part
class NatsStream(Connected):
    """A stream of JetStream: made when the service starts, or brought up to what is written here.

    What is not written here stays as it is. A stream that is full refuses what comes, so that
    nothing is lost in silence; ``discard: old`` has it forget the oldest instead.
    """

    kind: ClassVar[str] = "streams"

    subjects: Annotated[list[str], Meta(min_length=1, description="What it keeps.")]
    storage: Annotated[
        Literal["file", "memory"], Meta(description="Where; a stream cannot move.")
    ] = "file"
    retention: Annotated[
        Literal["limits", "workqueue", "interest"],
        Meta(description="Until when: its limits, the first ack, or all acks."),
    ] = "limits"
    replicas: Annotated[int, Meta(ge=1, le=5, description="How many servers keep it.")] = 1
    max_age: Annotated[
        Duration | None, Meta(description="How long it keeps a message; null is for ever.")
    ] = None
    max_bytes: Annotated[Size, Meta(ge=1, description="How much it keeps.")] = Size(64 << 20)
    max_messages: Annotated[
        int | None, Meta(description="How many messages it keeps; null is as many as fit.")
    ] = None
    discard: Annotated[Literal["new", "old"], Meta(description="What goes when it is full.")] = (
        "new"
    )
    duplicate_window: Annotated[
        Duration, Meta(description="How long a message_id is remembered.")
    ] = Duration(120.0)
    essential: Annotated[
        bool, Meta(description="Whether the process fails when this has failed for good.")
    ] = True

    def offers(self) -> Iterable[str]:
        return (f"nats.stream.{self._name}",)

    def feeds(self) -> bool:
        return True

    def requires(self) -> Iterable[Dependency[Any]]:
        return (self._connection,)

    def check(self) -> Iterator[Problem]:
        for i, each in enumerate(self.subjects):
            if wrong := wrong_subject(each, is_filter=True):
                yield Problem("wrong-value", wrong, at=f"subjects[{i}]")

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Mapping[str, Any]]:
        """Make the stream, or bring it up to date.

        Raises:
            Misconfigured: The server does not make it so.
            Unavailable: The server, or its JetStream, is away.
        """
        connection = self._connection.value
        try:
            await self.make(connection)
        except (Error, TimeoutError) as error:
            raise at_start(error, f"stream '{self._name}'") from error
        if self.storage == "file":
            await connection.warn_if_lazy()
        async with while_open(connection, self.label):
            yield {f"nats.stream.{self._name}": self._name}

    async def make(self, connection: Connection, *, first_seq: int | None = None) -> None:
        """Make the stream on the server, or bring it up to what is written.

        Args:
            first_seq: The number of the first message, where it is made.
        """
        wanted = self._wanted()
        if event := await make_stream(connection, self._name, wanted, first_seq=first_seq):
            log.info(event, stream=self._name, connection=connection.name)

    def _wanted(self) -> dict[str, Any]:
        return {
            "subjects": self.subjects,
            "storage": StorageType(self.storage).value,
            "retention": RetentionPolicy(self.retention).value,
            "num_replicas": self.replicas,
            "max_age": self.max_age or 0,
            "max_bytes": int(self.max_bytes),
            "max_msgs": self.max_messages or -1,
            "discard": DiscardPolicy(self.discard).value,
            "duplicate_window": self.duplicate_window,
        }


async def make_stream(
    connection: Connection, name: str, wanted: Mapping[str, Any], *, first_seq: int | None = None
) -> str:
    """Make a stream, or bring it up to what is wanted; return what has happened, if anything."""
    stream = connection.jetstream
    try:
        found = (await stream.stream_info(name)).config
    except NotFoundError:
        made = StreamConfig(name=name, first_seq=first_seq).evolve(**wanted)
        try:
            await stream.add_stream(made)
        except BadRequestError as error:
            if error.err_code != NAME_IN_USE:
                raise
            found = (await stream.stream_info(name)).config  # somebody else was faster
        else:
            return "stream made"
    evolved = found.evolve(**wanted)
    if evolved == found:
        return ""
    await stream.update_stream(evolved)
    return "stream changed"
