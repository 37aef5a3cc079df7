"""NATS: subjects, streams, consumers and key-value buckets; ``nats`` in a document."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import field
from typing import Annotated

from piped.providers.nats.connection import Connection
from piped.providers.nats.consumers import NatsConsumer
from piped.providers.nats.embedded import Embedded
from piped.providers.nats.kv import Bucket, Entry, NatsBucket
from piped.providers.nats.pulls import Puller
from piped.providers.nats.settings import NatsConnection, Tls
from piped.providers.nats.streams import NatsStream
from piped.providers.nats.subjects import NatsSubject
from piped.spec import Meta, Provider, provider

__all__ = [
    "Bucket",
    "Connection",
    "Embedded",
    "Entry",
    "Nats",
    "NatsBucket",
    "NatsConnection",
    "NatsConsumer",
    "NatsStream",
    "NatsSubject",
    "Puller",
    "Tls",
]


@provider("nats")
class Nats(Provider):
    """Send, receive and keep messages by NATS, an engine for many machines.

    Subjects are at most once; streams and their consumers are at least once.
    """

    connections: Annotated[
        dict[str, NatsConnection], Meta(description="The connections, by names of your own.")
    ] = field(default_factory=dict)
    streams: Annotated[
        dict[str, NatsStream], Meta(description="The streams, by their names on the server.")
    ] = field(default_factory=dict)
    subjects: Annotated[
        dict[str, NatsSubject], Meta(description="Subjects that feed pipelines, by names.")
    ] = field(default_factory=dict)
    consumers: Annotated[
        dict[str, NatsConsumer], Meta(description="Streams that feed pipelines, by names.")
    ] = field(default_factory=dict)
    kv: Annotated[
        dict[str, NatsBucket], Meta(description="Key-value buckets, by names of your own.")
    ] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for entries in (self.connections, self.streams, self.subjects, self.consumers, self.kv):
            for name, each in entries.items():
                each.named(name)
        for consumer in self.consumers.values():
            consumer.waits_for(
                name
                for name, stream in self.streams.items()
                if stream.connection == consumer.connection
            )

    def units(self) -> Iterator[Provider]:
        yield from self.connections.values()
        yield from self.streams.values()
        yield from self.subjects.values()
        yield from self.consumers.values()
        yield from self.kv.values()
