"""What is said is sent in its order, whatever becomes of it."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest

from piped.errors import QueueFull
from piped.workers.nats.outbox import Outbox

pytestmark = pytest.mark.anyio


async def test_what_cannot_be_sent_keeps_nothing_back() -> None:
    sent: list[int] = []
    outbox = Outbox()

    async def send(number: int) -> None:
        if number == 1:
            raise QueueFull("it is away")
        sent.append(number)

    for number in range(3):
        outbox.add(partial(send, number))
    running = asyncio.ensure_future(outbox.run())
    await outbox.is_empty.wait()
    running.cancel()

    assert sent == [0, 2]
    assert not outbox


async def test_it_ends_when_what_is_sent_swallows_the_cancellation() -> None:
    outbox = Outbox()
    is_sending = asyncio.Event()

    async def send() -> None:
        is_sending.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            pass

    outbox.add(send)
    running = asyncio.ensure_future(outbox.run())
    await is_sending.wait()
    running.cancel()
    await asyncio.wait([running])

    assert running.cancelled()
