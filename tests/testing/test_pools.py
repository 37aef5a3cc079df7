"""The transports that are shipped keep what a pool promises."""

from __future__ import annotations

from pathlib import Path

import pytest

from piped.providers.nats import Connection
from piped.testing._fleet import Member
from piped.testing.pools import FleetSuite, PoolSuite
from piped.workers.sockets import LoopSocket
from piped.workers.zmq import DealerLink
from tests.providers.nats.conftest import Server, own

__all__ = ["own"]


class TestLocal(PoolSuite):
    """The front does the work itself."""


class TestZmq(FleetSuite):
    """Workers over ZeroMQ."""

    @pytest.fixture
    def overrides(self, tmp_path: Path) -> list[str]:
        return ["workers.math.transport:zmq", f"workers.math.listen:ipc://{tmp_path}/math"]

    @pytest.fixture(autouse=True)
    def links(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Know the socket of each worker by its name."""
        self._sockets: dict[str, LoopSocket] = {}
        begin = DealerLink.open

        def open_(link: DealerLink, address: str, worker: object) -> None:
            self._sockets[link._name] = link._socket
            begin(link, address, worker)  # type: ignore[arg-type] # it is what it was

        monkeypatch.setattr(DealerLink, "open", open_)

    def cut(self, worker: Member) -> None:
        socket = self._sockets[worker.name]
        close = socket.close
        socket.flush = lambda: None  # type: ignore[method-assign] # nothing is said any more
        socket.close = lambda linger_ms=0: close(0)  # type: ignore[method-assign] # nor sent late


class TestNats(FleetSuite):
    """Workers over NATS."""

    big_bytes = 512 << 10  # a message, and the buffer of a connection, have 1 MiB

    @pytest.fixture
    def overrides(self, own: Server) -> list[str]:
        return ["workers.math.transport:nats", f"nats.connections.main.servers:{own.url}"]

    def cut(self, worker: Member) -> None:
        connection: Connection = worker.service.resources["nats.main"].value
        client = connection.client
        client.options["allow_reconnect"] = False
        client._transport._io_writer.transport.abort()  # type: ignore[union-attr] # it is connected
