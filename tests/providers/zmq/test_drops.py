from __future__ import annotations

from typing import Any

import pytest
from structlog.testing import capture_logs

from piped.providers.zmq.drops import Drops
from tests.conftest import Clock

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend(movable_loop: tuple[str, dict[str, Any]]) -> tuple[str, dict[str, Any]]:
    return movable_loop


def line(count: int) -> dict[str, Any]:
    return {"event": "messages dropped", "queue": "jobs", "count": count, "log_level": "warning"}


async def test_the_drops_of_a_second_are_one_line(clock: Clock) -> None:
    drops = Drops("jobs")
    with capture_logs() as lines:
        for _ in range(3):
            drops.add(2)
        await clock.advance(1.1)
        drops.add(1)
        await clock.advance(1.1)

    assert lines == [line(6), line(1)]
    assert drops.count == 7


async def test_the_last_drops_are_told_at_the_end_and_only_once(clock: Clock) -> None:
    drops = Drops("jobs")
    with capture_logs() as lines:
        drops.add(0)
        drops.tell()
        drops.add(2)
        drops.tell()
        await clock.advance(1.1)

    assert lines == [line(2)]
