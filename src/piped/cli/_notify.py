"""Tells systemd how the process is, where it asks for that (``Type=notify``, sd_notify(3))."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from contextlib import suppress
from typing import Final

ABSTRACT: Final = "@"


class Notifier:
    """Sends states to the socket that the environment names; nothing happens where it names none.

    The names are taken out of the environment, so that no child of ours speaks for us.
    """

    def __init__(self) -> None:
        self._address = os.environ.pop("NOTIFY_SOCKET", "")
        if self._address.startswith(ABSTRACT):
            self._address = f"\0{self._address[1:]}"
        watchdog, pid = (os.environ.pop(f"WATCHDOG_{name}", "") for name in ("USEC", "PID"))
        is_ours = watchdog.isdigit() and pid in ("", str(os.getpid()))
        self._watchdog_s = int(watchdog) / 1e6 if is_ours else 0.0

    def ready(self, status: str) -> None:
        """Say that the service does its work, as it was started or after a reload."""
        self._send("READY=1", f"STATUS={status}")

    def reloading(self) -> None:
        """Say that a reload has begun; ``ready`` ends it, whatever became of it."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """Say that the service drains, and ends."""
        self._send("STOPPING=1", "STATUS=draining")

    def keep_alive(self) -> None:
        """Let the event loop say that it turns, now and twice in each period of the watchdog."""
        if self._address and self._watchdog_s > 0:
            self._send("WATCHDOG=1")
            asyncio.get_running_loop().call_later(self._watchdog_s / 2, self.keep_alive)

    def _send(self, *lines: str) -> None:
        if not self._address:
            return
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as each:
            each.setblocking(False)
            each.sendto("\n".join(lines).encode(), self._address)
