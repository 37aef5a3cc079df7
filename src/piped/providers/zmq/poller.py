"""The switch for everything that is read: ``zmq.poller``."""

from __future__ import annotations

from collections.abc import Callable


class Poller:
    """Lets the queues of this process read, or holds them all; both take effect at once.

    What is not read stays in the sockets, and with the peers, until it is started again.
    """

    __slots__ = ("_is_running", "_on_start")

    def __init__(self) -> None:
        self._is_running = True
        self._on_start: list[Callable[[], None]] = []

    @property
    def is_running(self) -> bool:
        return self._is_running

    def stop(self) -> None:
        """Deliver no more messages to any processor; those being treated go on."""
        self._is_running = False

    def start(self) -> None:
        """Deliver messages again, those that came in the meantime first."""
        if not self._is_running:
            self._is_running = True
            for wake in self._on_start:
                wake()

    def watch(self, on_start: Callable[[], None]) -> None:
        """Have a function called whenever reading starts again."""
        self._on_start.append(on_start)

    stopService = stop  # noqa: N815 - the ancestor's names; status tests of its users call them
    startService = start  # noqa: N815
