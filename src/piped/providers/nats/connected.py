"""What all parts of ``nats`` share that use a connection."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, ClassVar

from piped.providers.nats.connection import Connection
from piped.spec import Dependency, Meta, Provider


@dataclass(slots=True, kw_only=True, eq=False)
class Connected(Provider):
    """Uses a connection, and stands below ``nats`` by a name."""

    kind: ClassVar[str] = ""  # the key of ``nats`` below which it stands

    connection: Annotated[
        str, Meta(description="The connection, as it is named below nats.connections.")
    ] = "main"
    _name: str = field(default="", init=False)
    _connection: Dependency[Connection] = field(init=False)

    def __post_init__(self) -> None:
        self._connection = Dependency(f"nats.{self.connection}")

    def named(self, name: str) -> None:
        """Tell it its name in the document."""
        self._name = name
        self.label = f"nats.{self.kind}.{name}"
