"""Taking connections: as many as there may be, few of each peer, and always able to say no."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import errno
import os
import socket
import ssl
from typing import Any, Final, Protocol

from piped.providers.web.dispatch import log
from piped.providers.web.limits import Counters, Limits
from piped.providers.web.proxies import Proxies, is_loopback

AT_ONCE: Final = 64
"""How many connections one listener brings in one turn of the event loop."""

RESUME_PERCENT: Final = 90
QUIET_S: Final = 10.0
"""How long nothing more is said about the same."""

OUT_OF_MEANS: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class Inn(Protocol):
    """What takes connections in."""

    label: str
    limits: Limits
    counters: Counters
    context: contextvars.Context
    proxies: Proxies
    tls: ssl.SSLContext | None

    def connection(self) -> asyncio.Protocol:
        """Return the protocol of a new connection."""

    def emptied(self) -> None:
        """Be told that a place has become free."""


class Acceptor:
    """Takes connections from sockets that listen, and counts them until they are closed.

    When there are as many as may be, nothing is accepted until a tenth of them is gone; who comes
    meanwhile waits in the backlog of the system. One descriptor is kept in spare, so that where the
    process has no more, clients are sent away, and do not wait for nothing.
    """

    def __init__(self, inn: Inn, tasks: asyncio.TaskGroup) -> None:
        self._inn, self._tasks = inn, tasks
        self._loop = asyncio.get_running_loop()
        self._listeners: list[socket.socket] = []
        self._places: dict[Any, str] = {}  # protocol -> peer
        self._peers: dict[str, int] = {}
        self._opening: set[asyncio.Task[None]] = set()
        self._spare: int | None = None
        self._quiet_until = 0.0
        self.is_paused = False

    def __len__(self) -> int:
        """Return how many connections there are, also those that are still being made."""
        return len(self._places)

    def open(self, listeners: list[socket.socket]) -> None:
        """Begin to take connections."""
        self._keep_spare()
        self._listeners += listeners
        for each in listeners:
            self._loop.add_reader(each, self._accept, each)

    def close(self) -> None:
        """Take no more connections than those that the system has accepted already."""
        if not self.is_paused:
            for each in self._listeners:
                self._accept(each, most=self._inn.limits.connections)
        self._stop_accepting()
        while self._listeners:
            self._listeners.pop().close()
        if self._spare is not None:
            os.close(self._spare)
            self._spare = None

    def cancel(self) -> None:
        """End the connections that are still being made."""
        for each in self._opening:
            each.cancel()

    def hand_over(self, connection: Any, heir: Any) -> None:
        """Be told that a connection goes on as another object."""
        if connection in self._places:
            self._places[heir] = self._places.pop(connection)

    def leave(self, connection: Any) -> None:
        """Be told that a connection is closed."""
        peer = self._places.pop(connection, None)
        if peer is None:
            return
        left = self._peers[peer] - 1
        if left:
            self._peers[peer] = left
        else:
            del self._peers[peer]
        enough = self._inn.limits.connections * RESUME_PERCENT // 100
        if self.is_paused and len(self._places) <= enough:
            self.is_paused = False
            for each in self._listeners:
                self._loop.add_reader(each, self._accept, each)
        self._inn.emptied()

    def _accept(self, listener: socket.socket, most: int = AT_ONCE) -> None:
        if len(self._places) >= self._inn.limits.connections:  # and somebody waits
            self._pause()
            return
        for _ in range(most):
            if len(self._places) >= self._inn.limits.connections:
                return
            try:
                accepted, address = listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in OUT_OF_MEANS or not self._send_away(listener):
                    self._say("cannot accept a connection", error=str(error))
                    return
            else:
                self._take(accepted, address)

    def _take(self, accepted: socket.socket, address: Any) -> None:
        peer = address[0] if isinstance(address, tuple) else ""
        count = self._peers.get(peer, 0)
        if count >= self._inn.limits.connections_of_peer and not self._is_exempt(peer):
            self._inn.counters.refuse("too-many-of-a-peer")
            accepted.close()
            return
        accepted.setblocking(False)
        connection = self._inn.connection()
        self._places[connection] = peer
        self._peers[peer] = count + 1
        run = self._make(connection, accepted)
        task = self._tasks.create_task(run, context=self._inn.context)
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    async def _make(self, connection: Any, accepted: socket.socket) -> None:
        tls = self._inn.tls
        limit = {} if tls is None else {"ssl_handshake_timeout": self._inn.limits.handshake_s}
        is_made = False
        try:
            await self._loop.connect_accepted_socket(lambda: connection, accepted, ssl=tls, **limit)
            is_made = True
        except OSError as error:
            rule = "tls-handshake" if tls is not None else "not-made"
            self._inn.counters.refuse(rule)
            log.debug("connection not made", site=self._inn.label, error=str(error))
        finally:
            if not is_made:
                accepted.close()
                self.leave(connection)

    def _is_exempt(self, peer: str) -> bool:
        return not peer or is_loopback(peer) or peer in self._inn.proxies

    def _pause(self) -> None:
        self.is_paused = True
        self._inn.counters.pauses += 1
        self._stop_accepting()
        self._say("connections are at their limit", connections=len(self._places))

    def _stop_accepting(self) -> None:
        for each in self._listeners:
            self._loop.remove_reader(each)

    def _keep_spare(self) -> None:
        self._spare = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)

    def _send_away(self, listener: socket.socket) -> bool:
        """Use the spare descriptor to close a connection, and tell whether that was possible."""
        if self._spare is None:
            return False
        os.close(self._spare)
        self._spare = None
        try:
            listener.accept()[0].close()
        except OSError:  # perhaps nobody waits: the system looks for a descriptor first
            return False
        finally:
            with contextlib.suppress(OSError):  # somebody else in the process was faster
                self._keep_spare()
        self._inn.counters.refuse("no-descriptor")
        self._say("no descriptor is left for connections", connections=len(self._places))
        return True

    def _say(self, event: str, **facts: Any) -> None:
        now = self._loop.time()
        if now >= self._quiet_until:
            self._quiet_until = now + QUIET_S
            log.warning(event, site=self._inn.label, **facts)
