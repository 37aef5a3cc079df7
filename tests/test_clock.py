from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.conftest import Clock


@pytest.fixture
def anyio_backend(movable_loop: tuple[str, dict[str, Any]]) -> tuple[str, dict[str, Any]]:
    return movable_loop


@pytest.mark.anyio
async def test_a_timer_fires_when_the_clock_is_moved(clock: Clock) -> None:
    fired = asyncio.Event()
    asyncio.get_running_loop().call_later(3600, fired.set)

    await clock.advance(3601)

    assert fired.is_set()
