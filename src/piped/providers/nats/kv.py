"""Key-value buckets of JetStream: ``nats.kv.<name>``."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Set
from contextlib import asynccontextmanager
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

from nats.errors import Error
from nats.js.api import KeyValueConfig, StorageType
from nats.js.errors import (
    BucketNotFoundError,
    InvalidKeyError,
    KeyNotFoundError,
    KeyWrongLastSequenceError,
    NoKeysError,
)
from nats.js.kv import KeyValue

from piped.errors import BatonError, DeadlineExceeded, PipedError, Problem
from piped.providers.nats.connected import Connected
from piped.providers.nats.connection import Connection
from piped.providers.nats.content import Format, decoded, encoded
from piped.providers.nats.ends import while_open
from piped.providers.nats.errors import WrongRevision, at_start, of_jetstream
from piped.spec import Dependency, Duration, Meta, Size, part


class Entry(NamedTuple):
    """What is stored under a key, and the number of the change that stored it."""

    value: Any
    revision: int


class Bucket:
    """Values by their keys, shared by all who connect: the resource ``nats.kv.<name>``."""

    def __init__(self, name: str, store: KeyValue, format_: Format) -> None:
        self.name, self.store, self._format = name, store, format_

    async def get(self, key: str) -> Entry | None:
        """Return what is stored under a key; None where there is nothing.

        Raises:
            InvalidBaton: What is stored is not in the format of the bucket.
            BatonError: It is no key.
            DeadlineExceeded, Unavailable: There is no answer.
        """
        try:
            found = await self.store.get(key)
        except KeyNotFoundError:
            return None
        except (Error, TimeoutError) as error:
            raise self._wrong(error, key) from error
        return Entry(decoded(found.value or b"", self._format), found.revision or 0)

    async def put(self, key: str, value: Any, revision: int | None = None) -> int:
        """Store a value under a key, and return the number of the change.

        Args:
            key: Letters, digits, and ``-/_=.`` between them.
            value: What the format of the bucket can say.
            revision: The number of the last change, for a value that nobody has changed since; 0
                for a key under which nothing is stored.

        Raises:
            WrongRevision: Somebody has changed it.
            BatonError: It is no key, or the format cannot say the value.
            QueueFull: The bucket is full.
            DeadlineExceeded, Unavailable: There is no answer.
        """
        data = encoded(value, self._format)
        try:
            if revision is None:
                return await self.store.put(key, data)
            if revision == 0:
                return await self.store.create(key, data)
            return await self.store.update(key, data, revision)
        except KeyWrongLastSequenceError as error:
            what = f"'{key}' of '{self.name}' has changed: expected revision {revision}"
            raise WrongRevision(what) from error
        except (Error, TimeoutError) as error:
            raise self._wrong(error, key) from error

    async def delete(self, key: str) -> None:
        """Take away what is stored under a key; its history stays."""
        try:
            await self.store.delete(key)
        except (Error, TimeoutError) as error:
            raise self._wrong(error, key) from error

    async def keys(self) -> list[str]:
        """Return all keys under which something is stored."""
        try:
            return await self.store.keys()
        except NoKeysError:
            return []
        except (Error, TimeoutError) as error:
            raise self._wrong(error, "") from error

    def _wrong(self, error: Error | TimeoutError, key: str) -> PipedError:
        if isinstance(error, InvalidKeyError):
            return BatonError(f"expected a key such as users.7, got {key!r:.80}")
        if isinstance(error, TimeoutError):
            return DeadlineExceeded(f"no answer from the bucket '{self.name}'")
        return of_jetstream(error, f"'{self.name}'")


@part
class NatsBucket(Connected):
    """A key-value bucket of JetStream, made when it is first used: the resource ``nats.kv.<name>``.

    It is shared by all processes; a value is read and stored by ``fetch-nats-value`` and
    ``store-nats-value``.
    """

    kind: ClassVar[str] = "kv"

    bucket: Annotated[
        str | None, Meta(description="Its name on the server; by default its name here.")
    ] = None
    format: Annotated[Format, Meta(description="How values are stored.")] = "json"
    storage: Annotated[Literal["file", "memory"], Meta(description="Where they are.")] = "file"
    history: Annotated[int, Meta(ge=1, le=64, description="How many values of a key are kept.")] = 1
    ttl: Annotated[
        Duration | None, Meta(description="How long a value is kept; null is for ever.")
    ] = None
    max_bytes: Annotated[Size, Meta(ge=1, description="How much it keeps.")] = Size(16 << 20)
    replicas: Annotated[int, Meta(ge=1, le=5, description="How many servers keep it.")] = 1

    def offers(self) -> Iterable[str]:
        return (self.label,)

    def requires(self) -> Iterable[Dependency[Any]]:
        return (self._connection,)

    def unused(self, needed: Set[str]) -> Iterable[str]:
        return () if self.label in needed else ("",)

    def check(self) -> Iterator[Problem]:
        name = self.bucket
        if name is not None and not name.replace("-", "").replace("_", "").isalnum():
            what = f"expected letters, digits, '-' and '_', got {name!r}"
            yield Problem("wrong-value", what, at="bucket")

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Mapping[str, Any]]:
        """Yield the bucket, made where it is not there yet.

        Raises:
            Misconfigured: The server does not make it so.
            Unavailable: The server, or its JetStream, is away.
        """
        connection = self._connection.value
        name = self.bucket or self._name
        try:
            store = await self._opened(connection, name)
        except (Error, TimeoutError) as error:
            raise at_start(error, f"bucket '{name}'") from error
        async with while_open(connection, self.label):
            yield {self.label: Bucket(self._name, store, self.format)}

    async def _opened(self, connection: Connection, name: str) -> KeyValue:
        try:
            return await connection.jetstream.key_value(name)
        except BucketNotFoundError:
            config = KeyValueConfig(
                bucket=name,
                history=self.history,
                ttl=self.ttl,
                max_bytes=self.max_bytes,
                storage=StorageType(self.storage),
                replicas=self.replicas,
            )
            return await connection.jetstream.create_key_value(config)
