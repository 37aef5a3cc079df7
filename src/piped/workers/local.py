"""Pools in this process: the same rules as between processes, over memory."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

from piped.workers.frames import SPOKEN, Cancel, Go, Hello, ToFront, ToWorker, Welcome, Work
from piped.workers.ledger import Ledger
from piped.workers.worker import Worker

ADDRESS: Final = b"local"


class LocalLink:
    """Carries frames between a ledger and the one worker of this process, in turns."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._ledger: Ledger | None = None
        self._worker: Worker | None = None
        self._to_worker: deque[ToWorker] = deque()
        self._to_front: deque[ToFront] = deque()
        self._is_scheduled = False

    def open(self, ledger: Ledger, worker: Worker) -> None:
        """Make the two known to each other."""
        self._ledger, self._worker = ledger, worker
        hello = Hello(SPOKEN, ledger.name, "local", capacity=worker.capacity)
        ledger.receive(ADDRESS, hello)

    def send(self, address: bytes, frame: ToWorker) -> None:
        """Give a frame to the worker in the next turn."""
        self._to_worker.append(frame)
        self._schedule()

    def answer(self, frame: ToFront) -> None:
        """Give a frame to the ledger in the next turn."""
        self._to_front.append(frame)
        self._schedule()

    def _schedule(self) -> None:
        if not self._is_scheduled:
            self._is_scheduled = True
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        self._is_scheduled = False
        assert self._ledger is not None
        assert self._worker is not None
        for _ in range(len(self._to_worker)):
            frame = self._to_worker.popleft()
            if isinstance(frame, Work | Go | Cancel):
                self._worker.receive(frame)
            elif isinstance(frame, Welcome):
                self._worker.lease_s = frame.lease_s
        for _ in range(len(self._to_front)):
            self._ledger.receive(ADDRESS, self._to_front.popleft())
