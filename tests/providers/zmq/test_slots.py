from __future__ import annotations

import asyncio
from typing import Any

import pytest
from structlog.testing import capture_logs

from piped.providers.zmq.slots import Slots
from tests.conftest import Clock
from tests.providers.zmq.conftest import Recorder, bound

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("faults")]


@pytest.fixture
def anyio_backend(movable_loop: tuple[str, dict[str, Any]]) -> tuple[str, dict[str, Any]]:
    return movable_loop


async def test_a_message_that_takes_too_long_is_cancelled_when_the_queue_closes(
    clock: Clock,
) -> None:
    async def hang(baton: Any) -> None:
        await asyncio.Event().wait()

    pipeline = Recorder(is_async=True)
    pipeline.treat = hang
    with capture_logs() as lines:
        async with asyncio.TaskGroup() as group:
            slots = Slots("jobs", bound(pipeline), 1, group, lambda: None)
            slots.treat(b"1")
            closing = asyncio.create_task(slots.treated())
            await clock.advance(0)
            await clock.advance(24)
            in_time = closing.done()
            await clock.advance(2)

            assert not in_time
            assert closing.done()

    assert lines == [
        {"event": "messages cancelled", "queue": "jobs", "count": 1, "log_level": "warning"}
    ]
