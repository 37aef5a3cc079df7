"""What all who use a connection do when it ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from piped.errors import Unavailable

if TYPE_CHECKING:
    from piped.providers.nats.connection import Connection


@asynccontextmanager
async def while_open(connection: Connection, label: str) -> AsyncIterator[asyncio.TaskGroup]:
    """Yield a group for the tasks of who uses a connection; it fails when the connection ends."""
    async with asyncio.TaskGroup() as group:
        watch = group.create_task(until_closed(connection), name=f"watch {label}")
        yield group
        watch.cancel()


async def until_closed(connection: Connection) -> None:
    """Wait for the end of a connection.

    Raises:
        Unavailable: It has ended: there will be another one.
    """
    await connection.closed.wait()
    raise Unavailable(f"'{connection.name}' is closed")


def heed_cancellation() -> None:
    """Raise the cancellation of the running task, if somebody has swallowed it.

    ``asyncio.wait_for`` of Python 3.11 does, where what it waits for ends in the same turn; and
    nats-py waits so for each answer. A loop that goes on after it would never end.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
