from __future__ import annotations

import asyncio
from typing import Any

import pytest
from structlog.testing import capture_logs

from piped.providers.zmq.slots import Slots
from tests.providers.zmq.conftest import Recorder, bound

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("faults")]


def ignore(_number: int = 0) -> None:
    pass


async def test_messages_that_are_given_up_are_cancelled_and_counted() -> None:
    async def hang(baton: Any) -> None:
        await asyncio.Event().wait()

    pipeline = Recorder(is_async=True)
    pipeline.treat = hang
    with capture_logs() as lines:
        async with asyncio.TaskGroup() as group:
            slots = Slots("jobs", bound(pipeline), 1, group, ignore, ignore)
            slots.treat(b"1")
            await pipeline.got(1)
            slots.cancel()
            await slots.treated()

    assert lines == [
        {"event": "messages cancelled", "queue": "jobs", "count": 1, "log_level": "warning"}
    ]


async def test_the_number_of_a_message_that_fails_is_told() -> None:
    def fail(baton: Any) -> None:
        if baton == b"bad":
            raise ValueError(baton)

    pipeline = Recorder()
    pipeline.treat = fail
    told: list[int] = []
    async with asyncio.TaskGroup() as group:
        slots = Slots("jobs", bound(pipeline), 1, group, ignore, told.append)
        for baton in (b"good", b"bad", b"good"):
            slots.treat(baton)

    assert told == [2]


async def test_a_processor_that_is_lost_for_good_leaves_the_other_queues_alone() -> None:
    processor = bound(Recorder())
    resource: Any = processor.resource
    resource.failed("the address is nonsense")

    with capture_logs() as lines:
        async with asyncio.TaskGroup() as group:
            assert not Slots("jobs", processor, 1, group, ignore, ignore).has_room()

    reason = f"'{resource.name}' has failed for good: the address is nonsense"
    assert [(line["event"], line["reason"]) for line in lines] == [
        ("queue is read no more", reason)
    ]
